"""containerd's ctr calls the runtime through the shim without an engine above it that would mend things."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci_spec import defaults

from .behaviour import PRIVILEGED, is_privileged
from .engine import write_wrapper
from .image import NO_PROGRAM, docker_archive
from .private_host import Done, PrivateHost, need, wait_until
from .refusals import STARTS, left, nothing_is_left
from .terminal import Terminal

CONFIGURATION = Path(__file__).resolve().parents[2] / "contrib/containerd/config.toml"
INSTALLED = "/usr/local/bin/pyrun"  # the path that the file under contrib/ names
IMAGE = "docker.io/library/box:latest"


class Containerd:
    """containerd on its private host, and its client ctr."""

    def __init__(self, host: PrivateHost, runtime: Path, log: Path) -> None:
        self.host = host
        self.cli = ("ctr", "--address", "/run/containerd.sock", "--namespace", "test")
        self.runtime = runtime
        self.runtime_log = log

    def call(self, *arguments: str, stdin: bytes = b"") -> Done:
        """Run ctr with these arguments."""
        return self.host.run(*self.cli, *arguments, stdin=stdin)

    def run_arguments(self, name: str, *options: str) -> tuple[str, ...]:
        """``run`` up to the container's name."""
        return (
            "run",
            "--runc-binary",
            str(self.runtime),
            "--runc-root",
            "/run/pyrun-ctr",
            "--snapshotter",
            "native",
            "--cgroup",
            f"/{self.host.cgroup}/{name}",
            *options,
            IMAGE,
            name,
        )


@pytest.fixture(scope="module")
def containerd(
    tested_runtime: Path, image: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Containerd]:
    """containerd with contrib's config.toml, in which only the runtime's path is changed."""
    need("containerd", "ctr")
    folder = tmp_path_factory.mktemp("containerd")
    wrapper, log = write_wrapper(folder, tested_runtime)
    (folder / "config.toml").write_text(CONFIGURATION.read_text().replace(INSTALLED, str(wrapper)))
    (folder / "image.tar").write_bytes(docker_archive(image, IMAGE))
    host = PrivateHost(f"pyrun-test-containerd-{os.getpid()}")
    try:
        host.start_daemon(
            "containerd",
            "--config",
            str(folder / "config.toml"),
            "--root",
            "/var/lib/data",
            "--state",
            "/run/state",
            "--address",
            "/run/containerd.sock",
            log=folder / "containerd.log",
        )
        engine = Containerd(host, wrapper, log)
        wait_until((*engine.cli, "version"), host)
        done = engine.call("image", "import", "--snapshotter", "native", str(folder / "image.tar"))
        assert done.returncode == 0, done.stderr
        yield engine
    finally:
        host.close()


@pytest.mark.parametrize(("program", "status"), [(("true",), 0), (("sh", "-c", "exit 42"), 42)])
def test_exit_status(containerd: Containerd, program: tuple[str, ...], status: int) -> None:
    done = containerd.call(*containerd.run_arguments("status", "--rm"), *program)
    assert done.returncode == status, done.stderr


def test_the_tested_runtime_was_called(containerd: Containerd) -> None:
    containerd.runtime_log.write_text("")
    done = containerd.call(*containerd.run_arguments("called", "--rm"), "echo", "hello")
    assert done.stdout == "hello\n", done.stderr
    for command in ("create --bundle", "start called", "delete called"):
        assert command in containerd.runtime_log.read_text()


def test_a_missing_program_is_named(containerd: Containerd) -> None:
    done = containerd.call(*containerd.run_arguments("missing", "--rm"), "not-there")
    assert done.returncode != 0
    assert "not-there" in done.stderr
    assert "executable file not found" in done.stderr


def test_failing_starts_leave_nothing(containerd: Containerd) -> None:
    """The sentence and the status each time; no task, container, shim, cgroup or state in the end."""
    before = left(containerd.host)
    for number in range(STARTS):
        done = containerd.call(*containerd.run_arguments(f"failing{number}", "--rm"), NO_PROGRAM)
        assert done.returncode == 255, done
        assert "exec format error: it is neither" in done.stderr
    for kind in ("task", "container"):
        assert "failing" not in containerd.call(kind, "list").stdout
    nothing_is_left(containerd.host, before)


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
@pytest.mark.parametrize("own_pids", [True, False], ids=["own PIDs", "the host's PIDs"])
def test_failing_hooks_of_start_leave_nothing(
    containerd: Containerd, image: bytes, tmp_path: Path, kind: str, own_pids: bool
) -> None:
    """There `start` itself fails: by then the shim has reaped the init, so that containerd may delete the task."""
    rootfs = tmp_path / "rootfs"
    rootfs.mkdir()
    subprocess.run(["tar", "-x", "-C", str(rootfs)], input=image, check=True)
    config = copy.deepcopy(dict(defaults.document()))
    config["process"].update(terminal=False, args=["sleep", "1000"])
    config["root"]["path"] = str(rootfs)
    config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", "echo words; exit 3"]}]}
    if not own_pids:
        kinds = config["linux"]["namespaces"]
        config["linux"]["namespaces"] = [entry for entry in kinds if entry["type"] != "pid"]
    before = left(containerd.host)
    runtime = ("--runc-binary", str(containerd.runtime), "--runc-root", "/run/pyrun-ctr")
    for number in range(STARTS):
        config["linux"]["cgroupsPath"] = f"/{containerd.host.cgroup}/hook{number}"
        (tmp_path / "config.json").write_text(json.dumps(config))
        document = ("--config", str(tmp_path / "config.json"))
        done = containerd.call("run", "--rm", *runtime, *document, f"hook{number}")
        assert done.returncode != 0
        assert f"hooks.{kind}[0]: /bin/sh exited with status 3: words" in done.stderr
    for what in ("task", "container"):
        assert "hook" not in containerd.call(what, "list").stdout
    nothing_is_left(containerd.host, before)


