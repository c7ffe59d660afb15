"""linux.sysctl: kernel parameters of the container's own namespaces.

Hot module, loaded if there are any. The contract's rules have already refused a parameter that isn't of one of the
container's own namespaces. Written through a descriptor of the host's /proc, without crossing a mount or a link, so
that nothing mounted at /proc can redirect the write (CVE-2025-52881). Source: config-linux.md, Sysctl; sysctl(8).
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError, failed
from pyrun.paths import proc_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.making import Inside

# errno -> why, and what to do
REASONS = {
    errno.ENOENT: (
        "the container's namespace has no such parameter",
        "the kernel has none of this name, or in the host's first namespace only",
    ),
    errno.EINVAL: ("the kernel doesn't take this value", "see the kernel's documentation of the parameter"),
    errno.ERANGE: ("the value is out of range", "see the kernel's documentation of the parameter"),
    errno.EACCES: ("it can't be written from a container", "it is read-only, or not this user namespace's"),
    errno.EPERM: ("it can't be written from a container", "it is read-only, or not this user namespace's"),
}


def open_proc(inside: Inside) -> None:
    """Open the host's procfs, while it can be seen; what it shows are the namespaces of who looks."""
    inside.proc = proc_files.open_proc()


def apply(inside: Inside) -> None:
    """Write each parameter. Raises PyrunError for the first that the kernel refuses."""
    for key, value in inside.plan.linux["sysctl"].items():
        try:
            fd = proc_files.open_in_proc(inside.proc, f"sys/{path_of(key)}", posix.O_WRONLY)
            try:
                posix.write(fd, value.encode())
            finally:
                posix.close(fd)
        except OSError as error:
            json_path = f'linux.sysctl["{key}"]'
            if error.errno in REASONS:
                why, hint = REASONS[error.errno]
                raise PyrunError(f'writing "{value}": {why}', json_path, hint) from None
            raise failed(f'writing "{value}"', error, json_path) from None


def path_of(key: str) -> str:
    """net.ipv4.ip_forward and net/ipv4/ip_forward alike; whichever separator comes first is the separator, and the
    other one stands for itself in the other form: sysctl(8)."""
    dot, slash = key.find("."), key.find("/")
    if dot < 0 or 0 <= slash < dot:
        return key
    return key.replace("/", "\0").replace(".", "/").replace("\0", ".")
