"""Devices, the default ones and the configured, and the links of /dev.

Hot module. Runs in the container's namespaces before pivot_root. Sources: config-linux.md, Devices and Default
Devices; runtime-linux.md, Dev symbolic links.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError, failed, joined
from pyrun.features.mounts import attributes, causes
from pyrun.kernel import calls, mounts
from pyrun.paths import under_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from oci_spec import types

CHARACTER, BLOCK, FIFO = 0o020000, 0o060000, 0o010000
TYPES = {"c": CHARACTER, "u": CHARACTER, "b": BLOCK, "p": FIFO}
DEFAULT: tuple[types.Device, ...] = (
    {"path": "/dev/null", "type": "c", "major": 1, "minor": 3},
    {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5},
    {"path": "/dev/full", "type": "c", "major": 1, "minor": 7},
    {"path": "/dev/random", "type": "c", "major": 1, "minor": 8},
    {"path": "/dev/urandom", "type": "c", "major": 1, "minor": 9},
    {"path": "/dev/tty", "type": "c", "major": 5, "minor": 0},
)
LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)


def make_all(
    root: int,
    configured: list[types.Device],
    in_user_namespace: bool,
    trees: list[int],
    dev_is_bound: bool,
    warn: Callable[[str], None],
) -> None:
    """The default devices and the links, unless /dev is the caller's, and those of linux.devices, of which `trees` has
    detached mounts where the parent has made some (device_nodes.py).

    An entry at a default device's path takes its place, and /dev/ptmx is always the container's own: engines hand over
    all devices of the host, and that would be the host's terminals.
    """
    dev_is_the_hosts = is_host_dev(root)
    if not (dev_is_bound or dev_is_the_hosts):
        replaced = [plain(device["path"]) for device in configured]
        for default in DEFAULT:
            if default["path"] not in replaced:
                make(root, default, in_user_namespace)
        make_links(root)
    for index, device in enumerate(configured):
        if is_ptmx(device):
            continue
        if dev_is_the_hosts and plain(device["path"])[:5] == "/dev/":
            if not _exists(root, device["path"]):
                warn(f"linux.devices[{index}]: not made: /dev is the host's own folder")
            continue
        try:
            if words := make(root, device, in_user_namespace, trees[index]):
                warn(f"linux.devices[{index}]: {words}")
        except PyrunError as error:
            raise error.at(f"linux.devices[{index}]") from None


def plain(path: str) -> str:
    """A path without doubled slashes and dots, to compare it with another; it isn't looked up."""
    return "/" + "/".join([part for part in path.split("/") if part not in ("", ".")])


def is_ptmx(device: types.Device) -> bool:
    """Is this entry the one that is left out?"""
    return plain(device["path"]) == "/dev/ptmx"


def make(root: int, device: types.Device, in_user_namespace: bool, tree: int = -1) -> str:
    """Make one device node. Returns a warning, if it isn't what was asked for: something else that is there is left
    alone, as runc and crun do.

    Who may not make device nodes, in a user namespace, mounts one: `tree`, if the parent could make it, or the host's
    own, as it is in place of anything else that an image has at a default device's path.
    """
    path = device["path"]
    try:
        parent, name = under_root.make_parent(root, path)
    except OSError as error:
        hint = causes.file_on_the_way(root, path) if error.errno == errno.ENOTDIR else ""
        raise failed(f"making the folder of device {path}", error, "", hint) from None
    kind = TYPES[device["type"]]
    is_default = _is_default(device)
    hint = ignored = ""
    try:
        if mounts.is_forbidden:
            return _make_unmounted(parent, name, device, in_user_namespace and kind != FIFO)
        if not in_user_namespace or kind == FIFO:
            try:
                return _make_node(root, parent, name, device, is_default)
            except PermissionError:
                if kind == FIFO:
                    raise
            # we are root of somebody's user namespace ourselves, or may not make nodes for another reason
            ignored = host_node_words(device, "device nodes may not be made here")
            hint = "device nodes may not be made here, and the host has none at this path to be bound"
        if is_default and tree < 0:
            _bind_from_host(device, under_root.make(root, path, under_root.FILE))
            return ignored
        return _mount_node(parent, name, device, tree) or ignored
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            hint = causes.file_on_the_way(root, path)
        elif error.errno not in (errno.ENOENT, errno.ENXIO):
            hint = ""
        raise failed(f"making device {path}", error, "", hint) from None
    finally:
        posix.close(parent)


def host_node_words(device: types.Device, reason: str) -> str:
    """What of the configuration is ignored where the host's node is taken, and why; "" if nothing is."""
    asked = [name for name in ("fileMode", "uid", "gid") if device.get(name) is not None]
    if not asked or device["type"] == "p":
        return ""
    return f"the host's node is taken, {joined(asked)} ignored: {reason}"


def permissions(device: types.Device) -> int:
    """The mode of a device: its fileMode, which may have the type's bits, or all may read and write."""
    mode: int | None = device.get("fileMode")
    return 0o666 if mode is None else mode & 0o7777


def _number(device: types.Device) -> int:
    return 0 if device["type"] == "p" else posix.makedev(device["major"], device["minor"])


def _is(found: posix.stat_result, device: types.Device) -> bool:
    return (found.st_mode & 0o170000, found.st_rdev) == (TYPES[device["type"]], _number(device))


def _make_unmounted(parent: int, name: str, device: types.Device, needs_mount: bool) -> str:
    """Make a device in a container without mounts of its own: the one that is there will do. Returns a warning."""
    cause = "in a user namespace it is a mount"
    try:
        found = posix.stat(name, dir_fd=parent, follow_symlinks=False)
        if _is(found, device):
            return ""
        if not _is_default(device):
            return _leave(found, device)
        cause = "the root file system has another file there, to be covered by a mount"
    except FileNotFoundError:
        if not needs_mount:
            _new_node(parent, name, device)
            return ""
    raise PyrunError(
        f"making device {device['path']}: {cause}, and the container has no mount namespace",
        "",
        'add {"type": "mount"} to linux.namespaces, or have the device in the root file system',
    )


