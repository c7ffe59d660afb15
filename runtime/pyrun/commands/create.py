"""pyrun create. Hot module."""

from __future__ import annotations

from pyrun.container.roots import root_folder
from pyrun.kernel import process
from pyrun.story import create

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Create a container and leave it waiting for start."""
    process.own_signals()
    create.create(root_folder(root), arguments[0], values)
    return 0
