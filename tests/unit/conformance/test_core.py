"""The suite's small parts: changes of configurations, their differences, selection, adapters, expectations, edits."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import report_samples as samples
from hypothesis import given
from hypothesis import strategies as st

from oci_conformance.core import bundle, runtime
from oci_conformance.core.bundle import DELETE
from oci_conformance.mutants import edits, engine
from oci_conformance.run import expectations, registry

BASE = bundle.base("1.3.0", 0, 0, "/x/y")
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


def changed(changes: bundle.Changes) -> dict[str, Any]:
    document = copy.deepcopy(BASE)
    bundle.apply(document, changes)
    return document


def test_changes() -> None:
    document = changed(
        {
            "process.user.umask": 18,
            "mounts[+]": {"destination": "/x"},
            "mounts[0].options": ["ro"],
            "process.env[0]": "A=b",
            "linux.resources.memory.limit": 5,
            ("annotations", "org.example.dot"): "yes",
            "process.noNewPrivileges": DELETE,
            "root": {"path": "/other"},
        }
    )
    assert document["process"]["user"]["umask"] == 18
    assert document["mounts"][-1] == {"destination": "/x"}
    assert document["mounts"][0]["options"] == ["ro"]
    assert document["process"]["env"] == ["A=b"]
    assert document["linux"]["resources"] == {"memory": {"limit": 5}}
    assert document["annotations"] == {"org.example.dot": "yes"}
    assert "noNewPrivileges" not in document["process"]
    assert document["root"] == {"path": "/other"}


def test_changes_do_not_share_values() -> None:
    value = {"destination": "/x"}
    document = changed({"mounts[+]": value})
    document["mounts"][-1]["destination"] = "/y"
    assert value == {"destination": "/x"}


def test_differences_are_minimal() -> None:
    after = changed({"process.user.uid": 7, "hostname": "h", "process.noNewPrivileges": DELETE})
    assert sorted(bundle.differences(BASE, after), key=lambda each: each["path"]) == [
        {"op": "add", "path": "hostname", "to": "h"},
        {"op": "remove", "path": "process.noNewPrivileges", "from": True},
        {"op": "replace", "path": "process.user.uid", "from": 0, "to": 7},
    ]


@given(DOCUMENTS, DOCUMENTS)
def test_differences_are_none_only_for_equals(before: Any, after: Any) -> None:
    assert (bundle.differences(before, after) == []) == same(before, after)


def same(before: Any, after: Any) -> bool:
    """Equal as JSON: true isn't 1, and the order of names doesn't matter."""
    return json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)


def test_properties_by_their_tables_names() -> None:
    after = changed(
        {"linux.sysctl": {"net.ipv4.ip_forward": "1"}, "mounts[+]": {"destination": "/x", "options": ["ro"]}}
    )
    names = bundle.changed(BASE, after)
    assert {"linux.sysctl", "linux.sysctl{}", "mounts[].options"} <= names
    assert not any("ip_forward" in name for name in names)


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("", True),
        ("user.", True),
        ("USER.uid", True),
        ("nothing", False),
        ("not nothing", True),
        ("not user.uid", False),
        ("user.ids and nothing", False),
        ("nothing or user.ids", True),
        ("user.ids and not nothing", True),
        ("=user.ids", True),
        ("=user.id", False),
    ],
)
def test_selection(expression: str, wanted: bool) -> None:
    assert registry.matches(expression, registry.tests()["user.ids"]) is wanted


def test_adapter_leaves_out_what_has_no_value() -> None:
    adapter = runtime.Adapter.load("default")
    assert adapter.arguments("state", (), {"root": "/r"}) == ["--root", "/r", "state"]
    assert adapter.arguments("create", ("--debug",), {"root": "/r", "id": "x"}) == [
        "--root", "/r", "--debug", "create", "x",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["[operations", "name = 1", 'operations = "x"', ""])
def test_adapter_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(runtime.AdapterError, match=r"mine\.toml"):
        runtime.Adapter.load(str(path))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ('id = "no.such"\nreason = "x"', "there is no requirement 'no.such'"),
        ('id = "user.uid"', "it has no reason"),
        ('id = "user.uid"\nreason = "x"\nstatus = "fail"', "unknown key 'status'"),
        ('id = "user.uuid"\nreason = "x"', "line 3: .*did you mean user.uid"),
        ('reason = "x"', "line 3: it has no id"),
        ('id = "user.uid"\nreason = 5', "reason is 5"),
        ('id = "user.uid"\nreason = "x"\nsometimes = "yes"', "sometimes is 'yes'"),
    ],
    ids=["unknown id", "no reason", "unknown key", "nearly an id", "no id", "number", "text for true"],
)
def test_expectations_that_cannot_be_used(tmp_path: Path, entry: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"# A comment.\n\n[[deviation]] # one\n{entry}\n")
    with pytest.raises(expectations.ExpectationsError, match=said):
        expectations.load(str(path), {"user.uid"})


@pytest.mark.parametrize(
    ("status", "alone", "wanted"),
    [
        ("fail", True, "xfail"),
        ("fail", False, "xfail"),
        ("pass", True, "xpass"),
        ("pass", False, "pass"),
        ("skip", True, "skip"),
    ],
)
def test_expected_failures(status: str, alone: bool, wanted: str) -> None:
    header = {"host": {"cgroups": "v2"}, "runtime": {"version": "runc version 1.1.5"}}
    record = {"test": "user.ids", "results": [{"id": "user.uid", "status": status}]}
    known = expectations.Deviation("user.uid", "because", cgroups="v2", version="1.1.")
    expectations.apply([known], record, header, {"user.uid"} if alone else set())
    assert record["results"][0]["status"] == wanted  # type: ignore[index]


@pytest.mark.parametrize(("status", "wanted"), [("fail", "xfail"), ("pass", "pass")])
def test_failures_that_depend_on_the_moment(status: str, wanted: str) -> None:
    header = {"host": {"cgroups": "v2"}, "runtime": {"version": ""}}
    record = {"test": "user.ids", "results": [{"id": "user.uid", "status": status}]}
    expectations.apply(
        [expectations.Deviation("user.uid", "x", sometimes=True)], record, header, {"user.uid"}
    )
    assert record["results"][0]["status"] == wanted  # type: ignore[index]


def test_expectation_of_another_host_or_version() -> None:
    header = {"host": {"cgroups": "v1"}, "runtime": {"version": "runc version 1.1.5"}}
    for known in (
        expectations.Deviation("user.uid", "because", cgroups="v2"),
        expectations.Deviation("user.uid", "because", version="1.2"),
        expectations.Deviation("user.uid", "because", test="user.umask"),
    ):
        record = {"test": "user.ids", "results": [{"id": "user.uid", "status": "fail"}]}
        expectations.apply([known], record, header, {"user.uid"})
        assert record["results"][0]["status"] == "fail"  # type: ignore[index]


@pytest.mark.parametrize(
    ("operation", "path", "value", "after"),
    [
        ("drop", "a.b", None, {"a": {"c": 1, "l": ["x", "y"]}, "m": [{"o": ["x"]}, {}]}),
        ("alter", "a.c", None, {"a": {"b": "t5", "c": 2, "l": ["x", "y"]}, "m": [{"o": ["x"]}, {}]}),
        ("alter", "a.b", None, {"a": {"b": "t0", "c": 1, "l": ["x", "y"]}, "m": [{"o": ["x"]}, {}]}),
        (
            "set",
            "m[].o",
            ["z"],
            {"a": {"b": "t5", "c": 1, "l": ["x", "y"]}, "m": [{"o": ["z"]}, {"o": ["z"]}]},
        ),
        ("remove", "m[].o", "x", {"a": {"b": "t5", "c": 1, "l": ["x", "y"]}, "m": [{"o": []}, {}]}),
        ("reverse", "a.l", None, {"a": {"b": "t5", "c": 1, "l": ["y", "x"]}, "m": [{"o": ["x"]}, {}]}),
        ("last", "a.l", None, {"a": {"b": "t5", "c": 1, "l": ["x"]}, "m": [{"o": ["x"]}, {}]}),
        ("replace", "a.l", ["y", "z"], {"a": {"b": "t5", "c": 1, "l": ["x", "z"]}, "m": [{"o": ["x"]}, {}]}),
        ("move", "a.l", "a.n", {"a": {"b": "t5", "c": 1, "l": [], "n": ["x", "y"]}, "m": [{"o": ["x"]}, {}]}),
        ("drop", "a{}", None, {"a": {}, "m": [{"o": ["x"]}, {}]}),
        ("drop", "m[]", None, {"a": {"b": "t5", "c": 1, "l": ["x", "y"]}, "m": []}),
    ],
)
def test_edits(operation: str, path: str, value: object, after: object) -> None:
    document = {"a": {"b": "t5", "c": 1, "l": ["x", "y"]}, "m": [{"o": ["x"]}, {}]}
    assert edits.apply(document, operation, path, value)
    assert document == after


@pytest.mark.parametrize("path", ["none", "a.none", "a.b.c", "m[].none", "a[]", "m{}"])
def test_edits_of_what_is_not_there(path: str) -> None:
    document = {"a": {"b": "text"}, "m": [{}]}
    assert not edits.apply(document, "drop", path)
    assert document == {"a": {"b": "text"}, "m": [{}]}


def test_mutants_have_names_of_their_own_and_break_something() -> None:
    for mutant in engine.every():
        assert mutant.edits or mutant.behaviour, mutant.name
        assert mutant.kills or mutant.property, mutant.name


def test_expectations_written_from_a_run_expect_its_failures_and_nothing_else() -> None:
    run = samples.run()
    text = expectations.written(run)
    ids = {result["id"] for test in run.tests for result in test["results"]}
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        known = expectations.load(file.name, ids)
    for test in run.tests:
        before = [result["status"] for result in test["results"]]
        expectations.apply(known, test, run.header, ids)
        after = [result["status"] for result in test["results"]]
        assert after == ["xfail" if status == "fail" else status for status in before], test["test"]


def test_expectations_written_again_keep_their_reasons() -> None:
    text = expectations.written(samples.run())
    entry = text[text.index('id = "xfail.id"') :].partition("[[")[0]
    assert 'reason = "because ' in entry
