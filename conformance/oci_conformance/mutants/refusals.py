"""Mutants by requirement to refuse something: one that takes it, and one that refuses and leaves a container."""

from __future__ import annotations

from oci_conformance.mutants.mutant import Mutant
from oci_conformance.run import requirements, values
from oci_spec import catalogue

# Effects of a refusal, not demands for one; and refusals of operations, which operations.py has.
OTHERS = ("errors.", "kill.", "delete.", "start.", "state-op.", "hooks.timeout", "caps.")


def refusals() -> list[str]:
    """The ids of requirements to refuse a configuration."""
    return [
        each.id
        for each in requirements.at(catalogue.NEWEST).values()
        if not each.unseen
        and not each.id.startswith(OTHERS)
        and (
            (each.kind == "V" and each.level in ("MUST", "MUST NOT"))
            or each.id.startswith(values.PREFIX)
            or each.id.endswith(("-error", "-fail-error", ".dup-error", "-invalid", ".invalid"))
        )
    ]


def mutants() -> list[Mutant]:
    """All of them."""
    found = [
        Mutant(
            f"accept:{id}",
            "what is invalid is replaced by something valid",
            (id,),
            behaviour="accept_anything",
        )
        for id in refusals()
    ]
    found.append(
        Mutant(
            "refuse-late",
            "a refused configuration leaves a container behind",
            ("create.unappliable-no-container", "errors.no-side-effects"),
            behaviour="refuse_late",
        )
    )
    return found
