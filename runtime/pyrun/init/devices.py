"""Devices, the default ones and the configured, and the links of /dev.

Hot module. Runs in the container's namespaces before pivot_root. Sources: config-linux.md, Devices and Default
Devices; runtime-linux.md, Dev symbolic links.
"""

from __future__ import annotations

import errno
import posix

from pyrun.errors import PyrunError, failed
from pyrun.init import mount, under_root
from pyrun.kernel import calls, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CHARACTER, BLOCK, FIFO = 0o020000, 0o060000, 0o010000
TYPES = {"c": CHARACTER, "u": CHARACTER, "b": BLOCK, "p": FIFO}
DEFAULT = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)


def make_default(root: int, in_user_namespace: bool) -> None:
    """/dev/null, zero, full, random, urandom and tty."""
    for path, major, minor in DEFAULT:
        device = {"path": path, "type": "c", "major": major, "minor": minor}
        make(root, device, in_user_namespace, is_default=True)


def make(root: int, device: dict[str, Any], in_user_namespace: bool, is_default: bool = False) -> None:
    """Make one device node; one that is there already must be the same (config-linux.md, Devices).

    A user namespace may not make device nodes: there the host's own is bound in, as it is in place of anything else
    that an image has at a default device's path.
    """
    path = device["path"]
    try:
        parent, name = under_root.make_parent(root, path)
    except OSError as error:
        raise failed(f"making the folder of device {path}", error) from None
    mode = device.get("fileMode")
    kind = TYPES[device["type"]]
    number = 0 if kind == FIFO else posix.makedev(device["major"], device["minor"])
    try:
        try:
            if in_user_namespace and kind != FIFO:
                _bind_from_host(root, device)
                return
            posix.mknod(name, kind | (0o666 if mode is None else mode & 0o7777), number, dir_fd=parent)
        except FileExistsError:
            found = posix.stat(name, dir_fd=parent, follow_symlinks=False)
            if (found.st_mode & 0o170000, found.st_rdev) == (kind, number):
                return
            if is_default:
                _bind_from_host(root, device)
                return
            raise PyrunError(f"{path} exists in the root file system and is not this device") from None
        uid, gid = device.get("uid") or 0, device.get("gid") or 0
        if uid or gid:
            posix.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        raise failed(f"making device {path}", error) from None
    finally:
        posix.close(parent)


def open_host(path: str, kind: int, major: int, minor: int) -> int:
    """The host's node at `path`, O_PATH, when it is the very device that is asked for; else OSError(ENXIO)."""
    fd = posix.open(path, calls.O_PATH | calls.O_CLOEXEC)
    found = posix.fstat(fd)
    if (found.st_mode & 0o170000, found.st_rdev) != (kind, posix.makedev(major, minor)):
        posix.close(fd)
        raise calls.failure("open", errno.ENXIO, path)
    return fd


def is_host_dev(root: int) -> bool:
    """Is the container's /dev the host's own folder? Nothing must be made or replaced in that one."""
    try:
        fd = under_root.lookup(root, "/dev")
    except FileNotFoundError:
        return False
    ours, hosts = posix.fstat(fd), posix.stat("/dev")
    posix.close(fd)
    return (ours.st_dev, ours.st_ino) == (hosts.st_dev, hosts.st_ino)


def _bind_from_host(root: int, device: dict[str, Any]) -> None:
    """Bind the host's node over the container's path: read-only, so that it keeps its mode and owner, which doesn't
    matter to those who read and write the device."""
    path = device["path"]
    source = open_host(path, TYPES[device["type"]], device["major"], device["minor"])
    try:
        target = under_root.make(root, path, under_root.FILE)
        tree = mounts.clone_tree(source, recursive=False)
        mounts.move_mount(tree, target)
        mount.change(tree, False, mounts.MOUNT_ATTR_RDONLY, 0)
        posix.close(tree)
        posix.close(target)
    finally:
        posix.close(source)


def make_links(root: int) -> None:
    """/dev/fd, stdin, stdout and stderr where /proc has their targets, and /dev/ptmx."""
    dev = under_root.make(root, "/dev", under_root.DIRECTORY)
    try:
        for path, target in LINKS:
            try:
                posix.close(under_root.lookup(root, "/proc/self/fd"))
            except OSError:
                break  # no /proc: no link is asked for
            _link(dev, path, target)
        try:
            posix.close(under_root.lookup(root, "/dev/pts"))
        except FileNotFoundError:
            return
        _link(dev, "/dev/ptmx", "pts/ptmx")
    finally:
        posix.close(dev)


def _link(dev: int, path: str, target: str) -> None:
    name = path[5:]
    try:
        for _ in (1, 2):
            try:
                posix.symlink(target, name, dir_fd=dev)
                return
            except FileExistsError:
                found = posix.stat(name, dir_fd=dev, follow_symlinks=False)
                is_link = found.st_mode & 0o170000 == 0o120000
                if is_link and posix.readlink(name, dir_fd=dev) == target:
                    return
                posix.unlink(name, dir_fd=dev)
    except OSError as error:
        raise failed(f"linking {path} to {target}", error) from None
