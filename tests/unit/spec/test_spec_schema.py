"""The schemas say what the parser does, and but for a list what the reference schemas of 1.3.0 do.

Whether the list is right is seen with a checkout of the specification: against_reference.py.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import spec_documents as documents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from oci_spec import config, features, schema, state, validate
from oci_spec.fields import ConfigError, check_list, check_map, check_object

OURS = {name: Draft4Validator(schema.schema(name)) for name in schema.DOCUMENTS}
PARSERS = {"config": config.parse, "state": state.parse, "features": features.parse}

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck))


def parses(name: str, document: object) -> ConfigError | None:
    """The parser's verdict: None, or its fault. The document stays as it is."""
    try:
        PARSERS[name](copy.deepcopy(document))
    except ConfigError as error:
        return error
    return None


def agree(name: str, document: object) -> None:
    """Parser, schema and validator must give one verdict."""
    fault = parses(name, document)
    faults = [str(error) for error in validate.structural(name, document)]
    assert (fault is None) == (not faults) == OURS[name].is_valid(document), (fault, faults)
    if fault is not None:
        assert str(fault) in faults
        assert fault.section


@pytest.mark.parametrize("name", schema.DOCUMENTS)
def test_schemas_are_schemas(name: str) -> None:
    Draft4Validator.check_schema(schema.schema(name))


def test_the_full_configuration_is_valid_everywhere() -> None:
    assert parses("config", documents.FULL) is None
    assert OURS["config"].is_valid(documents.FULL)
    assert validate.errors(documents.full()) == []


@SLOW
@given(st.data())
@pytest.mark.parametrize("name", schema.DOCUMENTS)
def test_parser_and_schema_accept_what_the_tables_allow(name: str, data: st.DataObject) -> None:
    document = data.draw(documents.of_kind(schema.DOCUMENTS[name][0]))
    agree(name, document)
    assert parses(name, document) is None


@settings(SLOW, max_examples=150)
@given(documents.mutated(documents.FULL))
def test_parser_and_schema_agree_on_damaged_documents(document: dict[str, Any]) -> None:
    agree("config", document)


@pytest.mark.parametrize("value", [None, True, 1, 1.0, "x", [], {}, [None], {"": None}])
def test_parser_and_schema_agree_at_every_place(value: object) -> None:
    for path in documents.places(documents.FULL):
        agree("config", documents.changed(path, value))


def test_parser_and_schema_agree_on_every_missing_property() -> None:
    for path in documents.places(documents.FULL):
        agree("config", documents.without(path))


@pytest.mark.parametrize("document", [None, 1, "x", [], {}])
@pytest.mark.parametrize("name", schema.DOCUMENTS)
def test_parser_and_schema_agree_on_what_is_no_document(name: str, document: object) -> None:
    agree(name, document)


def table_paths(kind: Any, path: str = "") -> set[str]:
    """The paths of all properties of a table, as in properties.md but for [] and {} at the end."""
    if kind[0] is check_list:
        return table_paths(kind[1], path + "[]")
    if kind[0] is check_map:
        return table_paths(kind[1], path + "{}")
    if kind[0] is not check_object:
        return set()
    found = set()
    for key, field in kind[1].items():
        place = f"{path}.{key}" if path else key
        found |= {place} | table_paths(field, place)
    return found


def schema_paths(node: dict[str, Any], path: str = "") -> set[str]:
    """The same of a schema."""
    found = set()
    for key, child in node.get("properties", {}).items():
        place = f"{path}.{key}" if path else key
        found |= {place} | schema_paths(child, place)
        assert child["description"], place
    if "items" in node:
        found |= schema_paths(node["items"], path + "[]")
    for child in [node.get("additionalProperties"), *node.get("patternProperties", {}).values()]:
        if child:
            found |= schema_paths(child, path + "{}")
    return found


@pytest.mark.parametrize("name", schema.DOCUMENTS)
def test_every_property_of_the_tables_is_in_the_schema_with_a_description(name: str) -> None:
    assert table_paths(schema.DOCUMENTS[name][0]) == schema_paths(schema.schema(name))


def test_schemas_can_be_written(tmp_path: Path) -> None:
    schema.main(tmp_path)
    written = json.loads((tmp_path / "config-schema.json").read_text())
    assert written == schema.schema("config")


# --- where we differ from the reference schemas, which stand in a checkout: against_reference.py ---


