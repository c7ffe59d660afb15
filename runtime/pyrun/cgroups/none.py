"""The driver that makes no cgroups: for --cgroup-manager=disabled, and for an ordinary user who may make none.

Hot module, loaded only for such a container.
"""

from __future__ import annotations

from pyrun.base.errors import PyrunError
from pyrun.cgroups import hierarchies
from pyrun.cgroups.controllers import table
from pyrun.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrun.cgroups.driver import Record
    from pyrun.cgroups.files import Before

NOWHERE: dict[str, str] = {}


def plan(cgroups_path: str | None, container_id: str, annotations: Mapping[str, str]) -> Record:
    """A record without a cgroup, wherever the path says that there should be one."""
    return {"id": container_id, "path": "/", "hierarchies": [], "made": [], "kept": []}


def create(record: Record, rootless: str) -> None:
    """Nothing is to be made."""


def begin(
    record: Record, pid: int, resources: dict[str, Any], annotations: Mapping[str, str], owner: int
) -> bool:
    """Nothing is to be made."""
    return False


def give(record: Record, uid: int) -> None:
    """There is nothing to be given."""


def limit_devices(record: Record, rules: list[dict[str, Any]]) -> None:
    """Whoever wants no cgroups has the devices that the caller has."""


def limit(record: Record, resources: dict[str, Any]) -> None:
    """Raise PyrunError if there is anything to limit."""
    nowhere = dict.fromkeys([controller for _, controller, _ in table.CONTROLLERS if controller], "")
    for _, _, writes in table.writes(resources, nowhere, ""):
        for _, _, json_path, may_be_missing in writes:
            if not may_be_missing:
                raise PyrunError(hierarchies.NONE, json_path)


def change(record: Record, resources: dict[str, Any], before: list[Before]) -> None:
    """Raise PyrunError if there is anything to limit; an ordinary user's device rules are left out, as in create."""
    limit(record, resources)
    if resources.get("devices") and not process.is_ordinary():
        raise PyrunError(hierarchies.NONE, "linux.resources.devices")


def seat(record: Record, below: Mapping[str, str] = NOWHERE) -> int:
    """No cgroup to be born in."""
    return -1


def tasks(record: Record, below: Mapping[str, str] = NOWHERE) -> list[int]:
    """No cgroup to enter."""
    return []


def attach(record: Record, pid: int, below: str = "") -> None:
    """No cgroup to be moved into: every process is where it should be."""


def pids(record: Record) -> list[int]:
    """Raise PyrunError: nobody keeps a list of the container's processes."""
    raise PyrunError(hierarchies.NONE)


def frozen(record: Record) -> bool:
    """Nothing is ever paused."""
    return False


def freeze(record: Record) -> None:
    """Raise PyrunError: only a cgroup can be frozen."""
    raise PyrunError(hierarchies.NONE)


def thaw(record: Record) -> None:
    """Raise PyrunError: only a cgroup can be frozen."""
    raise PyrunError(hierarchies.NONE)


def let_die(record: Record) -> None:
    """Nobody is frozen."""


def kill(record: Record) -> None:
    """Nobody is known to be there."""


def remove(record: Record) -> None:
    """Nothing was made."""


def view(record: Record) -> list[tuple[str, str, str, list[str]]]:
    """No hierarchy has a cgroup to be shown."""
    return []
