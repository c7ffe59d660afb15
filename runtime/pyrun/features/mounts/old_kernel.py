"""What mount(2) can do where the new mount calls can't: Linux 5.10 and 5.11, very long options, old flags.

Hot module, loaded only when needed. Targets are descriptors, named by /proc/self/fd of the host's /proc: this runs
before pivot_root, so nothing of the container stands in that path. None of them is looked up twice. What a mount has
afterwards is what the new calls would have given it.
"""

from __future__ import annotations

import errno
import posix

from oci_spec.mount_options import (
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_RELATIME,
    MOUNT_ATTR_STRICTATIME,
)
from pyrun.base.errors import PyrunError
from pyrun.features.mounts import filesystem, mount_tree, overlay
from pyrun.kernel import calls, mounts, process
from pyrun.paths import under_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrun.features.mounts.options import Options

LONGEST_DATA = 4095  # bytes of options that mount(2) takes: a page with the byte that ends them

# MOUNT_ATTR_* -> MS_*, but for access times
ATTRIBUTES = (
    (0x1, 1),  # RDONLY
    (0x2, 2),  # NOSUID
    (0x4, 4),  # NODEV
    (0x8, 8),  # NOEXEC
    (0x80, 2048),  # NODIRATIME
    (0x200000, 256),  # NOSYMFOLLOW
)
ST_FLAGS = 1 | 2 | 4 | 8 | 2048  # statvfs(3): the same numbers as MS_*
ST_NOATIME, ST_RELATIME, ST_NOSYMFOLLOW = 1024, 4096, 8192
MS_NOATIME, MS_RELATIME, MS_STRICTATIME, MS_NOSYMFOLLOW = 1024, 1 << 21, 1 << 24, 256
ATIMES = {
    MOUNT_ATTR_RELATIME: MS_RELATIME,
    MOUNT_ATTR_NOATIME: MS_NOATIME,
    MOUNT_ATTR_STRICTATIME: MS_STRICTATIME,
}


def change(fd: int, recursive: bool, set_: int, clear: int, propagation: int) -> None:
    """Change an attached mount, or the tree of mounts that begins with it."""
    if propagation:
        flags = propagation | (mounts.MS_REC if recursive else 0)
        mounts.mount(None, f"/proc/self/fd/{fd}", None, flags, None)
    if not (set_ or clear):
        return
    _change_one(fd, set_, clear)
    if recursive:
        for below in mount_tree.below(fd):
            try:
                _change_one(below, set_, clear)
            finally:
                posix.close(below)


def _change_one(fd: int, set_: int, clear: int) -> None:
    """mount(2) sets all of a mount's flags at once. So those that nobody spoke of are found out before, and with them
    those that are locked in a user namespace."""
    has = posix.fstatvfs(fd).f_flag
    flags = has & ST_FLAGS | (MS_NOSYMFOLLOW if has & ST_NOSYMFOLLOW else 0)
    for attribute, old in ATTRIBUTES:
        if clear & attribute:
            flags &= ~old
        if set_ & attribute:
            flags |= old
    if clear & MOUNT_ATTR__ATIME:
        flags |= ATIMES[set_ & MOUNT_ATTR__ATIME]
    elif has & ST_NOATIME:
        flags |= MS_NOATIME
    else:
        flags |= MS_RELATIME if has & ST_RELATIME else MS_STRICTATIME
    mounts.mount(None, f"/proc/self/fd/{fd}", None, flags | mounts.MS_REMOUNT | mounts.MS_BIND, None)


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
