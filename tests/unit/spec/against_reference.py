"""Tables and catalogue beside a checkout of the specification at v1.3.0. No part of `make test`, which has none.

    OCI_SPEC_CHECKOUT=FOLDER build/venv/bin/python -m pytest tests/unit/spec/against_reference.py

The text's sentences have to be those that the catalogue stands for, and the reference schemas have to say what ours
do, but for what test_spec_schema.py lists. spec/oci_spec/README.md says what to do for a new release.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import spec_documents as documents
from jsonschema import Draft4Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4
from test_spec_schema import LOOSER, NAMES, NULL, OURS, STRICT_VALUES, STRICTER, other_documents, table_paths

from oci_spec import catalogue, config, drift, names

CHECKOUT = Path(os.environ["OCI_SPEC_CHECKOUT"])
# Properties of other platforms
ELSEWHERE = {"windows", "solaris", "vm", "zos", "freebsd", "commandLine", "username"}
SCHEMAS = {path.name: json.loads(path.read_text()) for path in sorted(CHECKOUT.glob("schema/*.json"))}


def reference(name: str) -> Draft4Validator:
    """The reference schema of a document."""
    registry: Registry[Any] = Registry().with_resources(
        (file, Resource.from_contents(content, DRAFT4)) for file, content in SCHEMAS.items()
    )
    return Draft4Validator({"$ref": f"{name}-schema.json"}, registry=registry)


def reference_paths(node: dict[str, Any], file: str, path: str = "") -> set[str]:
    """The paths of all properties of a reference schema, as `table_paths` has them."""
    if "$ref" in node:
        where, _, pointer = node["$ref"].partition("#")
        file = where or file
        node = SCHEMAS[file]
        for part in filter(None, pointer.split("/")):
            node = node[part]
    found = set()
    for key, child in node.get("properties", {}).items():
        if key not in ELSEWHERE:
            place = f"{path}.{key}" if path else key
            found |= {place} | reference_paths(child, file, place)
    if "items" in node:
        found |= reference_paths(node["items"], file, path + "[]")
    for child in [node.get("additionalProperties"), *node.get("patternProperties", {}).values()]:
        if isinstance(child, dict):
            found |= reference_paths(child, file, path + "{}")
    for way in ("allOf", "anyOf", "oneOf"):
        for child in node.get(way, []):
            found |= reference_paths(child, file, path)
    return found


def shape(path: documents.Path) -> tuple[str, ...]:
    """A path without indexes, with one name for properties that share a table."""
    same = {"boottime": "monotonic"} | dict.fromkeys(names.HOOKS, "prestart")
    parts = ["[]" if isinstance(part, int) else same.get(part, part) for part in path]
    return tuple("throttleReadBpsDevice" if part.startswith("throttle") else part for part in parts)


def differences(validator: Draft4Validator, document: object) -> tuple[bool, bool]:
    """Our schema's verdict and the reference's."""
    return OURS["config"].is_valid(document), validator.is_valid(document)


def test_the_catalogue_fits_the_text() -> None:
    assert [str(change) for change in drift.changes(CHECKOUT)] == []
    sections = {
        section
        for path in CHECKOUT.glob("*.md")
        for section, _ in drift.sentences(path.name, path.read_text("utf-8"))
    }
    assert {each.section for each in catalogue.load().values() if not each.until} <= sections


def test_the_tables_have_every_property_of_the_reference() -> None:
    # the reference names the two clocks, where our table has a map
    wanted = {
        re.sub(r"(timeOffsets)\.\w+", r"\1{}", path)
        for path in reference_paths(SCHEMAS["config-schema.json"], "config-schema.json")
    }
    assert table_paths(config.CONFIG) == {path for path in wanted if not path.endswith("{}")}


@pytest.mark.parametrize("value", [True, 1, -1, 1.0, 2**64, "x", "/x", [], {}, ["x"], [1], {"x": "y"}])
def test_the_reference_agrees_on_wrong_types_at_every_place(value: object) -> None:
    validator = reference("config")
    for path in documents.places(documents.FULL):
        ours, theirs = differences(validator, documents.changed(path, value))
        if ours != theirs:
            assert not ours, (path, value)
            # Another value at a place of the list, or one in its stead that lacks what the list requires.
            place = shape(path)
            assert [known for known in map(shape, STRICTER) if known[: len(place)] == place], (path, value)


def test_the_reference_agrees_on_every_missing_property() -> None:
    validator = reference("config")
    for path in documents.places(documents.FULL):
        ours, theirs = differences(validator, documents.without(path))
        if ours != theirs:
            assert not ours, path
            assert shape(path) in map(shape, STRICTER) or path == ("process", "args", 0), path


@pytest.mark.parametrize("path", STRICTER)
def test_where_we_are_stricter_than_the_reference(path: documents.Path) -> None:
    validator = reference("config")
    bad = [documents.changed(path, value) for value in STRICT_VALUES] + [documents.without(path)]
    assert (False, True) in [differences(validator, document) for document in bad], STRICTER[path]


@pytest.mark.parametrize("path", LOOSER)
def test_where_we_are_looser_than_the_reference(path: documents.Path) -> None:
    value, reason = LOOSER[path]
    assert differences(reference("config"), documents.changed(path, value)) == (True, False), reason


def test_names_nul_and_null_where_the_reference_does_not_look() -> None:
    validator = reference("config")
    for path in NAMES:
        for value in ("", "a\0"):
            assert differences(validator, documents.changed(path, value)) == (False, True)
    for path in NULL:
        assert differences(validator, documents.changed(path, None)) == (True, False)


def test_the_reference_agrees_on_state_and_features() -> None:
    for name, right, wrong in other_documents():
        assert reference(name).is_valid(right)
        for document in wrong:
            assert not reference(name).is_valid(document), (name, document)
