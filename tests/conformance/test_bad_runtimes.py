"""Runtimes that hang, babble or leave things: the suite goes on, says so, and leaves nothing itself."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import SUITE, Ran, environment

ONE = ("-k", "=user.umask and not combinations", "--jobs", "1")


@pytest.fixture
def bad(tmp_path: Path) -> Callable[[str], Path]:
    """A runtime that is a shell script."""

    def make(script: str) -> Path:
        path = tmp_path / "bad"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


def test_missing(suite: Callable[..., Ran], tmp_path: Path) -> None:
    ran = suite(tmp_path / "none")
    assert (ran.code, ran.records) == (2, [])
    assert "there is no such program" in ran.stderr


def test_not_executable(suite: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    ran = suite(tmp_path / "text")
    assert (ran.code, ran.records) == (2, [])
    assert "it is not executable" in ran.stderr


def test_not_a_program(suite: Callable[..., Ran], tmp_path: Path) -> None:
    path = tmp_path / "rubbish"
    path.write_bytes(b"\x00\x01rubbish")
    path.chmod(0o755)
    ran = suite(path, *ONE)
    assert (ran.code, ran.records) == (2, [])
    assert "Exec format error" in ran.stderr


def test_can_create_nothing(suite: Callable[..., Ran], bad: Callable[[str], Path]) -> None:
    """One sentence with the runtime's last error, and no verdict: it says nothing about the runtime elsewhere."""
    ran = suite(bad("echo 'cannot: <b>boom</b>' >&2; exit 3"), *ONE)
    assert (ran.code, ran.records) == (2, [])
    assert "creates not even the plainest container here" in ran.stderr
    assert "cannot: <b>boom</b> (exit code 3)" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


def test_can_start_nothing(suite: Callable[..., Ran], bad: Callable[[str], Path], runtime: Path) -> None:
    """A runtime that creates containers has something to show."""
    script = f'case " $* " in *" start "*) echo boom >&2; exit 3;; esac\nexec {runtime} "$@"'
    ran = suite(bad(script), *ONE)
    assert ran.code == 1
    assert "boom (exit code 3)" in ran.results("fail")["user.umask:user.umask"]


@pytest.mark.parametrize("pid", ["somebody", "worker", "1", "0", "-1", "1099511627776", "true"])
def test_names_a_pid_that_is_not_the_containers(
    suite: Callable[..., Ran], bad: Callable[[str], Path], runtime: Path, pid: str
) -> None:
    """Nobody is signalled for what a runtime prints, and nobody's end is awaited."""
    with subprocess.Popen(["sleep", "1000"]) as victim:
        try:
            named = {"somebody": str(victim.pid), "worker": "$PPID"}.get(pid, pid)
            state = json.dumps({"ociVersion": "1.0.2", "id": "x", "status": "running", "pid": "PID"})
            state = state.replace('"PID"', "PID").replace('"', '\\"').replace("PID", named)
            script = f'case " $* " in *" state "*) echo "{state}"; exit;; esac\nexec {runtime} "$@"'
            chosen = (
                "-k",
                "user.umask and not combinations or init_killed",
                "--profile",
                "spec",
                "--profile",
                "robustness",
            )
            ran = suite(bad(script), *chosen, "--jobs", "1")
            assert victim.poll() is None, f"signal {victim.returncode}"
        finally:
            victim.kill()
    assert ran.footer["complete"]
    assert "adversity.init_killed:robustness.init-killed" in ran.results("fail")
    said = ran.results("fail")["user.umask:user.umask"]
    assert "no usable pid" in said or "was there before create" in said
    assert not ran.results("error")


def test_prints_rubbish(suite: Callable[..., Ran], bad: Callable[[str], Path]) -> None:
    ran = suite(bad(r"printf '\377\376{\033[31m'; exit 0"), *ONE)
    assert ran.code == 1
    assert "state printed no JSON" in ran.results("fail")["user.umask:user.umask"]


def test_prints_without_end(suite: Callable[..., Ran], bad: Callable[[str], Path]) -> None:
    ran = suite(bad("head -c 30000000 /dev/zero | tr '\\0' x; exit 0"), *ONE)
    assert ran.code == 1
    assert "state printed no JSON" in ran.results("fail")["user.umask:user.umask"]


def test_hangs_and_ignores_signals(
    suite: Callable[..., Ran], bad: Callable[[str], Path], tmp_path: Path
) -> None:
    script = f"trap '' TERM INT HUP; sleep 1000 {tmp_path} & while :; do wait; sleep 1; done"
    ran = suite(bad(script), *ONE, "--timeout", "0.3")
    assert (ran.code, ran.records) == (2, [])
    assert "did not return within" in ran.stderr


def test_leaves_processes(suite: Callable[..., Ran], bad: Callable[[str], Path], tmp_path: Path) -> None:
    ran = suite(
        bad(f"setsid sh -c 'trap \"\" TERM HUP; sleep 1000; : {tmp_path}' >/dev/null 2>&1 & exit 0"), *ONE
    )
    assert ran.code == 1
    assert ran.footer["complete"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(runtime: Path, tmp_path: Path, number: signal.Signals) -> None:
    """However often it is told to end, a run cleans up, and its stream has a footer."""
    command = [str(SUITE), "run", "--runtime", str(runtime), "--format", "json", "--jobs", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(tmp_path)) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        assert '"type": "header"' in lines[0]
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for _ in range(40):  # as timeout(1) does, which sends it twice
            process.send_signal(number)
            time.sleep(0.005)
        rest = process.stdout.read()
        assert process.wait(60) == 2
    assert '"complete": false' in rest.splitlines()[-1]
    assert workers
    left = [path for pid in workers for path in Path("/sys/fs/cgroup").glob(f"**/oci-conformance-{pid}")]
    assert not left


def test_worker_dies(suite: Callable[..., Ran], bad: Callable[[str], Path], runtime: Path) -> None:
    """A runtime that kills its caller: the test is the suite's error, and the run goes on."""
    script = f'[ -z "$(echo "$*" | grep start)" ] || kill -9 $PPID\nexec {runtime} "$@"'
    ran = suite(bad(script), "-k", "user.umask and not combinations or user.ids", "--jobs", "1")
    assert ran.code == 1
    assert set(ran.results("error").values()) == {"its worker died"}
    assert len(ran.records) > 3
