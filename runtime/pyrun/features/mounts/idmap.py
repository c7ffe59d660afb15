"""Mounts with mapped ids: the options idmap and ridmap, uidMappings and gidMappings of a mount.

Hot module. A user namespace that nobody lives in carries the mappings; mount_setattr(2)
gives it to a mount that isn't attached yet. That takes CAP_SYS_ADMIN over the file system, which the init of a
container with a user namespace hasn't got over the host's: it hands the mount to the parent, who does it.
Sources: config.md, Linux mount options; crun(1), idmap mount options; mount_setattr(2).
"""

from __future__ import annotations

import errno
import posix

from oci_spec import rules
from oci_spec.mount_options import MOUNT_ATTR_IDMAP
from pyrun.base import protocol
from pyrun.base.errors import PyrunError, failed
from pyrun.features import id_maps
from pyrun.kernel import calls, mounts, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci_spec import types
    from pyrun.features.mounts.mount import Mount
    from pyrun.story.making import Making

    Mappings = list[types.IdMapping]

KINDS = ("uid", "gid")
CAUSES = {
    errno.EINVAL: "a file system in it has no mapped mounts in this kernel: a tmpfs has them since Linux 6.3, overlay "
    "over mapped layers since 5.19; or it belongs to the same user namespace",
    errno.EPERM: "that needs CAP_SYS_ADMIN over the file system and over the runtime's mount namespace, which an "
    "ordinary user hasn't, and a mount that isn't mapped already",
    errno.ENOSYS: "that needs Linux 5.12",
    errno.EBUSY: "files in it are open for writing",
}


def understand(mount: Mount, entry: types.Mount, linux: types.Linux) -> None:
    """Fill in `mount.id_mappings`. Raises PyrunError if such a mount can't have mapped ids."""
    option = mount.options.idmap
    place = f"{mount.json_path}.options"
    if option:
        place += f"[{entry['options'].index(option)}]"
    if mount.options.remount or not (mount.options.bind or mount.kind):
        raise PyrunError("only a new mount can have mapped ids", place)
    if mount.kind.startswith("cgroup") and not mount.options.bind:
        raise PyrunError("the kernel has no mapped ids for cgroups", place)
    text = option.partition("=")[2]
    own = (entry.get("uidMappings") or [], entry.get("gidMappings") or [])
    if text and own[0]:
        raise PyrunError("there are uidMappings, too: mappings can be given once", place)
    if text:
        own = _parse(text, place, linux)
    if not own[0] and not mount.options.bind:
        raise PyrunError("a file system that is made in a user namespace has its ids already", place)
    mount.id_mappings = own


def _parse(text: str, place: str, linux: types.Linux) -> tuple[Mappings, Mappings]:
    """The mappings of crun's form, `uids=0-1-10#10-11-10;gids=0-100-10`: first id in the file system, on the host, and
    how many. An "@" before a range counts from the container's user namespace. Raises PyrunError."""
    found: dict[str, Mappings] = {}
    for part in text.split(";"):
        name, _, ranges = part.partition("=")
        if name not in ("uids", "gids") or name in found:
            raise PyrunError(f"{part!r} isn't uids=FROM-TO-COUNT or gids=FROM-TO-COUNT", place)
        key = f"{name[:3]}Mappings"
        container = (linux.get("uidMappings") if name == "uids" else linux.get("gidMappings")) or []
        found[name] = [_range(one, place, container, key) for one in ranges.split("#")]
        for fault in rules.mapping_faults(found[name], ()):
            raise PyrunError(f"{part}: {fault.sentence()}", place)
    for name in ("uids", "gids"):
        if name not in found:
            raise PyrunError(f"{name} are missing: users and groups are mapped together", place)
    return found["uids"], found["gids"]