def test_privileged(containerd: Containerd) -> None:
    """ctr gives every right and device of the host."""
    done = containerd.call(
        *containerd.run_arguments("privileged", "--rm", "--privileged"), "sh", "-c", PRIVILEGED
    )
    assert done.returncode == 0, done.stderr
    is_privileged(done.stdout)


def test_background_kill_delete(containerd: Containerd) -> None:
    """A container in the background; its cgroup and state are gone after the delete."""
    done = containerd.call(*containerd.run_arguments("background", "--detach"), "sleep", "1000")
    assert done.returncode == 0, done.stderr
    assert "RUNNING" in containerd.call("task", "list").stdout
    assert "background" in str(containerd.host.cgroups())
    assert containerd.call("task", "kill", "--signal", "KILL", "background").returncode == 0
    wait_until(("sh", "-c", f"{' '.join(containerd.cli)} task list | grep STOPPED"), containerd.host)
    assert "code 137" in containerd.call("task", "delete", "background").stderr
    assert containerd.call("container", "delete", "background").returncode == 0
    assert "background" not in str(containerd.host.cgroups())
    assert containerd.host.run("find", "/run/pyrun-ctr", "-name", "background").stdout == ""


def test_pause_ps_and_metrics(containerd: Containerd) -> None:
    """What the shim asks the runtime for while a container runs, and what it reads from the cgroup itself."""
    done = containerd.call(*containerd.run_arguments("paused", "--detach"), "sh", "-c", "sleep 1234; true")
    assert done.returncode == 0, done.stderr
    assert containerd.call("task", "pause", "paused").returncode == 0
    assert "PAUSED" in containerd.call("task", "list").stdout
    assert containerd.call("task", "resume", "paused").returncode == 0
    assert "RUNNING" in containerd.call("task", "list").stdout
    listed = containerd.call("task", "ps", "paused")
    assert len(listed.stdout.splitlines()) == 3, listed
    assert "memory" in containerd.call("task", "metrics", "paused").stdout
    assert containerd.call("task", "pause", "paused").returncode == 0
    assert containerd.call("task", "delete", "--force", "paused").returncode == 0
    assert containerd.call("container", "delete", "paused").returncode == 0


def test_terminal(containerd: Containerd) -> None:
    arguments = containerd.run_arguments("terminal", "--rm", "--tty")
    argv = containerd.host.command(*containerd.cli, *arguments, "sh")
    with Terminal(argv, {**containerd.host.environment, "TERM": "xterm"}) as terminal:
        terminal.read_until("# ")
        terminal.enter('tty; echo $(stty size) s""ize\n')
        assert "/dev/pts/0" in terminal.read_until("33 99 size")
        terminal.enter("exit 5\n")
        assert terminal.wait() == 5


@pytest.fixture
def sleeper(containerd: Containerd) -> Iterator[str]:
    """The name of a container in the background."""
    name = "sleeper"
    done = containerd.call(*containerd.run_arguments(name, "--detach"), "sleep", "1000")
    assert done.returncode == 0, done.stderr
    yield name
    containerd.call("task", "delete", "--force", name)
    assert containerd.call("container", "delete", name).returncode == 0


def execute(containerd: Containerd, name: str, *program: str, stdin: bytes = b"") -> Done:
    """``task exec``."""
    return containerd.call("task", "exec", "--exec-id", "one", name, *program, stdin=stdin)


def test_exec(containerd: Containerd, sleeper: str) -> None:
    """Streams and exit statuses of a further program."""
    done = execute(containerd, sleeper, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr.splitlines()[0]) == (7, "out\n", "err")
    assert execute(containerd, sleeper, "cat", stdin=b"through").stdout == "through"
    assert "exec --process" in containerd.runtime_log.read_text()


def test_exec_of_another_user_opens_its_streams(containerd: Containerd, sleeper: str) -> None:
    """The FIFOs that the shim hands over are the user's of the program."""
    script = "cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr"
    argv = ("task", "exec", "--exec-id", "one", "--user", "1000", sleeper, "sh", "-c", script)
    done = containerd.call(*argv, stdin=b"in\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "in\nout\n", "err\n")


def test_exec_of_a_missing_program(containerd: Containerd, sleeper: str) -> None:
    """Its name and the reason, in one line."""
    done = execute(containerd, sleeper, "not-there")
    assert done.returncode != 0
    assert '"not-there": executable file not found in $PATH' in done.stderr


def test_exec_on_a_terminal(containerd: Containerd, sleeper: str) -> None:
    """``task exec --tty``."""
    argv = containerd.host.command(
        *containerd.cli, "task", "exec", "--exec-id", "two", "--tty", sleeper, "sh"
    )
    with Terminal(argv, {**containerd.host.environment, "TERM": "xterm"}) as terminal:
        terminal.read_until("# ")
        terminal.enter('tty; echo $(stty size) s""ize\n')
        assert "/dev/pts/0" in terminal.read_until("33 99 size")
        terminal.enter("exit 5\n")
        assert terminal.wait() == 5


def test_contrib_configuration_is_understood(containerd: Containerd) -> None:
    """The CRI plugin would call the tested runtime: containerd prints the configuration that it uses."""
    folder = containerd.runtime_log.parent
    dump = containerd.host.run("containerd", "--config", str(folder / "config.toml"), "config", "dump").stdout
    assert 'default_runtime_name = "pyrun"' in dump
    assert f'BinaryName = "{containerd.runtime}"' in dump
