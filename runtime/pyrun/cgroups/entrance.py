"""How a process comes into a container's cgroups: born there on v2, by its own hand on v1.

Hot module. Moving another process costs 14 ms (`manager.attach`), and these ways nothing.
"""

from __future__ import annotations

import posix

from pyrun.base.errors import PyrunError
from pyrun.cgroups import files, v1
from pyrun.kernel.calls import O_CLOEXEC, O_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyrun.cgroups.detect import Hierarchy
    from pyrun.cgroups.record import Record

JSON_PATH = "linux.cgroupsPath"
NOWHERE: dict[str, str] = {}  # below the container's cgroup: the cgroup itself


def clone_fd(record: Record, below: Mapping[str, str] = NOWHERE) -> int:
    """A descriptor of the v2 cgroup for clone3's CLONE_INTO_CGROUP; -1 on a machine without cgroup v2.

    `below` names a cgroup below the container's for a controller, or for all others with "".
    """
    for hierarchy in record["hierarchies"]:
        if hierarchy["name"] == "unified":
            return _open(_seat(record, hierarchy, below), O_PATH | posix.O_DIRECTORY)
    return -1


def tasks(record: Record, below: Mapping[str, str] = NOWHERE) -> list[int]:
    """Descriptors of the v1 cgroups' `tasks` files, for `enter` in the child that will be the container."""
    fds = []
    for hierarchy in record["hierarchies"]:
        if hierarchy["name"] != "unified":
            fds.append(_open(f"{_seat(record, hierarchy, below)}/tasks", posix.O_WRONLY))
    return fds


def _seat(record: Record, hierarchy: Hierarchy, below: Mapping[str, str]) -> str:
    place = below.get("", "")
    for name in (hierarchy["name"], *hierarchy["controllers"]):
        place = below.get(name, place)
    return hierarchy["mount"] + record["path"] + (f"/{place}" if place else "")


def check_places(record: Record, below: Mapping[str, str]) -> None:
    """PyrunError if `below` names a controller that this machine hasn't got."""
    known = {""}
    for hierarchy in record["hierarchies"]:
        known.update((hierarchy["name"], *hierarchy["controllers"]))
    for name in below:
        if name not in known:
            raise PyrunError(f'--cgroup: there is no controller "{name}" here')


def seat_of_init(record: Record, pid: int) -> str:
    """Where below the container's cgroup its init has moved itself, on a pure v2 host ("" if nowhere): a cgroup that
    has others below it takes no process any more, so exec follows the init."""
    if [hierarchy["name"] for hierarchy in record["hierarchies"]] != ["unified"]:
        return ""
    try:
        lines = files.read(f"/proc/{pid}/cgroup").split("\n")
    except OSError:
        return ""
    return "".join([line.partition(record["path"] + "/")[2] for line in lines if line.startswith("0::")])


def _open(path: str, flags: int) -> int:
    try:
        return posix.open(path, flags | O_CLOEXEC)
    except OSError as error:
        raise PyrunError(f"opening the cgroup {path}: {files.reason(error)}", JSON_PATH) from None


def enter(fds: list[int]) -> None:
    """Move the calling process, which has one thread, into the v1 cgroups, and close the descriptors.
    PyrunError.
    """
    for fd in fds:
        v1.enter(fd)
