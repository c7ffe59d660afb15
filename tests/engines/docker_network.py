"""dockerd with a network of its own: a bridge, published ports, user networks and live-restore.

Its network namespace hides nothing of /sys: only the daemon is put into it, and the clients of published ports.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .engine import IMAGE, Engine, write_wrapper
from .private_host import Done, PrivateHost, need, wait_until

CONFIGURATION = Path(__file__).resolve().parents[2] / "contrib/docker/daemon.json"
SOCKET = "unix:///run/docker.sock"
CONTAINERD = "/run/containerd/containerd.sock"


class NetworkedDocker(Engine):
    """An engine whose daemon can be killed and started again."""

    def __init__(self, host: PrivateHost, runtime: Path, folder: Path) -> None:
        wrapper, log = write_wrapper(folder, runtime)
        configuration = json.loads(CONFIGURATION.read_text())
        configuration["runtimes"]["pyrun"]["path"] = str(wrapper)
        configuration["live-restore"] = True
        configuration["exec-opts"] = ["native.cgroupdriver=cgroupfs"]  # systemd can't be seen from there
        self.configuration = folder / "daemon.json"
        self.configuration.write_text(json.dumps(configuration))
        self.log = folder / "dockerd.log"
        super().__init__(host, ("docker", "--host", SOCKET), (), ("run",), log)
        # The namespace is bound to a file, so that it outlives the daemon.
        host.path("/run/net").touch()
        made = host.run("unshare", "--net=/run/net", "ip", "link", "set", "lo", "up")
        if made.returncode != 0:
            pytest.skip(f"needs a network namespace: {made.stderr}")
        # As a service of its own, as Debian's units have it: one that dockerd starts dies with dockerd.
        host.start_daemon("containerd", log=folder / "containerd.log")
        wait_until(("ctr", "version"), host)

    def network(self, *argv: str) -> Done:
        """Run a command in the daemon's network."""
        return self.host.run("nsenter", "--net=/run/net", "--", *argv)

    def start_daemon(self) -> None:
        """Start dockerd and wait until it answers."""
        options = (
            f"--config-file={self.configuration}",
            f"--host={SOCKET}",
            f"--containerd={CONTAINERD}",
            "--data-root=/var/lib/data",
            "--exec-root=/run/docker",
            "--pidfile=/run/docker.pid",
            "--storage-driver=vfs",
            f"--cgroup-parent=/{self.host.cgroup}",
            "--default-ulimit=nofile=1024:1024",  # not more than without CAP_SYS_RESOURCE
        )
        self.host.start_daemon("nsenter", "--net=/run/net", "--", "dockerd", *options, log=self.log)
        try:
            wait_until((*self.cli, "version"), self.host)
        except pytest.fail.Exception:
            words = self.log.read_text()[-2000:]
            if "iptables" in words or "bridge" in words:
                pytest.skip(f"needs a machine on which dockerd can make its bridge: {words[-300:]}")
            pytest.fail(f"dockerd doesn't answer: {words}")

    def kill_daemon(self) -> None:
        """SIGKILL dockerd, and only it."""
        pid = self.host.path("/run/docker.pid").read_text()
        killed = self.host.run("kill", "-9", pid)
        assert killed.returncode == 0, killed.stderr
        self.host.daemons[-1].wait(10)
        self.host.path("/run/docker.pid").unlink(missing_ok=True)


def networked_docker(runtime: Path, image: bytes, folder: Path, name: str) -> Iterator[NetworkedDocker]:
    """A started one for a fixture; everything ends with it."""
    need("dockerd", "docker", "containerd", "ip", "iptables")
    host = PrivateHost(f"pyrun-test-{name}-{os.getpid()}")
    try:
        engine = NetworkedDocker(host, runtime, folder)
        engine.start_daemon()
        engine.output("import", "-", IMAGE, stdin=image)
        yield engine
    finally:
        host.close()
