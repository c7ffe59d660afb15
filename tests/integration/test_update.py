"""pyrun update: what is named is changed and nothing else, or nothing at all."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cgroup_machine as machine
import pytest
from bundles import Bundle, Container, Pyrun, new_id, read_record
from cgroup_machine import cgroup, content
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_cgroups_limits import UNLIMITED_V1, has_v1, has_v2

from pyrun.base.errors import PyrunError
from pyrun.cgroups import change

if TYPE_CHECKING:
    from pyrun.cgroups.driver import Record

Make = Callable[..., Bundle]

MIB = 1 << 20
CONTROLLERS = ("memory", "cpu", "cpuset", "pids")
v1 = pytest.mark.skipif(not has_v1(*CONTROLLERS), reason="no cgroup v1 with these controllers")
v2 = pytest.mark.skipif(
    not has_v2(*CONTROLLERS),
    reason="needs cgroup v2 with these controllers, which v1 holds here or the kernel lacks",
)
either = pytest.mark.skipif(
    not (has_v1(*CONTROLLERS) or has_v2(*CONTROLLERS)), reason="no cgroup version has all these controllers"
)

# Files that can be written and don't hold a limit.
NO_LIMITS = (
    "cgroup.procs", "cgroup.threads", "tasks", "cgroup.pressure", "cpuacct.usage", "memory.force_empty",
    "memory.peak", "memory.swap.peak", "memory.failcnt", "cgroup.subtree_control", "cgroup.clone_children",
)  # fmt: skip
# property: the files that hold it, in v1 or v2
FILES = {
    ("memory", "limit"): ("memory.limit_in_bytes", "memory.max"),
    ("memory", "swap"): ("memory.memsw.limit_in_bytes", "memory.swap.max"),
    ("memory", "reservation"): ("memory.soft_limit_in_bytes", "memory.low"),
    ("cpu", "shares"): ("cpu.shares", "cpu.weight", "cpu.weight.nice"),
    ("cpu", "quota"): ("cpu.cfs_quota_us", "cpu.max"),
    ("cpu", "period"): ("cpu.cfs_period_us", "cpu.max"),
    ("cpu", "burst"): ("cpu.cfs_burst_us", "cpu.max.burst"),
    ("cpu", "cpus"): ("cpuset.cpus",),
    ("cpu", "mems"): ("cpuset.mems",),
    ("pids", "limit"): ("pids.max",),
}


def limits(record: Record) -> dict[str, str]:
    """Every limit of a container: what can be read from its cgroups and written there."""
    found = {}
    for directory in machine.directories(record):
        for name in os.listdir(directory):
            path = Path(directory, name)
            mode = path.stat().st_mode
            if (
                stat.S_ISREG(mode)
                and mode & 0o600 == 0o600
                and not name.endswith((*NO_LIMITS, ".failcnt", "max_usage_in_bytes", ".pressure", "_usage"))
            ):
                found[f"{directory}/{name}"] = path.read_text()
    return found


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {path.rpartition("/")[2] for path in before if before[path] != after[path]}


def pages(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most).map(lambda count: count * 4096)


@st.composite
def updates(draw: st.DrawFn) -> dict[str, Any]:
    """Resources that can be had by a container with memory below 64 MiB, and memory and swap at 512 MiB."""
    memory = st.fixed_dictionaries(
        {},
        optional={
            "limit": pages(4096, 16384),
            "swap": pages(16384, 131072),
            "reservation": pages(1024, 16384),
        },
    )
    cpu = st.fixed_dictionaries(
        {},
        optional={
            "shares": st.integers(2, 262144),
            "quota": st.integers(20000, 400000),
            "period": st.sampled_from((20000, 50000, 100000)),
            "burst": st.integers(0, 10000),
            "cpus": st.just("0"),
            "mems": st.just("0"),
        },
    )
    pids = st.fixed_dictionaries({"limit": st.integers(5, 1000)})
    found: dict[str, Any] = draw(
        st.fixed_dictionaries({}, optional={"memory": memory, "cpu": cpu, "pids": pids})
    )
    return found


START = {
    "memory": {"limit": 64 * MIB, "swap": 512 * MIB, "reservation": 8 * MIB},
    "cpu": {"quota": 50000, "period": 100000, "shares": 333, "cpus": "0-1"},
    "pids": {"limit": 77},
}


@either
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(updates())
def test_update_changes_only_what_is_named(resources: dict[str, Any]) -> None:
    """The property: after an update, only the files of what was named have changed."""

    def body() -> None:
        with cgroup(resources=START) as record:
            before = limits(record)
            change.apply(record, json.loads(json.dumps(resources)), [])
            named = {name for part, keys in resources.items() for key in keys for name in FILES[part, key]}
            assert changed(before, limits(record)) <= named
            if "pids" in resources:
                assert content(record, "pids.max") == str(resources["pids"]["limit"])

    machine.run(body, pure_v2=False)


@either
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(updates(), st.sampled_from([{"cpus": "4095"}, {"idle": 1, "mems": "77"}, {"quota": 1}]))
def test_all_or_nothing(resources: dict[str, Any], bad: dict[str, Any]) -> None:
    """The property: an update of which one part can't be had changes nothing."""

    def body() -> None:
        with cgroup(resources=START) as record:
            before = limits(record)
            wrong = {**resources, "cpu": {**resources.get("cpu", {}), **bad}}
            with pytest.raises(PyrunError) as caught:
                change.apply(record, wrong, [])
            assert "put back" not in caught.value.sentence
            assert changed(before, limits(record)) == set()

    machine.run(body, pure_v2=False)


