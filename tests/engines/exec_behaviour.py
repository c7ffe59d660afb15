"""What `exec` must do under every engine: the tests shared by podman and docker, like those of behaviour.py."""

from __future__ import annotations

import concurrent.futures
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .behaviour import status_field
from .engine import Engine


@pytest.fixture
def container(engine: Engine) -> Iterator[str]:
    """The name of a running container that does nothing, with options to be seen again in exec."""
    options = ("--env", "GREETING=hello", "--cap-drop", "ALL", "--cap-add", "KILL", "--pids-limit", "100")
    name = engine.start((*options, "--security-opt", "no-new-privileges"), "sleep", "1000")
    yield name
    engine.remove(name)


class Exec:
    """One more program in a running container."""

    @pytest.mark.parametrize(
        ("script", "status"), [("true", 0), ("exit 42", 42), ("exit 255", 255), ("kill -9 $$", 137)]
    )
    def test_exit_status(self, engine: Engine, container: str, script: str, status: int) -> None:
        assert engine.call("exec", container, "sh", "-c", script).returncode == status

    @pytest.mark.parametrize(
        ("program", "status"),
        [("not-there", 127), ("/not/there", 127), ("/etc/not-executable", 126), ("/etc", 126)],
    )
    def test_a_program_that_cannot_be_executed(
        self, engine: Engine, container: str, program: str, status: int
    ) -> None:
        done = engine.call("exec", container, program)
        assert done.returncode in (status, 126), (
            done
        )  # docker 20.10 says 126 whatever the reason, with runc too
        assert program in done.stdout + done.stderr
        assert engine.output("exec", container, "echo", "still") == "still"

    def test_streams(self, engine: Engine, container: str) -> None:
        done = engine.call("exec", container, "sh", "-c", "echo out; echo err >&2; tty")
        assert (done.stdout, done.stderr) == ("out\nnot a tty\n", "err\n")
        data = b"0123456789abcdef" * 65536
        digest = engine.output("exec", "--interactive", container, "sha256sum", stdin=data).split()[0]
        assert digest == hashlib.sha256(data).hexdigest()

    def test_another_user_of_exec_opens_its_streams(self, engine: Engine, container: str) -> None:
        """The pipes are the user's of the program."""
        script = "cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr"
        argv = ("exec", "--interactive", "--user", "1000:1001", container, "sh", "-c", script)
        done = engine.call(*argv, stdin=b"in\n")
        assert (done.returncode, done.stdout, done.stderr) == (0, "in\nout\n", "err\n")

    def test_a_user_writes_to_the_log(self, engine: Engine) -> None:
        """A program of exec writes to the container's log by the streams of its first program, if both are one
        user's."""
        name = engine.start(("--user", "1000:1001"), "sleep", "1000")
        engine.output("exec", "--user", "1000:1001", name, "sh", "-c", "echo logged > /proc/1/fd/1")
        engine.wait_for_log(name, "logged")
        engine.remove(name)

    def test_it_is_in_the_container(self, engine: Engine, container: str) -> None:
        kinds = "cgroup ipc mnt net pid uts"
        script = f"for n in {kinds}; do test /proc/1/ns/$n -ef /proc/self/ns/$n && echo $n; done"
        assert engine.output("exec", container, "sh", "-c", script).split() == kinds.split()
        cgroups = engine.output(
            "exec", container, "sh", "-c", "cat /proc/1/cgroup; echo; cat /proc/self/cgroup"
        )
        init, own = cgroups.split("\n\n")
        assert init == own

    def test_rights_are_the_containers(self, engine: Engine, container: str) -> None:
        status = engine.output("exec", container, "cat", "/proc/self/status")
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert int(status_field(status, name), 16) == 1 << 5, name
        for name in ("CapInh", "CapAmb"):
            assert int(status_field(status, name), 16) == 0, name
        assert status_field(status, "NoNewPrivs") == "1"
        assert status_field(status, "Seccomp") == "2"

    def test_user(self, engine: Engine, container: str) -> None:
        look = ("sh", "-c", "id; echo $HOME")
        found = engine.output("exec", "--user", "user", container, *look)
        assert found.startswith("uid=1000(user) gid=1001(user)")
        assert "2000(extra)" in found
        assert found.endswith("/home/user")
        found = engine.output("exec", "--user", "1000:2000", container, *look)
        assert found.startswith("uid=1000(user) gid=2000(extra)")
        found = engine.output("exec", "--user", "12345", container, *look)
        assert found.startswith("uid=12345 gid=0(root)")
        assert engine.call("exec", "--user", "nobody-here", container, *look).returncode != 0

    def test_exec_environment_and_working_directory(self, engine: Engine, container: str) -> None:
        options = ("--env", "NEW=a b", "--workdir", "/home/user")
        out = engine.output("exec", *options, container, "sh", "-c", 'echo "$GREETING $NEW"; pwd')
        assert out == "hello a b\n/home/user"

    def test_a_bad_working_directory(self, engine: Engine, container: str) -> None:
        done = engine.call("exec", "--workdir", "/not/there", container, "true")
        assert done.returncode in (126, 127)  # docker 20.10 says 126 whatever the reason, with runc too
        assert "/not/there" in done.stdout + done.stderr

    def test_detached(self, engine: Engine, container: str) -> None:
        engine.output("exec", "--detach", container, "sh", "-c", "sleep 0.2; echo done > /tmp/file")
        for _ in range(200):
            if engine.call("exec", container, "cat", "/tmp/file").stdout == "done\n":
                return
            time.sleep(0.05)
        pytest.fail("the detached program didn't run")

    def test_exec_on_a_terminal(self, engine: Engine, container: str) -> None:
        """A shell on a terminal: size, change of size, ctrl-C, exit status, and the user's terminal afterwards."""
        with engine.execute_on_terminal(container, "sh") as terminal:
            before = terminal.settings()
            terminal.read_until("# ")
            terminal.enter('tty; echo $(stty size) s""ize\n')
            assert "/dev/pts/0" in terminal.read_until("33 99 size")
            terminal.enter('while [ "$(stty size)" != \'20 70\' ]; do sleep 0.05; done; echo re""sized\n')
            for _ in range(40):  # a client that isn't yet ready for SIGWINCH loses one
                terminal.resize(20, 71)
                terminal.resize(20, 70)
                if terminal.sees("resized", 0.5):
                    break
            terminal.read_until("resized")
            terminal.enter("trap 'echo inter\"\"rupted; stop=1' INT\n")
            terminal.enter('while [ -z "$stop" ]; do echo wait""ing; sleep 0.05; done\n')
            terminal.read_until("waiting")
            terminal.enter("\x03")
            terminal.read_until("interrupted")
            terminal.enter("exit 5\n")
            assert terminal.wait() == 5
            assert terminal.settings() == before
        assert engine.inspect(container, "{{.State.Running}}") == "true"

    def test_in_a_container_with_a_terminal(self, engine: Engine) -> None:
        name = engine.start(("--tty",), "sleep", "1000")
        assert engine.call("exec", name, "tty").stdout == "not a tty\n"
        with engine.execute_on_terminal(name, "sh", "-c", "tty; exit 6") as terminal:
            terminal.read_until("/dev/pts/1")
            assert terminal.wait() == 6
        engine.remove(name)

    def test_of_a_stopped_container(self, engine: Engine) -> None:
        name = engine.start((), "true")
        engine.output("wait", name)
        assert engine.call("exec", name, "true").returncode != 0
        engine.remove(name)

    def test_ends_with_the_container(self, engine: Engine, container: str) -> None:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(engine.call, "exec", container, "sleep", "1000")
            time.sleep(1)
            engine.output("kill", container)
            assert running.result(30).returncode != 0

    def test_exec_eight_at_a_time(self, engine: Engine, container: str) -> None:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            outputs = list(pool.map(lambda n: engine.output("exec", container, "echo", str(n)), range(24)))
        assert outputs == [str(number) for number in range(24)]

    def test_volumes_and_limits_are_seen(self, engine: Engine, tmp_path: Path) -> None:
        name = engine.start(("--volume", f"{tmp_path}:/data", "--ulimit", "nofile=300:400"), "sleep", "1000")
        assert engine.output(
            "exec", name, "sh", "-c", "ulimit -n; ulimit -Hn; echo x > /data/file"
        ).split() == [
            "300",
            "400",
        ]
        assert (tmp_path / "file").read_text() == "x\n"
        engine.remove(name)

    def test_the_tested_runtime_was_called_to_exec(self, engine: Engine) -> None:
        engine.runtime_log.write_text("")
        engine.output(
            *engine.logged_run, "-d", "--name", "logged", *engine.run_options, "box", "sleep", "1000"
        )
        engine.output("exec", "logged", "true")
        engine.remove("logged")
        (line,) = [line for line in engine.runtime_log.read_text().splitlines() if "exec --" in line]
        for option in ("--process", "--detach", "--pid-file"):
            assert option in line
