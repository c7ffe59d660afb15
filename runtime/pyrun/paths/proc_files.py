"""Every access to /proc from the child's side: by a descriptor that was checked before the root file system was seen.

Hot module. A container's own /proc may be a link, a bind mount, or another procfs file mounted over the right name
(CVE-2019-16884, CVE-2019-19921, CVE-2025-52881). So we never go through it.
"""

from __future__ import annotations

import errno
import posix

from pyrun.kernel import calls
from pyrun.kernel.calls import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV

PROC_SUPER_MAGIC = 0x9FA0
PROC_ROOT_INODE = 1


def open_proc() -> int:
    """Open the host's /proc. Raises an error if it isn't the root of a procfs."""
    fd = posix.open("/proc", calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)
    if calls.statfs_type(fd) != PROC_SUPER_MAGIC or posix.fstat(fd).st_ino != PROC_ROOT_INODE:
        posix.close(fd)
        raise calls.failure("open", errno.EINVAL, "/proc (it is not a procfs)")
    return fd


def open_in_proc(proc: int, path: str, flags: int) -> int:
    """Open a file of this very procfs: no link is followed and no mount is crossed on the way."""
    resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS
    return calls.openat2(proc, path, flags, resolve)


def open_own(proc: int, path: str, flags: int) -> int:
    """Open a file of this very procfs about ourselves: `self` is a link of its own, and the only one on the way."""
    resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS
    return calls.openat2(proc, f"self/{path}", flags, resolve)
