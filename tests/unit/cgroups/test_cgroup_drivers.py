"""Drivers of cgroups: which one a container has, and what the one that makes none does."""

from __future__ import annotations

from typing import Any

import pytest

from pyrun.base.errors import PyrunError
from pyrun.cgroups import cgroupfs, driver, none, systemd
from pyrun.kernel import process

V2 = {"name": "unified", "controllers": [], "mount": "/sys/fs/cgroup"}


def record(**more: Any) -> Any:
    return {"id": "x", "path": "/x", "hierarchies": [V2], "made": [], "kept": [], **more}


@pytest.mark.parametrize(
    ("option", "its_record", "module"),
    [
        pytest.param("", record(), cgroupfs, id="by default"),
        pytest.param("cgroupfs", record(), cgroupfs, id="cgroupfs"),
        pytest.param("systemd", record(unit={"name": "x.scope"}), systemd, id="systemd"),
        pytest.param("disabled", record(hierarchies=[]), none, id="disabled"),
    ],
)
def test_a_container_keeps_the_driver_that_it_was_made_with(
    option: str, its_record: Any, module: object
) -> None:
    """Later commands know by the record which driver the option of create named."""
    assert driver.named(option) is module
    assert driver.of(its_record) is module


def test_no_cgroups_wherever_the_path_is() -> None:
    """The record of a container without cgroups names none, so that its driver is found again."""
    made = none.plan("/some/where", "x", {})
    assert driver.of(made) is none
    none.create(made, "false")
    assert none.begin(made, 1, {}, {}, 0) is False
    assert (none.seat(made), none.tasks(made), none.view(made)) == (-1, [], [])


def test_no_cgroups_are_never_paused_and_nothing_is_left_of_them() -> None:
    """What asks or ends a container without cgroups finds nothing to do; what needs one is refused."""
    made = none.plan(None, "x", {})
    assert none.frozen(made) is False
    for done in (none.let_die, none.kill, none.remove):
        done(made)
    for needs_one in (none.pids, none.freeze, none.thaw):
        with pytest.raises(PyrunError, match="no cgroup of its own"):
            needs_one(made)


@pytest.mark.parametrize(
    ("resources", "json_path"),
    [
        ({"memory": {"limit": 1 << 20}}, "linux.resources.memory.limit"),
        ({"cpu": {"cpus": "0"}}, "linux.resources.cpu.cpus"),
        ({"pids": {"limit": 0}}, "linux.resources.pids.limit"),
        ({"unified": {"memory.high": "1"}}, "linux.resources.unified.memory.high"),
    ],
    ids=lambda value: value if isinstance(value, str) else "limit",
)
def test_a_limit_without_cgroups_is_refused_by_name(resources: dict[str, Any], json_path: str) -> None:
    """No limit is left out silently."""
    with pytest.raises(PyrunError, match="no cgroup of its own") as caught:
        none.change(none.plan(None, "x", {}), resources, [])
    assert caught.value.json_path == json_path


def test_what_asks_for_nothing_needs_no_cgroups() -> None:
    """Zeros that engines send for everybody limit nothing."""
    zeros = {"memory": {"limit": 0}, "cpu": {"shares": 0, "cpus": ""}, "pids": {}, "hugepageLimits": []}
    none.limit(none.plan(None, "x", {}), zeros)


@pytest.mark.parametrize("ordinary", [True, False], ids=["an ordinary user", "root"])
def test_device_rules_without_cgroups(ordinary: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user's are left out as in create; root's are refused, since they could be had."""
    monkeypatch.setattr(process, "is_ordinary", lambda: ordinary)
    rules: dict[str, Any] = {"devices": [{"allow": True, "access": "r"}]}
    made = none.plan(None, "x", {})
    if ordinary:
        none.change(made, rules, [])
    else:
        with pytest.raises(PyrunError) as caught:
            none.change(made, rules, [])
        assert caught.value.json_path == "linux.resources.devices"
