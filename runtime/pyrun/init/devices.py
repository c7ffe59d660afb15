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


def make(
    root: int, device: dict[str, Any], in_user_namespace: bool, tree: int = -1, is_default: bool = False
) -> None:
    """Make one device node; one that is there already must be the same (config-linux.md, Devices).

    A user namespace may not make device nodes: there one is mounted, either `tree`, a detached mount of the node that
    the parent has made (device_nodes.py), or the host's own, as it is in place of anything else that an image has at a
    default device's path.
    """
    path = device["path"]
    try:
        parent, name = under_root.make_parent(root, path)
    except OSError as error:
        raise failed(f"making the folder of device {path}", error) from None
    kind = TYPES[device["type"]]
    try:
        if not in_user_namespace or kind == FIFO:
            _make_node(root, parent, name, device, is_default)
        elif is_default:
            _bind_from_host(device, under_root.make(root, path, under_root.FILE))
        else:
            _mount_node(parent, name, device, tree)
    except OSError as error:
        raise failed(f"making device {path}", error) from None
    finally:
        posix.close(parent)


def permissions(device: dict[str, Any]) -> int:
    """The mode of a device: its fileMode, which may have the type's bits, or all may read and write."""
    mode: int | None = device.get("fileMode")
    return 0o666 if mode is None else mode & 0o7777


def _number(device: dict[str, Any]) -> int:
    return 0 if device["type"] == "p" else posix.makedev(device["major"], device["minor"])


def _is(found: posix.stat_result, device: dict[str, Any]) -> bool:
    return (found.st_mode & 0o170000, found.st_rdev) == (TYPES[device["type"]], _number(device))


def _in_the_way(device: dict[str, Any]) -> PyrunError:
    return PyrunError(f"{device['path']} exists in the root file system and is not this device")


def _make_node(root: int, parent: int, name: str, device: dict[str, Any], is_default: bool) -> None:
    try:
        posix.mknod(name, TYPES[device["type"]] | permissions(device), _number(device), dir_fd=parent)
    except FileExistsError:
        if _is(posix.stat(name, dir_fd=parent, follow_symlinks=False), device):
            return
        if not is_default:
            raise _in_the_way(device) from None
        _bind_from_host(device, under_root.make(root, device["path"], under_root.FILE))
        return
    uid, gid = device.get("uid") or 0, device.get("gid") or 0
    if uid or gid:
        posix.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)


def _mount_node(parent: int, name: str, device: dict[str, Any], tree: int) -> None:
    """Mount `tree`, which is closed, or the host's node if it is -1: on the same device, or on an empty file that
    nobody may open, which is made and stays behind for the next container on this root file system."""
    flags = posix.O_RDONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | calls.O_CLOEXEC
    try:
        place = posix.open(name, flags, 0, dir_fd=parent)
    except FileExistsError:
        place = under_root.open_in(parent, name, calls.O_PATH | posix.O_NOFOLLOW | calls.O_CLOEXEC)
    found = posix.fstat(place)
    if not (_is(found, device) or (found.st_mode, found.st_size) == (under_root.FILE, 0)):
        raise _in_the_way(device)
    if tree < 0:
        _bind_from_host(device, place)
        return
    mounts.move_mount(tree, place)
    posix.close(tree)
    posix.close(place)


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


def _bind_from_host(device: dict[str, Any], target: int) -> None:
    """Bind the host's node over `target`, which is closed: read-only, so that it keeps its mode and owner, which
    doesn't matter to those who read and write the device."""
    source = open_host(device["path"], TYPES[device["type"]], device["major"], device["minor"])
    try:
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
