"""Names and properties of systemd's units, and the text format of annotations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrun.base.errors import PyrunError
from pyrun.cgroups import gvariant, units


@pytest.mark.parametrize(
    ("path", "unit", "slice_", "cgroup"),
    [
        pytest.param(
            "system.slice:docker:c1",
            "docker-c1.scope",
            "system.slice",
            "/system.slice/docker-c1.scope",
            id="docker",
        ),
        pytest.param(
            "a-b-c.slice:p:c1",
            "p-c1.scope",
            "a-b-c.slice",
            "/a.slice/a-b.slice/a-b-c.slice/p-c1.scope",
            id="nested",
        ),
        pytest.param(":p:c1", "p-c1.scope", "system.slice", "/system.slice/p-c1.scope", id="no-slice"),
        pytest.param("-.slice:p:c1", "p-c1.scope", "-.slice", "/p-c1.scope", id="root-slice"),
        pytest.param("a.slice::c1", "c1.scope", "a.slice", "/a.slice/c1.scope", id="no-prefix"),
        pytest.param(
            "a.slice:p:b-c.slice", "b-c.slice", "a.slice", "/b.slice/b-c.slice", id="a-slice-itself"
        ),
        pytest.param(None, "runc-c1.scope", "system.slice", "/system.slice/runc-c1.scope", id="default"),
        pytest.param(
            "a.slice:p:x+y", "p-x\\x2by.scope", "a.slice", "/a.slice/p-x\\x2by.scope", id="escaped-characters"
        ),
    ],
)
def test_a_path_in_systemds_form_is_a_unit(path: str | None, unit: str, slice_: str, cgroup: str) -> None:
    """slice:prefix:name names the scope, its slice, and the cgroup that systemd makes for it."""
    found, where = units.place(path, "c1")
    assert (found["name"], found["slice"], where) == (unit, slice_, cgroup)


@pytest.mark.parametrize(
    "path",
    [
        "/plain/path",
        "a:b",
        "a:b:c:d",
        "a.slice:p:",
        "nosuffix:p:c1",
        "a--b.slice:p:c1",
        "-a.slice:p:c1",
        "a/b.slice:p:c",
    ],
)
def test_other_paths_are_refused_by_name(path: str) -> None:
    """What is not in systemd's form is refused with the property and the form."""
    with pytest.raises(PyrunError) as caught:
        units.place(path, "c1")
    assert caught.value.json_path == "linux.cgroupsPath"
    assert "slice" in caught.value.sentence


@given(st.sets(st.integers(0, 300), min_size=1))
def test_lists_of_cpus_are_bit_masks(numbers: set[int]) -> None:
    """Bit N of the property is set if, and only if, N stands in the list."""
    ordered = sorted(numbers)
    (found,) = units.limits([("cpuset.cpus", ",".join(map(str, ordered)), "", False)])
    assert found[0] == "AllowedCPUs"
    mask = int.from_bytes(found[1][1], "little")
    assert {number for number in range(400) if mask >> number & 1} == numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "50000 100000", [("CPUQuotaPeriodUSec", 100000), ("CPUQuotaPerSecUSec", 500000)], id="half"
        ),
        pytest.param(
            "max 100000", [("CPUQuotaPeriodUSec", 100000), ("CPUQuotaPerSecUSec", units.UNLIMITED)], id="max"
        ),
        pytest.param("33333", [("CPUQuotaPerSecUSec", 340000)], id="rounded-up-to-systemds-step"),
        pytest.param("max", [("CPUQuotaPerSecUSec", units.UNLIMITED)], id="max-alone"),
    ],
)
def test_cpu_quota_is_time_in_a_second(text: str, expected: list[tuple[str, int]]) -> None:
    """cpu.max is said as systemd counts it, never less than what was asked for."""
    assert [(name, value) for name, (_, value) in units.limits([("cpu.max", text, "", False)])] == expected


@pytest.mark.parametrize(
    ("file", "text", "name", "value"),
    [
        ("memory.max", "1048576", "MemoryMax", 1048576),
        ("memory.max", "max", "MemoryMax", units.UNLIMITED),
        ("memory.low", "5", "MemoryLow", 5),
        ("memory.swap.max", "0", "MemorySwapMax", 0),
        ("pids.max", "7", "TasksMax", 7),
        ("cpu.weight", "59", "CPUWeight", 59),
        ("io.weight", "default 4950", "IOWeight", 4950),
        ("io.bfq.weight", "default 500", "IOWeight", 4950),
    ],
)
def test_a_limit_is_a_property(file: str, text: str, name: str, value: int) -> None:
    """A file that systemd has a property for gives that property, whose type is a 64-bit number."""
    assert units.limits([(file, text, "", False)]) == [(name, ("t", value))]


