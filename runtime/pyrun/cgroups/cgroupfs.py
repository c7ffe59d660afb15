"""The driver that makes a container's cgroups itself, one in each hierarchy: plan, create, limit, enter, freeze.

Hot module. See driver.py for what each function is for.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base import log
from pyrun.base.errors import PyrunError
from pyrun.cgroups import files, freezer, groups, hierarchies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pyrun.cgroups.driver import Record
    from pyrun.cgroups.files import Before
    from pyrun.cgroups.hierarchies import Hierarchy

JSON_PATH = "linux.cgroupsPath"
NOTHING: dict[str, str] = {}


def plan(cgroups_path: str | None, container_id: str, annotations: Mapping[str, str] = NOTHING) -> Record:
    """Where the container's cgroups will be, and what is there already; nothing is changed.

    Absolute and relative paths count from the mount of each hierarchy, wherever the caller is: the same
    value is always the same place. Without a path it is "/ID". Raises PyrunError for "..", the root, a cgroup with
    processes or a frozen one, and systemd's form of a path.
    """
    layout = hierarchies.layout()
    path = "/" + "/".join(_parts(cgroups_path or container_id))
    record: Record = {
        "id": container_id,
        "path": path,
        "hierarchies": layout["hierarchies"],
        "made": [],
        "kept": [],
    }
    survey(record, layout["hierarchies"])
    return record


def survey(record: Record, chosen: Sequence[Hierarchy]) -> None:
    """Write down what of the container's cgroups in these hierarchies is there already, and what `create` will make.
    Raises PyrunError if one has processes, or is frozen."""
    path = record["path"]
    for hierarchy in chosen:
        directory, mount = hierarchy["mount"] + path, hierarchy["mount"]
        missing = []
        while directory != mount and not _exists(directory):
            missing.append(directory)
            directory = directory[: directory.rindex("/")]
        record["made"] += reversed(missing)
        if not missing:
            record["kept"].append(directory)
            _check_free(directory, record["id"])
        if directory != mount and freezer.frozen(hierarchy, directory):
            raise PyrunError(f"the cgroup {directory} is frozen", JSON_PATH)


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
    owner = groups.owner_of(directory)
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


def create(record: Record, rootless: str = "false") -> None:
    """Make the cgroups of the plan. Raises PyrunError if that fails; what was made stays, for `remove`.

    Should another container get hold of the path at the same moment, this record is cut down to what is
    ours: remove by this object, not by a copy made before. `rootless` says what becomes of a cgroup that we have
    no right to make: "false", an error; "true", the container does without, and the record is cut down to those that it
    has; "auto", the same if we aren't root of the machine.
    """
    from pyrun.cgroups import v2

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
        if hierarchy is hierarchies.main_of(record):
            groups.mark(directory, record["id"])
        if "cpuset" in hierarchy["controllers"]:
            _inherit_cpuset(directory, mount, directory not in record["kept"])
        if hierarchies.is_v2(hierarchy):
            v2.check_domain(directory)
            if len(record["hierarchies"]) == 1:
                v2.enable(directory, mount, v2.ACCOUNTED)
    if lacking:
        record["hierarchies"] = [each for each in record["hierarchies"] if each not in lacking]


def _is_ordinary() -> bool:
    from pyrun.kernel import process

    return process.is_ordinary()


def _inherit_cpuset(directory: str, mount: str, new: bool) -> None:
    """Give a cgroup of the cpuset hierarchy its parent's CPUs and memory nodes where it has none.

    A `new` cpuset is empty, and no process can enter it (ENOSPC). Parents that are empty are filled first.
    Raises PyrunError if the kernel refuses.
    """
    for name in ("cpuset.cpus", "cpuset.mems"):
        if new or not files.fetch(directory, name):
            _inherit(directory, mount, name)


def _inherit(directory: str, mount: str, name: str) -> str:
    parent = directory[: directory.rindex("/")]
    value = files.fetch(parent, name)
    if not value and parent != mount:
        value = _inherit(parent, mount, name)
    files.write(directory, name, value, "linux.cgroupsPath")
    return value


def begin(
    record: Record, pid: int, resources: dict[str, Any], annotations: Mapping[str, str], owner: int
) -> bool:
    """All is made already."""
    return False


def give(record: Record, uid: int) -> None:
    """Make a user of the host the owner of the container's cgroup, if there is no v1, which isn't safe to give away
    (config-linux.md#cgroup-ownership). Raises PyrunError if that fails."""
    if hierarchies.only_v2(record["hierarchies"]):
        from pyrun.cgroups import v2

        v2.give(hierarchies.main_directory(record), uid)


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
    groups.mark(directory, "")


def _not_made(directory: str, error: OSError) -> PyrunError:
    kind = "access" if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else ""
    return PyrunError(f"making the cgroup {directory}: {files.reason(error)}", JSON_PATH, kind=kind)


def limit_devices(record: Record, rules: list[dict[str, Any]]) -> None:
    """Let a new container have those devices that every container has, and what the rules say. Raises PyrunError if
    the kernel refuses."""
    limit(record, {"devices": rules})


def limit(record: Record, resources: dict[str, Any]) -> None:
    """Put those properties of `linux.resources` into effect that are given. Raises PyrunError, which names the JSON
    path, the file and the value."""
    from pyrun.cgroups import limits

    limits.apply(record, resources)


def change(record: Record, resources: dict[str, Any], before: list[Before]) -> None:
    """The same; what the files hold until then is added to `before`."""
    from pyrun.cgroups import limits

    limits.apply(record, resources, before)


def seat(record: Record, below: Mapping[str, str] = NOTHING) -> int:
    """A descriptor of the v2 cgroup for clone3's CLONE_INTO_CGROUP; -1 on a machine without cgroup v2."""
    from pyrun.cgroups import entrance

    return entrance.clone_fd(record, below)


def tasks(record: Record, below: Mapping[str, str] = NOTHING) -> list[int]:
    """Descriptors of the v1 cgroups' `tasks` files, for `entrance.enter`."""
    from pyrun.cgroups import entrance

    return entrance.tasks(record, below)


def attach(record: Record, pid: int, below: str = "") -> None:
    """Move any process into all cgroups. Slow (14 ms): `seat` and `tasks` are the usual way. Raises PyrunError if the
    kernel refuses."""
    place = f"/{below}" if below else ""
    for hierarchy in record["hierarchies"]:
        directory = hierarchies.directory_of(record, hierarchy)
        files.write(directory + place, "cgroup.procs", str(pid), JSON_PATH)


def pids(record: Record) -> list[int]:
    """The processes of the container, those in cgroups that it made below its own included."""
    return groups.processes(hierarchies.main_directory(record))


def frozen(record: Record) -> bool:
    """Is the container paused?"""
    return freezer.frozen(hierarchies.main_of(record), hierarchies.main_directory(record))


def freeze(record: Record) -> None:
    """Pause all processes, and wait until they are. Raises PyrunError if they can't be."""
    freezer.freeze(hierarchies.main_of(record), hierarchies.main_directory(record))


def thaw(record: Record) -> None:
    """Let all processes go on. Raises PyrunError if the kernel refuses."""
    freezer.thaw(hierarchies.main_of(record), hierarchies.main_directory(record))


def let_die(record: Record) -> None:
    """Let those die who are killed already: in cgroup v1 nothing dies frozen."""
    from pyrun.cgroups import removal

    removal.let_die(record)


def kill(record: Record) -> None:
    """Kill all processes of the container, and wait until none is left, up to 10 s. Raises PyrunError if one stays."""
    from pyrun.cgroups import removal

    removal.kill(record)


def remove(record: Record) -> None:
    """Kill what remains, and remove what `create` made and what the container made below. Raises PyrunError if a
    cgroup stays in use for 10 s."""
    from pyrun.cgroups import removal

    removal.remove(record)


def view(record: Record) -> list[tuple[str, str, str, list[str]]]:
    """For a "cgroup" mount inside the container, of each hierarchy: the name of its directory, the container's cgroup,
    its mount, and its controllers (none of v2's)."""
    return [
        (
            hierarchy["mount"].rpartition("/")[2],
            hierarchies.directory_of(record, hierarchy),
            hierarchy["mount"],
            hierarchy["controllers"],
        )
        for hierarchy in record["hierarchies"]
    ]
