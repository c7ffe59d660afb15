"""From the configuration to the files of each controller, v1 and v2."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrun.base.errors import PyrunError
from pyrun.cgroups import limits
from pyrun.cgroups.controllers import cpu, hugepage_limits, memory, network, pids, rdma, table, unified
from pyrun.story import carried

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrun.cgroups.files import Write

MIB = 1 << 20


def pairs(writes: list[Write]) -> list[tuple[str, str]]:
    return [(name, value) for name, value, _, _ in writes]


def test_memory_v1_writes_each_limit_in_the_order_of_a_new_cgroup() -> None:
    config = {
        "limit": MIB, "swap": 2 * MIB, "reservation": 3, "kernel": 4, "kernelTCP": -1,
        "swappiness": 0, "disableOOMKiller": True, "useHierarchy": True,
    }  # fmt: skip
    assert pairs(memory.v1(config)) == [
        ("memory.use_hierarchy", "1"),
        ("memory.limit_in_bytes", str(MIB)),
        ("memory.memsw.limit_in_bytes", str(2 * MIB)),
        ("memory.soft_limit_in_bytes", "3"),
        ("memory.kmem.limit_in_bytes", "4"),
        ("memory.kmem.tcp.limit_in_bytes", "-1"),
        ("memory.swappiness", "0"),
        ("memory.oom_control", "1"),
    ]


def test_memory_v1_unlimited_takes_the_limit_with_swap_away_too() -> None:
    writes = memory.v1({"limit": -1})
    assert pairs(writes) == [("memory.limit_in_bytes", "-1"), ("memory.memsw.limit_in_bytes", "-1")]
    assert writes[1][3]  # a kernel without swap accounting has no such file


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"limit": MIB}, [("memory.max", str(MIB))]),
        ({"limit": MIB, "swap": 3 * MIB}, [("memory.max", str(MIB)), ("memory.swap.max", str(2 * MIB))]),
        ({"limit": MIB, "swap": MIB}, [("memory.max", str(MIB)), ("memory.swap.max", "0")]),
        ({"limit": MIB, "swap": -1}, [("memory.max", str(MIB)), ("memory.swap.max", "max")]),
        ({"limit": -1}, [("memory.max", "max"), ("memory.swap.max", "max")]),
        ({"limit": -1, "swap": -1}, [("memory.max", "max"), ("memory.swap.max", "max")]),
        ({"swap": -1}, [("memory.swap.max", "max")]),
        ({"reservation": MIB}, [("memory.low", str(MIB))]),
        ({"reservation": -1}, [("memory.low", "max")]),
        ({"kernel": -1, "kernelTCP": -1, "useHierarchy": True, "disableOOMKiller": False}, []),
        ({"limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "kernelTCP": 0}, []),
    ],
)
def test_memory_v2(config: dict[str, int], expected: list[tuple[str, str]]) -> None:
    assert pairs(memory.v2(config, "/nonexistent")) == expected


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"swap": MIB}, "swap"),
        ({"limit": -1, "swap": MIB}, "swap"),
        ({"limit": 2 * MIB, "swap": MIB}, "swap"),
        ({"limit": -2}, "limit"),
        ({"kernel": MIB}, "kernel"),
        ({"kernelTCP": MIB}, "kernelTCP"),
        ({"swappiness": 60}, "swappiness"),
        ({"disableOOMKiller": True}, "disableOOMKiller"),
        ({"useHierarchy": False}, "useHierarchy"),
    ],
)
def test_memory_v2_refuses_what_it_has_no_equivalent_of(config: dict[str, int], key: str) -> None:
    with pytest.raises(PyrunError) as caught:
        memory.v2(config, "/nonexistent")
    assert caught.value.json_path == f"linux.resources.memory.{key}"


def test_zero_is_not_set_for_memory() -> None:
    assert memory.v1(dict.fromkeys(("limit", "swap", "reservation", "kernel", "kernelTCP"), 0)) == []


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(1, 1), (2, 1), (1024, 100), (2000, 170), (22000, 1204), (262144, 10000), (1 << 40, 10000)],
)
def test_known_weights(shares: int, weight: int) -> None:
    assert cpu.weight(shares) == weight


@given(st.integers(2, 262144))
def test_weight_is_the_curve_and_rises(shares: int) -> None:
    power = math.log2(shares)
    exact = 10 ** ((power * power + 125 * power) / 612 - 7 / 34)
    assert exact - 1e-6 <= cpu.weight(shares) <= exact + 1 + 1e-6
    assert cpu.weight(shares) <= cpu.weight(shares + 1)


def test_cpu_v1() -> None:
    config = {"shares": 512, "quota": -1, "period": 100000, "burst": 0, "idle": 1, "realtimeRuntime": 950}
    writes = cpu.v1(config)
    assert pairs(writes) == [
        ("cpu.rt_runtime_us", "950"),
        ("cpu.shares", "512"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "-1"),
        ("cpu.cfs_burst_us", "0"),
        ("cpu.idle", "1"),
    ]
    assert [optional for _, _, _, optional in writes] == [False, False, False, False, True, False]
    assert [pair for pair in pairs(writes) if pair[0].startswith(limits.FROM_ABOVE)] == [
        ("cpu.rt_runtime_us", "950")
    ]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"quota": 50000, "period": 100000}, [("cpu.max", "50000 100000")]),
        ({"quota": 50000}, [("cpu.max", "50000")]),
        ({"quota": -1}, [("cpu.max", "max")]),
        ({"quota": -1, "period": 50000}, [("cpu.max", "max 50000")]),
        ({"period": 50000}, [("cpu.max", "max 50000")]),
        ({"shares": 1024, "burst": 10}, [("cpu.weight", "100"), ("cpu.max.burst", "10")]),
        ({"idle": 0}, [("cpu.idle", "0")]),
        ({"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": ""}, []),
    ],
)  # fmt: skip
def test_cpu_v2(config: dict[str, int], expected: list[tuple[str, str]], tmp_path: object) -> None:
    assert pairs(cpu.v2(config, str(tmp_path))) == expected


def test_cpu_v2_keeps_the_quota_in_force(tmp_path: object) -> None:
    with open(f"{tmp_path}/cpu.max", "w") as file:
        file.write("3000 100000\n")
    assert pairs(cpu.v2({"period": 50000}, str(tmp_path))) == [("cpu.max", "3000 50000")]


def test_cpu_v2_refuses_real_time() -> None:
    for key in ("realtimeRuntime", "realtimePeriod"):
        with pytest.raises(PyrunError) as caught:
            cpu.v2({key: 1000}, "")
        assert caught.value.json_path == f"linux.resources.cpu.{key}"


def test_cpuset() -> None:
    assert pairs(cpu.v1({"cpus": "0-3,7", "mems": "0"})) == [
        ("cpuset.cpus", "0-3,7"),
        ("cpuset.mems", "0"),
    ]
    assert pairs(cpu.v2({"cpus": "0-3,7", "mems": "0"}, "")) == [
        ("cpuset.cpus", "0-3,7"),
        ("cpuset.mems", "0"),
    ]
    assert pairs(cpu.v1({"cpus": "", "mems": "", "shares": 2})) == [("cpu.shares", "2")]


def test_pids() -> None:
    assert pairs(pids.v1({"limit": 5})) == [("pids.max", "5")]
    assert pairs(pids.v1({"limit": 0})) == [("pids.max", "0")]
    assert pairs(pids.v1({"limit": -1})) == [("pids.max", "max")]
    assert pids.v1({}) == []
    with pytest.raises(PyrunError):
        pids.v1({"limit": -2})


@pytest.mark.parametrize(
    ("oci_version", "limit", "expected"),
    [
        ("1.0.2-dev", 0, -1),
        ("1.2.1", 0, -1),
        ("1.3.0", 0, 0),
        ("1.3.1", 0, 0),
        ("1.0.0", 5, 5),
        ("1.0.0", -1, -1),
    ],
)
def test_a_pids_limit_of_0_was_unlimited_before_1_3(oci_version: str, limit: int, expected: int) -> None:
    resources = {"pids": {"limit": limit}, "cpu": {}}
    assert table.upgrade(resources, oci_version) == {"pids": {"limit": expected}, "cpu": {}}
    assert resources["pids"]["limit"] == limit
    assert table.upgrade({}, oci_version) == {}


def test_unified_writes_line_by_line() -> None:
    config = {"io.max": "8:0 rbps=1\n8:16 rbps=2\n", "memory.high": "max", "x.y": ""}
    assert pairs(unified.v2(config)) == [
        ("io.max", "8:0 rbps=1"), ("io.max", "8:16 rbps=2"), ("memory.high", "max"), ("x.y", ""),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["../memory.max", "a/b", "", ".", "..", "memory"])
def test_unified_refuses_what_is_no_file_of_a_cgroup(name: str) -> None:
    with pytest.raises(PyrunError, match="not the name of a file"):
        unified.v2({name: "1"})


@pytest.mark.parametrize(
    ("resources", "controller", "json_path"),
    [
        pytest.param(
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 2 * MIB}]},
            "hugetlb",
            "linux.resources.hugepageLimits[0].limit",
            id="huge pages",
        ),
        pytest.param(
            {"network": {"classID": 1}}, "net_cls", "linux.resources.network.classID", id="network class"
        ),
        pytest.param(
            {"network": {"priorities": [{"name": "lo", "priority": 5}]}},
            "net_prio",
            "linux.resources.network.priorities[0]",
            id="network priority",
        ),
        pytest.param(
            {"rdma": {"mlx5_0": {"hcaHandles": 0}}}, "rdma", 'linux.resources.rdma["mlx5_0"]', id="rdma"
        ),
        pytest.param({"blockIO": {"weight": 10}}, "io", "linux.resources.blockIO.weight", id="block I/O"),
    ],
)
def test_a_controller_that_the_host_has_not_got_is_named(
    resources: Any, controller: str, json_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit that nothing here can keep is an error with the property and the controller."""
    monkeypatch.setattr(hugepage_limits, "SIZES", "/nonexistent")
    nowhere: Any = {"id": "x", "path": "/x", "hierarchies": [], "made": [], "kept": []}
    with pytest.raises(PyrunError, match=f"the cgroup controller '{controller}' can't be had") as caught:
        limits.apply(nowhere, resources)
    assert caught.value.json_path == json_path