def test_files_that_systemd_does_not_know_are_left_to_us() -> None:
    """hugetlb and the like have no property."""
    assert units.limits([("hugetlb.2MB.max", "0", "", False), ("memory.zswap.max", "1", "", False)]) == []


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("'inactive-or-failed'", "s", "inactive-or-failed"),
        ('"a \\"b\\""', "s", 'a "b"'),
        ("true", "b", True),
        ("5", "i", 5),
        ("-5", "i", -5),
        ("0x10", "i", 16),
        ("uint64 123456789", "t", 123456789),
        ("@t 5", "t", 5),
        ("byte 255", "y", 255),
        ("2.5", "d", 2.5),
        ("['a', 'b']", "as", ["a", "b"]),
        ("[uint32 1, 2]", "au", [1, 2]),
        ("@as []", "as", []),
    ],
)
def test_gvariant_texts_are_understood(text: str, kind: str, value: Any) -> None:
    """The forms that runc documents for annotations."""
    assert gvariant.parse(text) == (kind, value)


@pytest.mark.parametrize(
    "text",
    ["", "'open", "[1", "[1 2]", "[]", "abc", "byte 256", "uint64 -1", "5 6", "[1, 'a']", "99999999999"],
)
def test_gvariant_texts_without_meaning_are_refused(text: str) -> None:
    """What is no value is a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        gvariant.parse(text)


def test_annotations_become_properties() -> None:
    """Seconds become microseconds, as systemd has them; other annotations aren't looked at."""
    annotations = {
        "org.systemd.property.TimeoutStopSec": "uint64 7",
        "org.systemd.property.CollectMode": "'inactive'",
        "com.example.x": "nonsense",
    }
    assert units.from_annotations(annotations) == [
        ("TimeoutStopUSec", ("t", 7_000_000)),
        ("CollectMode", ("s", "inactive")),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [("Timeout/Stop", "5"), ("X", "5"), ("TimeoutStopSec", "'five'"), ("CollectMode", "inactive")],
)
def test_a_bad_annotation_is_refused_by_name(name: str, text: str) -> None:
    """The sentence names the annotation."""
    with pytest.raises(PyrunError) as caught:
        units.from_annotations({f"org.systemd.property.{name}": text})
    assert f"org.systemd.property.{name}" in caught.value.json_path


@pytest.mark.parametrize(("text", "weight"), [("default 200", 200), ("50", 50)], ids=["default", "plain"])
def test_the_weight_of_io_is_a_property(text: str, weight: int) -> None:
    """io.weight is IOWeight; a weight of one device is left to the file."""
    assert units.limits([("io.weight", text, "", False)]) == [("IOWeight", ("t", weight))]
    assert units.limits([("io.weight", "8:0 300", "", False)]) == []


def test_what_is_allowed_is_told_to_systemd_and_what_isnt_is_not() -> None:
    """systemd knows no exceptions: a denied device is left to our own program; where all is allowed it has no say, nor
    where the list is very long."""
    deny = (False, "c", 1, 3, 7, "")
    allow = (True, "b", -1, -1, 3, "")
    assert units.devices(False, [allow, deny], 500)[-1] == ("DeviceAllow", ("a(ss)", [("block-*", "rm")]))
    assert units.devices(True, [deny], 500)[0] == ("DevicePolicy", ("s", "auto"))
    assert units.devices(False, [allow] * 501, 500)[0] == ("DevicePolicy", ("s", "auto"))


def test_limits_of_cgroup_v1_are_properties() -> None:
    """Numbers, -1 for none, and quota and period, which are two files there."""
    writes = [
        ("memory.limit_in_bytes", "1000", "", False),
        ("cpu.shares", "512", "", False),
        ("cpu.cfs_period_us", "50000", "", False),
        ("cpu.cfs_quota_us", "25000", "", False),
    ]
    assert units.limits(writes) == [
        ("MemoryMax", ("t", 1000)),
        ("CPUShares", ("t", 512)),
        ("CPUQuotaPeriodUSec", ("t", 50000)),
        ("CPUQuotaPerSecUSec", ("t", 500_000)),
    ]
    none = [("memory.limit_in_bytes", "-1", "", False), ("cpu.cfs_quota_us", "-1", "", False)]
    assert units.limits(none) == [
        ("MemoryMax", ("t", units.UNLIMITED)),
        ("CPUQuotaPerSecUSec", ("t", units.UNLIMITED)),
    ]


@pytest.mark.parametrize(("text", "policy"), [("1", "kill"), ("0", "continue")], ids=["together", "alone"])
def test_dying_together_is_a_property(text: str, policy: str) -> None:
    """memory.oom.group, which kubelet asks for, is OOMPolicy: a daemon-reload would reset the file."""
    assert units.limits([("memory.oom.group", text, "", False)]) == [("OOMPolicy", ("s", policy))]
