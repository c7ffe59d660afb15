"""What mount(2) can do where the new mount calls can't: Linux 5.10 and 5.11, very long options, old flags.

Hot module, loaded only when needed. Targets are descriptors, named by /proc/self/fd of the host's /proc: this runs
before pivot_root, so nothing of the container stands in that path. None of them is looked up twice.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError
from pyrun.features.mounts import filesystem, overlay
from pyrun.kernel import calls, mounts, process
from pyrun.paths import under_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrun.features.mounts.options import Options

LONGEST_DATA = 4095  # bytes of options that mount(2) takes: a page with the byte that ends them

# MOUNT_ATTR_* -> MS_*
ATTRIBUTES = (
    (0x1, 1),  # RDONLY
    (0x2, 2),  # NOSUID
    (0x4, 4),  # NODEV
    (0x8, 8),  # NOEXEC
    (0x10, 1024),  # NOATIME
    (0x20, 1 << 24),  # STRICTATIME
    (0x80, 2048),  # NODIRATIME
    (0x200000, 256),  # NOSYMFOLLOW
)
ST_FLAGS = 1 | 2 | 4 | 8 | 1024 | 2048  # statvfs(3): the same numbers as MS_*


def change(fd: int, recursive: bool, set_: int, clear: int, propagation: int) -> None:
    """Change an attached mount; attributes of a whole tree need mount_setattr(2) and are refused (ENOSYS)."""
    target = f"/proc/self/fd/{fd}"
    if propagation:
        mounts.mount(None, target, None, propagation | (mounts.MS_REC if recursive else 0), None)
    if set_ or clear:
        if recursive and not set_ == mounts.MOUNT_ATTR_RDONLY:
            raise calls.failure("mount_setattr", errno.ENOSYS)
        flags = posix.fstatvfs(fd).f_flag & ST_FLAGS
        for attribute, old in ATTRIBUTES:
            if clear & attribute:
                flags &= ~old
            if set_ & attribute:
                flags |= old
        mounts.mount(None, target, None, flags | mounts.MS_REMOUNT | mounts.MS_BIND, None)


def new_filesystem(kind: str, source: str, options: Options, items: list[str]) -> int:
    """A detached mount of a new file system, made by mount(2): its type, source, `options` for their flags, and
    `items`, its own options.

    mount(2) can only attach, and a name in the container's tree may be another's by the time it is looked at again. So
    it attaches in a process with a mount namespace of its own, to a folder that nobody else has.
    """
    data = ",".join(items)
    size = len(data.encode())
    if size > LONGEST_DATA:
        if kind == "overlay":
            return overlay.new(source, options, items, size)
        raise PyrunError(f"its options have {size} bytes, and mount(2) takes {LONGEST_DATA}")
    ours, theirs = calls.socketpair()
    pid = posix.fork()
    if pid == 0:
        try:
            posix.close(ours)
            _mount_privately(theirs, kind, source, options.old_flags, data)
        except OSError as error:
            posix._exit(error.errno or errno.EIO)
        finally:
            posix._exit(errno.EIO)
    posix.close(theirs)
    try:
        fd = calls.receive_fd(ours)
    except OSError:
        fd = -1  # it has nothing to send, and its status says why
    posix.close(ours)
    status = posix.waitpid(pid, 0)[1]
    if fd < 0:
        raise calls.failure(
            "mount", posix.waitstatus_to_exitcode(status) if status > 255 else errno.EIO, kind
        )
    return fd


def _mount_privately(sock: int, kind: str, source: str, flags: int, data: str) -> NoReturn:
    """In the process of its own: mount, and send a detached copy of the mount."""
    process.prctl(process.PR_SET_PDEATHSIG, process.SIGKILL)
    process.unshare(process.CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_PRIVATE | mounts.MS_REC, None)
    slash = posix.open("/", calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)
    staging = filesystem.new("tmpfs", "tmpfs", [("mode", "700")], 0)
    mounts.move_mount(staging, slash)  # over "/", which this process has no need of
    name = "place"
    posix.mkdir(name, 0o700, dir_fd=staging)
    place = under_root.open_in(staging, name, calls.O_PATH | posix.O_DIRECTORY)
    mounts.mount(source, f"/proc/self/fd/{place}", kind, flags, data)
    made = under_root.open_in(staging, name, calls.O_PATH)
    calls.send_fd(sock, b"mount", mounts.clone_tree(made, recursive=False))
    posix._exit(0)