@v1
def test_device_rules_are_put_back() -> None:
    """Rules that v1 can't have in full leave those in force, and the other limits."""
    first = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"},
    ]
    good = [{"allow": True, "type": "c", "major": 10, "access": "rwm"}]
    bad = [*good, {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "w"}]

    def body() -> None:
        with cgroup(resources={"devices": first}) as record:
            before = {**limits(record), "devices": content(record, "devices.list")}
            with pytest.raises(PyrunError, match="can't deny a part"):
                change.apply(record, {"pids": {"limit": 9}, "devices": bad}, first)
            assert {**limits(record), "devices": content(record, "devices.list")} == before
            change.apply(record, {"devices": good}, first)
            assert "c 10:* rwm" in content(record, "devices.list").split("\n")

    machine.run(body, pure_v2=False)


def test_files_of_v2_are_put_back() -> None:
    """linux.resources.unified, where v2 has no controller but hugetlb."""

    def body() -> None:
        with cgroup(resources={"unified": {"cgroup.max.depth": "7"}}) as record:
            before = limits(record)
            with pytest.raises(PyrunError, match=r"writing x to cgroup\.max\.descendants"):
                change.apply(
                    record, {"unified": {"cgroup.max.depth": "9", "cgroup.max.descendants": "x"}}, []
                )
            assert limits(record) == before
            change.apply(record, {"unified": {"cgroup.max.depth": "9"}}, [])
            assert changed(before, limits(record)) == {"cgroup.max.depth"}

    machine.run(body, pure_v2=True)


def record_of(container: Container) -> Record:
    found = read_record(container.pyrun.root / container.id / "state.json")
    record: Record = found["cgroup"]
    return record