# What we refuse and the reference schema lets pass, by the specification's text or the kernel's limits.
STRICTER = {
    ("root",): "config.md#root: required on every platform but Windows",
    ("process", "args"): "config.md#process: at least one entry is required",
    ("process", "cwd"): "config.md#process: absolute",
    ("process", "user", "uid"): "config.md#posix-platform-user: required",
    ("process", "user", "gid"): "config.md#posix-platform-user: required",
    ("process", "user", "additionalGids", 0): "setresuid(2): 2**32 - 1 means no change",
    ("linux", "devices", 0, "uid"): "chown(2): 2**32 - 1 means no change",
    ("linux", "devices", 0, "gid"): "chown(2): 2**32 - 1 means no change",
    ("process", "oomScoreAdj"): "proc(5): -1000 to 1000",
    ("process", "ioPriority", "priority"): "config.md#linux-process: required, 0 to 7",
    ("process", "rlimits", 0, "type"): "config.md#posix-process: a limit of getrlimit(2)",
    ("hooks", "prestart", 0, "timeout"): "config.md#posix-platform-hooks: int, of 64 bits",
    ("hooks", "prestart", 0, "path"): "config.md#posix-platform-hooks: absolute",
    ("linux", "namespaces", 0, "path"): "config-linux.md#namespaces: absolute",
    ("linux", "devices", 0, "path"): "config-linux.md#devices: full path",
    ("linux", "maskedPaths", 0): "config-linux.md#masked-paths: absolute",
    ("linux", "readonlyPaths", 0): "config-linux.md#readonly-paths: absolute",
    ("linux", "personality", "domain"): "config-linux.md#personality: required",
    ("linux", "memoryPolicy", "mode"): "config-linux.md#memory-policy: required",
    ("linux", "timeOffsets", "monotonic", "nanosecs"): "time_namespaces(7): below a second",
    ("linux", "intelRdt", "schemata", 0): "config-linux.md#intelrdt: no newline",
    ("linux", "seccomp", "syscalls", 1, "args", 0, "index"): "seccomp(2): six arguments",
    ("linux", "resources", "memory", "swappiness"): "config-linux.md#memory: 0 to 100",
    ("linux", "resources", "devices", 1, "type"): "config-linux.md#allowed-device-list: a, b or c",
    ("linux", "resources", "devices", 1, "access"): "config-linux.md#allowed-device-list: r, w and m",
    (
        "linux",
        "resources",
        "blockIO",
        "throttleReadBpsDevice",
        0,
        "rate",
    ): "config-linux.md#block-io: required",
}
# The other way round.
LOOSER = {
    ("linux", "devices", 0, "fileMode"): (
        8630,
        "config-linux.md#devices: any uint32; engines send the file type's bits",
    ),
    ("linux", "rootfsPropagation"): ("rslave", "engines send the recursive forms"),
}
# Names that may not be empty, and optional properties for which null is absence.
NAMES: tuple[documents.Path, ...] = (("root", "path"), ("mounts", 0, "destination"))
NULL: tuple[documents.Path, ...] = (
    ("process", "capabilities"),
    ("hooks",),
    ("linux", "seccomp", "architectures"),
)
STRICT_VALUES: tuple[object, ...] = ("x", "", -2, 2000, "a\nb", 10**9, "RLIMIT_X", 2**64, 2**32 - 1)


@pytest.mark.parametrize("path", STRICTER, ids=lambda path: ".".join(map(str, path)))
def test_where_we_are_stricter_than_the_reference(path: documents.Path) -> None:
    """What is there is right, and a wrong value or none is refused, by parser, schema and validator."""
    bad = [documents.changed(path, value) for value in STRICT_VALUES] + [documents.without(path)]
    refused = [document for document in bad if not OURS["config"].is_valid(document)]
    assert refused, STRICTER[path]
    for document in bad:
        agree("config", document)


@pytest.mark.parametrize("path", LOOSER, ids=lambda path: ".".join(map(str, path)))
def test_where_we_are_looser_than_the_reference(path: documents.Path) -> None:
    value, reason = LOOSER[path]
    assert parses("config", documents.changed(path, value)) is None, reason
    agree("config", documents.changed(path, value))


@pytest.mark.parametrize("value", ["", "a\0"], ids=["empty", "nul"])
@pytest.mark.parametrize("path", NAMES, ids=lambda path: ".".join(map(str, path)))
def test_empty_names_and_nul_are_refused(path: documents.Path, value: str) -> None:
    assert parses("config", documents.changed(path, value))
    agree("config", documents.changed(path, value))


@pytest.mark.parametrize("path", NULL, ids=lambda path: ".".join(map(str, path)))
def test_null_is_absence(path: documents.Path) -> None:
    assert parses("config", documents.changed(path, None)) is None
    agree("config", documents.changed(path, None))


def test_state_and_features_of_the_right_types_alone() -> None:
    for name, right, wrong in other_documents():
        assert OURS[name].is_valid(right)
        for document in wrong:
            assert not OURS[name].is_valid(document), (name, document)
            assert parses(name, document), (name, document)


def other_documents() -> list[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """A right one of each of the two other kinds, and wrong ones."""
    state_ = {
        "ociVersion": "1.3.0",
        "id": "x",
        "status": "running",
        "pid": 1,
        "bundle": "/b",
        "annotations": {},
    }
    wrong = [
        {**state_, key: value}
        for key in state_
        for value in (True, 1.5, [], "x" if key in ("status", "pid", "annotations") else 1)
    ]
    features_ = {"ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0", "hooks": []}
    return [("state", state_, wrong), ("features", features_, [{**features_, "hooks": ["x", 1]}])]
