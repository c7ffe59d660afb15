"""pyrun help. Cold module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrun.base.output import put
from pyrun.commandline import click_

if TYPE_CHECKING:
    from pyrun.commandline.parse import Values


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Explain the program, or a command."""
    put(click_.help_text(arguments[0] if arguments else "") + "\n")
    return 0
