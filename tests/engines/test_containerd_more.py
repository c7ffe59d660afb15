"""ctr's commands for a running task: what ps and metrics tell, and what a paused one refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from . import test_containerd
from .behaviour import cgroup_file
from .more import wait_for
from .test_containerd import Containerd

containerd = test_containerd.containerd


@pytest.fixture
def task(containerd: Containerd) -> Iterator[str]:
    """The name of a running task with two processes and a memory limit."""
    name, script = "task", "sleep 1001 & exec sleep 1002"
    options = ("--detach", "--memory-limit", str(32 << 20))
    done = containerd.call(*containerd.run_arguments(name, *options), "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    yield name
    containerd.call("task", "kill", "--all", "--signal", "KILL", name)
    wait_for(lambda: status(containerd, name) == "STOPPED", "the task ends")
    assert "code 137" in containerd.call("task", "delete", name).stderr
    assert containerd.call("container", "delete", name).returncode == 0


def status(containerd: Containerd, name: str) -> str:
    """containerd's word for the task's state."""
    for line in containerd.call("task", "list").stdout.splitlines():
        if line.split()[0] == name:
            return line.split()[2]
    return ""


def test_no_exec_into_a_paused_task(containerd: Containerd, task: str) -> None:
    assert containerd.call("task", "pause", task).returncode == 0
    refused = containerd.call("task", "exec", "--exec-id", "one", task, "true")
    assert refused.returncode != 0
    assert "pause" in refused.stderr
    assert containerd.call("task", "resume", task).returncode == 0
    assert containerd.call("task", "exec", "--exec-id", "two", task, "echo", "again").stdout == "again\n"


def test_ps(containerd: Containerd, task: str) -> None:
    def pids() -> set[str]:
        return {line.split()[0] for line in containerd.call("task", "ps", task).stdout.splitlines()[1:]}

    wait_for(lambda: len(pids()) == 2, "both processes are listed")
    commands = [containerd.host.path(f"/proc/{pid}/cmdline").read_text().split("\0")[:2] for pid in pids()]
    assert sorted(commands) == [["sleep", "1001"], ["sleep", "1002"]]


def test_metrics(containerd: Containerd, task: str) -> None:
    cgroup_file("memory/memory.limit_in_bytes", "memory.max")
    done = containerd.call("task", "metrics", "--format", "json", task)
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert metrics["pids"]["current"] == 2
    assert str(32 << 20) in done.stdout
