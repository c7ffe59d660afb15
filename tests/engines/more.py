"""What a running container must do under podman and docker: the second part of behaviour.py.

Changed limits, figures, streams that are attached later, init programs, files copied in and out, memory and
processes that run out.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .behaviour import cgroup_file
from .engine import Engine

PIDS_LIMIT = 40


def wait_for(condition: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    """Wait until `condition` is true; fail the test, naming `what`, when it isn't in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not in {timeout} s")
        time.sleep(0.05)


def state(engine: Engine, name: str) -> str:
    """The engine's word for the container's state."""
    return engine.inspect(name, "{{.State.Status}}")


class Pause:
    """What a paused container can't do."""

    def test_no_exec_into_a_paused_container(self, engine: Engine) -> None:
        name = engine.start((), "sleep", "1000")
        engine.output("pause", name)
        refused = engine.call("exec", name, "true")
        assert refused.returncode != 0
        assert re.search("pause|running", refused.stderr), refused
        engine.output("unpause", name)
        assert engine.output("exec", name, "echo", "again") == "again"
        engine.remove(name)


class Update:
    """update changes the limits of a running container: it sees them in its own cgroup."""

    def test_cpu_leaves_the_rest_alone(self, engine: Engine) -> None:
        quota = cgroup_file("cpu/cpu.cfs_quota_us", "cpu.max")
        memory = cgroup_file("memory/memory.limit_in_bytes", "memory.max")
        pids = cgroup_file("pids/pids.max", "pids.max")
        name = engine.start(("--memory", "48m", "--pids-limit", "77"), "sleep", "1000")
        engine.output("update", "--cpu-quota", "30000", "--cpu-period", "100000", name)
        values = engine.output("exec", name, "cat", quota, memory, pids).split("\n")
        assert values[0].split()[0] == "30000"
        assert values[1:] == [str(48 << 20), "77"]
        engine.remove(name)


class Figures:
    """stats."""

    def test_stats(self, engine: Engine) -> None:
        name = engine.start(("--memory", "64m"), "sh", "-c", "sleep 1000 & sleep 1000 & wait")
        wait_for(lambda: "sleep" in engine.output("top", name), "the shell starts its children")
        line = engine.output(
            "stats", "--no-stream", "--format", "{{.Name}}|{{.PIDs}}|{{.MemUsage}}|{{.CPUPerc}}", name
        )
        found = re.fullmatch(r"([^|]+)\|3\|([\d.]+)([kKM])?i?B / ([\d.]+)Mi?B\|[\d.]+%", line)
        assert found, line
        assert found.group(1) == name
        assert float(found.group(2)) > 0
        assert float(found.group(4)) in (64.0, 67.11)  # MiB or MB
        engine.remove(name)


class LaterStreams:
    """Streams that somebody looks at after the start."""

    def test_logs_follow(self, engine: Engine) -> None:
        """Lines come as they are printed, not only at the end."""
        script = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done"
        name = engine.start((), "sh", "-c", script)
        argv = engine.host.command(*engine.cli, "logs", "--follow", name)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, env=engine.host.environment) as follower:
            assert follower.stdout is not None
            lines = [follower.stdout.readline().strip() for _ in range(8)]
            assert state(engine, name) == "running"
            engine.remove(name)
            follower.terminate()
        assert lines == [str(number).encode() for number in range(1, 9)]

    def test_attach_to_streams(self, engine: Engine) -> None:
        name = engine.start(("--interactive",), "sh", "-c", "read word; echo got $word; read word; exit 6")
        argv = engine.host.command(*engine.cli, "attach", name)
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=engine.host.environment
        ) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(b"hello\n")
            assert client.stdout.readline() == b"got hello\n"
            client.stdin.write(b"bye\n")
            assert engine.output("wait", name) == "6"
        engine.remove(name)

    def test_wait_ends_with_the_container(self, engine: Engine) -> None:
        name = engine.start((), "sh", "-c", "sleep 0.5; exit 9")
        assert engine.output("wait", name) == "9"
        engine.remove(name)

    @pytest.mark.parametrize(("signal", "status"), [("HUP", 129), ("INT", 130), ("KILL", 137), ("TERM", 143)])
    def test_status_of_a_program_killed_by(self, engine: Engine, signal: str, status: int) -> None:
        """A shell that isn't process 1 dies by the signal; its parent passes that on as 128+n."""
        script = f"sh -c 'kill -{signal} $$; sleep 5'; exit $?"
        assert engine.run((), "sh", "-c", script).returncode == status


class Init:
    """--init: a small process 1 that reaps and passes signals on."""

    def test_init_reaps_orphans(self, engine: Engine) -> None:
        script = "(sleep 0.1 & exit 0); sleep 0.5; ps -o pid,stat,comm; cat /proc/1/comm"
        output = engine.run_output(("--init",), "sh", "-c", script)
        assert "Z" not in [line.split()[1] for line in output.splitlines()[1:-1]], output
        assert output.splitlines()[-1] in ("docker-init", "podman-init"), output

    def test_init_passes_the_signal_and_the_status_on(self, engine: Engine) -> None:
        name = engine.start(
            ("--init",), "sh", "-c", "trap 'exit 8' TERM; echo up; while :; do sleep 0.05; done"
        )
        engine.wait_for_log(name, "up")
        engine.output("stop", name)
        assert engine.inspect(name, "{{.State.ExitCode}}") == "8"
        engine.remove(name)


