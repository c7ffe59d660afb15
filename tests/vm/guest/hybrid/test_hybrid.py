"""A host where systemd has cgroup v1: pyrun's --systemd-cgroup, and engines with their own defaults."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import ROOTFS, RUNTIME, Bundle, Host, eventually

GROUPS = Path("/sys/fs/cgroup")
RESOURCES = {
    "memory": {"limit": 1 << 26},
    "cpu": {"shares": 512, "quota": 25000, "period": 50000, "cpus": "0"},
    "pids": {"limit": 50},
    "devices": [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
    ],
}
# What systemd writes to, and what pyrun writes to by itself.
LIMITS = {
    "memory/memory.limit_in_bytes": str(1 << 26),
    "cpu/cpu.shares": "512",
    "cpu/cpu.cfs_quota_us": "25000",
    "cpu/cpu.cfs_period_us": "50000",
    "pids/pids.max": "50",
    "cpuset/cpuset.cpus": "0",
}


@pytest.fixture
def bundle(root: Host) -> Iterator[Bundle]:
    with Bundle(root) as one:
        yield one


def test_this_is_such_a_host() -> None:
    """cgroup v1 is there for systemd and its controllers."""
    assert (GROUPS / "systemd/cgroup.procs").exists()
    assert (GROUPS / "memory/memory.limit_in_bytes").exists()


def ordered(text: str) -> str:
    """A file's lines in order: systemd writes the device rules anew, and the kernel lists the newest first."""
    return "\n".join(sorted(text.split("\n"))).strip()


def test_a_life(root: Host, bundle: Bundle) -> None:
    """The container is in the scope's cgroup in every hierarchy, its limits and device rules are in force and outlive a
    daemon-reload; exec, pause and update work; in the end there is neither unit nor cgroup."""
    bundle.write("sleep", "1000", cgroupsPath="machine.slice:p:hybrid", resources=RESOURCES)
    place = "machine.slice/p-hybrid.scope"

    def seen() -> dict[str, str]:
        return {
            name: ordered((GROUPS / name.replace("/", f"/{place}/", 1)).read_text())
            for name in (*LIMITS, "devices/devices.list")
        }

    with bundle.running("hybrid"):
        pid = bundle.state("hybrid")["pid"]
        places = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        assert {line.split(":")[2] for line in places} == {f"/{place}"}
        before = seen()
        assert {name: before[name] for name in LIMITS} == LIMITS
        assert "c 10:229 rwm" in before["devices/devices.list"]
        assert "a *:* rwm" not in before["devices/devices.list"]
        root.systemctl("daemon-reload")
        assert seen() == before
        inside = bundle.pyrun("exec", "hybrid", "cat", "/proc/self/cgroup").splitlines()
        assert {line.split(":")[2] for line in inside} == {"/"}
        bundle.pyrun("pause", "hybrid")
        bundle.pyrun("resume", "hybrid")
        bundle.pyrun("update", "--memory", "33554432", "hybrid")
        root.systemctl("daemon-reload")
        assert seen()["memory/memory.limit_in_bytes"] == "33554432"
    assert root.units("p-hybrid.scope") == []
    assert list(GROUPS.glob(f"*/{place}")) == []


def test_changed_device_rules_outlive_a_reload(root: Host, bundle: Bundle) -> None:
    """An update of device rules is told to systemd as well."""
    bundle.write("sleep", "1000", cgroupsPath="machine.slice:p:rules", resources=RESOURCES)
    listed = GROUPS / "devices/machine.slice/p-rules.scope/devices.list"
    document = Path("/tmp/rules.json")
    document.write_text('{"devices": [{"allow": false, "access": "rwm"}]}')
    with bundle.running("rules"):
        bundle.pyrun("update", "--resources", str(document), "rules")
        changed = ordered(listed.read_text())
        assert "c 10:229" not in changed
        assert "c 1:3 rwm" in changed
        root.systemctl("daemon-reload")
        assert ordered(listed.read_text()) == changed
    document.unlink()


def test_many_creates_and_kills_leave_nothing(root: Host, bundle: Bundle) -> None:
    """A container that is killed leaves no cgroup in the hierarchies that systemd leaves alone."""
    path = bundle.write("sleep", "1000")
    for number in range(5):
        with bundle.running(f"killed-{number}"):
            bundle.pyrun("kill", f"killed-{number}", "KILL")
    assert path
    assert list(GROUPS.glob("*/system.slice/runc-killed-*")) == []
    assert root.units("runc-killed-*") == []


def test_a_user_is_told_why_not(user: Host) -> None:
    """An ordinary user's systemd has no controllers there, and the sentence says so before anything is made."""
    with Bundle(user) as one:
        one.write("true")
        assert "cgroup v1" in one.refused()
    with Bundle(user, options=()) as one:
        one.write("echo", "up")
        assert one.run() == "up\n"


def test_podman(anyone: Host, image: str) -> None:
    """podman with its own defaults: run, exec, and for root limits."""
    limits = ("-m", "64m", "--pids-limit", "50") if anyone.name == "root" else ()
    name = f"life-{anyone.name}"
    anyone.ok("podman", "run", "-d", "--name", name, *limits, image, "sleep", "1000")
    try:
        assert anyone.ok("podman", "exec", name, "id", "-u") == "0\n"
        if limits:
            read = ("cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/pids/pids.max")
            assert anyone.ok("podman", "exec", name, *read).split() == ["67108864", "50"]
    finally:
        anyone.ok("podman", "rm", "-f", "-t", "0", name)
    eventually(lambda: anyone.units("libpod-*.scope") == [], "units are left")


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
def test_docker(root: Host, driver: str) -> None:
    """docker by its default, which is cgroupfs there, and told to use systemd."""
    Path("/etc/docker").mkdir(exist_ok=True)
    settings = {
        "runtimes": {"pyrun": {"path": str(RUNTIME)}},
        "default-runtime": "pyrun",
        **({"exec-opts": ["native.cgroupdriver=systemd"]} if driver == "systemd" else {}),
    }
    Path("/etc/docker/daemon.json").write_text(json.dumps(settings))
    root.ok("systemctl", "start", "docker")
    try:
        assert root.ok("docker", "info", "--format", "{{.CgroupDriver}}") == f"{driver}\n"
        tar = subprocess.run(["tar", "-C", str(ROOTFS), "-c", "."], stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["docker", "import", "-", "bb"], input=tar, capture_output=True, check=True)
        words = ("docker", "run", "--rm", "--network", "none", "-m", "64m", "bb")
        assert root.ok(*words, "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes") == "67108864\n"
    finally:
        root.ok("systemctl", "stop", "docker", "docker.socket")