def _range(text: str, place: str, container: Mappings, key: str) -> types.IdMapping:
    numbers = text.lstrip("@").split("-")
    if text[:2] == "@@" or len(numbers) != 3 or not all(n.isascii() and n.isdigit() for n in numbers):
        raise PyrunError(f"{text!r} is no range: it is FROM-TO-COUNT, with an @ before it at most", place)
    first, host, size = (int(number) for number in numbers)
    if text[0] == "@":
        for mapping in container:
            if 0 <= host - mapping["containerID"] <= mapping["size"] - size:
                host += mapping["hostID"] - mapping["containerID"]
                break
        else:
            raise PyrunError(f"{text!r} isn't in one range of linux.{key}", place)
    return {"containerID": first, "hostID": host, "size": size}


def prepare(making: Making) -> None:
    """In the parent, before the init is born: make the user namespaces of mappings that are a mount's own. Raises
    PyrunError if a mapping can't be had."""
    for mount in making.plan.mounts:
        if mount.is_idmapped and mount.id_mappings[0]:
            mount.ids_fd = _user_namespace(mount)


def _user_namespace(mount: Mount) -> int:
    """A descriptor of a new user namespace that has the mappings, and nobody in it. The process that lends it can't be
    looked into: uid 0 of a container with the host's PID namespace owns it, and it stands on the host's root folder."""
    if posix.geteuid() == 0:
        process.prctl(process.PR_SET_DUMPABLE, 0)
    reading, writing = posix.pipe2(posix.O_CLOEXEC)
    try:
        pid = process.clone3(process.CLONE_NEWUSER)
    except OSError as error:
        raise failed("making a user namespace for mapped ids", error, mount.json_path) from None
    if pid == 0:
        try:
            posix.close(writing)
            posix.read(reading, 1)  # until its parent has what it wants, or is gone
        finally:
            posix._exit(0)
    try:
        for kind, mappings in zip(KINDS, mount.id_mappings, strict=True):
            id_maps.map_ids(pid, kind, mappings, f"{mount.json_path}.{kind}Mappings")
        return posix.open(f"/proc/{pid}/ns/user", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        raise failed("opening a user namespace for mapped ids", error, mount.json_path) from None
    finally:
        posix.close(reading)
        posix.close(writing)
        posix.waitpid(pid, 0)


def close_all(making: Making) -> None:
    """Forget the user namespaces."""
    for mount in making.plan.mounts:
        if mount.ids_fd >= 0:
            posix.close(mount.ids_fd)
            mount.ids_fd = -1


def give(mount: Mount, tree: int, sync: int) -> None:
    """In the init: map the ids of the mount `tree`, which isn't attached. In a user namespace (`sync` isn't -1) the
    parent does it. Raises PyrunError."""
    if sync < 0:
        _set(mount, tree, mount.ids_fd)
        return
    protocol.send(sync, protocol.IDMAP + str(mount.index).encode())
    calls.send_fd(sync, protocol.IDMAP, tree)
    if protocol.receive(sync) != protocol.IDMAP:
        posix._exit(1)  # the parent has said why


def answer(sync: int, pid: int, mount: Mount) -> None:
    """In the parent: map the ids of a mount that the init `pid` hands over, by the mount's own mappings or by the
    container's. Raises PyrunError."""
    tree = calls.receive_fd(sync)
    namespace = mount.ids_fd
    try:
        if namespace < 0:
            namespace = posix.open(f"/proc/{pid}/ns/user", posix.O_RDONLY | posix.O_CLOEXEC)
        _set(mount, tree, namespace)
    except OSError as error:
        hint = CAUSES[errno.EPERM] if error.errno == errno.EACCES else ""
        raise failed(f"mapping the ids of {mount.destination}", error, mount.json_path, hint) from None
    finally:
        posix.close(tree)
        if namespace not in (-1, mount.ids_fd):
            posix.close(namespace)
    protocol.tell(sync, protocol.IDMAP)


def _set(mount: Mount, tree: int, namespace: int) -> None:
    recursive = mount.options.idmap.startswith("ridmap")
    try:
        mounts.mount_setattr(tree, recursive, MOUNT_ATTR_IDMAP, 0, namespace=namespace)
    except OSError as error:
        doing = f"mapping the ids of {mount.destination}"
        raise failed(doing, error, mount.json_path, CAUSES.get(error.errno or 0, "")) from None
