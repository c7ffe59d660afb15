"""pyrun exec. Hot module."""

from __future__ import annotations

from pyrun.container.roots import root_folder
from pyrun.story import exec_, foreground

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Run a program in a container; returns its exit status, or 0 if detached."""
    folder = root_folder(root)
    if values.get("detach"):
        exec_.exec_(folder, values, arguments)
        return 0
    return foreground.attend(lambda socket: exec_.exec_(folder, values, arguments, socket), values)
