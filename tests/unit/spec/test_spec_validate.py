"""The validator reports every fault at once, agrees with the parser, and never fails itself."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import spec_documents as documents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oci_spec import config, rules, validate
from oci_spec.fields import ConfigError


def paths(source: bytes | dict[str, Any]) -> list[str]:
    """The paths of all faults."""
    return [error["path"] for error in validate.errors(source)]


def test_every_fault_is_reported_at_once() -> None:
    document = documents.full()
    document["process"]["cwd"] = "x"
    document["process"]["user"]["uid"] = -1
    document["process"]["rlimits"][0]["type"] = "NOFILE"
    document["mounts"][0]["options"] = "ro"
    del document["mounts"][1]["destination"]
    document["linux"]["seccomp"]["syscalls"][0]["names"] = ["a", 1, None]
    document["linux"]["memoryPolicy"]["nodes"] = "x"
    document["ociVersion"] = "9.0.0"
    del document["root"]
    before = copy.deepcopy(document)
    assert paths(document) == [
        "process.user.uid",
        "process.cwd",
        "process.rlimits[0].type",
        "mounts[0].options",
        "mounts[1].destination",
        "linux.seccomp.syscalls[0].names[1]",
        "linux.seccomp.syscalls[0].names[2]",
        "root",
        "ociVersion",
        "linux.memoryPolicy.nodes",
    ]
    assert document == before


def test_an_error_has_four_strings() -> None:
    assert validate.errors(documents.changed(("process", "cwd"), "x")) == [
        {
            "path": "process.cwd",
            "found": '"x"',
            "wanted": "an absolute path",
            "section": "config.md#process",
        }
    ]


@pytest.mark.parametrize(
    ("content", "path", "found"),
    [
        (b"", "", "expecting value in line 1, column 1"),
        (b'{\n "a": tru}', "", "expecting value in line 2, column 7"),
        (b'{"a": 1} x', "", "extra data in line 1, column 10"),
        (b'{"a":\n  "\xff"}', "", "byte 0xff in line 2, column 4"),
        (b'\xef\xbb\xbf{"ociVersion": "1.0.0"}', "", "unexpected UTF-8 BOM"),
        (b'{"a": NaN}', "", "NaN"),
        (b'{"a": -Infinity}', "", "-Infinity"),
        (b"[" * 100_000, "", "nesting without end"),
        (b'{"a":' * 100_000, "", "nesting without end"),
        (b"1" * 10_000, "", "a number of 10000 digits"),
        (b'{"root": {"path": "a", "path": "b"}, "ociVersion": "1.0.0"}', "root.path", "the name twice"),
        (
            b'{"root": {"path": "a"}, "ociVersion": "1.0.0", "x": [{"": 1, "": 2}]}',
            'x[0][""]',
            "the name twice",
        ),
    ],
)
def test_what_is_no_json(content: bytes, path: str, found: str) -> None:
    [error] = validate.errors(content)
    assert error["path"] == path
    assert error["found"].startswith(found)
    assert error["section"] == "glossary.md#json"


def test_half_a_surrogate_pair_is_refused_also_where_nobody_looks() -> None:
    content = json.dumps({**documents.full(), "x": ["\ud800"], "hostname": "\udfff", "\ud801": 1, "ok": "🐚"})
    assert paths(content.encode()) == ["hostname", "x[0]", '["\\ud801"]']


def test_deep_known_properties_get_an_answer() -> None:
    for depth in range(200, 1200, 50):
        content = b'{"ociVersion": "1.0.0", "root": {"path": "x"}, "hostname": %s1%s}'
        [error] = validate.errors(content % (b"[" * depth, b"]" * depth))
        assert error["wanted"] in ("a string", "a document of reasonable depth")


def test_deep_unknown_properties_do_no_harm() -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    assert paths({**documents.full(), "deep": deep}) == []


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=150)
@given(documents.mutated(documents.FULL))
def test_validator_finds_what_parser_and_rules_find(document: dict[str, Any]) -> None:
    reported = validate.errors(document)
    assert reported == validate.errors(json.dumps(document).encode())
    validate.warnings(document)
    fault = None
    try:
        config.parse(document)
        rules.check(document)
        list(rules.warnings(document))
    except ConfigError as error:
        fault = validate.record(error)
    assert fault in reported if fault else not reported


@settings(deadline=None)
@given(
    st.binary(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["process", "root", "linux", "x"]), inner)
        ),
        max_leaves=10,
    ).map(lambda value: json.dumps(value).encode())
)
def test_anything_gets_an_answer(content: bytes) -> None:
    assert validate.errors(content)


def test_warnings_name_unknown_properties_and_the_nearest_known_one() -> None:
    document = documents.full()
    document["hostName"] = "x"
    document["windows"] = {}
    document["linux"]["resources"]["memory"]["limits"] = 5
    document["linux"]["resources"]["zzz"] = 5
    del document["mounts"][1]
    assert validate.warnings(document) == [
        "linux.resources.memory.limits: unknown property, ignored; did you mean limit?",
        "linux.resources.zzz: unknown property, ignored",
        "hostName: unknown property, ignored; did you mean hostname?",
        "windows: a section for another platform, ignored",
    ]
