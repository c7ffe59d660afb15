"""The mounts below a mount, for a kernel that can't change a whole tree at once: Linux before 5.12.

Hot module, loaded only when needed, and before pivot_root: /proc is the host's. Its table says what is mounted where by
text, and a volume may belong to somebody who renames folders meanwhile. So a place is looked up below its parent mount
without links, and what is found there must be the very mount that the table has.
"""

from __future__ import annotations

import errno
import posix

from pyrun.kernel import calls
from pyrun.kernel.calls import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS


def identity(fd: int) -> bytes:
    """The number that the table of mounts has for the mount that a descriptor stands in: proc_pid_fdinfo(5)."""
    for line in calls.read_file(f"/proc/self/fdinfo/{fd}").split(b"\n"):
        if line.startswith(b"mnt_id:"):
            return line.split()[1]
    raise failure("open", errno.ENOSYS, "fdinfo")


def unescape(field: bytes) -> str:
    """A path of mountinfo: blank, tab, newline and backslash stand as octal numbers (proc_pid_mountinfo(5))."""
    for octal, plain in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(octal, plain)
    return field.decode("utf-8", "surrogateescape")


def below(fd: int) -> Iterator[int]:
    """A descriptor of each mount below the one whose root `fd` is, which the caller closes. OSError(EBUSY) if one can't
    be reached, as another is mounted over it, or it was moved at this moment."""
    places: dict[bytes, str] = {}
    children: dict[bytes, list[bytes]] = {}
    for line in calls.read_file("/proc/self/mountinfo").split(b"\n"):
        fields = line.split(b" ")
        if len(fields) > 4:
            places[fields[0]] = unescape(fields[4])
            children.setdefault(fields[1], []).append(fields[0])
    yield from _below(fd, identity(fd), places, children)


def _below(
    fd: int, parent: bytes, places: dict[bytes, str], children: dict[bytes, list[bytes]]
) -> Iterator[int]:
    for child in children.get(parent, ()):
        path = places[child][len(places[parent].rstrip("/")) + 1 :]
        found = calls.openat2(fd, path, calls.O_PATH, RESOLVE) if path else -1
        if found < 0 or identity(found) != child:
            if found >= 0:
                posix.close(found)
            raise failure("mount", errno.EBUSY, f"{places[child]} (something is mounted over it)")
        yield from _below(found, child, places, children)
        yield found
