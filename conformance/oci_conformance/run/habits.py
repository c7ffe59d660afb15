"""The records of the profile `habits`: what runtimes do beside the specification, and who relies on it.

Each stands in a table `[[habit]]` of the files *.toml beside the tests:

weight: A an engine breaks without it, or its users notice at once; B some users do; C few.
text: the habit, in a sentence that a test can hold.
who: who relies on it, and where that was said.
peers: the runtimes that have it, of those it was looked for in (runc 1.5, crun 1.27).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from oci_spec.catalogue import Requirement

PROFILE = "habits"
FOLDER = Path(__file__).parents[1] / "profiles" / PROFILE
LEVELS = {"A": "MUST", "B": "SHOULD", "C": "MAY"}  # what a failure counts as, for --level


@dataclass(frozen=True)
class Habit:
    """One habit."""

    id: str
    weight: str
    text: str
    who: str
    peers: tuple[str, ...]

    def requirement(self) -> Requirement:
        """The habit as the suite's requirement."""
        return Requirement(self.id, LEVELS[self.weight], "R", PROFILE, self.text, "1.0.0")


@cache
def load() -> dict[str, Habit]:
    """Every habit by its id, in the order of the files. Raises ValueError for an id that stands twice."""
    found: dict[str, Habit] = {}
    for path in sorted(FOLDER.glob("*.toml")):
        for record in tomllib.loads(path.read_text("utf-8")).get("habit", []):
            habit = Habit(**{**record, "peers": tuple(record["peers"])})
            if habit.id in found:
                raise ValueError(f"{habit.id} stands in the records twice")
            found[habit.id] = habit
    return found


def requirements() -> dict[str, Requirement]:
    """The habits as requirements, by id."""
    return {id: habit.requirement() for id, habit in load().items()}
