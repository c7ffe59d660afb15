"""dockerd calls the runtime through containerd's shim: with --root, --log and --log-format."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .behaviour import EngineBehaviour
from .engine import IMAGE, Engine, write_wrapper
from .exec_behaviour import Exec, container  # noqa: F401
from .private_host import PrivateHost, need, wait_until
from .while_running import WhileRunning

CONFIGURATION = Path(__file__).resolve().parents[2] / "contrib/docker/daemon.json"
SOCKET = "unix:///run/docker.sock"


@pytest.fixture(scope="module")
def engine(tested_runtime: Path, image: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """dockerd with contrib's daemon.json, in which the runtime's path is changed; systemd can't be seen from there, so
    that cgroups are dockerd's."""
    need("dockerd", "docker", "containerd")
    folder = tmp_path_factory.mktemp("docker")
    wrapper, log = write_wrapper(folder, tested_runtime)
    configuration = json.loads(CONFIGURATION.read_text())
    configuration["runtimes"]["pyrun"]["path"] = str(tested_runtime)
    configuration["exec-opts"] = ["native.cgroupdriver=cgroupfs"]
    configuration["runtimes"]["logged"] = {"path": str(wrapper)}
    (folder / "daemon.json").write_text(json.dumps(configuration))
    host = PrivateHost(f"pyrun-test-docker-{os.getpid()}")
    try:
        daemon = host.start_daemon(
            "dockerd",
            "--config-file",
            str(folder / "daemon.json"),
            "--host",
            SOCKET,
            "--data-root",
            "/var/lib/data",
            "--exec-root",
            "/run/docker",
            "--pidfile",
            "/run/docker.pid",
            "--storage-driver",
            "vfs",
            "--cgroup-parent",
            f"/{host.cgroup}",
            "--default-ulimit",
            "nofile=1024:1024",  # not more than without CAP_SYS_RESOURCE
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
            log=folder / "dockerd.log",
        )
        cli = ("docker", "--host", SOCKET)
        try:
            wait_until((*cli, "version"), host)
        except pytest.fail.Exception:
            words = (folder / "dockerd.log").read_text()[-2000:]
            pytest.fail(f"dockerd doesn't answer (exit status {daemon.poll()}): {words}")
        # docker 26 doesn't rename a container of the default network where there is no bridge
        options = ("--network=none",)
        engine = Engine(host, cli, options, ("run", "--runtime", "logged"), log)
        engine.output("import", "-", IMAGE, stdin=image)
        yield engine
    finally:
        host.close()


class TestDocker(EngineBehaviour, Exec, WhileRunning):
    """The shared tests, and those that only docker can have."""

    def test_the_configured_runtime_is_the_tested_one(self, engine: Engine, tested_runtime: Path) -> None:
        name = engine.start((), "sleep", "1000")
        assert engine.inspect(name, "{{.HostConfig.Runtime}}") == "pyrun"
        runtimes = json.loads(engine.output("info", "--format", "{{json .Runtimes}}"))
        assert runtimes["pyrun"]["path"] == str(tested_runtime)
        engine.remove(name)

    def test_the_daemon_understands_the_version(self, engine: Engine, tested_runtime: Path) -> None:
        """dockerd reads it from ``RUNTIME --version``."""
        components = json.loads(engine.output("version", "--format", "{{json .Server.Components}}"))
        version = {component["Name"]: component["Version"] for component in components}["pyrun"]
        assert version
        assert version in engine.host.run(str(tested_runtime), "--version").stdout

    def test_live_terminal_is_detached_and_attached(self, engine: Engine) -> None:
        """ctrl-P ctrl-Q leaves the container running; attach finds the same shell again."""
        with engine.terminal(("--name", "live"), "sh") as terminal:
            terminal.read_until("# ")
            terminal.enter('variable=kept; echo re""ady\n')
            terminal.read_until("ready")
            terminal.enter("\x10\x11")
            terminal.wait()
        assert engine.inspect("live", "{{.State.Running}}") == "true"
        with engine.attach("live") as terminal:
            terminal.enter("echo $variable; exit 4\n")
            terminal.read_until("kept")
            assert terminal.wait() == 4

    def test_a_sysctl_of_the_hosts_network_is_refused(self, engine: Engine) -> None:
        """--network host --sysctl would change the host. (Were it not refused, this would change nothing, either.)"""
        value = Path("/proc/sys/net/core/somaxconn").read_text().strip()
        options = ("--network", "host", "--sysctl", f"net.core.somaxconn={value}")
        done = engine.call("run", "--rm", *options, IMAGE, "true")
        assert done.returncode == 125, done
        assert "net.core.somaxconn" in done.stderr
        assert engine.output("ps", "--all", "--quiet") == ""

    def test_workdir_is_created(self, engine: Engine) -> None:
        assert engine.run_output(("--workdir", "/new/folder"), "pwd") == "/new/folder"

    @pytest.mark.parametrize(("source", "destination"), [("/etc/passwd", "/etc"), ("/etc", "/etc/passwd")])
    def test_a_folder_on_a_file_or_the_reverse(self, engine: Engine, source: str, destination: str) -> None:
        """dockerd finds the words by which it asks if they were confused."""
        done = engine.run(("--volume", f"{source}:{destination}"), "true")
        assert done.returncode == 125
        assert "Are you trying to mount a directory onto a file (or vice-versa)?" in done.stderr

    def test_health_check(self, engine: Engine) -> None:
        """dockerd runs the check by exec: unhealthy, and healthy when the file is there."""
        options = (
            "--health-cmd",
            "test -e /tmp/healthy",
            "--health-interval",
            "200ms",
            "--health-retries",
            "2",
        )
        name = engine.start(options, "sleep", "1000")

        def wait_for(status: str) -> None:
            for _ in range(200):
                if engine.inspect(name, "{{.State.Health.Status}}") == status:
                    return
                time.sleep(0.05)
            pytest.fail(f"not {status}: " + engine.inspect(name, "{{json .State.Health}}"))

        wait_for("unhealthy")
        engine.output("exec", name, "touch", "/tmp/healthy")
        wait_for("healthy")
        engine.remove(name)
