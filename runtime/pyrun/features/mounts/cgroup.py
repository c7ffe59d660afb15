"""mounts[] of type cgroup and cgroup2: what a container sees of the cgroup hierarchies.

Hot module. Runs in the container's namespaces before pivot_root. Source: config-linux.md, Control groups.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError
from pyrun.features.mounts import attributes, filesystem
from pyrun.kernel import calls, mounts
from pyrun.paths import under_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.features.mounts.mount import Mount

    View = tuple[str, str, str, list[str]]  # of a hierarchy: see cgroups.driver.Driver.view


def make(root: int, mount: Mount, view: list[View], own_namespace: bool) -> int:
    """The container's cgroups at the destination; returns the mount there, to be made read-only later.

    On a host with nothing but cgroup2 that is the container's own cgroup, or the whole hierarchy if the container has
    the host's cgroup namespace: the path in /proc/self/cgroup is found below it. It is a bind mount then, since a new
    mount by the host's root would take the options of the host's away (nsdelegate). Otherwise it is a tmpfs with one
    folder for each hierarchy, as hosts have it.
    """
    options = mount.options
    only_v2 = len(view) == 1
    if options.data and not (only_v2 and own_namespace):
        raise PyrunError(
            f"{mount.describe()}: it has no option {options.data[0]!r}", mount.json_path + ".options"
        )
    target = under_root.make(root, mount.destination, under_root.DIRECTORY)
    try:
        if only_v2:
            fd = _unified(mount, view[0]) if own_namespace else _clone_path(view[0][2])
            mounts.move_mount(fd, target)
            return fd
        fd = filesystem.new("tmpfs", "tmpfs", [("mode", "755")], 0)
        mounts.move_mount(fd, target)
        for name, folder, _, _ in view:
            posix.mkdir(name, 0o755, dir_fd=fd)
            place = under_root.open_in(fd, name, calls.O_PATH | posix.O_DIRECTORY)
            tree = _clone_path(folder)
            mounts.move_mount(tree, place)
            posix.close(place)
            attributes.give(tree, options, options.set, options.recursive_set)
            posix.close(tree)
        _link_controllers(fd, view)
        return fd
    finally:
        posix.close(target)


def _unified(mount: Mount, view: View) -> int:
    """cgroup2 as the container's cgroup namespace shows it. Inside of a user namespace whose owner the cgroup namespace
    isn't, the kernel refuses that: then it is a bind mount of the container's cgroup."""
    options = mount.options
    try:
        return filesystem.new("cgroup2", "cgroup", options.superblock + filesystem.settings(options.data), 0)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EBUSY):
            raise
    return _clone_path(view[1])


def _link_controllers(folder: int, view: list[View]) -> None:
    """Controllers that are mounted together (cpu,cpuacct) have links with their single names, as on hosts."""
    for name, _, _, controllers in view:
        for controller in controllers:
            if controller != name:
                try:
                    posix.symlink(name, controller, dir_fd=folder)
                except FileExistsError:
                    pass  # another hierarchy's folder


def _clone_path(path: str) -> int:
    """A detached bind mount of a folder of the host."""
    source = posix.open(path, calls.O_PATH | calls.O_CLOEXEC)
    try:
        return mounts.clone_tree(source, recursive=True)
    finally:
        posix.close(source)
