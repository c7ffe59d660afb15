"""Commands that wait for each other: not for ever, and not for who waits for them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bundles import Bundle, Pyrun, eventually, new_id, processes_of

from pyrun.base.errors import PyrunError, render
from pyrun.container import locks
from pyrun.container import store as containers

Make = Callable[..., Bundle]
Hold = Callable[[Path], subprocess.Popen[bytes]]
HOOKS = ("prestart", "createRuntime", "createContainer", "poststart")


def asking(pyrun: Pyrun, container_id: str, command: str, answer: Path) -> str:
    """A hook's script: call the runtime on its own container, and write down what it says."""
    call = f"{pyrun.runtime} --root {pyrun.root} {command} {container_id}"
    return f"{call} > {answer} 2>&1; echo status $? >> {answer}"


@pytest.mark.parametrize("command", ["delete", "delete --force", "start"])
@pytest.mark.parametrize("kind", HOOKS)
def test_a_hook_that_changes_its_own_container(
    pyrun: Pyrun, bundle: Make, tmp_path: Path, kind: str, command: str
) -> None:
    """The command in the hook is refused at once, and named as what waits for it; the container lives."""
    container_id, answer = pyrun.id(), tmp_path / "answer"
    one = bundle().args("sleep", "1000").hook(kind, asking(pyrun, container_id, command, answer))
    begin = time.monotonic()
    pyrun.ok("create", "--bundle", str(one.path), container_id)
    pyrun.ok("start", container_id)
    assert time.monotonic() - begin < locks.FORCED_LIMIT
    said = answer.read_text()
    assert said.endswith("status 1\n"), said
    assert "a hook can't change its own container" in said
    assert f"{'start' if kind == 'poststart' else 'create'} " in said
    pyrun.ok("delete", "--force", container_id)


@pytest.mark.parametrize("command", ["pause", "update --pids-limit 77"])
def test_a_poststart_hook_may_limit_its_container(
    pyrun: Pyrun, bundle: Make, tmp_path: Path, command: str
) -> None:
    """Who holds the lock waits for the hook, so that nobody else can change the container meanwhile."""
    container_id, answer = pyrun.id(), tmp_path / "answer"
    one = bundle().args("sleep", "1000").hook("poststart", asking(pyrun, container_id, command, answer))
    pyrun.ok("create", "--bundle", str(one.path), container_id)
    pyrun.ok("start", container_id)
    assert answer.read_text() == "status 0\n"
    pyrun.ok("delete", "--force", container_id)


@pytest.fixture
def held() -> Iterator[Hold]:
    """Lets a process of its own hold the lock of a state folder until its stdin is closed."""
    script = (
        "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), 2); print(flush=True); sys.stdin.read()"
    )
    made: list[subprocess.Popen[bytes]] = []

    def hold(folder: Path) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        made.append(subprocess.Popen([sys.executable, "-c", script, str(folder)], stdin=pipe, stdout=pipe))
        assert made[-1].stdout is not None
        made[-1].stdout.readline()
        return made[-1]

    yield hold
    for each in made:
        each.communicate()


def test_the_holder_is_named(pyrun: Pyrun, bundle: Make, held: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits too long is told whose the lock is: pid and command line."""
    monkeypatch.setattr(locks, "LIMIT", 0.2)
    container = pyrun.create(bundle())
    other = held(pyrun.root / container.id)
    with pytest.raises(PyrunError) as caught:
        containers.find(str(pyrun.root), container.id, lock=True)
    other.communicate()
    assert caught.value.kind == "busy"
    assert f"in use by process {other.pid} ({sys.executable} -c import fcntl" in render(caught.value)
    container.delete("--force")


@pytest.mark.parametrize("command", ["start", "delete", "pause", "resume", "update --pids-limit 7"])
def test_who_changes_a_container_waits_for_its_turn(
    pyrun: Pyrun, bundle: Make, held: Hold, command: str
) -> None:
    """While another command holds the lock nothing is changed; afterwards it goes on."""
    container = pyrun.create(bundle(sh="exec sleep 1000"))
    if command == "delete":
        container.kill("KILL")
        container.wait()
    if command == "resume":
        pyrun.ok("pause", container.id)
    other = held(pyrun.root / container.id)
    with pyrun.popen(*command.split(), container.id, stdout=subprocess.DEVNULL, stderr=None) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        other.communicate()
        assert process.wait(20) == 0
    if command != "delete":
        container.delete("--force")


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "poststart", "startContainer"])
def test_forced_delete_ends_a_command_that_hangs_in_a_hook(
    pyrun: Pyrun, bundle: Make, tmp_path: Path, kind: str
) -> None:
    """It waits for a while, then kills who doesn't let go, and leaves nothing, the hook included."""
    container_id = new_id()
    one = bundle({"linux": {"cgroupsPath": f"/{container_id}"}}).args("sleep", "1001")
    argv0 = "sleep" if kind == "startContainer" else f"{container_id} "
    one.config["hooks"] = {kind: [{"path": "/bin/sleep", "args": [argv0, "1000"]}]}
    one.write()
    hangs = ["create", "--bundle", str(one.path), container_id]
    if kind in ("poststart", "startContainer"):
        pyrun.ok(*hangs)
        hangs = ["start", container_id]
    with (tmp_path / "err").open("wb") as err:
        process = pyrun.popen(*hangs, stdout=subprocess.DEVNULL, stderr=err)
    eventually(
        lambda: [text for text in processes_of([container_id]) if " 1000" in text.split("\n")[0]], "no hook"
    )
    result = pyrun("delete", "--force", container_id, time_limit=60)
    assert result.code == 0, result
    assert process.wait(10) == -signal.SIGKILL
    assert f"ending process {process.pid} (" in result.err
    eventually(lambda: not list(processes_of([container_id])), "a process is left")
    pyrun.assert_gone(container_id)
