"""Device rules in force: real nodes opened and made in a container's cgroup, v1's files and v2's program.

The numbers are of kinds reserved for experiments (60, 61): where the rules allow an open, there is no driver and the
kernel says ENXIO; where they don't, EPERM comes first.
"""

from __future__ import annotations

import errno
import itertools
import os
import tempfile
from functools import partial
from typing import TYPE_CHECKING, Any

import cgroup_machine as machine
import pytest
from cgroup_machine import ask, cgroup
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pyrun.base.errors import PyrunError
from pyrun.cgroups import cgroupfs, devices_v2, hierarchies, removal
from pyrun.kernel import bpf

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrun.cgroups.driver import Record

    Run = Callable[[Callable[[], None]], None]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="cgroups and device nodes need root")

NODES = list(itertools.product("cb", (60, 61), (1, 2)))
OPENS = (("r", os.O_RDONLY), ("w", os.O_WRONLY), ("rw", os.O_RDWR))
DENY_ALL: dict[str, Any] = {"allow": False, "access": "rwm"}
RULE = st.fixed_dictionaries(
    {"allow": st.booleans()},
    optional={
        "type": st.sampled_from("acb"),
        "major": st.sampled_from((-1, 60, 61)),
        "minor": st.sampled_from((-1, 1, 2)),
        "access": st.sampled_from(("r", "w", "m", "rw", "rm", "wm", "rwm")),
    },
)


@pytest.fixture(params=["this machine", "pure v2"])
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == "pure v2" and hierarchies.layout()["mode"] == "v2":
        pytest.skip("needs a host with cgroup v1: this one has v2 alone, so that the other case is the same")
    return partial(machine.run, pure_v2=request.param == "pure v2")


@pytest.fixture(scope="module")
def nodes() -> Any:
    with tempfile.TemporaryDirectory(prefix="pyrun-test-nodes-") as folder:
        for kind, major, minor in NODES:
            mode = 0o600 | (0o020000 if kind == "c" else 0o060000)
            os.mknod(f"{folder}/{kind}{major}-{minor}", mode, os.makedev(major, minor))
        try:
            os.close(os.open(f"{folder}/c60-1", os.O_RDONLY))
        except OSError as error:
            if error.errno != errno.ENXIO:
                pytest.skip(f"device nodes can't be used in {folder}: {error.strerror}")
        yield folder


def outcomes(folder: str) -> list[str]:
    """Which accesses are allowed to the calling process, as "c 60 1 rw"."""
    found = []
    for kind, major, minor in NODES:
        path = f"{folder}/{kind}{major}-{minor}"
        for access, flags in OPENS:
            try:
                os.close(os.open(path, flags | os.O_NONBLOCK))
            except OSError as error:
                if error.errno == errno.EPERM:
                    continue
            found.append(f"{kind} {major} {minor} {access}")
    return found


def expected(config: list[dict[str, Any]]) -> list[str]:
    """The same by the simplest reading: for each access the last rule that covers it, at first nothing."""
    found = []
    for (kind, major, minor), (access, _) in itertools.product(NODES, OPENS):
        verdicts = []
        for letter in access:
            verdict = False
            for rule in config:
                if (
                    rule.get("type", "a") in ("a", kind)
                    and rule.get("major", -1) in (-1, major)
                    and rule.get("minor", -1) in (-1, minor)
                    and letter in rule.get("access", "rwm")
                ):
                    verdict = rule["allow"]
            verdicts.append(verdict)
        if all(verdicts):
            found.append(f"{kind} {major} {minor} {access}")
    return found


def test_random_rules(run: Run, nodes: str) -> None:
    def body() -> None:
        with cgroup() as record:

            @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
            @given(st.lists(RULE, max_size=6))
            @example([{"allow": True}])
            @example([{"allow": True}, DENY_ALL, {"allow": True, "type": "c", "major": 60, "access": "rw"}])
            def check(config: list[dict[str, Any]]) -> None:
                try:
                    cgroupfs.limit(record, {"devices": config})
                except PyrunError as error:
                    if "cgroup v1 can't" in error.sentence:
                        return
                    raise
                assert ask(record, lambda: outcomes(nodes)) == expected(config)

            check()

    run(body)


