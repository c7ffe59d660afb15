"""Which requirements count: those of a version of the specification, and those of our own profiles beside it."""

from __future__ import annotations

from pathlib import Path

from oci_spec import catalogue
from oci_spec.catalogue import Requirement

PROFILES = ("spec", "hardening", "robustness")
_HERE = Path(__file__).parent


def of(profiles: tuple[str, ...], spec: str) -> dict[str, Requirement]:
    """The requirements of profiles; those of `spec` as they stood in that version."""
    found: dict[str, Requirement] = {}
    for profile in profiles:
        found |= catalogue.at(spec) if profile == "spec" else catalogue.load(_HERE / profile)
    return found


def every() -> dict[str, Requirement]:
    """All requirements of every version and profile."""
    found = dict(catalogue.load())
    for profile in PROFILES[1:]:
        found |= catalogue.load(_HERE / profile)
    return found
