"""pyrun resume. Hot module."""

from __future__ import annotations

import time

from pyrun.base.errors import PyrunError
from pyrun.cgroups import driver
from pyrun.container import roots, states, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values

PATIENCE = 1.0  # seconds that resume waits for the processes to go on


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Let all processes of a paused container go on, and return when they do."""
    found = store.find(roots.root_folder(root), arguments[0], lock=False)
    status = states.status(found)
    if status != states.PAUSED:
        raise PyrunError(f'container not paused: "{found.id}" is {status}')
    found.take_part()
    cgroup = found.record["cgroup"]
    cgroups = driver.of(cgroup)
    cgroups.thaw(cgroup)
    end = time.monotonic() + PATIENCE
    while cgroups.frozen(cgroup):  # cgroup v2 reports it when the first process has woken up
        if time.monotonic() > end:
            raise PyrunError(f'container "{found.id}" stays paused: a cgroup above its own is frozen')
        time.sleep(0.0005)
    return 0
