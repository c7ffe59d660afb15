"""pyrun pause. Hot module."""

from __future__ import annotations

from pyrun.base.errors import PyrunError
from pyrun.cgroups import driver
from pyrun.container import roots, states, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Freeze all processes of a created or running container, and return when they are."""
    found = store.find(roots.root_folder(root), arguments[0], lock=False)
    status = states.status(found)
    if status == states.PAUSED:
        raise PyrunError(f'container "{found.id}" is paused already')
    if status not in states.ALIVE:
        raise states.not_running(found, status)
    found.take_part()
    cgroup = found.record["cgroup"]
    driver.of(cgroup).freeze(cgroup)
    return 0
