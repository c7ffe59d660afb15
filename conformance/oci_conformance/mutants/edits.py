"""Edits of a configuration: what a mutant does to it before the runtime reads it.

An edit is (operation, path, value). A path is that of a property, with `[]` for every item of an array and `{}` for
every value of a map. Operations:

- drop: remove the property
- alter: make it another value of the same type
- other: make it the one that follows it in the list `value`
- set: make it `value`
- add: append `value` to the array
- remove: take `value` out of the array
- replace: value is [old, new], in an array or of a string
- last: remove the array's last item
- reverse: turn the array round
- move: append the array's items to the array at the path `value`

Imported by the wrapper at each call of a runtime: keep it light.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

TOKEN = re.compile(r"\.?([^.\[\]{}]+)|(\[\])|(\{\})")


def places(document: Any, path: str) -> Iterator[tuple[Any, Any]]:
    """All places that a path means in a document, as (parent, key); the last key need not exist."""
    *parents, last = [match.group() for match in TOKEN.finditer(path)]
    nodes = [document]
    for token in parents:
        nodes = [child for node in nodes for child in _children(node, token)]
    for node in nodes:
        if last == "[]" and isinstance(node, list):
            yield from ((node, index) for index in reversed(range(len(node))))
        elif last == "{}" and isinstance(node, dict):
            yield from ((node, key) for key in list(node))
        elif isinstance(node, dict):
            yield node, last.lstrip(".")


def _children(node: Any, token: str) -> list[Any]:
    if token == "[]":
        return list(node) if isinstance(node, list) else []
    if token == "{}":
        return list(node.values()) if isinstance(node, dict) else []
    name = token.lstrip(".")
    return [node[name]] if isinstance(node, dict) and name in node else []


def apply(document: Any, operation: str, path: str, value: Any = None) -> bool:
    """Do an edit wherever it applies. False if it applies nowhere."""
    changed = False
    for parent, key in places(document, path):
        there = isinstance(key, int) or key in parent
        if operation == "set":
            changed = changed or not there or parent[key] != value
            parent[key] = value
        elif there and operation == "drop":
            del parent[key]
            changed = True
        elif there:
            before = parent[key]
            after = _edited(document, operation, before, value)
            if after != before:
                parent[key] = after
                changed = True
    return changed


def _edited(document: Any, operation: str, before: Any, value: Any) -> Any:
    if operation == "alter":
        return _altered(before)
    if operation == "other":
        return value[(value.index(before) + 1) % len(value)] if before in value else before
    if operation == "replace" and isinstance(before, str):
        return before.replace(value[0], value[1])
    if not isinstance(before, list):
        return before
    if operation == "add":
        return [*before, value]
    if operation == "remove":
        return [item for item in before if item != value]
    if operation == "replace":
        return [value[1] if item == value[0] else item for item in before]
    if operation == "last":
        return before[:-1]
    if operation == "reverse":
        return before[::-1]
    assert operation == "move", operation
    for parent, key in places(document, value):
        parent[key] = [*parent.get(key, []), *before]
    return []


def _altered(value: Any) -> Any:
    """Another value of the same type, near to the one that is there."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value - 1 if value > 1 else value + 1
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1:] != "0" else "1") if value[-1:].isdigit() else value + "x"
    if isinstance(value, list):
        return value[:-1]
    return value
