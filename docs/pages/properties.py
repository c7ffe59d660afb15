"""The page properties.md, from the specification's tables and the runtime's refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oci_spec import schema
from pyrun.cgroups.controllers import table
from pyrun.story.create import NOT_YET

HEAD = """# Properties of config.json

<!-- Made by docs/pages/properties.py from spec/oci_spec and the rows of story/: change those. -->

Every property that runtime-spec 1.3.0 has for Linux, what it means, and the section that describes it. `[]` stands for
an item of an array, `{}` for a value under any name. **Bold** properties are required where their object is there.

"Not yet" means that a configuration which asks for it is refused by its name. Everything else is carried out. Unknown
properties are ignored, and `pyrun validate` warns of them.
"""
REFUSED = NOT_YET | {f"linux.resources.{name}" for name in table.NOT_YET}
SECTIONS = ("process", "root", "mounts", "hooks", "linux.resources", "linux.seccomp", "linux")
REMARKS = {
    "process.user.umask": "022 if absent, as with runc and crun",
}


def properties(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, str, bool]]:
    """Each property below a node of the schema: path, description, required?"""
    for key, child in node.get("properties", {}).items():
        place = f"{path}.{key}" if path else key
        yield place, child["description"], key in node.get("required", ())
        yield from properties(child, place)
    if "items" in node:
        yield from properties(node["items"], path + "[]")
    for child in [node.get("additionalProperties"), *node.get("patternProperties", {}).values()]:
        if child:
            yield from properties(child, path + "{}")


def status(path: str) -> str:
    """What pyrun does with a property, as far as it doesn't simply carry it out."""
    if any(
        path == refused or path.startswith((refused + ".", refused + "[", refused + "{"))
        for refused in REFUSED
    ):
        return "not yet"
    return REMARKS.get(path, "")


def markdown() -> str:
    """The whole page."""
    rows: dict[str, list[str]] = {}
    for path, description, required in properties(schema.schema("config")):
        title = next((one for one in SECTIONS if path.startswith((f"{one}.", f"{one}["))), "The document")
        name = f"**`{path}`**" if required else f"`{path}`"
        row = f"| {name} | {description} | {status(path)} |\n".replace("  |", " |")
        rows.setdefault(title, []).append(row)
    parts = [HEAD]
    for title, lines in rows.items():
        parts += [f"\n## {title}\n\n| property | meaning | |\n|---|---|---|\n", *lines]
    return "".join(parts)
