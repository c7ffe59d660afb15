"""pyrun start. Hot module."""

from __future__ import annotations

from pyrun.kernel import process
from pyrun.lifecycle import container, start


def run(root: str, arguments: list[str]) -> int:
    """Run the program of a created container."""
    process.own_signals()
    start.start_and_wait(container.find(container.root_folder(root), arguments[0], lock=True), alone=True)
    return 0
