"""What mount(2) can do where the new mount calls can't: Linux 5.10 and 5.11, very long options, old flags.

Hot module, loaded only when needed. Targets are descriptors, named by /proc/self/fd of the host's /proc: this runs
before pivot_root, so nothing of the container stands in that path.
"""

from __future__ import annotations

import errno

from pyrun.init import under_root
from pyrun.kernel import calls, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.init.mount import Mount

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
        import posix

        flags = posix.fstatvfs(fd).f_flag & ST_FLAGS
        for attribute, old in ATTRIBUTES:
            if clear & attribute:
                flags &= ~old
            if set_ & attribute:
                flags |= old
        mounts.mount(None, target, None, flags | mounts.MS_REMOUNT | mounts.MS_BIND, None)


def mount_filesystem(root: int, mount: Mount, target: int) -> int:
    """mount(2) on `target`; returns an O_PATH descriptor of the new mount's root."""
    options = mount.options
    data = ",".join(options.data)
    mounts.mount(mount.source or "none", f"/proc/self/fd/{target}", mount.kind, options.old_flags, data)
    return under_root.lookup(root, mount.destination)
