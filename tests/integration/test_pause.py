"""pyrun pause and resume."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import Bundle, Container, Pyrun, eventually, new_id

Make = Callable[..., Bundle]

COUNT = "for each in 1 2; do (while :; do echo x; usleep 2000; done) & done; wait"


def counting(pyrun: Pyrun, bundle: Make) -> Container:
    """A container that writes all the time."""
    container = pyrun.start(bundle(sh=COUNT))
    eventually(container.out, "it writes nothing")
    return container


def is_counting(container: Container) -> bool:
    before = container.out()
    time.sleep(0.1)
    return container.out() != before


def listed(pyrun: Pyrun, container_id: str) -> str:
    for one in json.loads(pyrun.ok("list", "--format", "json").out):
        if one["id"] == container_id:
            return str(one["status"])
    raise AssertionError("it isn't listed")


def test_pause_and_resume(any_host: Pyrun, bundle: Make) -> None:
    """Nothing runs while it is paused, which state and list say."""
    container = counting(any_host, bundle)
    for _ in range(3):
        any_host.ok("pause", container.id)
        assert container.status == listed(any_host, container.id) == "paused"
        assert container.pid > 0
        assert not is_counting(container)
        any_host.ok("resume", container.id)
        assert container.status == "running"
        assert is_counting(container)
    container.delete("--force")


def test_cgroups_below_are_paused(pyrun: Pyrun, bundle: Make) -> None:
    """What the container made below its own cgroup is paused, too."""
    move = "for d in /sys/fs/cgroup/*; do mkdir $d/below; echo $$ > $d/below/cgroup.procs; done; "
    one = bundle(sh=f"({move} {COUNT}) & wait")
    for mount in one.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"] = ["nosuid", "noexec", "nodev"]
    container = pyrun.start(one.write())
    eventually(container.out, "it writes nothing")
    pyrun.ok("pause", container.id)
    assert not is_counting(container)
    pyrun.ok("resume", container.id)
    assert is_counting(container)


def test_refused(any_host: Pyrun, bundle: Make) -> None:
    """What is not running can't be paused, and what is not paused can't be resumed."""
    container = any_host.start(bundle(sh="sleep 1000"))
    assert any_host.error("resume", container.id) == f'container not paused: "{container.id}" is running'
    any_host.ok("pause", container.id)
    assert any_host.error("pause", container.id) == f'container "{container.id}" is paused already'
    assert any_host.error("delete", container.id).startswith(
        f'container "{container.id}" is paused, and only'
    )
    container.kill("KILL")
    container.wait()
    assert any_host.error("pause", container.id) == f'container not running: "{container.id}" is stopped'
    assert any_host.error("resume", container.id) == f'container not paused: "{container.id}" is stopped'
    container.delete()
    for command in ("pause", "resume"):
        name = new_id()
        assert any_host.error(command, name) == f'container "{name}" does not exist'


@pytest.mark.parametrize("arguments", [("KILL",), ("--all", "KILL")], ids=" ".join)
def test_a_paused_container_can_be_killed(any_host: Pyrun, bundle: Make, arguments: tuple[str, ...]) -> None:
    """SIGKILL ends it at once, also the processes that its first one left."""
    container = counting(any_host, bundle)
    any_host.ok("pause", container.id)
    container.kill(*arguments)
    container.wait()
    container.delete()
    any_host.assert_gone(container.id)


def test_a_signal_waits(any_host: Pyrun, bundle: Make) -> None:
    """Any other signal is delivered when the container goes on."""
    container = any_host.start(
        bundle(sh="trap 'echo term; exit 0' TERM; echo up; while :; do usleep 2000; done")
    )
    eventually(container.out, "it isn't up")
    any_host.ok("pause", container.id)
    container.kill("TERM")
    time.sleep(0.05)
    assert container.status == "paused"
    assert container.out() == "up\n"
    any_host.ok("resume", container.id)
    container.wait()
    assert container.out() == "up\nterm\n"
    container.delete()


@pytest.mark.parametrize("pid_namespace", [True, False])
def test_a_paused_container_can_be_deleted(any_host: Pyrun, bundle: Make, pid_namespace: bool) -> None:
    """By force, and without waiting."""
    one = bundle(sh=COUNT)
    if not pid_namespace:
        one.namespace("pid", None)
    container = any_host.start(one)
    eventually(container.out, "it writes nothing")
    any_host.ok("pause", container.id)
    before = time.monotonic()
    container.delete("--force")
    assert time.monotonic() - before < 5
    any_host.assert_gone(container.id)


def test_a_created_container(any_host: Pyrun, bundle: Make) -> None:
    """It can be paused before it is started, and is created again after resume."""
    container = any_host.create(bundle(sh="echo ran"))
    any_host.ok("pause", container.id)
    assert container.status == "paused"
    sentence = f'container "{container.id}" is paused, and only a created one can be started'
    assert any_host.error("start", container.id) == sentence
    any_host.ok("resume", container.id)
    assert container.status == "created"
    assert container.finish() == "ran\n"


def test_frozen_from_above(pyrun: Pyrun, bundle: Make) -> None:
    """resume says so if a cgroup above keeps the container frozen."""
    name = new_id()
    pyrun.ids.append(name)
    container = pyrun.start(bundle({"linux": {"cgroupsPath": f"/{name}/below"}}, sh="sleep 1000"))
    above = Path(f"/sys/fs/cgroup/freezer/{name}/freezer.state")
    frozen, thawed = "FROZEN", "THAWED"
    if not above.exists():
        above = Path(f"/sys/fs/cgroup/{name}/cgroup.freeze")
        frozen, thawed = "1", "0"
    above.write_text(frozen)
    try:
        eventually(lambda: container.status == "paused", "it isn't paused")
        assert pyrun.error("resume", container.id).endswith("a cgroup above its own is frozen")
    finally:
        above.write_text(thawed)
    eventually(lambda: container.status == "running", "it isn't running")
