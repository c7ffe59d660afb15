"""A story is a table of rows, in the order of the work; this walks them. Hot module.

A row says who asks for it (facts.py), what it does in words (a gerund phrase: "making the cgroups"), and the function
that does it, which is given the one object that holds what the story knows so far (making.py). Rows are not undone one
by one: what the record names is removed as a whole (destroy.py), after a SIGKILL too.
"""

from __future__ import annotations

from pyrun.base import log
from pyrun.base.errors import failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    State = TypeVar("State")
    Row = tuple[str, str, Callable[[State], None]]

#: Called before each row with its words and who asked for it; without one, --debug shows them.
watch: Callable[[str, str], None] | None = None


def walk(rows: tuple[Row[State], ...], asked: frozenset[str], state: State) -> None:
    """Do what is asked for, in order. Raises PyrunError with the row's words and JSON path if a system call fails;
    functions raise their own where they know more."""
    see = watch or (_say if log.level == 3 else None)
    for by, words, function in rows:
        if by in asked:
            if see:
                see(words, by)
            try:
                function(state)
            except OSError as error:
                raise failed(words, error, json_path(by)) from None


def line(words: str, by: str) -> str:
    """A row as --debug shows it: what is done, and who asked for it."""
    return f"{words}, for {by}"


def _say(words: str, by: str) -> None:
    log.debug(line(words, by))


def json_path(by: str) -> str:
    """The property of config.json that asks for a row; "" if it is a fact or an option."""
    return "" if " " in by or by[:2] == "--" else by
