"""How a process comes into a container's cgroups: born there on v2, by its own hand on v1.

Hot module. Moving another process costs 14 ms (`attach`), and these ways nothing.
"""

from __future__ import annotations

import posix

from pyrun.base.errors import PyrunError
from pyrun.cgroups import files
from pyrun.cgroups.hierarchies import is_v2, only_v2, v2_of
from pyrun.kernel.calls import O_CLOEXEC, O_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyrun.cgroups.driver import Record
    from pyrun.cgroups.hierarchies import Hierarchy

JSON_PATH = "linux.cgroupsPath"
NOWHERE: dict[str, str] = {}  # below the container's cgroup: the cgroup itself


def clone_fd(record: Record, below: Mapping[str, str] = NOWHERE) -> int:
    """A descriptor of the v2 cgroup for clone3's CLONE_INTO_CGROUP; -1 on a machine without cgroup v2.

    `below` names a cgroup below the container's for a controller, or for all others with "".
    """
    if unified := v2_of(record["hierarchies"]):
        return _open(_seat(record, unified, below), O_PATH | posix.O_DIRECTORY)
    return -1


def tasks(record: Record, below: Mapping[str, str] = NOWHERE) -> list[int]:
    """Descriptors of the v1 cgroups' `tasks` files, for `enter` in the child that will be the container."""
    fds = []
    for hierarchy in record["hierarchies"]:
        if not is_v2(hierarchy):
            fds.append(_open(f"{_seat(record, hierarchy, below)}/tasks", posix.O_WRONLY))
    return fds


def _seat(record: Record, hierarchy: Hierarchy, below: Mapping[str, str]) -> str:
    place = below.get("", "")
    for name in (hierarchy["name"], *hierarchy["controllers"]):
        place = below.get(name, place)
    return hierarchy["mount"] + record["path"] + (f"/{place}" if place else "")


def check_places(record: Record, below: Mapping[str, str]) -> None:
    """Raise PyrunError if `below` names a controller that this machine hasn't got."""
    known = {""}
    for hierarchy in record["hierarchies"]:
        known.update((hierarchy["name"], *hierarchy["controllers"]))
    for name in below:
        if name not in known:
            raise PyrunError(f'--cgroup: there is no controller "{name}" here')


def seat_of_init(record: Record, pid: int) -> str:
    """Where below the container's cgroup its init has moved itself, on a pure v2 host ("" if nowhere): a cgroup that
    has others below it takes no process any more, so exec follows the init."""
    if not only_v2(record["hierarchies"]):
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
    """Move the calling process, which has one thread, into the v1 cgroups of these `tasks` files, and close them.

    Moving oneself takes no global lock; moving another pid waits for a grace period of the kernel, 14 ms
    (cgroup_threadgroup_rwsem). Raises PyrunError if the kernel refuses.
    """
    for fd in fds:
        try:
            posix.write(fd, b"0")
        except OSError as error:
            path = posix.readlink(f"/proc/self/fd/{fd}")
            raise PyrunError(f"entering the cgroup of {path}: {files.reason(error)}") from None
        finally:
            posix.close(fd)
