"""Which requirements count: those of a version of the specification, and those of our own profiles beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oci_conformance.run import habits, values
from oci_spec import catalogue
from oci_spec.catalogue import Requirement

PROFILES = ("spec", "hardening", "robustness", "habits")
_FOLDER = Path(__file__).parents[1] / "profiles"


@dataclass(frozen=True)
class Known:
    """Requirements by id; the profiles' are apart, since they don't count in the specification's score."""

    spec: dict[str, Requirement]
    profiles: dict[str, Requirement]

    def every(self) -> dict[str, Requirement]:
        """Both."""
        return {**self.spec, **self.profiles}


def of(profiles: tuple[str, ...], spec: str) -> Known:
    """The requirements of profiles; those of `spec` as they stood in that version."""
    found: dict[str, Requirement] = {}
    for profile in profiles:
        if profile == "habits":
            found |= habits.requirements()
        elif profile != "spec":
            found |= catalogue.load(_FOLDER / profile)
    return Known(at(spec) if "spec" in profiles else {}, found)


def at(spec: str) -> dict[str, Requirement]:
    """The requirements of one version of the specification: the catalogue's, and those that its tables make."""
    wanted = catalogue.key(spec)
    made = {id: each for id, each in values.requirements().items() if catalogue.key(each.since) <= wanted}
    return {**catalogue.at(spec), **made}


def every() -> dict[str, Requirement]:
    """All requirements of every version and profile."""
    return {**catalogue.load(), **values.requirements(), **of(PROFILES[1:], catalogue.NEWEST).profiles}
