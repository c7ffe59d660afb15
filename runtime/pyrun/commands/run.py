"""pyrun run. Hot module."""

from __future__ import annotations

from pyrun.base.errors import PyrunError
from pyrun.container.roots import root_folder
from pyrun.kernel import process
from pyrun.story import create, foreground, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Create and start; then wait for the program and delete the container, unless detached."""
    process.own_signals()
    folder = root_folder(root)
    if not values.get("detach"):
        return foreground.run(folder, arguments[0], values)
    if values.get("pipes"):
        raise PyrunError("--pipes: with --detach nobody is there to copy")
    start.start_and_wait(create.create(folder, arguments[0], values))
    return 0
