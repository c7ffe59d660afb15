"""pyrun ps: the processes of a container, by the host's numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import needs
import pytest
from bundles import Bundle, Container, Pyrun, eventually, new_id

from pyrun.commands.ps import clock

Make = Callable[..., Bundle]


def pids_of(container: Container) -> list[int]:
    found: list[int] = json.loads(container.pyrun.ok("ps", "--format", "json", container.id).out)
    return found


def three(pyrun: Pyrun, bundle: Make) -> Container:
    """A container with three processes, one of them in a cgroup below."""
    move = "for each in /sys/fs/cgroup/*; do mkdir $each/below && echo $! > $each/below/cgroup.procs; done"
    one = bundle(sh=f"sleep 1001 & sleep 1002 & {move}; exec sleep 1000")
    for mount in one.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"] = ["nosuid", "noexec", "nodev"]
    container = pyrun.start(one.write())
    eventually(lambda: len(pids_of(container)) == 3, "not three processes")
    eventually(lambda: comm(container.pid) == "sleep\n", "the program didn't start")
    return container


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text()


def test_json(any_host: Pyrun, bundle: Make) -> None:
    """An array of numbers of the host, the init's among them, and nothing else."""
    container = three(any_host, bundle)
    result = any_host.ok("ps", "-f", "json", container.id)
    pids = json.loads(result.out)
    assert result.out.count("\n") == 1
    assert sorted(pids) == pids
    assert container.pid in pids
    assert {comm(pid) for pid in pids} == {"sleep\n"}
    container.delete("--force")


def test_table(any_host: Pyrun, bundle: Make) -> None:
    """A line for each, with columns that line up."""
    container = three(any_host, bundle)
    head, *lines = any_host.ok("ps", container.id).lines()
    assert head.split() == ["UID", "PID", "PPID", "STATE", "ELAPSED", "TIME", "COMMAND"]
    assert [int(line.split()[1]) for line in lines] == pids_of(container)
    assert {line[head.index("COMMAND") :] for line in lines} == {"sleep 1000", "sleep 1001", "sleep 1002"}
    for line in lines:
        uid, _, _, state, elapsed, used, _, _ = line.split()
        assert (uid, state, used) == ("0", "S", "00:00:00")
        assert elapsed.startswith("00:0")
    container.delete("--force")


def test_ps_escapes_names_of_processes(pyrun: Pyrun, bundle: Make) -> None:
    """Names of processes are the container's."""
    container = pyrun.start(bundle().args("sh", "-c", "sleep 1000; true", "\33[2J\n"))
    eventually(lambda: len(pids_of(container)) == 2, "not two processes")
    out = pyrun.ok("ps", container.id).out
    assert "\\u001b[2J\\u000a" in out
    assert "\33" not in out
    assert len(out.splitlines()) == 3


def test_by_the_hosts_ps(pyrun: Pyrun, bundle: Make) -> None:
    """With words after the ID, the host's ps prints its columns."""
    needs.program("ps")
    container = three(pyrun, bundle)
    for words, columns in (
        (("-eo", "ppid,pid,comm"), "PPID PID COMMAND"),
        (("-fe",), "UID PID PPID C STIME TTY TIME CMD"),
    ):
        head, *lines = pyrun.ok("ps", container.id, *words).lines()
        assert head.split() == columns.split()
        assert [int(line.split()[1]) for line in lines] == pids_of(container)
    assert pyrun.error("ps", container.id, "-o", "comm") == (
        "ps -o comm prints no column PID (it is needed to find the processes)"
    )
    assert pyrun.error("ps", container.id, "--bogus").startswith("ps --bogus fails: ")
    assert pyrun.error("ps", container.id, "aux", env={"PATH": "/nonexistent"}).startswith(
        "there is no program ps"
    )


def test_refused(pyrun: Pyrun, bundle: Make) -> None:
    """Unknown containers and formats; a stopped container has no processes."""
    name = new_id()
    assert pyrun.error("ps", name) == f'container "{name}" does not exist'
    container = pyrun.start(bundle(sh="true"))
    container.wait()
    assert pids_of(container) == []
    assert len(pyrun.ok("ps", container.id).lines()) == 1
    assert pyrun.error("ps", "-f", "yaml", container.id) == '--format: "yaml" is neither table nor json'
    assert "takes no" in pyrun.error("ps", "-f", "json", container.id, "aux")
    assert pyrun.error("ps", "--bogus", container.id).startswith("ps: no such option: --bogus")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00:00"), (61, "00:01:01"), (86399, "23:59:59"), (90061, "1-01:01:01")]
)
def test_clock(seconds: int, text: str) -> None:
    assert clock(seconds) == text
