"""pyrun state. Hot module."""

from __future__ import annotations

from pyrun import jsontext
from pyrun.errors import PyrunError
from pyrun.kernel import calls
from pyrun.lifecycle import container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def run(root: str, arguments: list[str]) -> int:
    """Print the state document, with what runc adds to it. Takes no lock, so that hooks can ask."""
    found = container.find(container.root_folder(root), arguments[0], lock=False)
    if not found.record:
        raise PyrunError(
            f'container "{found.id}" was never completed, because its create was interrupted',
            hint=f"pyrun delete --force {found.id}",
        )
    calls.write_all(1, (jsontext.pretty(document(found)) + "\n").encode())
    return 0


def document(found: container.Container) -> dict[str, Any]:
    """The spec's state document plus rootfs, created and owner, which engines and people expect."""
    record = found.record
    state = container.oci_state(record, container.status(found))
    for key in ("rootfs", "created"):
        state[key] = record[key]
    state["owner"] = str(record["owner"])
    return state
