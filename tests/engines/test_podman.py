"""podman calls the runtime through conmon: create, start, kill, delete, without any global option."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .behaviour import EngineBehaviour
from .engine import IMAGE, Engine, write_wrapper
from .exec_behaviour import Exec, container  # noqa: F401
from .private_host import PrivateHost, need
from .while_running import WhileRunning

CONFIGURATION = Path(__file__).resolve().parents[2] / "contrib/podman/containers.conf"
INSTALLED = "/usr/local/bin/pyrun"  # the path that the file under contrib/ names


@pytest.fixture(scope="module")
def engine(tested_runtime: Path, image: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """podman with contrib's containers.conf, in which only the runtime's path is changed."""
    need("podman", "conmon")
    folder = tmp_path_factory.mktemp("podman")
    wrapper, log = write_wrapper(folder, tested_runtime)
    configuration = folder / "containers.conf"
    configuration.write_text(CONFIGURATION.read_text().replace(INSTALLED, str(tested_runtime)))
    host = PrivateHost(f"pyrun-test-podman-{os.getpid()}")
    try:
        host.environment["DISABLE_HC_SYSTEMD"] = "true"  # no timers of systemd, which doesn't run here
        host.environment["CONTAINERS_CONF"] = str(configuration)
        cli = (
            "podman",
            "--root",
            "/var/lib/root",
            "--runroot",
            "/run/root",
            "--tmpdir",
            "/run/podman",
            "--storage-driver",
            "vfs",
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "none",
        )
        # The limits: podman asks for more than a machine without CAP_SYS_RESOURCE may have.
        options = (
            "--network=none",
            "--cgroup-parent",
            f"/{host.cgroup}",
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=4096:4096",
        )
        engine = Engine(host, cli, options, ("--runtime", str(wrapper), "run"), log, ("--time", "0"))
        engine.output("import", "-", IMAGE, stdin=image)
        yield engine
    finally:
        host.close()


class TestPodman(EngineBehaviour, Exec, WhileRunning):
    """The shared tests, and those that only podman can have."""

    def test_the_configured_runtime_is_the_tested_one(self, engine: Engine, tested_runtime: Path) -> None:
        name = engine.start((), "sleep", "1000")
        assert engine.inspect(name, "{{.OCIRuntime}}") == "pyrun"
        assert engine.output("info", "--format", "{{.Host.OCIRuntime.Path}}") == str(tested_runtime)
        engine.remove(name)

    def test_privileged(self, engine: Engine) -> None:
        """podman hands over every device of the host; the container has them, and terminals of its own."""
        hosts = [
            path.name
            for path in Path("/dev").iterdir()
            if (path.is_char_device() or path.is_block_device()) and not path.is_symlink()
        ]
        script = "readlink /dev/ptmx; ls /dev"
        link, *names = engine.run_output(("--privileged",), "sh", "-c", script).split()
        assert link == "pts/ptmx"
        assert set(names) >= set(hosts) - {"console"}

    def test_without_a_network_there_is_loopback(self, engine: Engine) -> None:
        """podman leaves the namespace of --network none to the runtime: programs talk to themselves by 127.0.0.1."""
        script = "nc -l -p 80 -e echo pong & until nc 127.0.0.1 80; do sleep 0.05; done"
        assert engine.run_output((), "timeout", "20", "sh", "-c", script) == "pong"

    def test_health_check(self, engine: Engine) -> None:
        """A check by hand, as its timer would do it."""
        name = engine.start(
            ("--health-cmd", "test -e /tmp/healthy", "--health-retries", "1"), "sleep", "1000"
        )
        assert engine.call("healthcheck", "run", name).returncode == 1
        engine.output("exec", name, "touch", "/tmp/healthy")
        assert engine.call("healthcheck", "run", name).returncode == 0
        engine.remove(name)
