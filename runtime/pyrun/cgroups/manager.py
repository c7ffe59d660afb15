"""A container's cgroups, one in each hierarchy: plan, create, limit, enter, freeze, kill, remove.

Hot module; with `entrance`, the only one of this package that others call. A `Record` is planned before the first side
effect and kept in the container's state; it is all that later calls need.
"""

from __future__ import annotations

import errno
import posix
import time

from pyrun.cgroups import files, groups, v1, v2
from pyrun.errors import PyrunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, NotRequired, TypedDict

    from pyrun.cgroups.detect import Hierarchy, Layout
    from pyrun.cgroups.units import Unit

    class Record(TypedDict):
        """`path` counts from each hierarchy's mount. `made`: the directories that create makes, parents
        first.

        `kept`: those at `path` that were there before and will stay. `unit`: what systemd makes the cgroup for, if
        it does.
        """

        id: str
        path: str
        hierarchies: list[Hierarchy]
        made: list[str]
        kept: list[str]
        unit: NotRequired[Unit]


JSON_PATH = "linux.cgroupsPath"
# An attribute of directories. A container's cgroup (in the main hierarchy) has its id: no other may have the
# path until it is deleted. One above that pyrun made has an empty one: whoever removes the last container
# removes it too.
MARK = "trusted.pyrun"
PATIENCE = 10.0  # seconds that kill and remove wait


def plan(cgroups_path: str | None, container_id: str, layout: Layout) -> Record:
    """Where the container's cgroups will be, and what is there already; nothing is changed.

    Absolute and relative paths count from the mount of each hierarchy, wherever the caller is: the same
    value is always the same place. Without a path it is "/ID". PyrunError for "..", the root, a cgroup with
    processes or a frozen one, and systemd's form of a path.
    """
    path = "/" + "/".join(_parts(cgroups_path or container_id))
    record: Record = {
        "id": container_id,
        "path": path,
        "hierarchies": layout["hierarchies"],
        "made": [],
        "kept": [],
    }
    for hierarchy in layout["hierarchies"]:
        directory, mount = hierarchy["mount"] + path, hierarchy["mount"]
        missing = []
        while directory != mount and not _exists(directory):
            missing.append(directory)
            directory = directory[: directory.rindex("/")]
        record["made"] += reversed(missing)
        if not missing:
            record["kept"].append(directory)
            _check_free(directory, container_id)
        if directory != mount and _is_frozen(hierarchy, directory):
            raise PyrunError(f"the cgroup {directory} is frozen", JSON_PATH)
    return record


def _parts(path: str) -> list[str]:
    if (
        path.count(":") == 2
        and path[0] != "/"
        and (path[0] == ":" or path.partition(":")[0].endswith(".slice"))
    ):
        raise PyrunError(f"{path!r} is a path for systemd", JSON_PATH, "it needs --systemd-cgroup")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts:
        raise PyrunError("the root cgroup can't be a container's", JSON_PATH)
    for part in parts:
        if part == ".." or "\0" in part or "\n" in part:
            raise PyrunError(f"{path!r} is not a path of a cgroup", JSON_PATH)
    return parts


def _check_free(directory: str, container_id: str) -> None:
    held = groups.processes(directory)
    owner = _owner(directory)
    if owner and owner != container_id:
        what = f"the container {owner!r}, which is not deleted yet"
    elif held:
        what = f"processes already, such as {held[0]}"
    elif groups.has_children(directory):
        what = "cgroups below it already"
    else:
        return
    raise PyrunError(f"the cgroup {directory} has {what}", JSON_PATH, "a container wants a cgroup of its own")


def _exists(directory: str) -> bool:
    try:
        mode = posix.stat(directory).st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise PyrunError(f"looking for the cgroup {directory}: {files.reason(error)}", JSON_PATH) from None
    if mode & 0o170000 != 0o040000:
        raise PyrunError(f"{directory} is a file of the cgroup above it", JSON_PATH)
    return True


def create(record: Record) -> None:
    """Make the cgroups of the plan. PyrunError; what was made stays, for `remove`.

    Should another container get hold of the path at the same moment, this record is cut down to what is
    ours: remove by this object, not by a copy made before.

    systemd makes its cgroups around a process that lives: see `begin`.
    """
    if "unit" in record:
        return
    for number, hierarchy in enumerate(record["hierarchies"]):
        mount = hierarchy["mount"]
        directory = mount + record["path"]
        if directory not in record["kept"] and not _make(directory, mount):
            record["hierarchies"] = record["hierarchies"][:number]
            raise PyrunError(f"the cgroup {directory} was made by another at this moment", JSON_PATH)
        if hierarchy is _main(record):
            _mark(directory, record["id"])
        if "cpuset" in hierarchy["controllers"]:
            v1.inherit_cpuset(directory, mount, directory not in record["kept"])
        if hierarchy["name"] == "unified":
            v2.check_domain(directory)
            if len(record["hierarchies"]) == 1:
                v2.enable(directory, mount, v2.ACCOUNTED)


