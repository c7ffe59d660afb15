"""JSON Schemas of the three documents, made from the tables that the parser uses.

Draft 4, like the reference schemas: the only draft in which 1.0 is not an integer, and so the one that agrees
with the parser (and with Go). What the rules say is not in them.

`python -m oci_spec.schema DIRECTORY` writes the files there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oci_spec import config, features, fields, state
from oci_spec.descriptions import describe

if TYPE_CHECKING:
    from oci_spec.fields import Kind

    Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-04/schema#"

DOCUMENTS = {
    "config": (config.CONFIG, "Container configuration, config.json, for Linux"),
    "state": (state.STATE, "Container state"),
    "features": (features.FEATURES, "Features of a runtime, for Linux"),
}


def schema(document: str) -> Schema:
    """The schema of "config", "state" or "features"."""
    kind, title = DOCUMENTS[document]
    head = {"$schema": DRAFT, "title": f"{title} (OCI runtime specification 1.3.0)"}
    return head | of_kind(kind, f"{document}:")


def of_kind(kind: Kind, path: str) -> Schema:
    """The schema of one kind. `path` is where it stands, such as `config:process.rlimits[].type`."""
    check = kind[0]
    if check is fields.check_object:
        return of_object(kind, path)
    if check is fields.check_list:
        least = {"minItems": kind[2]} if kind[2] else {}
        return {"type": "array", "items": of_kind(kind[1], path + "[]"), **least}
    if check is fields.check_map:
        values = of_kind(kind[1], path + "{}")
        names = of_kind(kind[2], path)
        if "pattern" not in names:
            return {"type": "object", "additionalProperties": values}
        only = {"patternProperties": {names["pattern"]: values}, "additionalProperties": False}
        return {"type": "object", **only}
    if check is fields.check_integer:
        return {"type": "integer", "minimum": kind[1], "maximum": kind[2]}
    if check is fields.check_enum:
        return {"type": "string", "enum": list(kind[1])}
    if check is fields.check_boolean:
        return {"type": "boolean"}
    if check is fields.check_text:
        return {"type": "string"}
    # (?!\n): in some dialects (Python's) $ matches before a last newline too.
    pattern = kind[2] if check is fields.check_form else PATTERNS[check]
    return {"type": "string", "pattern": pattern + "(?!\\n)"}


PATTERNS = {
    fields.check_string: "^[^\\u0000]*$",
    fields.check_name: "^[^\\u0000]+$",
    fields.check_path: "^/[^\\u0000]*$",
}


def of_object(kind: Kind, path: str) -> Schema:
    """The schema of an object with known properties; those that aren't required may be null."""
    properties = {}
    for key, field in kind[1].items():
        place = path + key if path.endswith(":") else f"{path}.{key}"
        made = of_kind(field, place)
        if key not in kind[2]:
            made = or_null(made)
        section = fields.section_of(kind, key)
        if field[0] is fields.check_object:
            section = field[3]
        properties[key] = {"description": f"{describe(place)} ({section})", **made}
    required = {"required": list(kind[2])} if kind[2] else {}
    return {"type": "object", "properties": properties, **required}


def or_null(made: Schema) -> Schema:
    """The same schema, but null is allowed too: for the parser that is an absent property."""
    made = {**made, "type": [made["type"], "null"]}
    if "enum" in made:
        made["enum"] = [*made["enum"], None]
    return made


def main(directory: Path) -> None:
    """Write all schemas into a directory."""
    for document in DOCUMENTS:
        text = json.dumps(schema(document), indent=2)
        (directory / f"{document}-schema.json").write_text(text + "\n", encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