def test_network_v1() -> None:
    """Each controller's file, whichever hierarchy that is in."""
    asked = {
        "classID": 0x100001,
        "priorities": [{"name": "lo", "priority": 5}, {"name": "eth0", "priority": 0}],
    }
    assert network.v1(asked) == [
        ("net_cls.classid", "1048577", "linux.resources.network.classID", False),
        ("net_prio.ifpriomap", "lo 5", "linux.resources.network.priorities[0]", False),
        ("net_prio.ifpriomap", "eth0 0", "linux.resources.network.priorities[1]", True),
    ]


def test_each_controller_has_its_hierarchy(tmp_path: Path) -> None:
    """net_cls and net_prio may be mounted apart, and one without the other."""
    for name in ("net_cls", "net_prio"):
        (tmp_path / name / "x").mkdir(parents=True)
    (tmp_path / "net_cls/x/net_cls.classid").write_text("0")
    (tmp_path / "net_prio/x/net_prio.ifpriomap").write_text("lo 0")
    there: Any = [
        {"name": name, "controllers": [name], "mount": str(tmp_path / name)}
        for name in ("net_cls", "net_prio")
    ]
    record: Any = {"id": "x", "path": "/x", "hierarchies": there, "made": [], "kept": []}
    asked = {"network": {"classID": 7, "priorities": [{"name": "lo", "priority": 5}]}}
    limits.apply(record, asked)
    assert (tmp_path / "net_cls/x/net_cls.classid").read_text() == "7"
    assert (tmp_path / "net_prio/x/net_prio.ifpriomap").read_text() == "lo 5"
    with pytest.raises(PyrunError, match="the cgroup controller 'net_cls' can't be had"):
        limits.apply({**record, "hierarchies": there[1:]}, asked)


