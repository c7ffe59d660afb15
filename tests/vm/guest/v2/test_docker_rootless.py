"""Rootless docker, as Debian's docker.io brings it: an ordinary user's daemon, told the runtime's path alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import CONTRIB, ROOTFS, SESSION, Host, eventually

SCRIPT = "/usr/share/docker.io/contrib/dockerd-rootless.sh"
UNIT = "docker-rootless.service"
pytestmark = pytest.mark.skipif(
    not Path(SCRIPT).exists(), reason="docker.io of this Debian has no rootless script"
)


class Docker:
    """The client of the user's daemon."""

    def __init__(self, user: Host) -> None:
        self.user = user
        self.words = ("docker", "-H", f"unix://{SESSION}/docker.sock")

    def __call__(self, *words: str) -> str:
        return self.user.ok(*self.words, *words)


@pytest.fixture(scope="module")
def docker(root: Host, user: Host) -> Iterator[Docker]:
    """The daemon as a service of the user's systemd, and an image. docker's documentation wants the modules loaded."""
    root("modprobe", "-a", "ip_tables", "iptable_nat", "iptable_filter", "br_netfilter", "bridge", "veth")
    folder = Path("/home/user/.config/docker")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(CONTRIB / "docker/daemon.json", folder)
    user.chown(Path("/home/user/.config"))
    path = "--setenv=PATH=/usr/share/docker.io/contrib:/usr/sbin:/usr/bin:/sbin:/bin"
    user.ok("systemd-run", "--user", "--quiet", "--unit", UNIT, "-p", "Delegate=yes", path, SCRIPT)
    one = Docker(user)
    try:
        eventually(
            lambda: user(*one.words, "version").returncode == 0,
            "the daemon doesn't answer: " + root("journalctl", "_UID=1000", "-n", "30").stdout,
            150,
        )
        tar = subprocess.run(["tar", "-C", str(ROOTFS), "-c", "."], stdout=subprocess.PIPE, check=True).stdout
        argv = [*user.prefix, *one.words, "import", "-", "bb"]
        subprocess.run(argv, input=tar, capture_output=True, check=True, cwd="/tmp")
        yield one
    finally:
        user.systemctl("stop", UNIT)
        user.systemctl("reset-failed", UNIT)


def test_defaults(docker: Docker) -> None:
    """The user's systemd makes the cgroups, by itself; pyrun is the runtime."""
    info = json.loads(docker("info", "--format", "{{json .}}"))
    assert (info["CgroupDriver"], info["CgroupVersion"], info["DefaultRuntime"]) == ("systemd", "2", "pyrun")
    assert docker("run", "--rm", "--network", "none", "bb", "id", "-u") == "0\n"


def test_limits(user: Host, docker: Docker) -> None:
    """Limits are in force, and exec, pause, update and rm work; no unit is left."""
    limits = ("-m", "64m", "--pids-limit", "50", "--cpus", "0.5")
    docker("run", "-d", "--name", "life", "--network", "none", *limits, "bb", "sleep", "1000")
    try:
        read = ("exec", "life", "sh", "-c", "cd /sys/fs/cgroup; cat memory.max pids.max cpu.max")
        assert docker(*read).split() == ["67108864", "50", "50000", "100000"]
        docker("pause", "life")
        docker("unpause", "life")
        docker("update", "-m", "32m", "--memory-swap", "64m", "life")
        assert docker("exec", "life", "cat", "/sys/fs/cgroup/memory.max") == "33554432\n"
    finally:
        docker("rm", "-f", "life")
    eventually(lambda: user.units("docker-*.scope") == [], "units are left")