@either
@pytest.mark.parametrize(
    ("options", "files"),
    [
        ("--memory 32M", {"memory.limit_in_bytes memory.max": str(32 * MIB)}),
        ("--memory=33554432 --memory-swap 64m", {"memory.limit_in_bytes memory.max": str(32 * MIB),
         "memory.memsw.limit_in_bytes": str(64 * MIB), "memory.swap.max": str(32 * MIB)}),
        ("--memory-swap 96m", {"memory.memsw.limit_in_bytes": str(96 * MIB), "memory.swap.max": str(32 * MIB)}),
        ("--memory-reservation 1.5m", {"memory.soft_limit_in_bytes memory.low": str(3 * MIB // 2)}),
        ("--memory -1", {"memory.limit_in_bytes": UNLIMITED_V1, "memory.max": "max"}),
        ("--cpu-share 2048", {"cpu.shares": "2048", "cpu.weight": "174"}),
        ("--cpu-quota 30000", {"cpu.cfs_quota_us": "30000", "cpu.max": "30000 100000"}),
        ("--cpu-quota -1", {"cpu.cfs_quota_us": "-1", "cpu.max": "max 100000"}),
        ("--cpu-period 50000", {"cpu.cfs_period_us": "50000", "cpu.max": "80000 50000"}),
        ("--cpu-quota 20000 --cpu-period 40000 --cpu-burst 10000", {"cpu.cfs_quota_us": "20000",
         "cpu.cfs_burst_us cpu.max.burst": "10000", "cpu.max": "20000 40000"}),
        ("--cpu-idle 1", {"cpu.idle": "1"}),
        ("--cpuset-cpus 1 --cpuset-mems 0", {"cpuset.cpus": "1", "cpuset.mems": "0"}),
        ("--pids-limit 55", {"pids.max": "55"}),
        ("--pids-limit=-1", {"pids.max": "max"}),
        ("--pids-limit 0", {"pids.max": "0"}),
    ],
)  # fmt: skip
def test_options(pyrun: Pyrun, bundle: Make, options: str, files: dict[str, str]) -> None:
    """Each option that this host can serve."""
    resources = {
        "memory": {"limit": 64 * MIB, "swap": 128 * MIB},
        "cpu": {"quota": 80000, "period": 100000},
        "pids": {"limit": 99},
    }
    container = pyrun.start(bundle({"linux": {"resources": resources}}, sh="sleep 1000"))
    assert pyrun.ok("update", *options.split(), container.id).out == ""
    record = record_of(container)
    seen = 0
    for names, value in files.items():
        for name in names.split():
            if os.path.exists(f"{machine.directory_of(record, name.partition('.')[0])}/{name}"):
                assert content(record, name) == value, name
                seen += 1
    assert seen


def test_options_for_every_status(any_host: Pyrun, bundle: Make, tmp_path: Path) -> None:
    """Created, running and paused containers are updated, stopped ones aren't; the file may be standard input."""
    container = any_host.create(bundle(sh="sleep 1000"))
    path = tmp_path / "resources.json"
    path.write_text('{"unified": {}, "pids": null, "cpu": {"shares": 0}, "blockIO": {"weight": 0}, "xyz": 1}')
    any_host.ok("update", "--resources", str(path), container.id)
    container.start()
    any_host.ok("update", f"--resources={path}", container.id)
    any_host.ok("pause", container.id)
    any_host.ok("update", "-r", "-", container.id, data=path.read_bytes())
    any_host.ok("update", container.id)
    assert container.status == "paused"
    container.kill("KILL")
    container.wait()
    sentence = f'container not running: "{container.id}" is stopped'
    assert any_host.error("update", "--pids-limit", "5", container.id) == sentence
    container.delete()
    name = new_id()
    assert any_host.error("update", "--pids-limit", "5", name) == f'container "{name}" does not exist'


@v1
def test_resources_file_of_every_kind(pyrun: Pyrun, bundle: Make) -> None:
    """As engines send them; rules for devices that are in force already are left in peace, others are taken."""
    rules = [{"allow": False, "access": "rwm"}]
    container = pyrun.start(bundle({"linux": {"resources": {"devices": rules}}}, sh="sleep 1000"))
    record = record_of(container)
    os.mkdir(f"{machine.directory_of(record, 'devices')}/below")  # "all" can't be written any more
    resources = {
        "devices": rules,
        "memory": {"limit": 32 * MIB, "swap": 0},
        "cpu": {"shares": 100, "cpus": "0"},
        "pids": {"limit": 12},
    }
    pyrun.ok("update", "--resources", "-", container.id, data=json.dumps(resources).encode())
    assert content(record, "memory.limit_in_bytes") == str(32 * MIB)
    assert content(record, "pids.max") == "12"
    wider = [*rules, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}]
    for each in (wider, rules, wider):
        pyrun.ok("update", "--resources", "-", container.id, data=json.dumps({"devices": each}).encode())
        assert ("c 10:229 rw" in content(record, "devices.list")) == (each is wider)


@either
def test_nothing_at_all(pyrun: Pyrun, bundle: Make) -> None:
    """One limit that can't be had, and those before it are put back."""
    container = pyrun.start(bundle({"linux": {"resources": {"pids": {"limit": 99}}}}, sh="sleep 1000"))
    before = limits(record_of(container))
    line = ["--memory", "64M", "--cpu-share", "50", "--pids-limit", "9", "--cpuset-cpus", "4095"]
    assert pyrun.error("update", *line, container.id).startswith("linux.resources.cpu.cpus: writing 4095 to ")
    assert limits(record_of(container)) == before


@v1
def test_memory_and_swap_in_both_directions(pyrun: Pyrun, bundle: Make) -> None:
    """v1 wants one before the other when they grow, and the other before the one when they shrink."""
    container = pyrun.start(bundle(sh="sleep 1000"))
    for limit, swap in ((32, 32), (128, 256), (64, 64), (16, 48), (512, 512)):
        pyrun.ok("update", "--memory", f"{limit}m", "--memory-swap", f"{swap}M", container.id)
        record = record_of(container)
        assert content(record, "memory.limit_in_bytes") == str(limit * MIB)
        assert content(record, "memory.memsw.limit_in_bytes") == str(swap * MIB)
    sentence = pyrun.error("update", "--memory", "1g", container.id)
    assert sentence.endswith("Invalid argument (memory may not be above memory and swap together)")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--memory lots", '--memory: "lots" is not a number of bytes, such as 1048576, 64M or -1'),
        ("--memory -2", '--memory: "-2" is not a number of bytes, such as 1048576, 64M or -1'),
        ("--cpu-share x", '--cpu-share: "x" is not a number'),
        ("--cpu-share -1", "linux.resources.cpu.shares: found -1, wanted an integer from 0 to 18446744073709551615"),
        ("--blkio-weight 70000", "linux.resources.blockIO.weight: found 70000, wanted an integer from"),
        ("--memory 1m --resources -", "--resources says all that there is to change, and --memory can't be added"),
        ("--resources /nonexistent", "reading the resources: /nonexistent: does not exist"),
        ("--resources /", "reading the resources: /: Is a directory"),
        ("--cpu-quota 1000 --cpu-burst 2000", "linux.resources.cpu.burst: found 2000, wanted a burst"),
    ],
)  # fmt: skip
def test_refused_options(pyrun: Pyrun, bundle: Make, options: str, sentence: str) -> None:
    assert pyrun.error("update", *options.split(), new_id()).startswith(sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "--resources: - is not valid JSON: "),
        ("[]", "linux.resources: found an empty array, wanted an object"),
        ('{"memory": {"limit": "1"}}', 'linux.resources.memory.limit: found "1", wanted an integer from'),
        ('{"memory": {"limit": 1}, "memory": {}}', "--resources: - is not valid JSON: "),
        ('{"unified": {"a/b": "1"}}', 'linux.resources.unified["a/b"]: found "a/b", wanted the name of a file'),
    ],
)  # fmt: skip
def test_refused_resources(pyrun: Pyrun, text: str, sentence: str) -> None:
    assert pyrun.error("update", "--resources", "-", new_id(), data=text.encode()).startswith(sentence)


