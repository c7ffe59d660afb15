"""Mounts and roots: one function per system call, no policy. Hot module."""

from __future__ import annotations

import errno
import posix

from _pyrun_kernel import ffi, lib

from pyrun.kernel.calls import check, failure

AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = posix.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 1
FSPICK_CLOEXEC, FSPICK_EMPTY_PATH = 1, 8
FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE, FSCONFIG_CMD_RECONFIGURE = 0, 1, 6, 7
FSCONFIG_SET_FD = 5
FSMOUNT_CLOEXEC = 1
MOUNT_ATTR_RDONLY = 1
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE, MS_SHARED = 32, 4096, 16384, 1 << 18, 1 << 19, 1 << 20
MNT_DETACH = 2

# A descriptor of the PID namespace that procfs is to show, where that isn't the caller's own; -1.
pid_namespace = -1
# Contexts of its procfs that were opened in there, for a kernel that can't open them outside (procfs_inside.py).
procfs_contexts: list[int] = []
# Is this process in a mount namespace that isn't the container's? Then no call of ours changes a mount.
is_forbidden = False


def _allowed(call: str) -> None:
    if is_forbidden:
        raise failure(call, errno.EPERM, "in a mount namespace that is the runtime's")


def clone_tree(fd: int, recursive: bool) -> int:
    """Return a detached copy of the mount that `fd` stands in, rooted at `fd`: open_tree(2)."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    return check(lib.k_open_tree(fd, b"", flags), "open_tree")


def move_mount(mount_fd: int, target_fd: int) -> None:
    """Attach a detached mount at the place that `target_fd` is: move_mount(2)."""
    _allowed("move_mount")
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    check(lib.k_move_mount(mount_fd, b"", target_fd, b"", flags), "move_mount")


def fsopen(kind: str) -> int:
    """A context to configure a new file system: fsopen(2). A procfs is that of `pid_namespace`."""
    if kind == "proc" and procfs_contexts:
        return procfs_contexts.pop()
    context = check(lib.k_fsopen(kind.encode(), FSOPEN_CLOEXEC), "fsopen", kind)
    if kind == "proc" and pid_namespace >= 0:
        result = lib.k_fsconfig(context, FSCONFIG_SET_FD, b"pidns", ffi.NULL, pid_namespace)
        if result < 0:
            posix.close(context)
            raise failure("fsconfig", -result, "pidns")
    return context


def fspick(fd: int) -> int:
    """A context to reconfigure the file system at `fd`: fspick(2)."""
    _allowed("fspick")
    return check(lib.k_fspick(fd, b"", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH), "fspick")


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None) -> None:
    """fsconfig(2): set a flag or a string, create, reconfigure."""
    key_data = ffi.NULL if key is None else key.encode()
    value_data = ffi.NULL if value is None else value.encode()
    check(lib.k_fsconfig(fd, command, key_data, value_data, 0), "fsconfig", key)


def fsconfig_fd(fd: int, key: str, value: int) -> None:
    """fsconfig(2): set an option that is an open file."""
    check(lib.k_fsconfig(fd, FSCONFIG_SET_FD, key.encode(), ffi.NULL, value), "fsconfig", key)


def fsmount(fd: int, attributes: int) -> int:
    """Return the configured file system as a detached mount with MOUNT_ATTR_* `attributes`: fsmount(2)."""
    return check(lib.k_fsmount(fd, FSMOUNT_CLOEXEC, attributes), "fsmount")


def mount_setattr(
    fd: int, recursive: bool, set_: int, clear: int, propagation: int = 0, namespace: int = -1
) -> None:
    """Change MOUNT_ATTR_* and MS_SHARED… of the mount at `fd`: mount_setattr(2), Linux 5.12. MOUNT_ATTR_IDMAP takes the
    mappings of a user `namespace`."""
    _allowed("mount_setattr")
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    check(lib.k_mount_setattr(fd, b"", flags, set_, clear, propagation, namespace), "mount_setattr")


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None) -> None:
    """mount(2). It knows no `pid_namespace`."""
    _allowed("mount")
    if kind == "proc" and pid_namespace >= 0:
        raise failure("mount", errno.EOPNOTSUPP, target)
    source_data = ffi.NULL if source is None else source.encode()
    kind_data = ffi.NULL if kind is None else kind.encode()
    data_data = ffi.NULL if data is None else data.encode()
    place = target.encode("utf-8", "surrogateescape")
    check(lib.k_mount(source_data, place, kind_data, flags, data_data), "mount", target)


def umount_detach(target: str) -> None:
    """umount2(2) with MNT_DETACH."""
    _allowed("umount2")
    check(lib.k_umount2(target.encode("utf-8", "surrogateescape"), MNT_DETACH), "umount2", target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    _allowed("pivot_root")
    check(lib.k_pivot_root(new_root.encode(), put_old.encode()), "pivot_root", new_root)
