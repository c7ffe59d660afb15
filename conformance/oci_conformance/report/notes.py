"""Explanations of deviations, written by people after they checked them: a TOML file that a matrix shows.

A file has `[[note]]` tables: `id` of the requirement, `runtime` (its name; without it the note is about all), `text`,
and optionally `fault` (one of FAULTS) and `link`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

FAULTS = {
    "runtime": "the runtime deviates",
    "text": "the text leaves room",
    "host": "this host is the reason",
    "suite": "the test is wrong",
}
_KEYS = {"id", "runtime", "text", "fault", "link"}


class NotesError(Exception):
    """A file of notes that can't be used, in one sentence."""


@dataclass(frozen=True)
class Note:
    """Why a result is as it is."""

    id: str
    text: str
    runtime: str = ""
    fault: str = ""
    link: str = ""

    def about(self, requirement: str, runtime: str) -> bool:
        return self.id == requirement and self.runtime in ("", runtime)


def load(path: str | Path) -> list[Note]:
    """Read a file; raises NotesError."""
    try:
        tables = tomllib.loads(Path(path).read_text("utf-8")).get("note", [])
    except (OSError, ValueError) as error:
        raise NotesError(f"notes {path}: {error}") from None
    found = []
    for number, table in enumerate(tables, 1):
        where = f"notes {path}, note {number}"
        if wrong := sorted(
            key for key, value in table.items() if key not in _KEYS or not isinstance(value, str)
        ):
            raise NotesError(f"{where}: {wrong[0]!r} isn't known, or not a text")
        if not table.get("id") or not table.get("text"):
            raise NotesError(f"{where}: it needs an id and a text")
        if table.get("fault", "runtime") not in FAULTS:
            raise NotesError(f"{where}: fault must be one of {', '.join(FAULTS)}")
        if not table.get("link", "https://").startswith("https://"):
            raise NotesError(f"{where}: its link must begin with https://")
        found.append(Note(**table))
    return found
