"""linux.resources in the files of real cgroups: v1 on this machine, v2 where it has the controllers (tests/vm)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cgroup_machine as machine
import pytest
from cgroup_machine import ask, cgroup, content, new_id, new_path

from pyrun.base.errors import PyrunError, render
from pyrun.cgroups import cgroupfs, hierarchies, removal

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[Callable[[], None]], None]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="cgroups need root")

MIB = 1 << 20
UNLIMITED_V1 = str((1 << 63) - os.sysconf("SC_PAGE_SIZE"))


def has_v1(*controllers: str) -> bool:
    found = [name for entry in hierarchies.layout()["hierarchies"] for name in entry["controllers"]]
    return all(name in found for name in controllers)


def has_v2(*controllers: str) -> bool:
    layout = hierarchies.layout()
    if layout["mode"] != "v2":
        return False
    available = Path(layout["hierarchies"][0]["mount"], "cgroup.controllers").read_text().split()
    return all(name in available for name in controllers)


v1 = pytest.mark.skipif(
    not has_v1("memory", "cpu", "cpuset", "pids"), reason="no cgroup v1 with these controllers"
)
v2 = pytest.mark.skipif(
    not has_v2("memory", "cpu", "cpuset", "pids"),
    reason="needs cgroup v2 with these controllers, which v1 holds here or the kernel lacks",
)


def on_this_machine(body: Callable[[], None]) -> None:
    machine.run(body, pure_v2=False)


def error_of(resources: dict[str, Any], path: str | None = None) -> PyrunError:
    """The error that these limits give; nothing is left of the attempt."""
    record = cgroupfs.plan(path or new_path(), new_id())
    cgroupfs.create(record)
    try:
        with pytest.raises(PyrunError) as caught:
            cgroupfs.limit(record, {"devices": [], **resources})
    finally:
        removal.remove(record)
    return caught.value


@v1
@pytest.mark.parametrize(
    ("resources", "files"),
    [
        ({"memory": {"limit": 64 * MIB}}, {"memory.limit_in_bytes": str(64 * MIB)}),
        ({"memory": {"limit": 64 * MIB, "swap": 96 * MIB}}, {"memory.memsw.limit_in_bytes": str(96 * MIB)}),
        ({"memory": {"limit": -1, "swap": -1}}, {"memory.memsw.limit_in_bytes": UNLIMITED_V1}),
        ({"memory": {"limit": 0}}, {"memory.limit_in_bytes": UNLIMITED_V1}),
        ({"memory": {"reservation": 32 * MIB}}, {"memory.soft_limit_in_bytes": str(32 * MIB)}),
        ({"memory": {"swappiness": 17}}, {"memory.swappiness": "17"}),
        ({"memory": {"disableOOMKiller": True}}, {"memory.oom_control": "oom_kill_disable 1\nunder_oom 0\noom_kill 0"}),
        ({"memory": {"disableOOMKiller": False, "useHierarchy": True}}, {"memory.use_hierarchy": "1"}),
        ({"cpu": {"shares": 512}}, {"cpu.shares": "512"}),
        ({"cpu": {"shares": 0, "quota": 0, "period": 0}}, {"cpu.shares": "1024", "cpu.cfs_quota_us": "-1"}),
        ({"cpu": {"quota": 50000, "period": 20000}}, {"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "20000"}),
        ({"cpu": {"quota": -1}}, {"cpu.cfs_quota_us": "-1"}),
        ({"cpu": {"quota": 50000, "burst": 20000}}, {"cpu.cfs_burst_us": "20000"}),
        ({"cpu": {"idle": 1}}, {"cpu.idle": "1"}),
        ({"cpu": {"shares": 2048, "idle": 0}}, {"cpu.idle": "0", "cpu.shares": "2048"}),
        ({"cpu": {"cpus": "0", "mems": "0"}}, {"cpuset.cpus": "0", "cpuset.mems": "0"}),
        ({"cpu": {"cpus": "", "mems": ""}}, {"cpuset.mems": "0"}),
        ({"pids": {"limit": 17}}, {"pids.max": "17"}),
        ({"pids": {"limit": 0}}, {"pids.max": "0"}),
        ({"pids": {"limit": -1}}, {"pids.max": "max"}),
    ],
)  # fmt: skip
def test_v1(resources: dict[str, Any], files: dict[str, str]) -> None:
    def body() -> None:
        for path in (new_path(), new_path("a", "b")):
            with cgroup(path, resources) as record:
                assert {name: content(record, name) for name in files} == files
                ask(record, os.getpid)  # a process can enter

    on_this_machine(body)


@v1
@pytest.mark.skipif(
    not os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"), reason="no CONFIG_RT_GROUP_SCHED"
)
def test_v1_gives_real_time_to_new_parents() -> None:
    def body() -> None:
        with cgroup(new_path("a"), {"cpu": {"realtimeRuntime": 2000, "realtimePeriod": 500000}}) as record:
            assert content(record, "cpu.rt_runtime_us") == "2000"
            assert content(record, "cpu.rt_period_us") == "500000"

    on_this_machine(body)


@v1
def test_v1_limits_are_updated_in_the_order_that_works() -> None:
    def body() -> None:
        with cgroup() as record:
            for limit, swap in (
                (64, 64),
                (128, 256),
                (32, 48),
                (-1, -1),
                (16, 16),
                (512, -1),
                (16, 20),
                (-1, 0),
            ):
                memory = {
                    "limit": max(limit, -1) * (MIB if limit > 0 else 1),
                    "swap": swap * MIB if swap > 0 else swap,
                }
                cgroupfs.limit(record, {"memory": memory})
                expected = str(limit * MIB) if limit > 0 else UNLIMITED_V1
                assert content(record, "memory.limit_in_bytes") == expected
            for quota, period, burst in ((10000, 100000, 10000), (5000, 20000, 0), (900000, 1000000, 900000)):
                cgroupfs.limit(record, {"cpu": {"quota": quota, "period": period, "burst": burst}})
                assert content(record, "cpu.cfs_quota_us") == str(quota)
                assert content(record, "cpu.cfs_period_us") == str(period)
            cgroupfs.limit(record, {"cpu": {"idle": 1}})
            cgroupfs.limit(record, {"cpu": {"idle": 0, "shares": 77}})
            assert content(record, "cpu.shares") == "77"
            before = content(record, "devices.list")
            cgroupfs.limit(record, {"pids": {"limit": 9}})
            assert content(record, "devices.list") == before

    on_this_machine(body)


@v1
@pytest.mark.parametrize(
    ("resources", "start", "end"),
    [
        ({"memory": {"limit": MIB * 8, "swap": MIB}}, "linux.resources.memory.swap: writing 1048576 to memory.memsw.",
         ": Invalid argument (memory may not be above memory and swap together)"),
        ({"memory": {"limit": -7}}, "linux.resources.memory.limit: -7 is neither a number of bytes nor -1", ""),
        ({"memory": {"kernel": MIB}}, "linux.resources.memory.kernel: ", ""),
        ({"memory": {"useHierarchy": False}}, "linux.resources.memory.useHierarchy: writing 0 to ",
         ": Invalid argument (since Linux 5.11 a cgroup's memory includes that of those below)"),
        ({"cpu": {"cpus": "4095"}}, "linux.resources.cpu.cpus: writing 4095 to cpuset.cpus of ", ""),
        ({"cpu": {"cpus": "zero"}}, "linux.resources.cpu.cpus: writing zero to cpuset.cpus of ",
         ": Invalid argument (a list is such as 0-3,7)"),
        ({"cpu": {"mems": "5"}}, "linux.resources.cpu.mems: writing 5 to cpuset.mems of ", ""),
        ({"cpu": {"quota": 1}}, "linux.resources.cpu.quota: writing 1 to cpu.cfs_quota_us of ",
         ": Invalid argument (a quota is at least 1000 microseconds)"),
        ({"cpu": {"period": 1}}, "linux.resources.cpu.period: writing 1 to cpu.cfs_period_us of ", ""),
        ({"unified": {"memory.high": "1"}},
         "linux.resources.unified.memory.high: the cgroup controller 'memory' can't be had: ", ""),
        ({"unified": {"no.such": "1"}},
         "linux.resources.unified.no.such: the cgroup controller 'no' can't be had: ", ""),
    ],
)  # fmt: skip
def test_v1_errors(resources: dict[str, Any], start: str, end: str) -> None:
    def body() -> None:
        text = render(error_of(resources))
        assert text.startswith(start)
        assert text.endswith(end)
        assert "no such file" not in text.lower()
        assert "permission denied" not in text.lower()

    on_this_machine(body)


def test_pids_limit_holds() -> None:
    if not (has_v1("pids") or has_v2("pids")):
        pytest.skip("needs the pids controller")

    def forks() -> int:
        children = []
        try:
            while len(children) < 10:
                pid = os.fork()
                if pid == 0:
                    time.sleep(60)
                    os._exit(0)
                children.append(pid)
        except BlockingIOError:
            pass
        for pid in children:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        return len(children)

    def body() -> None:
        with cgroup(resources={"pids": {"limit": 4}}) as record:
            assert ask(record, forks) == 3
        with cgroup(resources={"pids": {"limit": -1}}) as record:
            assert ask(record, forks) == 10
        if has_v1("pids"):  # a process may be moved beyond the limit, but not be born there
            with cgroup(resources={"pids": {"limit": 0}}) as record:
                assert ask(record, forks) == 0

    on_this_machine(body)


def test_memory_limit_kills() -> None:
    if not (has_v1("memory") or has_v2("memory")):
        pytest.skip("needs the memory controller")

    def body() -> None:
        with cgroup(resources={"memory": {"limit": 24 * MIB, "swap": 24 * MIB}}) as record:
            pid = machine.spawn(record, lambda: len(bytearray(64 * MIB)))
            assert os.waitpid(pid, 0)[1] == 9

    on_this_machine(body)


def test_a_controller_that_is_nowhere_is_named() -> None:
    if hierarchies.layout()["mode"] == "v2":
        pytest.skip("needs a machine whose cgroup v2 has no memory controller, because v1 holds it")

    def body() -> None:
        for part, path in (({"limit": MIB}, "limit"), ({"reservation": MIB}, "reservation")):
            error = error_of({"memory": part})
            assert error.json_path == f"linux.resources.memory.{path}"
            assert error.sentence == (
                "the cgroup controller 'memory' can't be had: this machine has none in cgroup v2"
            )
        assert error_of({"cpu": {"cpus": "0"}}).json_path == "linux.resources.cpu.cpus"
        assert error_of({"unified": {"pids.max": "3"}}).json_path == "linux.resources.unified.pids.max"
        with cgroup(resources={"memory": {"disableOOMKiller": False}, "cpu": {"shares": 0}}) as record:
            ask(record, os.getpid)  # what asks for nothing needs no controller
        with cgroup(resources={"unified": {"cgroup.max.depth": "5"}}) as record:
            assert Path(machine.directories(record)[0], "cgroup.max.depth").read_text() == "5\n"

    machine.run(body, pure_v2=True)


def test_hybrid_writes_unified_to_v2_controllers() -> None:
    layout = hierarchies.layout()
    mount = layout["hierarchies"][-1]["mount"]
    if layout["mode"] != "hybrid" or "hugetlb" not in Path(mount, "cgroup.controllers").read_text():
        pytest.skip("needs a hybrid machine whose cgroup v2 has hugetlb")

    def body() -> None:
        with cgroup(resources={"unified": {"hugetlb.2MB.max": "2097152"}}) as record:
            assert Path(machine.directories(record)[-1], "hugetlb.2MB.max").read_text() == "2097152\n"

    on_this_machine(body)


@v2
@pytest.mark.parametrize(
    ("resources", "files"),
    [
        ({"memory": {"limit": 64 * MIB}}, {"memory.max": str(64 * MIB)}),
        ({"memory": {"limit": 64 * MIB, "swap": 96 * MIB}}, {"memory.swap.max": str(32 * MIB)}),
        ({"memory": {"limit": -1, "swap": -1}}, {"memory.max": "max", "memory.swap.max": "max"}),
        ({"memory": {"reservation": 32 * MIB}}, {"memory.low": str(32 * MIB)}),
        ({"memory": {"limit": 64 * MIB, "checkBeforeUpdate": True}}, {"memory.max": str(64 * MIB)}),
        ({"cpu": {"shares": 1024}}, {"cpu.weight": "100"}),
        ({"cpu": {"shares": 2}}, {"cpu.weight": "1"}),
        ({"cpu": {"shares": 262144}}, {"cpu.weight": "10000"}),
        ({"cpu": {"quota": 50000, "period": 20000}}, {"cpu.max": "50000 20000"}),
        ({"cpu": {"period": 20000}}, {"cpu.max": "max 20000"}),
        ({"cpu": {"quota": 50000, "burst": 20000}}, {"cpu.max": "50000 100000", "cpu.max.burst": "20000"}),
        ({"cpu": {"idle": 1}}, {"cpu.idle": "1"}),
        ({"cpu": {"cpus": "0", "mems": "0"}}, {"cpuset.cpus": "0", "cpuset.mems": "0"}),
        ({"pids": {"limit": 17}}, {"pids.max": "17"}),
        ({"pids": {"limit": 0}}, {"pids.max": "0"}),
        ({"unified": {"memory.high": "33554432", "hugetlb.2MB.max": "2097152"}},
         {"memory.high": "33554432", "hugetlb.2MB.max": "2097152"}),
        ({"memory": {"limit": 64 * MIB}, "unified": {"memory.max": "8388608"}}, {"memory.max": "8388608"}),
    ],
)  # fmt: skip
def test_v2(resources: dict[str, Any], files: dict[str, str]) -> None:
    def body() -> None:
        for path in (new_path(), new_path("a", "b")):
            with cgroup(path, resources) as record:
                assert {name: content(record, name) for name in files} == files
                assert set(content(record, "cgroup.controllers").split()) >= {"memory", "cpu", "pids"}

    on_this_machine(body)


@v2
def test_v2_update_keeps_the_rest() -> None:
    def body() -> None:
        with cgroup(resources={"cpu": {"quota": 30000, "period": 60000}}) as record:
            cgroupfs.limit(record, {"cpu": {"period": 50000}})
            assert content(record, "cpu.max") == "30000 50000"
            cgroupfs.limit(record, {"cpu": {"quota": 10000}})
            assert content(record, "cpu.max") == "10000 50000"
            cgroupfs.limit(record, {"cpu": {"quota": -1}})
            assert content(record, "cpu.max") == "max 50000"
            pid = machine.spawn(record, lambda: (bytearray(16 * MIB), time.sleep(60)))
            machine.wait_until(lambda: int(content(record, "memory.current")) > 16 * MIB)
            with pytest.raises(PyrunError, match="is below the") as caught:
                cgroupfs.limit(record, {"memory": {"limit": MIB, "checkBeforeUpdate": True}})
            assert caught.value.json_path == "linux.resources.memory.limit"
            assert content(record, "memory.max") == "max"
            removal.kill(record)
            os.waitpid(pid, 0)

    on_this_machine(body)


@v2
def test_v2_sets_no_limits_below_a_parent_with_processes() -> None:
    def body() -> None:
        with cgroup() as parent:
            pid = machine.spawn(parent, machine.sleep)
            for resources, path in (({"memory": {"limit": MIB}}, "memory"), ({"pids": {"limit": 5}}, "pids")):
                error = error_of(resources, parent["path"] + "/below")
                assert error.json_path == f"linux.resources.{path}.limit"
                assert error.sentence == (
                    f"the cgroup controller '{path}' can't be had: enabling it below {machine.directories(parent)[0]}: "
                    "that cgroup has processes of its own (cgroup v2 allows them only in leaves)"
                )
            with cgroup(parent["path"] + "/below") as record:
                ask(record, os.getpid)
            removal.kill(parent)
            os.waitpid(pid, 0)

    on_this_machine(body)


def test_a_threaded_cgroup_is_refused() -> None:
    def body() -> None:
        with cgroup() as above:
            Path(machine.directories(above)[0], "cgroup.type").write_text("threaded")
            record = cgroupfs.plan(above["path"] + "/x", new_id())
            with pytest.raises(PyrunError, match="it can't hold a process") as caught:
                cgroupfs.create(record)
            removal.remove(record)
            assert caught.value.json_path == "linux.cgroupsPath"

    machine.run(body, pure_v2=True)
