"""Whatever kills a command, at any instant: what it leaves is nothing, or goes with `delete --force`; and then the
same id can be used again (runtime.md, Lifecycle; the promise of state.json's first write)."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from bundles import Bundle, Pyrun, eventually, processes_of
from faults import Ended, Faults, one_sentence, points, points_wanted, temporary_files

Setup = Callable[[Pyrun, Bundle, str], None]


def nothing(pyrun: Pyrun, bundle: Bundle, container_id: str) -> None:
    """No container."""


def created(pyrun: Pyrun, bundle: Bundle, container_id: str) -> None:
    """A created container."""
    pyrun.ok("create", "--bundle", str(bundle.path), container_id)


def running(pyrun: Pyrun, bundle: Bundle, container_id: str) -> None:
    """A running container."""
    created(pyrun, bundle, container_id)
    pyrun.ok("start", container_id)


def stopped(pyrun: Pyrun, bundle: Bundle, container_id: str) -> None:
    """A container whose program was killed."""
    running(pyrun, bundle, container_id)
    pyrun.ok("kill", container_id, "KILL")
    eventually(lambda: '"stopped"' in pyrun("state", container_id).out, "it doesn't stop")


def in_user_namespace(bundle: Bundle) -> None:
    """With a change of ids on the way."""
    bundle.config["linux"].pop("sysctl")
    bundle.config["hooks"]["createContainer"][0]["args"][2] = "exit 0"  # it may not write where tests do
    bundle.user_namespace()


def joining(bundle: Bundle) -> None:
    """With a helper process that joins a namespace."""
    bundle.namespace("ipc", "/proc/self/ns/ipc")


def joining_processes(bundle: Bundle) -> None:
    """With a PID namespace that is joined: stage 2 is born in it at the end."""
    bundle.namespace("pid", "/proc/self/ns/pid")


def sharing_processes(bundle: Bundle) -> None:
    """Without a PID namespace: nothing dies with its first process."""
    bundle.namespace("pid", None)


def without_hooks(bundle: Bundle) -> None:
    """Without hooks create writes its state less often; and with a seccomp filter, which is cached."""
    del bundle.config["hooks"]
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["ptrace"], "action": "SCMP_ACT_ERRNO"}],
    }
    sharing_processes(bundle)


def unfit(bundle: Bundle) -> None:
    """With a program that only execve finds unfit: stage 2 then waits for the sentence that start has of it."""
    bundle.script("/not-a-program", "no program\n")


def with_agent(bundle: Bundle) -> None:
    """With a seccomp agent, which is to get the listener before the program is executed. The filter is loaded late, so
    that hooks have listeners, too."""
    path = bundle.path.parent / "agent"
    agents.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    agents[-1].bind(str(path))
    agents[-1].listen(1000)
    bundle.config["process"]["noNewPrivileges"] = True
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(path),
        "syscalls": [{"names": ["ptrace", "sendmsg"], "action": "SCMP_ACT_NOTIFY"}],
    }


agents: list[socket.socket] = []


@pytest.fixture(autouse=True)
def no_agents() -> Iterator[None]:
    """Agents end with the test."""
    yield
    while agents:
        agents.pop().close()


@dataclass
class Case:
    """A command to be killed: what there must be before it, its words, the number of points in `make test`, the
    container's program, and what is changed in its configuration."""

    before: Setup
    words: tuple[str, ...]
    points: int
    process: tuple[str, ...] = ("sleep", "1000")
    change: Callable[[Bundle], None] | None = None
    before_6_17: bool = False  # as on a kernel before that


