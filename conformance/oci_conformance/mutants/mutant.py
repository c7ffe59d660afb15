"""What a mutant is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Edit = tuple[str, str, Any]  # operation, path, value; see edits.py


@dataclass(frozen=True)
class Mutant:
    """One thing that is broken.

    `kills`: requirements one of whose tests has to fail. Without them those tests are meant whose configurations have
    the property `property`.
    """

    name: str
    title: str
    kills: tuple[str, ...] = ()
    property: str = ""
    edits: tuple[Edit, ...] = ()
    behaviour: str = ""
    argument: str = ""  # of the behaviour
    needs: tuple[str, ...] = field(default=())  # of the host, as with tests