class Copies:
    """cp, commit, rename and diff work on the container's file system, running or stopped."""

    def test_cp_into_and_out_of_a_running_container(self, engine: Engine, tmp_path: Path) -> None:
        name = engine.start((), "sleep", "1000")
        (tmp_path / "in").write_text("there and back")
        engine.output("cp", str(tmp_path / "in"), f"{name}:/home/user/copy")
        assert engine.output("exec", name, "cat", "/home/user/copy") == "there and back"
        engine.output("exec", name, "sh", "-c", "echo more >> /home/user/copy")
        engine.output("cp", f"{name}:/home/user/copy", str(tmp_path / "out"))
        assert (tmp_path / "out").read_text() == "there and backmore\n"
        engine.remove(name)

    def test_commit_makes_an_image_that_runs(self, engine: Engine) -> None:
        name = engine.start((), "sh", "-c", "echo kept > /kept")
        engine.output("wait", name)
        engine.output("commit", name, "committed")
        arguments = ("run", "--rm", *engine.run_options, "committed", "cat", "/kept")
        assert engine.output(*arguments) == "kept"
        engine.remove(name)

    def test_rename(self, engine: Engine) -> None:
        name = engine.start((), "sleep", "1000")
        engine.output("rename", name, "renamed")
        assert engine.output("exec", "renamed", "echo", "same") == "same"
        engine.remove("renamed")


class Shortage:
    """A container that wants too much is held, and the host doesn't feel it."""

    def test_a_memory_hog_is_reported_as_killed(
        self, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cgroup_file("memory/memory.limit_in_bytes", "memory.max")
        monkeypatch.chdir(tmp_path)
        name = engine.start(("--memory", "16m", "--memory-swap", "16m"), "tail", "/dev/zero")
        assert engine.output("wait", name) == "137"
        if engine.cli[0] == "podman":
            # conmon 2.1.6 notices, but leaves its mark where podman was called and not where podman 4.3 looks for it.
            assert (tmp_path / "oom").exists()
        else:
            assert engine.inspect(name, "{{.State.OOMKilled}}") == "true"
        engine.remove(name)

    def test_a_container_that_ended_by_itself_is_not(self, engine: Engine) -> None:
        name = engine.start(
            (
                "--memory",
                "16m",
            ),
            "sh",
            "-c",
            "exit 137",
        )
        assert engine.output("wait", name) == "137"
        assert engine.inspect(name, "{{.State.OOMKilled}}") == "false"
        engine.remove(name)

    def test_a_fork_bomb_is_held(self, engine: Engine) -> None:
        """Its processes stay at the limit, and the host goes on answering."""
        current = cgroup_file("pids/pids.current", "pids.current")
        bomb = "bomb() { bomb | bomb & sleep 60; }; bomb & exec sleep 60"
        options = ("--pids-limit", str(PIDS_LIMIT), "--memory", "64m", "--cpu-quota", "50000")
        name = engine.start(options, "sh", "-c", bomb)
        identity = engine.inspect(name, "{{.Id}}")
        (cgroup,) = [
            path for path in engine.host.cgroups() if identity in path.name and (path / "pids.max").exists()
        ]
        events, current_file = cgroup / "pids.events", cgroup / Path(current).name
        wait_for(lambda: events.read_text() != "max 0\n", "the bomb is refused a process")
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            assert int(current_file.read_text()) <= PIDS_LIMIT
            before = time.monotonic()
            subprocess.run(["true"], check=True)
            assert time.monotonic() - before < 1, "the host doesn't answer"
        assert engine.run_output((), "echo", "another container") == "another container"
        engine.remove(name)
        assert not cgroup.exists()


class Ends:
    """How a container can end otherwise."""

    def test_restart_on_failure_ends(self, engine: Engine) -> None:
        name = engine.start(("--restart", "on-failure:2"), "sh", "-c", "echo run; exit 3")
        wait_for(
            lambda: engine.inspect(name, "{{.RestartCount}} {{.State.Status}}") == "2 exited", "two restarts"
        )
        assert engine.output("logs", name).split() == ["run"] * 3
        assert engine.inspect(name, "{{.State.ExitCode}}") == "3"
        engine.remove(name)

    def test_what_the_runtime_refuses(self, engine: Engine) -> None:
        """The engine's own exit status, the runtime's sentence, and no container that is left half-made."""
        done = engine.run(("--sysctl", "kernel.shm_rmid_forced=maybe"), "true")
        assert done.returncode in (125, 126), done
        assert "kernel.shm_rmid_forced" in done.stderr
        assert engine.output("ps", "--all", "--quiet") == ""


class More(Pause, Update, Figures, LaterStreams, Init, Copies, Shortage, Ends):
    """All of them."""