def begin(
    record: Record, pid: int, resources: dict[str, Any], annotations: Mapping[str, str], owner: int
) -> None:
    """The container's init lives, outside of its cgroups: where systemd makes these, it is asked now. PyrunError."""
    if "unit" not in record:
        return
    from pyrun.cgroups import systemd

    systemd.begin(record, pid, resources, annotations)
    directory = _directory(record, _main(record))
    _mark(directory, record["id"])
    v2.enable(directory, record["hierarchies"][0]["mount"], v2.ACCOUNTED)
    if owner > 0:
        v2.give(directory, owner)


def give(record: Record, uid: int) -> None:
    """Make a user of the host the owner of the container's cgroup, if there is no v1, which isn't safe to give away
    (config-linux.md#cgroup-ownership). PyrunError."""
    if [hierarchy["name"] for hierarchy in record["hierarchies"]] == ["unified"]:
        v2.give(_directory(record, record["hierarchies"][0]), uid)


def _make(directory: str, mount: str) -> bool:
    """Make one cgroup and those above it; False if it exists."""
    for _ in range(100):  # another container's removal may take an empty parent away in between
        try:
            posix.mkdir(directory, 0o755)
            return True
        except OSError as error:
            if error.errno == errno.EEXIST:
                return False
            if error.errno != errno.ENOENT:
                raise _not_made(directory, error) from None
        _make_parent(directory[: directory.rindex("/")], mount)
    raise PyrunError(f"making the cgroup {directory}: those above it vanish again and again", JSON_PATH)


def _make_parent(directory: str, mount: str) -> None:
    if directory == mount:
        return
    try:
        posix.mkdir(directory, 0o755)
    except OSError as error:
        if error.errno == errno.ENOENT:
            _make_parent(directory[: directory.rindex("/")], mount)
        elif error.errno != errno.EEXIST:
            raise _not_made(directory, error) from None
        return
    _mark(directory, "")


def _not_made(directory: str, error: OSError) -> PyrunError:
    return PyrunError(f"making the cgroup {directory}: {files.reason(error)}", JSON_PATH)


def _mark(directory: str, owner: str) -> None:
    try:
        posix.setxattr(directory, MARK, owner.encode())
    except OSError:
        pass  # only root of the machine may; then the plan alone tells what is ours


def _owner(directory: str) -> str | None:
    """The container that a cgroup belongs to, "" for one above that pyrun made, None for others."""
    try:
        return posix.getxattr(directory, MARK).decode()
    except OSError:
        return None


def meant(resources: dict[str, Any], oci_version: str) -> dict[str, Any]:
    """`linux.resources` of a configuration of `oci_version` in today's meaning, for `apply` and `update`."""
    from pyrun.cgroups.controllers import pids

    return pids.meant(resources, oci_version) if resources.get("pids") else resources


def apply(record: Record, resources: dict[str, Any]) -> None:
    """Put `linux.resources` of a new container into effect, and the device rules that every container has.

    PyrunError names the JSON path, the file and the value.
    """
    update(record, {"devices": [], **resources})


def update(record: Record, resources: dict[str, Any]) -> None:
    """Put those properties of `linux.resources` into effect that are given. PyrunError as for `apply`."""
    from pyrun.cgroups import limits

    limits.apply(record["path"], record["hierarchies"], record["made"], resources)


def attach(record: Record, pid: int) -> None:
    """Move any process into all cgroups. Slow (14 ms): `entrance` has the usual way.
    PyrunError.
    """
    for hierarchy in record["hierarchies"]:
        files.write(hierarchy["mount"] + record["path"], "cgroup.procs", str(pid), JSON_PATH)


def pids(record: Record) -> list[int]:
    """The processes of the container, those in cgroups that it made below its own included."""
    return groups.processes(_directory(record, _main(record)))


def frozen(record: Record) -> bool:
    """Whether the container is paused."""
    hierarchy = _main(record)
    return _is_frozen(hierarchy, _directory(record, hierarchy))


def freeze(record: Record) -> None:
    """Pause all processes, and wait until they are. PyrunError."""
    hierarchy = _main(record)
    directory = _directory(record, hierarchy)
    if hierarchy["name"] == "unified":
        v2.freeze(directory)
    else:
        v1.freeze(directory)