@v2
def test_conversions_of_v2(pyrun: Pyrun, bundle: Make) -> None:
    """Memory and swap together become swap alone, also when only one of them is named."""
    container = pyrun.start(
        bundle({"linux": {"resources": {"memory": {"limit": 64 * MIB}}}}, sh="sleep 1000")
    )
    record = record_of(container)
    pyrun.ok("update", "--memory-swap", "96M", container.id)
    assert (content(record, "memory.max"), content(record, "memory.swap.max")) == (
        str(64 * MIB),
        str(32 * MIB),
    )
    pyrun.ok("update", "--memory-swap", "-1", container.id)
    assert content(record, "memory.swap.max") == "max"
    pyrun.ok("update", "--memory", "-1", container.id)
    sentence = pyrun.error("update", "--memory-swap", "96M", container.id)
    assert sentence.endswith("memory and swap together need a memory limit")


def test_a_limit_is_in_force_at_once(pyrun: Pyrun, bundle: Make) -> None:
    """The container itself notices."""
    if not (has_v1("pids") or has_v2("pids")):
        pytest.skip("needs the pids controller")
    script = "until [ -e /tmp/go ]; do usleep 5000; done; (true) && echo forked"
    container = pyrun.start(bundle({"root": {"readonly": False}}, sh=script))
    pyrun.ok("update", "--pids-limit", "1", container.id)
    (container.bundle.rootfs / "tmp/go").touch()
    container.wait()
    assert "forked" not in container.out()
