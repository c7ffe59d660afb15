"""What a runtime says of itself with `features`: a value that it lists there it mustn't refuse (features-linux.md)."""

from __future__ import annotations

from oci_conformance.run.case import Broken, Case, Refused


def listed(t: Case, *path: str) -> list[str]:
    """The names in a list of the Features structure, or none where there is no such list."""
    node: object = t.features
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return [str(each) for each in node] if isinstance(node, list) else []


def may_lack(t: Case, error: Refused, value: str, *path: str) -> None:
    """A value was refused: raise Broken if the runtime's features say that it has it."""
    if value in listed(t, *path):
        raise Broken(f"features lists {value} in {'.'.join(path)}, but {error}")