def thaw(record: Record) -> None:
    """Let all processes go on. PyrunError."""
    hierarchy = _main(record)
    directory = _directory(record, hierarchy)
    if hierarchy["name"] == "unified":
        v2.thaw(directory)
    else:
        v1.thaw(directory)


def kill(record: Record) -> None:
    """Kill all processes of the container and wait until none is left, up to 10 s. PyrunError."""
    hierarchy = _main(record)
    directory = _directory(record, hierarchy)
    left: Sequence[int] = ()
    for pause in _pauses():
        left = groups.processes(directory)
        if not left:
            return
        groups.kill_in(directory, hierarchy["name"] == "unified", left)
        time.sleep(pause)
    raise PyrunError(f"killing all in {directory}: process {left[0]} does not end")


def remove(record: Record) -> None:
    """Kill what remains and remove what `create` made, and what the container made below; up to 10 s.

    Cgroups that are gone are fine. A cgroup that was there before stays, without our device rules where
    these are a program. Directories above go when they are empty and a pyrun made them. PyrunError.
    """
    if "unit" in record:
        from pyrun.cgroups import systemd

        kill(record)
        systemd.end(record)
    busy = []
    for hierarchy in record["hierarchies"]:
        directory = _directory(record, hierarchy)
        if directory in record["kept"] or not groups.rmdir(directory):
            busy.append(hierarchy)
    if busy:
        kill(record)
        for hierarchy in busy:
            _clear(record, hierarchy)
    for hierarchy in record["hierarchies"]:
        _remove_parents(record, hierarchy)


def _clear(record: Record, hierarchy: Hierarchy) -> None:
    directory = _directory(record, hierarchy)
    kept = directory in record["kept"]
    for pause in _pauses():
        left = groups.processes(directory)
        if left:
            # Those that left the container's cgroup of the main hierarchy, or that entered it, frozen, just now.
            groups.kill_all(left)
            main = _main(record)
            groups.kill_in(_directory(record, main), main["name"] == "unified", left)
        if groups.remove_below(directory) and not left and (kept or groups.rmdir(directory)):
            if kept:
                _leave_clean(record, hierarchy, directory)
            return
        time.sleep(pause)
    raise PyrunError(f"removing the cgroup {directory}: it is still in use")


def _leave_clean(record: Record, hierarchy: Hierarchy, directory: str) -> None:
    if hierarchy["name"] == "unified":
        from pyrun.cgroups import devices_v2

        devices_v2.detach(directory)
    if hierarchy is _main(record):
        thaw(record)
    try:
        posix.removexattr(directory, MARK)
    except OSError:
        pass  # it had none


def _remove_parents(record: Record, hierarchy: Hierarchy) -> None:
    mount = hierarchy["mount"]
    directory = _directory(record, hierarchy)
    while (directory := directory[: directory.rindex("/")]) != mount:
        try:
            if directory not in record["made"] and _owner(directory) != "":
                return
            posix.rmdir(directory)
        except FileNotFoundError:
            pass  # create was killed before it made this one, or an earlier removal after it took it away
        except OSError:
            return  # not empty


def mount_view(record: Record) -> list[tuple[str, str]]:
    """For a v1 "cgroup" mount inside the container: (name of the hierarchy's directory, the container's
    cgroup).
    """
    return [
        (hierarchy["mount"].rpartition("/")[2], _directory(record, hierarchy))
        for hierarchy in record["hierarchies"]
    ]


def _pauses() -> Iterator[float]:
    """Longer and longer pauses in seconds, until PATIENCE is at its end."""
    end = time.monotonic() + PATIENCE
    pause = 0.0005
    while time.monotonic() < end:
        yield pause
        pause = min(pause * 1.5, 0.1)


def _directory(record: Record, hierarchy: Hierarchy) -> str:
    return hierarchy["mount"] + record["path"]


def _main(record: Record) -> Hierarchy:
    """The hierarchy that freezes and that says which processes there are."""
    for hierarchy in record["hierarchies"]:
        if "freezer" in hierarchy["controllers"]:
            return hierarchy
    for hierarchy in record["hierarchies"]:
        if hierarchy["name"] == "unified":
            return hierarchy
    return record["hierarchies"][0]


def _is_frozen(hierarchy: Hierarchy, directory: str) -> bool:
    if hierarchy["name"] == "unified":
        return v2.frozen(directory)
    return "freezer" in hierarchy["controllers"] and v1.frozen(directory)
