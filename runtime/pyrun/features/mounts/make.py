"""mounts[] made: one function per kind of mount, and the order of their work.

Hot module. The new mount calls make a mount detached, give it its attributes and attach it to an O_PATH descriptor:
no path of the container is resolved twice. Sources: config.md, Mounts; mount_setattr(2), fsopen(2), mount(8).
Runs in the container's namespaces, before pivot_root.
"""

from __future__ import annotations

import errno
import posix

from oci_spec.mount_options import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
)
from pyrun.base.errors import PyrunError
from pyrun.features.mounts import attributes, causes, filesystem, idmap, old_kernel, sources, tmpcopyup
from pyrun.features.mounts import cgroup as cgroup_mount
from pyrun.features.mounts.mount import CGROUPS
from pyrun.kernel import calls, mounts
from pyrun.paths import under_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrun.features.mounts.cgroup import View
    from pyrun.features.mounts.mount import Mount
    from pyrun.features.mounts.options import Options

    # an attached mount, and what is to be set and cleared of it in the end
    Late = tuple[Mount, int, int, int]

RDONLY = mounts.MOUNT_ATTR_RDONLY
SOURCES = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
LONGEST_VALUE = 255  # of a string that fsconfig(2) takes


def make_all(
    root: int,
    planned: list[Mount],
    join_cgroups: Callable[[], None],
    cgroup_view: list[View],
    own_cgroup_namespace: bool,
    sync: int,
) -> tuple[list[tuple[str, int]], list[Late]]:
    """Make every mount in order, none of them read-only that something may still have to be made in: `finish` does
    that. In a user namespace the parent is asked over `sync` for what it takes rights on the host; else that is -1.
    Returns destination and descriptor of each procfs and sysfs, and what is left to `finish`."""
    late: list[Late] = []
    kernels = []
    bound = set()
    for mount in planned:
        options = mount.options
        try:
            if options.remount:
                _remount(root, mount, plain(mount.destination) in bound, late)
            elif options.bind:
                _bind(root, mount, sync)
                bound.add(plain(mount.destination))
            elif not mount.kind:
                _propagate(root, mount)
            else:
                if mount.kind in CGROUPS:
                    join_cgroups()
                    fd = cgroup_mount.make(root, mount, cgroup_view, own_cgroup_namespace)
                else:
                    fd = _filesystem(root, mount, sync)
                attributes.give(fd, options, options.set & ~RDONLY, options.recursive_set & ~RDONLY)
                if mount.kind in ("proc", "sysfs"):
                    kernels.append((mount.destination, fd))
                if (options.set | options.recursive_set) & RDONLY:
                    late.append((mount, fd, RDONLY, 0))
                elif mount.kind not in ("proc", "sysfs"):
                    posix.close(fd)
        except OSError as error:
            raise causes.explain(mount, root, error) from None
        except PyrunError as error:
            if error.json_path:
                raise
            raise error.at(mount.json_path, mount.describe()) from None
    return kernels, late


def finish(root: int, late: list[Late]) -> None:
    """Make read-only, in the order of the configuration, what had to be written to until now: devices, links, the
    console, the working folder, places for other mounts, and what hooks have made."""
    for mount, fd, set_, clear in late:
        try:
            attributes.change(fd, False, set_, clear)
        except OSError as error:
            doing = f"making {mount.destination} read-only"
            raise causes.explain(mount, root, error, doing) from None


def plain(path: str) -> str:
    """A path without doubled slashes and dots, to compare it with another; it isn't looked up."""
    return "/" + "/".join([part for part in path.split("/") if part not in ("", ".")])


def _bind(root: int, mount: Mount, sync: int) -> None:
    source = sources.open_in_turn(root, mount)
    kind = under_root.DIRECTORY if under_root.is_directory(source) else under_root.FILE
    target = under_root.make(root, mount.destination, kind)
    tree = mounts.clone_tree(source, mount.options.recursive_bind)
    _map_ids(mount, tree, sync)
    try:
        mounts.move_mount(tree, target)
    except OSError as error:
        raise causes.confused(mount, source, target) or error from None
    _bind_attributes(tree, mount.options)
    posix.close(tree)
    posix.close(target)
    posix.close(source)


def _map_ids(mount: Mount, tree: int, sync: int) -> None:
    if mount.is_idmapped:
        idmap.give(mount, tree, sync)


def _bind_attributes(tree: int, options: Options) -> None:
    """If the configuration names flags, the mount has these, and not the source's other ones, as in runc and crun; but
    a user namespace keeps those that the host has. `ro` alone adds to the source's, as in crun."""
    if options.replaces:
        try:
            attributes.give(tree, options, options.set, options.recursive_set, SOURCES & ~options.set)
            return
        except PermissionError:
            pass
    attributes.give(tree, options, options.set, options.recursive_set)


