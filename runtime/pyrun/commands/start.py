"""pyrun start. Hot module."""

from __future__ import annotations

from pyrun.container import roots, store
from pyrun.kernel import process
from pyrun.story import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Run the program of a created container."""
    process.own_signals()
    start.start_and_wait(store.find(roots.root_folder(root), arguments[0], lock=True), alone=True)
    return 0