@pytest.mark.parametrize("version", [rdma.v1, rdma.v2], ids=["v1", "v2"])
def test_rdma(version: Callable[..., list[Write]]) -> None:
    """Only what is given is limited; a number that the kernel can't count to is unlimited."""
    asked = {"mlx5_0": {"hcaHandles": 3, "hcaObjects": 2**32 - 1}, "mlx5_1": {"hcaObjects": 0}}
    assert pairs(version(asked)) == [
        ("rdma.max", "mlx5_0 hca_handle=3 hca_object=max"),
        ("rdma.max", "mlx5_1 hca_object=0"),
    ]


@pytest.mark.parametrize("name", ["", "a b", "lo 7", "x\ny", "x\t"])
def test_a_name_of_two_words_is_no_device(name: str) -> None:
    """The kernel would take its second word for a number."""
    with pytest.raises(PyrunError, match="not the name of"):
        network.v1({"priorities": [{"name": name, "priority": 5}]})
    with pytest.raises(PyrunError, match="not the name of"):
        rdma.v1({name: {"hcaHandles": 5}})


def test_a_property_without_a_row_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the specification has and nothing carries out is never ignored; empty values ask for nothing."""
    monkeypatch.setattr(table, "NOT_YET", ("rdma", "network"))
    resources = {"rdma": {"x": {"hcaHandles": 0}}, "network": {"classID": 0}, "pids": {"limit": 5}}
    config = {"linux": {"resources": resources, "personality": {"domain": "LINUX"}}, "unknown": 1}
    refused = [error.json_path for error in carried.refusals(config, frozenset({"linux.personality"}))]
    assert refused == ["linux.personality", "linux.resources.rdma"]


def test_every_property_of_the_specification_has_its_row() -> None:
    """None is refused for want of code."""
    assert table.NOT_YET == ()


def test_a_limit_of_0_huge_pages_needs_no_controller() -> None:
    """CRI-O sends it for every size and every container."""
    nowhere: Any = {"id": "x", "path": "/x", "hierarchies": [], "made": [], "kept": []}
    limits.apply(nowhere, {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]})
