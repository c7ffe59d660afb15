"""Mutants by property of config.json: one that drops it and, where it has a value, one that alters it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oci_conformance.mutants.mutant import Mutant
from oci_spec import schema


def properties(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each property below a node of the schema, with its own schema."""
    for key, child in node.get("properties", {}).items():
        place = f"{path}.{key}" if path else key
        yield place, child
        yield from properties(child, place)
    if isinstance(node.get("items"), dict):
        yield from properties(node["items"], path + "[]")
    for child in [node.get("additionalProperties"), *node.get("patternProperties", {}).values()]:
        if isinstance(child, dict) and child:
            yield from properties(child, path + "{}")


def _is_value(node: dict[str, Any]) -> bool:
    """Is it something other than an object, so that another value can take its place?"""
    return "properties" not in node and "patternProperties" not in node and "additionalProperties" not in node


def mutants() -> list[Mutant]:
    """All of them, in the order of the tables."""
    found = []
    for path, node in properties(schema.schema("config")):
        found.append(
            Mutant(f"drop:{path}", f"{path} is ignored", property=path, edits=(("drop", path, None),))
        )
        if _is_value(node):
            found.append(
                Mutant(
                    f"alter:{path}",
                    f"{path} gets another value",
                    property=path,
                    edits=(("alter", path, None),),
                )
            )
    return found
