"""Kinds and the walker."""

from __future__ import annotations

import json
from typing import Any

import pytest
import spec_documents as documents
from hypothesis import given
from hypothesis import strategies as st

from oci_spec import config, fields, names
from oci_spec.fields import ConfigError


def fault(document: object) -> ConfigError:
    """The parser's fault of a document."""
    with pytest.raises(ConfigError) as caught:
        config.parse(document)
    return caught.value


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (
            ("process", "rlimits", 0, "type"),
            "RLIMIT_X",
            (
                'process.rlimits[0].type: found "RLIMIT_X", wanted one of 16 names, '
                "RLIMIT_CPU to RLIMIT_RTTIME (config.md#posix-process)"
            ),
        ),
        (
            ("process", "cwd"),
            "tmp",
            'process.cwd: found "tmp", wanted an absolute path (config.md#process)',
        ),
        (
            ("annotations", "a.b"),
            1,
            'annotations["a.b"]: found 1, wanted a string (config.md#annotations)',
        ),
        (
            ("linux", "resources", "pids", "limit"),
            "5",
            (
                'linux.resources.pids.limit: found "5", wanted an integer from -9223372036854775808 to '
                "9223372036854775807 (config-linux.md#pids)"
            ),
        ),
        (
            ("linux", "maskedPaths", 0),
            "a\nb",
            'linux.maskedPaths[0]: found "a\\u000ab", wanted an absolute path (config-linux.md#masked-paths)',
        ),
        (
            ("linux", "namespaces"),
            {},
            "linux.namespaces: found an object, wanted an array (config-linux.md#namespaces)",
        ),
        (
            ("process", "args"),
            [],
            "process.args: found an empty array, wanted at least one item (config.md#process)",
        ),
        (
            ("root",),
            None,
            "root: found null, wanted a value: it is required (config.md#root)",
        ),
    ],
)
def test_a_fault_names_path_found_wanted_and_section(path: documents.Path, value: object, text: str) -> None:
    assert str(fault(documents.changed(path, value))) == text


def test_the_document_itself_has_an_empty_path() -> None:
    assert str(fault([])) == "found an empty array, wanted an object (config.md)"


def test_unknown_properties_are_ignored_everywhere() -> None:
    document = documents.full()
    objects = [path for path in documents.places(document) if isinstance(documents.at(document, path), dict)]
    for path in objects:
        if path[-1] not in ("annotations", "sysctl", "unified", "rdma", "netDevices", "timeOffsets"):
            documents.at(document, path)["com.example.new"] = {"deep": [None]}
    document["windows"] = document["vm"] = document["solaris"] = document["zos"] = document["freebsd"] = 5
    config.parse(document)


def test_null_for_optional_properties_is_removed() -> None:
    document = documents.full()
    document["hooks"] = document["process"]["env"] = document["linux"]["seccomp"]["syscalls"][0]["args"] = (
        None
    )
    config.parse(document)
    assert "hooks" not in document
    assert "env" not in document["process"]
    assert "args" not in document["linux"]["seccomp"]["syscalls"][0]


@pytest.mark.parametrize("number", [1.0, 1e3, 1.5, True, "1", float("nan")])
def test_only_integers_are_integers(number: object) -> None:
    assert fault(documents.changed(("process", "user", "uid"), number)).path == "process.user.uid"


@pytest.mark.parametrize("text", ["a\0b", "\0", "\ud800", "é\udfff"])
@pytest.mark.parametrize(
    "path",
    [
        ("hostname",),
        ("root", "path"),
        ("process", "cwd"),
        ("process", "args", 0),
        ("process", "env", 0),
        ("mounts", 0, "options", 0),
        ("linux", "sysctl", "net.ipv4.ip_forward"),
        ("linux", "seccomp", "syscalls", 0, "names", 1),
    ],
)
def test_strings_for_the_kernel_have_no_nul_and_a_utf8_form(path: documents.Path, text: str) -> None:
    text = "/" + text if path[-1] == "cwd" else text
    assert fault(documents.changed(path, text)).parts == path


def test_annotations_may_hold_nul_but_must_have_a_utf8_form() -> None:
    config.parse(documents.changed(("annotations", "k\0"), "v\0"))
    assert fault(documents.changed(("annotations", "k"), "\ud800")).path == "annotations.k"
    assert fault(documents.changed(("annotations", "\ud800"), "")).wanted == "text that UTF-8 can hold"


@given(st.lists(st.text(max_size=3) | st.sampled_from(["\0", "", "\ud800"]), max_size=4))
def test_the_fast_check_of_string_lists_accepts_nothing_more(strings: list[Any]) -> None:
    slow = all("\0" not in text and text.isascii() for text in strings)
    assert fields.clean(strings) == slow


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=9)
)
def test_wrong_values_are_shown_on_one_short_printable_line(value: object) -> None:
    shown = fields.show(value)
    assert shown.isprintable()
    assert len(shown) <= 8 * fields.SHOWN


def test_names_have_the_kernels_numbers() -> None:
    assert len(names.CAPABILITIES) == 41
    assert names.CAPABILITIES.index("CAP_SYS_ADMIN") == 21
    assert names.CAPABILITIES.index("CAP_CHECKPOINT_RESTORE") == 40
    resource = pytest.importorskip("resource")
    for name in (
        "RLIMIT_CPU",
        "RLIMIT_NOFILE",
        "RLIMIT_NPROC",
        "RLIMIT_MEMLOCK",
        "RLIMIT_AS",
        "RLIMIT_RTPRIO",
    ):
        assert names.RLIMITS.index(name) == getattr(resource, name)
    assert len(names.SECCOMP_ARCHITECTURES) == 23


def test_processes_and_resources_can_be_parsed_alone() -> None:
    config.parse_process(documents.full()["process"])
    config.parse_resources(documents.full()["linux"]["resources"])
    with pytest.raises(ConfigError, match=r"^memory\.limit: found true"):
        config.parse_resources({"memory": {"limit": True}})
    with pytest.raises(ConfigError, match=r"^args: found nothing"):
        config.parse_process({"cwd": "/"})


def test_parsing_leaves_no_trace_but_removed_nulls() -> None:
    document = documents.full()
    config.parse(document)
    assert json.dumps(document) == json.dumps(documents.FULL)
