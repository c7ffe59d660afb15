"""docker with its own defaults, but for the runtime's path: systemd cgroups and AppArmor's docker-default."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import CONTRIB, ROOTFS, Host, eventually

IMAGE = "bb"


@pytest.fixture(scope="module", autouse=True)
def _docker(root: Host) -> Iterator[None]:
    """The daemon, and an image."""
    Path("/etc/docker").mkdir(exist_ok=True)
    shutil.copy(CONTRIB / "docker/daemon.json", "/etc/docker/daemon.json")
    root.ok("systemctl", "start", "docker")
    tar = subprocess.run(["tar", "-C", str(ROOTFS), "-c", "."], stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["docker", "import", "-", IMAGE], input=tar, capture_output=True, check=True)
    yield
    root.ok("systemctl", "stop", "docker", "docker.socket")


def run(root: Host, *words: str) -> str:
    return root.ok("docker", "run", "--rm", "--network", "none", *words)


def test_defaults(root: Host) -> None:
    """`docker run` confines the program by docker-default, in a scope of systemd's."""
    assert run(root, IMAGE, "cat", "/proc/self/attr/current") == "docker-default (enforce)\n"
    info = json.loads(root.ok("docker", "info", "--format", "{{json .}}"))
    assert (info["CgroupDriver"], info["DefaultRuntime"]) == ("systemd", "pyrun")


def test_limits(root: Host) -> None:
    """Limits are in force."""
    script = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"
    assert run(root, "-m", "64m", "--pids-limit", "50", IMAGE, "sh", "-c", script).split() == [
        "67108864",
        "50",
    ]


def test_a_life(root: Host) -> None:
    """exec is confined, too; pause, update, stats and rm work; no unit is left."""
    root.ok("docker", "run", "-d", "--name", "life", "--network", "none", IMAGE, "sleep", "1000")
    try:
        assert (
            root.ok("docker", "exec", "life", "cat", "/proc/self/attr/current")
            == "docker-default (enforce)\n"
        )
        root.ok("docker", "pause", "life")
        root.ok("docker", "unpause", "life")
        root.ok("docker", "update", "-m", "32m", "--memory-swap", "64m", "life")
        assert root.ok("docker", "exec", "life", "cat", "/sys/fs/cgroup/memory.max") == "33554432\n"
    finally:
        root.ok("docker", "rm", "-f", "life")
    eventually(lambda: root.units("docker-*.scope") == [], "units are left")


def test_privileged(root: Host) -> None:
    """--privileged works."""
    assert run(root, "--privileged", IMAGE, "echo", "hello") == "hello\n"


def test_a_program_that_cannot_be_executed(root: Host) -> None:
    """The status is 126, and no unit is left."""
    done = root("docker", "run", "--rm", "--network", "none", IMAGE, "/etc/passwd")
    assert done.returncode == 126, done
    eventually(lambda: root.units("docker-*.scope") == [], "units are left")