def _target_directory(root: int, mount: Mount) -> tuple[int, bool]:
    """The folder to mount a file system on, and if it had to be made. For proc and sysfs it must not be a symbolic
    link, nor anything else that an image could put there to have them elsewhere (CVE-2019-19921, CVE-2023-27561)."""
    if mount.kind in ("proc", "sysfs"):
        parent, name = under_root.make_parent(root, mount.destination)
        try:
            try:
                posix.mkdir(name, 0o755, dir_fd=parent)
            except FileExistsError:
                pass
            return under_root.open_in(parent, name, calls.O_PATH | posix.O_DIRECTORY), False
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise PyrunError(
                    f"{mount.describe()}: it is a symbolic link or file in the root file system, and must be a folder",
                    mount.json_path,
                ) from None
            raise
        finally:
            posix.close(parent)
    try:
        return under_root.lookup(root, mount.destination), False
    except FileNotFoundError:
        return under_root.make(root, mount.destination, under_root.DIRECTORY), True


def _filesystem(root: int, mount: Mount, sync: int) -> int:
    """A new file system of type mount.kind; returns its mount, attached."""
    target, made = _target_directory(root, mount)
    try:
        items = _mode(mount, target, made) + mount.options.data
        try:
            fd = _detached(mount, items)
        except PermissionError:
            if mount.kind != "sysfs":
                raise
            fd = _hosts_sys(mount.options)
        if mount.options.tmpcopyup:
            tmpcopyup.copy_up(target, fd, filesystem.settings(items))
        _map_ids(mount, fd, sync)
        mounts.move_mount(fd, target)
        return fd
    finally:
        posix.close(target)


def _hosts_sys(options: Options) -> int:
    """The host's /sys, with all that is mounted in it, detached: a new sysfs shows a network namespace, and the kernel
    refuses it to a user namespace that owns none, as with the host's network. runc's callers and crun bind it, too."""
    host = posix.open("/sys", calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)
    tree = mounts.clone_tree(host, recursive=True)
    posix.close(host)
    if options.set & RDONLY:
        attributes.change(tree, True, RDONLY, 0)
    return tree


def _mode(mount: Mount, target: int, made: bool) -> list[str]:
    """The mode of a tmpfs that the configuration doesn't say: that of the folder it covers, as runc and crun have it.
    One that had to be made has none to take, and the file system's own stays: 1777."""
    if mount.kind != "tmpfs" or "mode" in [key for key, _ in filesystem.settings(mount.options.data)]:
        return []
    return [f"mode={0o1777 if made else posix.fstat(target).st_mode & 0o7777:o}"]


def _detached(mount: Mount, items: list[str]) -> int:
    """The file system's mount, attached nowhere."""
    options = mount.options
    source = mount.source or "none"
    too_long = any(len(text.encode()) > LONGEST_VALUE for text in (source, *items))
    if options.needs_mount2 or too_long or any("\\" in item for item in items):
        if mount.label:
            items = [*items, f'{mount.label_kind}="{mount.label}"']
        return old_kernel.new_filesystem(mount.kind, source, options, items)
    settings = options.superblock + filesystem.settings(items)
    if mount.label:
        settings.append((mount.label_kind, mount.label))
    return filesystem.new(mount.kind, source, settings, 0)


def _remount(root: int, mount: Mount, bound: bool, late: list[Late]) -> None:
    """Change a mount that is there: its attributes, and (unless bind) the file system's own settings. It becomes
    read-only with the others, but one that the configuration has `bound` does so at once: what a bind mount shows is
    the caller's, and nothing is to be made in it."""
    options = mount.options
    target = under_root.lookup(root, mount.destination)
    if not options.bind and (options.superblock or options.data):
        context = mounts.fspick(target)
        try:
            for key, value in options.superblock + filesystem.settings(options.data):
                command = mounts.FSCONFIG_SET_FLAG if value is None else mounts.FSCONFIG_SET_STRING
                mounts.fsconfig(context, command, key, value)
            mounts.fsconfig(context, mounts.FSCONFIG_CMD_RECONFIGURE)
        except OSError as error:
            raise filesystem.with_kernel_words(context, error) from None
        finally:
            posix.close(context)
    set_ = options.set if bound else options.set & ~RDONLY
    attributes.give(target, options, set_, options.recursive_set)
    if (options.set & ~set_ | options.clear) & RDONLY:
        late.append((mount, target, options.set & ~set_ & RDONLY, options.clear & RDONLY))
    else:
        posix.close(target)


def _propagate(root: int, mount: Mount) -> None:
    """No type and no bind, only propagation: of the mount that is there."""
    target = under_root.lookup(root, mount.destination)
    try:
        attributes.give(target, mount.options, mount.options.set, mount.options.recursive_set)
    finally:
        posix.close(target)