def test_the_devices_of_every_container(run: Run) -> None:
    def use() -> dict[str, str]:
        found = {}
        for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "kmsg", "mem"):
            try:
                os.close(os.open(f"/dev/{name}", os.O_RDWR if name != "mem" else os.O_RDONLY))
                found[name] = "yes"
            except OSError as error:
                found[name] = errno.errorcode[error.errno or 0]
        return found

    def body() -> None:
        for config in ({}, {"devices": []}, {"devices": [DENY_ALL]}):
            with cgroup(resources=config) as record:
                found = ask(record, use)
            assert found.pop("tty") in ("yes", "ENXIO")  # there, but this process may have no terminal
            assert found.pop("ptmx") in ("yes", "ENOENT")
            denied = {"kmsg": "EPERM", "mem": "EPERM"}
            for name, answer in found.items():
                assert answer == denied.get(name, "yes") or answer == "ENOENT", name

    run(body)


def test_nodes_can_be_made_but_not_opened(run: Run) -> None:
    def make() -> str:
        with tempfile.TemporaryDirectory(prefix="pyrun-test-nodes-") as folder:
            os.mknod(f"{folder}/x", 0o020600, os.makedev(60, 1))
            try:
                os.open(f"{folder}/x", os.O_RDONLY)
            except OSError as error:
                return errno.errorcode[error.errno or 0]
        return "opened"

    def body() -> None:
        with cgroup() as record:
            assert ask(record, make) == "EPERM"

    run(body)


def programs(record: Record) -> list[int]:
    fd = os.open(machine.directory_of(record, "devices"), os.O_RDONLY)
    try:
        return bpf.attached(fd)
    finally:
        os.close(fd)


def test_v2_has_one_program_that_is_replaced(nodes: str) -> None:
    def body() -> None:
        with cgroup() as record:
            first = programs(record)
            assert len(first) == 1
            cgroupfs.limit(record, {"devices": [{"allow": True, "type": "c", "major": 60}]})
            second = programs(record)
            assert len(second) == 1
            assert second != first
            with pytest.raises(FileNotFoundError):
                os.close(bpf.by_id(first[0]))
            cgroupfs.limit(record, {"pids": {}})
            assert programs(record) == second
            cgroupfs.limit(record, {"devices": [{"allow": True}]})
            assert programs(record) == []
            assert len(ask(record, lambda: outcomes(nodes))) == len(NODES) * len(OPENS)

    machine.run(body, pure_v2=True)


def test_v2_removes_only_its_own_programs() -> None:
    def body() -> None:
        path = machine.new_path()
        with cgroup(path, {"devices": [{"allow": True}]}, "outer") as outer:
            machine.forget_owner(outer)
            directory = machine.directory_of(outer, "devices")
            fd = os.open(directory, os.O_RDONLY)
            foreign = bpf.load_device_program(devices_v2.program(True, []), "foreign")
            bpf.attach(fd, foreign)
            os.close(foreign)
            theirs = bpf.attached(fd)
            with cgroup(path) as record:
                assert len(programs(record)) == 2
                cgroupfs.limit(record, {"devices": []})
                assert len(programs(record)) == 2
            assert bpf.attached(fd) == theirs
            os.close(fd)

    machine.run(body, pure_v2=True)


def test_a_thousand_rules() -> None:
    def body() -> None:
        config = [{"allow": i % 3 > 0, "type": "c", "major": 60, "minor": i} for i in range(1000)]
        with cgroup(resources={"devices": config}) as record:
            assert len(programs(record)) == 1

    machine.run(body, pure_v2=True)


def test_v1_update_goes_from_any_rules_to_any(nodes: str) -> None:
    if hierarchies.layout()["mode"] == "v2":
        pytest.skip("needs cgroup v1's devices hierarchy")

    def body() -> None:
        with cgroup() as record:
            before = machine.content(record, "devices.list")
            cgroupfs.limit(record, {"devices": [{"allow": True, "type": "b", "major": 60, "access": "r"}]})
            assert "b 60:* rm" in machine.content(record, "devices.list").split("\n")
            cgroupfs.limit(record, {"devices": []})
            assert machine.content(record, "devices.list") == before
            cgroupfs.limit(record, {"devices": [{"allow": True}]})
            assert machine.content(record, "devices.list") == "a *:* rwm"

    machine.run(body, pure_v2=False)


def test_v1_refuses_a_hole_by_its_json_path() -> None:
    if hierarchies.layout()["mode"] == "v2":
        pytest.skip("needs cgroup v1's devices hierarchy")

    def body() -> None:
        config = [DENY_ALL, {"allow": True, "type": "c", "access": "rwm"}]
        config.append({"allow": False, "type": "c", "major": 10, "minor": 200, "access": "rwm"})
        record = cgroupfs.plan(machine.new_path(), "i")
        cgroupfs.create(record)
        with pytest.raises(PyrunError) as caught:
            cgroupfs.limit_devices(record, config)
        removal.remove(record)
        assert caught.value.json_path == "linux.resources.devices[2]"

    machine.run(body, pure_v2=False)
