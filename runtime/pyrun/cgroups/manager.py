"""A container's cgroups, one in each hierarchy: plan, create, limit, enter, freeze; `removal` ends them.

Hot module; with `removal` and `entrance`, the only one of this package that others call.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base import log
from pyrun.base.errors import PyrunError
from pyrun.cgroups import files, groups, v1, v2
from pyrun.cgroups import record as records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrun.cgroups.detect import Layout
    from pyrun.cgroups.record import Record

JSON_PATH = "linux.cgroupsPath"


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
        if directory != mount and records.is_frozen(hierarchy, directory):
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
    owner = records.owner_of(directory)
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


def none(container_id: str) -> Record:
    """No cgroups at all: the container stays in its caller's."""
    return {"id": container_id, "path": "/", "hierarchies": [], "made": [], "kept": []}


def create(record: Record, rootless: str = "false") -> None:
    """Make the cgroups of the plan. PyrunError; what was made stays, for `remove`.

    Should another container get hold of the path at the same moment, this record is cut down to what is
    ours: remove by this object, not by a copy made before. `rootless` says what becomes of a cgroup that we have
    no right to make: "false", an error; "true", the container does without, and the record is cut down to those that it
    has; "auto", the same if we aren't root of the machine.

    systemd makes its cgroups around a process that lives: see `begin`.
    """
    if "unit" in record:
        return
    lacking = []
    for number, hierarchy in enumerate(record["hierarchies"]):
        mount = hierarchy["mount"]
        directory = mount + record["path"]
        try:
            ours = directory in record["kept"] or _make(directory, mount)
        except PyrunError as error:
            if error.kind != "access" or rootless == "false" or (rootless == "auto" and not _is_ordinary()):
                raise
            log.debug(f"{error.sentence}; the container does without")
            lacking.append(hierarchy)
            continue
        if not ours:
            record["hierarchies"] = record["hierarchies"][:number]
            raise PyrunError(f"the cgroup {directory} was made by another at this moment", JSON_PATH)
        if hierarchy is records.main_of(record):
            records.mark(directory, record["id"])
        if "cpuset" in hierarchy["controllers"]:
            v1.inherit_cpuset(directory, mount, directory not in record["kept"])
        if hierarchy["name"] == "unified":
            v2.check_domain(directory)
            if len(record["hierarchies"]) == 1:
                v2.enable(directory, mount, v2.ACCOUNTED)
    if lacking:
        record["hierarchies"] = [each for each in record["hierarchies"] if each not in lacking]


def _is_ordinary() -> bool:
    from pyrun.kernel import process

    return process.is_ordinary()


def begin(
    record: Record, pid: int, resources: dict[str, Any], annotations: Mapping[str, str], owner: int
) -> bool:
    """The container's init lives, outside of its cgroups: where systemd makes these, it is asked now, and the record
    changes. PyrunError."""
    if "unit" not in record:
        return False
    from pyrun.cgroups import systemd

    systemd.begin(record, pid, resources, annotations)
    directory = records.directory_of(record, records.main_of(record))
    records.mark(directory, record["id"])
    v2.enable(directory, record["hierarchies"][0]["mount"], v2.ACCOUNTED)
    if owner > 0:
        v2.give(directory, owner)
    return True


def give(record: Record, uid: int) -> None:
    """Make a user of the host the owner of the container's cgroup, if there is no v1, which isn't safe to give away
    (config-linux.md#cgroup-ownership). PyrunError."""
    if [hierarchy["name"] for hierarchy in record["hierarchies"]] == ["unified"]:
        v2.give(records.directory_of(record, record["hierarchies"][0]), uid)


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
    records.mark(directory, "")


def _not_made(directory: str, error: OSError) -> PyrunError:
    kind = "access" if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else ""
    return PyrunError(f"making the cgroup {directory}: {files.reason(error)}", JSON_PATH, kind=kind)


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
    """The processes of the container, those in cgroups that it made below its own included. PyrunError if it has no
    cgroup."""
    return groups.processes(records.directory_of(record, records.main_of(record)))


def frozen(record: Record) -> bool:
    """Whether the container is paused."""
    if not record["hierarchies"]:
        return False
    hierarchy = records.main_of(record)
    return records.is_frozen(hierarchy, records.directory_of(record, hierarchy))


def freeze(record: Record) -> None:
    """Pause all processes, and wait until they are. PyrunError."""
    hierarchy = records.main_of(record)
    directory = records.directory_of(record, hierarchy)
    if hierarchy["name"] == "unified":
        v2.freeze(directory)
    else:
        v1.freeze(directory)


def thaw(record: Record) -> None:
    """Let all processes go on. PyrunError."""
    hierarchy = records.main_of(record)
    directory = records.directory_of(record, hierarchy)
    if hierarchy["name"] == "unified":
        v2.thaw(directory)
    else:
        v1.thaw(directory)


def mount_view(record: Record) -> list[tuple[str, str, str, list[str]]]:
    """For a "cgroup" mount inside the container, of each hierarchy: the name of its directory, the container's cgroup,
    its mount, and its controllers (none of v2's).
    """
    return [
        (
            hierarchy["mount"].rpartition("/")[2],
            records.directory_of(record, hierarchy),
            hierarchy["mount"],
            hierarchy["controllers"],
        )
        for hierarchy in record["hierarchies"]
    ]
