"""linux.devices for a user namespace, whose root may not make device nodes: they are made by the host's root.

Hot module, loaded only for such configurations. The parent makes the nodes in a tmpfs that is mounted nowhere, and
the init, which inherits it, takes a mount of each. The tmpfs belongs to the initial user namespace, or its devices
could not be opened (user_namespaces(7)). Source: config-linux.md, Devices.
"""

from __future__ import annotations

import posix

from pyrun.base import log
from pyrun.base.errors import PyrunError, failed
from pyrun.features import devices
from pyrun.features.mounts import filesystem
from pyrun.kernel import calls, mounts
from pyrun.paths import under_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci_spec import types
    from pyrun.story.making import Inside, Making
    from pyrun.story.plan import Plan


def prepare(making: Making) -> None:
    """In the parent, before the clone: make the nodes. If we may not, being root of a user namespace ourselves or
    nobody's, or if a user namespace is joined whose mappings aren't given, the host's are bound in later, and keep
    their modes and owners. Raises PyrunError for an owner that the container doesn't have."""
    making.inside.nodes_fd = _prepare(making.plan)


def _prepare(plan: Plan) -> int:
    """A detached tmpfs with a node for each device but FIFOs, its name being the index in linux.devices; owners are the
    host's numbers of the container's. -1 if there can be none."""
    entries: list[types.Device] = plan.linux["devices"]
    if not plan.linux.get("uidMappings") or not plan.linux.get("gidMappings"):
        _warn(entries, "the mappings are unknown")
        return -1
    owners = [_owner(plan, index, device) for index, device in enumerate(entries)]
    umask = posix.umask(0)
    folder = -1
    try:
        folder = filesystem.new("tmpfs", "tmpfs", [("mode", "755")], 0)
        for index, device in enumerate(entries):
            if device["type"] == "p" or devices.is_ptmx(device):
                continue
            name = str(index)
            mode = devices.TYPES[device["type"]] | devices.permissions(device)
            number = posix.makedev(device["major"], device["minor"])
            posix.mknod(name, mode, number, dir_fd=folder)
            posix.chown(name, *owners[index], dir_fd=folder, follow_symlinks=False)
        return folder
    except OSError as error:
        if folder >= 0:
            posix.close(folder)
        _warn(entries, failed("making nodes", error).sentence)
        return -1
    finally:
        posix.umask(umask)


def _owner(plan: Plan, index: int, device: types.Device) -> tuple[int, int]:
    """The host's user and group of a device."""
    ids = []
    for kind, wanted in (("uid", device.get("uid") or 0), ("gid", device.get("gid") or 0)):
        ids.append(plan.host_id(kind, wanted))
        if ids[-1] < 0:
            where = f"linux.devices[{index}].{kind}"
            raise PyrunError(f"linux.{kind}Mappings have no {wanted}", where)
    return ids[0], ids[1]


def _warn(entries: list[types.Device], reason: str) -> None:
    """Say what of the configuration is ignored."""
    for index, device in enumerate(entries):
        if words := devices.host_node_words(device, reason):
            log.warn(f"linux.devices[{index}]: {words}")


def take(inside: Inside) -> None:
    """In the init, while / is the host's: a detached mount of each node, or -1 where there is none."""
    count = len(inside.plan.linux["devices"])
    inside.nodes = _take(inside.folder, inside.nodes_fd, count) if inside.nodes_fd >= 0 else []


def _take(folder: int, nodes: int, count: int) -> list[int]:
    """In the init, while / is the host's: a detached mount of each node, or -1 where there is none.

    Only what is mounted in one's own namespace can be cloned (until Linux 6.15), so the tmpfs is mounted for that
    moment, on `folder`, which nobody else looks at in this namespace.
    """
    try:
        mounts.move_mount(nodes, folder)
        trees = [_clone(nodes, str(index)) for index in range(count)]
        mounts.umount_detach(f"/proc/self/fd/{nodes}")
        posix.close(nodes)
    except OSError as error:
        raise failed("taking over the device nodes", error, "linux.devices") from None
    return trees


def _clone(nodes: int, name: str) -> int:
    try:
        node = under_root.open_in(nodes, name, calls.O_PATH | posix.O_NOFOLLOW | calls.O_CLOEXEC)
    except FileNotFoundError:
        return -1  # a FIFO, which the init makes itself
    tree = mounts.clone_tree(node, recursive=False)
    posix.close(node)
    return tree
