"""What makes a container's cgroups and keeps them: the interface of a driver, and which one a container has.

Hot module. A driver is a module: cgroupfs.py makes the cgroups itself, systemd.py asks systemd for them, none.py does
without. What each needs to know later is in a `Record`, which is planned before the first side effect and kept in the
container's state.
"""

from __future__ import annotations

from pyrun.cgroups import cgroupfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NotRequired, Protocol, TypedDict

    from pyrun.cgroups.files import Before
    from pyrun.cgroups.hierarchies import Hierarchy
    from pyrun.cgroups.units import Unit

    class Record(TypedDict):
        """`path` counts from each hierarchy's mount. `made`: the directories that create makes, parents first.

        `kept`: those at `path` that were there before and will stay. `unit`: what systemd makes the cgroup for, if
        it does.
        """

        id: str
        path: str
        hierarchies: list[Hierarchy]
        made: list[str]
        kept: list[str]
        unit: NotRequired[Unit]

    class Driver(Protocol):
        """Each function raises PyrunError if the kernel, or systemd, refuses."""

        def plan(self, cgroups_path: str | None, container_id: str, annotations: Mapping[str, str]) -> Record:
            """Where the container's cgroups will be; nothing is changed."""

        def create(self, record: Record, rootless: str) -> None:
            """Make what can be made before the container's init is born. A record that is cut down says what is
            ours: `remove` by this object, not by a copy made before."""

        def begin(
            self,
            record: Record,
            pid: int,
            resources: dict[str, Any],
            annotations: Mapping[str, str],
            owner: int,
        ) -> bool:
            """Make the rest, around the init that lives, for the user `owner` if it is above 0. Did the record
            change?"""

        def give(self, record: Record, uid: int) -> None:
            """Make a user of the host the owner of the container's cgroup."""

        def limit_devices(self, record: Record, rules: list[dict[str, Any]]) -> None:
            """Let a new container have those devices that every container has, and what the rules say."""

        def limit(self, record: Record, resources: dict[str, Any]) -> None:
            """Put those properties of `linux.resources` into effect that are given, for a new container."""

        def change(self, record: Record, resources: dict[str, Any], before: list[Before]) -> None:
            """The same for one that runs; what the files hold until then is added to `before`."""

        def seat(self, record: Record, below: Mapping[str, str] = ...) -> int:
            """A descriptor of the v2 cgroup for clone3's CLONE_INTO_CGROUP; -1 if there is none. `below` names a
            cgroup below the container's for a controller, or for all others with ""."""

        def tasks(self, record: Record, below: Mapping[str, str] = ...) -> list[int]:
            """Descriptors of the v1 cgroups' `tasks` files, for `entrance.enter`."""

        def attach(self, record: Record, pid: int, below: str = "") -> None:
            """Move any process into the container's cgroups, which is slow; `seat` and `tasks` are the usual way."""

        def pids(self, record: Record) -> list[int]:
            """The processes of the container, those in cgroups that it made below its own included."""

        def frozen(self, record: Record) -> bool:
            """Is the container paused?"""

        def freeze(self, record: Record) -> None:
            """Pause all processes, and wait until they are."""

        def thaw(self, record: Record) -> None:
            """Let all processes go on."""

        def let_die(self, record: Record) -> None:
            """Let those die who are killed already: in cgroup v1 nothing dies frozen."""

        def kill(self, record: Record) -> None:
            """Kill all processes, and wait until none is left, up to 10 s."""

        def remove(self, record: Record) -> None:
            """Kill what remains, and remove all that was made; what is gone is fine."""

        def view(self, record: Record) -> list[tuple[str, str, str, list[str]]]:
            """For a "cgroup" mount inside the container, of each hierarchy: the name of its directory, the container's
            cgroup, its mount, and its controllers (none of v2's)."""


def named(option: str) -> Driver:
    """The driver that --cgroup-manager names."""
    if option == "systemd":
        from pyrun.cgroups import systemd

        return systemd
    if option == "disabled":
        from pyrun.cgroups import none

        return none
    return cgroupfs


def of(record: Record) -> Driver:
    """The driver of a container that has this record."""
    return named("systemd" if "unit" in record else "" if record["hierarchies"] else "disabled")
