"""The schemas say what the parser does, and but for a list what the reference schemas of 1.3.0 do."""

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
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from oci_spec import config, features, names, schema, state, validate
from oci_spec.fields import ConfigError, check_list, check_map, check_object

OURS = {name: Draft4Validator(schema.schema(name)) for name in schema.DOCUMENTS}
PARSERS = {"config": config.parse, "state": state.parse, "features": features.parse}

# tests/unit/spec/ -> the repository, and what lies beside it
SHARED = Path(__file__).resolve().parents[4] / "shared"

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


def test_the_tables_have_every_property_of_the_specification() -> None:
    listed = SHARED / "spec" / "properties.md"
    if not listed.exists():
        pytest.skip(f"no {listed}")
    rows = [line.split("`")[1] for line in listed.read_text().splitlines() if line.startswith("| `")]
    wanted = {row.removesuffix("[]").removesuffix("{}") for row in rows}
    assert table_paths(config.CONFIG) == wanted | {row for row in wanted if row.endswith("}")}


def test_schemas_can_be_written(tmp_path: Path) -> None:
    schema.main(tmp_path)
    written = json.loads((tmp_path / "config-schema.json").read_text())
    assert written == schema.schema("config")


# --- the reference schemas ---


def reference(name: str) -> Draft4Validator:
    """The reference schema of a document; skips where it isn't at hand."""
    directory = SHARED / "schema"
    if not directory.is_dir():
        pytest.skip(f"no reference schemas in {directory}")
    registry: Registry[Any] = Registry().with_resources(
        (file.name, Resource.from_contents(json.loads(file.read_text()), DRAFT4))
        for file in sorted(directory.glob("*.json"))
    )
    return Draft4Validator({"$ref": f"{name}-schema.json"}, registry=registry)


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
STRICT_VALUES: tuple[object, ...] = ("x", "", -2, 2000, "a\nb", 10**9, "RLIMIT_X", 2**64, 2**32 - 1)


def shape(path: documents.Path) -> tuple[str, ...]:
    """A path without indexes, with one name for properties that share a table."""
    same = {"boottime": "monotonic"} | dict.fromkeys(names.HOOKS, "prestart")
    parts = ["[]" if isinstance(part, int) else same.get(part, part) for part in path]
    return tuple("throttleReadBpsDevice" if part.startswith("throttle") else part for part in parts)


def differences(validator: Draft4Validator, document: object) -> tuple[bool, bool]:
    """Our schema's verdict and the reference's."""
    return OURS["config"].is_valid(document), validator.is_valid(document)


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


@pytest.mark.parametrize("value", ["", "a\0"])
def test_names_and_nul_are_refused_where_the_reference_does_not_look(value: str) -> None:
    validator = reference("config")
    for path in (("root", "path"), ("mounts", 0, "destination")):
        assert differences(validator, documents.changed(path, value)) == (False, True)


def test_null_is_absence_for_us_and_an_error_for_the_reference() -> None:
    validator = reference("config")
    for path in (("process", "capabilities"), ("hooks",), ("linux", "seccomp", "architectures")):
        assert differences(validator, documents.changed(path, None)) == (True, False)


def test_the_reference_agrees_on_state_and_features() -> None:
    validator = reference("state")
    good = {
        "ociVersion": "1.3.0",
        "id": "x",
        "status": "running",
        "pid": 1,
        "bundle": "/b",
        "annotations": {},
    }
    assert validator.is_valid(good)
    assert OURS["state"].is_valid(good)
    for key in good:
        for wrong in (True, 1.5, [], "x" if key in ("status", "pid", "annotations") else 1):
            bad = {**good, key: wrong}
            assert not OURS["state"].is_valid(bad)
            assert not validator.is_valid(bad)
    for name, document in (("features", {"ociVersionMin": "1.0.0", "ociVersionMax": "1.3.0", "hooks": []}),):
        assert reference(name).is_valid(document)
        assert OURS[name].is_valid(document)
        assert not OURS[name].is_valid({**document, "hooks": ["x", 1]})
        assert not reference(name).is_valid({**document, "hooks": ["x", 1]})
