"""podman calls the runtime through conmon: create, start, kill, delete, without any global option."""

from __future__ import annotations

import json
import os
import re
import time
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
    """podman with contrib's containers.conf, in which the runtime's path is changed; systemd can't be seen from there,
    so that its cgroups are left to podman."""
    need("podman", "conmon")
    folder = tmp_path_factory.mktemp("podman")
    wrapper, log = write_wrapper(folder, tested_runtime)
    configuration = folder / "containers.conf"
    text = CONFIGURATION.read_text().replace(INSTALLED, str(tested_runtime))
    configuration.write_text(text.replace("[engine]", '[engine]\ncgroup_manager = "cgroupfs"'))
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

    def test_the_readmes_line(self, engine: Engine, tested_runtime: Path) -> None:
        """The command under "With engines", with the runtime's path, our image, and this machine's limits put in."""
        text = (CONFIGURATION.parents[2] / "README.md").read_text()
        (line,) = re.findall(r"^    podman (--runtime .*) echo hello$", text, re.MULTILINE)
        words = line.replace(INSTALLED, str(tested_runtime)).split()
        at = words.index("run") + 1
        words[at:at] = engine.run_options
        assert words[-1].startswith("docker.io/")
        words[-1] = IMAGE
        assert engine.output(*words, "echo", "hello") == "hello"

    def test_hooks_find_what_lies_beside_them(self, engine: Engine, tmp_path: Path) -> None:
        """With --hooks-dir: hooks of the runtime's stand in the bundle, where config.json is, and createContainer's in
        the container's root; so they can use relative names, wherever podman was called. (podman runs those of poststop
        itself.)"""
        log = tmp_path / "log"
        log.touch()
        for kind in ("prestart", "createRuntime", "createContainer", "poststart"):
            script = tmp_path / f"{kind}.sh"
            script.write_text(
                f"#!/bin/sh\n[ -e config.json ] && echo {kind} bundle >> {log}\n"
                f"[ -e bin/busybox ] && echo {kind} root >> {log}\nexit 0\n"
            )
            script.chmod(0o755)
            hook = {
                "version": "1.0.0",
                "hook": {"path": str(script)},
                "when": {"always": True},
                "stages": [kind],
            }
            (tmp_path / f"{kind}.json").write_text(json.dumps(hook))
        run = ("run", "--rm", *engine.run_options, IMAGE, "true")
        engine.output("--hooks-dir", str(tmp_path), *run)
        assert log.read_text().splitlines() == [
            "prestart bundle",
            "createRuntime bundle",
            "createContainer root",
            "poststart bundle",
        ]

    def test_stop_of_a_container_that_was_never_started(self, engine: Engine) -> None:
        """podman init, then stop: it obeys SIGTERM at once, and isn't waited for till the SIGKILL."""
        engine.output("create", "--name", "initialised", *engine.run_options, IMAGE, "sleep", "1000")
        engine.output("init", "initialised")
        before = time.monotonic()
        done = engine.call("stop", "--time", "30", "initialised")
        assert done.returncode == 0, done.stderr
        assert "SIGKILL" not in done.stderr
        assert time.monotonic() - before < 25
        engine.remove("initialised")

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
