"""pyrun state. Hot module."""

from __future__ import annotations

import time

from pyrun.base import jsontext
from pyrun.base.errors import PyrunError
from pyrun.container import roots, states, store
from pyrun.kernel import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.commandline.parse import Values

PATIENCE = 1.0  # seconds that a create which has just begun may take for its first line
MOMENT = 0.2  # seconds that it may take for its lock


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Print the state document, with what runc adds to it. Takes no lock, so that hooks can ask."""
    found = store.find(roots.root_folder(root), arguments[0], lock=False)
    if not found.record:
        _wait_for_record(found)
    calls.write_all(1, (jsontext.pretty(document(found)) + "\n").encode())
    return 0


def document(found: store.Container) -> dict[str, Any]:
    """Return the spec's state document plus rootfs, created and owner, which engines and people expect."""
    record = found.record
    state = states.oci_state(record, states.status(found))
    for key in ("rootfs", "created"):
        state[key] = record[key]
    state["owner"] = str(record["owner"])
    return state


def unfinished(found: store.Container) -> PyrunError:
    """Return the error for a container whose create got no further than making the folder."""
    return PyrunError(
        f'container "{found.id}" was never completed, because its create was interrupted',
        hint=f"pyrun delete --force {found.id}",
    )


def wait_for_record(found: store.Container, patience: float) -> bool:
    """Wait until a create that has just begun has written its first line, or is gone; False if it takes too long.

    That is longer than `patience` seconds, or than a moment if nobody holds the lock, which create takes just after it
    has made the folder.
    """
    begin = time.monotonic()
    while not found.record and found.is_current():
        creating = states.status(found) == states.CREATING
        if time.monotonic() - begin > (patience if creating else MOMENT):
            return False
        time.sleep(0.005)
        found.load()
    return bool(found.record)


def _wait_for_record(found: store.Container) -> None:
    if wait_for_record(found, PATIENCE):
        return
    if not found.is_current():
        raise store.missing(found.id)
    if states.status(found) != states.CREATING:
        raise unfinished(found)
    raise PyrunError(
        f'container "{found.id}" is creating: its create has begun, and not written yet what it makes'
    )
