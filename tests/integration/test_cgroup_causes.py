"""What is said of a limit that the kernel refuses: its cause, and a way out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import Bundle, Config, Pyrun, eventually

Make = Callable[..., Bundle]
CGROUPS = Path("/sys/fs/cgroup")
MIB = 1 << 20


def v1(controller: str) -> Path:
    """The v1 hierarchy of a controller."""
    if not (CGROUPS / controller / "cgroup.procs").exists():
        pytest.skip(f"needs the v1 hierarchy of {controller}")
    return CGROUPS / controller


def limited(bundle: Make, **resources: object) -> Bundle:
    return bundle({"linux": {"resources": resources}}, sh="exec sleep 1000")


def test_memory_below_use(pyrun: Pyrun, bundle: Make) -> None:
    """A limit below what is used is refused, naming use and peak; nothing else is changed, and nobody killed."""
    folder = v1("memory")
    one = limited(bundle, memory={"limit": 200 * MIB}).mount("/big", "tmpfs", "tmpfs")
    container = pyrun.start(one.sh("head -c 60000000 /dev/zero > /big/x; echo up; exec sleep 1000"))
    eventually(lambda: "up" in container.out(), "not up")
    sentence = pyrun.error("update", "--memory", "10M", "--pids-limit", "77", container.id)
    words = sentence.replace(container.id, "").replace(",", " ").split()
    assert len([word for word in words if word.isdigit() and 60_000_000 <= int(word) < 90_000_000]) == 2, (
        sentence
    )
    assert container.status == "running"
    assert (v1("pids") / container.id / "pids.max").read_text() == "max\n"
    assert (folder / container.id / "memory.limit_in_bytes").read_text() == f"{200 * MIB}\n"
    container.delete("--force")


def test_a_cpuset_in_use_below(pyrun: Pyrun, bundle: Make) -> None:
    """CPUs that a cgroup below uses can't be taken away: it is named."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    folder = v1("cpuset")
    container = pyrun.start(limited(bundle, cpu={"cpus": "0-1"}))
    below = folder / container.id / "below"
    below.mkdir()
    (below / "cpuset.cpus").write_text("1")
    sentence = pyrun.error("update", "--cpuset-cpus", "0", container.id)
    assert "the cgroup below below it uses 1" in sentence
    container.delete("--force")


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"cpu": {"cpus": "5000"}}, "this machine has the CPUs 0"),
        ({"cpu": {"mems": "900"}}, "this machine has the memory nodes 0"),
        ({"cpu": {"period": 5}}, "a period is from 1000 to 1000000 microseconds"),
        ({"cpu": {"quota": 5}}, "a quota is at least 1000 microseconds"),
        ({"memory": {"limit": 8 * MIB, "swap": 4 * MIB}}, "memory may not be above memory and swap together"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_values_that_cannot_be(pyrun: Pyrun, bundle: Make, resources: Config, said: str) -> None:
    """A value that the kernel doesn't take is refused with what it would take."""
    v1("cpuset"), v1("cpu"), v1("memory")
    if "memory" in resources and not (CGROUPS / "memory/memory.memsw.limit_in_bytes").exists():
        pytest.skip("needs a kernel that accounts for swap")
    sentence = pyrun.refused(limited(bundle, **resources))
    assert said in sentence
    assert sentence.startswith("linux.resources."), sentence


@pytest.mark.parametrize("part", ["cpus", "quota"])
def test_more_than_the_cgroup_above_has(pyrun: Pyrun, bundle: Make, part: str) -> None:
    """What the cgroup above hasn't got is named with that cgroup."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two CPUs")
    name = pyrun.id()
    made = {"cpus": v1("cpuset"), "quota": v1("cpu")}[part] / name
    made.mkdir()
    try:
        if part == "cpus":
            (made / "cpuset.mems").write_text((made.parent / "cpuset.mems").read_text())
            (made / "cpuset.cpus").write_text("0")
        else:
            (made / "cpu.cfs_quota_us").write_text("20000")
        one = limited(bundle, cpu={"cpus": "0-1"} if part == "cpus" else {"quota": 50000, "period": 100000})
        one.config["linux"]["cgroupsPath"] = f"/{name}/one"
        assert f"the cgroup above, {made}, has " in pyrun.error(
            "create", "--bundle", str(one.write().path), f"{name}.one"
        )
    finally:
        made.rmdir()


def test_a_device_that_the_cgroup_above_refuses(pyrun: Pyrun, bundle: Make) -> None:
    """A rule of the configuration that the cgroup above forbids is refused by its place; a device that every container
    has, and the cgroup above hasn't, is left out, and is nobody's fault."""
    name = pyrun.id()
    made = v1("devices") / name
    made.mkdir()
    try:
        (made / "devices.deny").write_text("c 10:* rwm")
    except OSError:
        pass
    try:
        (made / "devices.deny").write_text("a")
        for rule in ("c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm"):
            (made / "devices.allow").write_text(rule)
        one = bundle({"linux": {"cgroupsPath": f"/{name}/one"}}, sh="echo up > /dev/null && echo up")
        assert pyrun.output(one) == "up\n"
        rules = [{"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}]
        one.config["linux"]["resources"]["devices"] += rules
        sentence = pyrun.error("create", "--bundle", str(one.write().path), f"{name}.one")
        assert sentence.startswith("linux.resources.devices[1]: "), sentence
        assert f"the cgroup above, {made}, does not allow it" in sentence
    finally:
        made.rmdir()


MANY = 100_000


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["the same", "different"])
def test_very_many_device_rules(any_host: Pyrun, bundle: Make, kind: str) -> None:
    """They cost a moment, or are refused with the limit named."""
    rules = [
        {
            "allow": bool(i % 2),
            "type": "c",
            "major": 10,
            "minor": 229 if kind == "the same" else i,
            "access": "rw",
        }
        for i in range(MANY)
    ]
    if kind == "different":
        rules = [{**rule, "allow": True} for rule in rules]
    one = bundle(
        {"linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}, *rules]}}}, sh="echo up"
    )
    if kind == "the same":
        assert any_host.output(one) == "up\n"
    else:
        sentence = any_host.refused(one)
        assert "10000" in sentence or "1000000" in sentence, sentence


@pytest.mark.parametrize("command", ["run", "start"])
def test_too_little_memory_for_the_program(pyrun: Pyrun, bundle: Make, command: str) -> None:
    """Who is killed for want of memory is said to be, with the limit."""
    v1("memory")
    script = "x=x; while :; do x=$x$x; done"
    one = bundle({"linux": {"resources": {"memory": {"limit": 8 * MIB, "swap": 8 * MIB}}}}, sh=script)
    if command == "start":
        one.config["linux"]["resources"]["memory"] = {"limit": 200 << 10, "swap": 200 << 10}
        one.config["hooks"] = {
            "startContainer": [
                {"path": "/bin/sh", "args": ["sh", "-c", f"{script} & wait"], "env": ["PATH=/bin"]}
            ]
        }
        result = pyrun.run(one.write())
        assert result.code != 0
    else:
        result = pyrun.run(one)
        assert result.code == 137
    # so little that even the limit may be refused
    assert "memory limit too low?" in result.err or "the limit is too low" in result.err, result
    assert one.path.exists()


def test_too_little_memory_to_begin(pyrun: Pyrun, bundle: Make) -> None:
    """A limit in which no program can begin is an error of create or start, which speaks of memory."""
    v1("memory")
    one = bundle(
        {"linux": {"resources": {"memory": {"limit": 100 << 10, "swap": 100 << 10}}}}, sh="sleep 1000"
    )
    result = pyrun("create", "--bundle", str(one.path), container_id := pyrun.id())
    if result.code == 0:
        result = pyrun("start", container_id)
    assert result.code == 1, result
    assert "memory limit too low?" in result.err or "the limit is too low" in result.err, result
    pyrun.ok("delete", "--force", container_id)
