"""Mutants by property of config.json: one that drops it and, where it has a value, one that alters it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oci_conformance.mutants.mutant import Edit, Mutant
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


# Properties whose loss shows only in tests of these requirements, though other bundles set them, too.
SHOWN_BY = {
    "process.noNewPrivileges": ("nnp.set",),
    "linux.seccomp.listenerPath": ("seccomp.listener-socket",),
    "linux.seccomp.listenerMetadata": ("seccomp.metadata-sent",),
}


def _another(path: str, node: dict[str, Any]) -> Edit:
    """The edit that gives a property another value: a valid one where the names are known."""
    if "enum" in node:
        return ("other", path, node["enum"])
    if path.endswith(".timeout"):
        return ("set", path, 1000)  # a second more or less can't be told on a busy machine
    return ("alter", path, None)


def mutants() -> list[Mutant]:
    """All of them, in the order of the tables."""
    found = []
    for path, node in properties(schema.schema("config")):
        kills = SHOWN_BY.get(path, ())
        found.append(Mutant(f"drop:{path}", f"{path} is ignored", kills, path, (("drop", path, None),)))
        if _is_value(node):
            title = f"{path} gets another value"
            found.append(Mutant(f"alter:{path}", title, kills, path, (_another(path, node),)))
    return found