CASES = {
    "create": Case(nothing, ("create", "--bundle", "{bundle}", "--pid-file", "{bundle}/pid"), 40),
    "start": Case(created, ("start",), 12),
    "start-unfit": Case(created, ("start",), 12, ("/not-a-program",), change=unfit),
    "start-agent": Case(created, ("start",), 24, change=with_agent),
    "kill": Case(running, ("kill", "--all"), 5),
    "delete": Case(stopped, ("delete",), 12),
    "delete-force": Case(running, ("delete", "--force"), 12),
    "create-user": Case(nothing, ("create", "--bundle", "{bundle}"), 12, change=in_user_namespace),
    "create-join": Case(nothing, ("create", "--bundle", "{bundle}"), 12, change=joining),
    "create-join-pid": Case(nothing, ("create", "--bundle", "{bundle}"), 24, change=joining_processes),
    "create-join-pid-before-6.17": Case(
        nothing, ("create", "--bundle", "{bundle}"), 40, change=joining_processes, before_6_17=True
    ),
    "create-plain": Case(nothing, ("create", "--bundle", "{bundle}"), 20, change=without_hooks),
    "delete-shared": Case(running, ("delete", "--force"), 8, change=sharing_processes),
    "run": Case(nothing, ("run", "--bundle", "{bundle}"), 16, ("true",)),
    "run-pipes": Case(nothing, ("run", "--pipes", "--bundle", "{bundle}"), 16, ("true",)),
}


def assert_reusable(pyrun: Pyrun, bundle: Bundle, container_id: str) -> None:
    """Nothing is left after `delete --force`, and the id can be used again."""
    result = pyrun("delete", "--force", container_id)
    assert (result.code, result.err) == (0, ""), result
    # a process that noticed its parent's death ends by itself, but not in no time
    eventually(lambda: not list(processes_of([container_id])), "a process is left", 5)
    left = pyrun.leftovers()
    assert not left, left
    assert not [path for path in temporary_files(pyrun, bundle) if "/.pid.new" not in path]
    pyrun.ok("create", "--bundle", str(bundle.path), "--pid-file", f"{bundle.path}/pid", container_id)
    pyrun.ok("delete", "--force", container_id)
    assert not temporary_files(pyrun, bundle)


def assert_survived(pyrun: Pyrun, container_id: str, ended: Ended) -> None:
    """Not the command was killed but its child: it says so, and leaves nothing, or it is done (137: `run` passes on
    how the program ended)."""
    if ended.code == 1:
        assert one_sentence(ended.err)
        pyrun.assert_gone(container_id)
    else:
        assert ended.code in (0, 137)
        assert not ended.err or ended.err.startswith("pyrun: warning: hooks.poststop")


@pytest.mark.parametrize("name", CASES)
def test_killed(name: str, faults: Faults, pyrun: Pyrun, rich: tuple[str, Bundle], before_6_17: str) -> None:
    container_id, bundle = rich
    case = CASES[name]
    if case.before_6_17:
        pyrun.wrapper = [before_6_17]
    bundle.args(*case.process)
    if case.change:
        case.change(bundle)
    words = (*[word.format(bundle=bundle.path) for word in case.words], container_id)
    case.before(pyrun, bundle, container_id)
    recorded = faults.record(*words)
    assert recorded.code == 0, recorded.err
    pyrun.ok("delete", "--force", container_id)
    failures = []
    chosen = points(recorded.calls, points_wanted(case.points))
    for point in chosen:
        case.before(pyrun, bundle, container_id)
        ended = faults.at(point, "kill", *words)
        try:
            if point[0] > 0 and case.words[0] in ("create", "run"):
                assert_survived(pyrun, container_id, ended)
            if name == "start-unfit" and (pyrun.root / container_id).exists():
                # nobody answers stage 2 any more: it ends by itself, or goes on waiting for a start
                eventually(lambda: '"running"' not in pyrun("state", container_id).out, "stage 2 doesn't end")
            assert_reusable(pyrun, bundle, container_id)
        except AssertionError as error:
            failures.append(f"{point} {recorded.at(point)}: exit status {ended.code}, {ended.err!r}: {error}")
            pyrun("delete", "--force", container_id)
    print(f"{name}: {len(chosen)} points")
    assert not failures, "\n".join(failures)


def test_killed_start_can_be_repeated(pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    """The container stays created: its init notices that who has woken it is gone."""
    container = pyrun.create(bundle(sh="sleep 1000"))
    pid = container.pid
    folder = os.open(pyrun.root / container.id, os.O_PATH)
    os.kill(pid, signal.SIGSTOP)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as start:  # what start does, and dies
        start.connect(f"/proc/self/fd/{folder}/start.sock")
    os.close(folder)
    os.kill(pid, signal.SIGCONT)
    assert container.status == "created"
    container.start()
    assert container.status == "running"
    container.delete("--force")