def _new_node(parent: int, name: str, device: types.Device) -> None:
    posix.mknod(name, TYPES[device["type"]] | permissions(device), _number(device), dir_fd=parent)
    uid, gid = device.get("uid") or 0, device.get("gid") or 0
    if uid or gid:
        posix.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)


def _is_default(device: types.Device) -> bool:
    """Is this one of the default devices at its own path, be it that the configuration asks for it?"""
    path = plain(device["path"])
    same = [default for default in DEFAULT if default["path"] == path]
    return bool(same) and (TYPES[device["type"]], _number(device)) == (CHARACTER, _number(same[0]))


def _leave(found: posix.stat_result, device: types.Device) -> str:
    """The warning that what is there stays. But programs trust the paths of the default devices: no file of an image
    may pass for one."""
    path = plain(device["path"])
    is_node = found.st_mode & 0o170000 in (CHARACTER, BLOCK)
    if not is_node and [default for default in DEFAULT if default["path"] == path]:
        raise PyrunError(f"{device['path']} exists in the root file system and is no device")
    return f"{device['path']} is there and is another file: left as it is"


def _make_node(root: int, parent: int, name: str, device: types.Device, is_default: bool) -> str:
    try:
        _new_node(parent, name, device)
    except FileExistsError:
        found = posix.stat(name, dir_fd=parent, follow_symlinks=False)
        if _is(found, device):
            return ""
        if not is_default:
            return _leave(found, device)
        _bind_from_host(device, under_root.make(root, device["path"], under_root.FILE))
    return ""


def _mount_node(parent: int, name: str, device: types.Device, tree: int) -> str:
    """Mount `tree`, which is closed, or the host's node if it is -1: on a device or a file, which is made, empty and
    without permissions, if there is none, and stays behind for the next container on this root file system."""
    flags = posix.O_RDONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | calls.O_CLOEXEC
    try:
        place = posix.open(name, flags, 0, dir_fd=parent)
    except FileExistsError:
        place = under_root.open_in(parent, name, calls.O_PATH | posix.O_NOFOLLOW | calls.O_CLOEXEC)
    found = posix.fstat(place)
    if found.st_mode & 0o170000 not in (under_root.FILE, CHARACTER, BLOCK):
        posix.close(place)
        if tree >= 0:
            posix.close(tree)
        return _leave(found, device)
    if tree < 0:
        _bind_from_host(device, place)
        return ""
    mounts.move_mount(tree, place)
    posix.close(tree)
    posix.close(place)
    return ""


def open_host(path: str, kind: int, major: int, minor: int) -> int:
    """The host's node at `path`, O_PATH, when it is the very device that is asked for; else OSError(ENXIO)."""
    fd = posix.open(path, calls.O_PATH | calls.O_CLOEXEC)
    found = posix.fstat(fd)
    if (found.st_mode & 0o170000, found.st_rdev) != (kind, posix.makedev(major, minor)):
        posix.close(fd)
        raise calls.failure("open", errno.ENXIO, path)
    return fd


def _exists(root: int, path: str) -> bool:
    try:
        posix.close(under_root.lookup(root, path))
    except OSError:
        return False
    return True


def is_host_dev(root: int) -> bool:
    """Is the container's /dev the host's own folder? Nothing must be made or replaced in that one."""
    try:
        fd = under_root.lookup(root, "/dev")
    except FileNotFoundError:
        return False
    ours, hosts = posix.fstat(fd), posix.stat("/dev")
    posix.close(fd)
    return (ours.st_dev, ours.st_ino) == (hosts.st_dev, hosts.st_ino)


def _bind_from_host(device: types.Device, target: int) -> None:
    """Bind the host's node over `target`, which is closed: read-only, so that it keeps its mode and owner, which
    doesn't matter to those who read and write the device."""
    source = open_host(device["path"], TYPES[device["type"]], device["major"], device["minor"])
    try:
        tree = mounts.clone_tree(source, recursive=False)
        mounts.move_mount(tree, target)
        attributes.change(tree, False, mounts.MOUNT_ATTR_RDONLY, 0)
        posix.close(tree)
        posix.close(target)
    finally:
        posix.close(source)


def make_links(root: int) -> None:
    """/dev/fd, stdin, stdout and stderr where /proc has their targets, and /dev/ptmx. What an image has at the places
    of the four stays, as in runc and crun; the terminals are always the container's own."""
    dev = under_root.make(root, "/dev", under_root.DIRECTORY)
    try:
        if _exists(root, "/proc/self/fd"):
            for path, target in LINKS:
                _link(dev, path, target, replace=False)
        if _exists(root, "/dev/pts"):
            _link(dev, "/dev/ptmx", "pts/ptmx", replace=True)
    finally:
        posix.close(dev)


def _link(dev: int, path: str, target: str, replace: bool) -> None:
    name = path[5:]
    try:
        try:
            posix.symlink(target, name, dir_fd=dev)
        except FileExistsError:
            if replace and not _leads_to(dev, name, target):
                posix.unlink(name, dir_fd=dev)
                posix.symlink(target, name, dir_fd=dev)
    except OSError as error:
        raise failed(f"linking {path} to {target}", error) from None


def _leads_to(dev: int, name: str, target: str) -> bool:
    found = posix.stat(name, dir_fd=dev, follow_symlinks=False)
    return found.st_mode & 0o170000 == 0o120000 and posix.readlink(name, dir_fd=dev) == target
