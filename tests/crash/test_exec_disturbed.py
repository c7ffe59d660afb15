"""exec, killed at any instant or with any system call failing: the container goes on as before, and of the program
that was to run in it there is nothing, or it runs to its end."""

from __future__ import annotations

import errno

import needs
import pytest
from bundles import Bundle, Pyrun, eventually, processes_of
from faults import Faults, one_sentence, points, points_wanted
from test_call_failures import ERRORS, NEVER_FAIL

POINTS = 24


def usual(bundle: Bundle) -> None:
    """A container as it is."""


def in_user_namespace(bundle: Bundle) -> None:
    """With a change of ids on the way."""
    bundle.user_namespace()


def sharing_processes(bundle: Bundle) -> None:
    """Without a PID namespace, and so without a second process."""
    bundle.namespace("pid", None)


CHANGES = (usual, in_user_namespace, sharing_processes)


def assert_unharmed(pyrun: Pyrun, container_id: str) -> None:
    """The container has its own process and no other, and takes the next program."""
    eventually(lambda: len(list(processes_of([container_id]))) == 1, "a process is left", 5)
    assert pyrun.ok("exec", container_id, "echo", "next").out == "next\n"


@pytest.mark.parametrize("how", ["kill", "error"])
@pytest.mark.parametrize("change", CHANGES)
def test_disturbed(faults: Faults, pyrun: Pyrun, bundle, change, how: str) -> None:
    one = bundle().args("sleep", "1000")
    change(one)
    container = pyrun.start(one)
    words = ("exec", "--user", "user", container.id, "true")
    recorded = faults.record(*words)
    assert recorded.code == 0, recorded.err
    failures = []
    wanted = points_wanted(POINTS if change is usual else POINTS // 2)
    for point in points(recorded.calls, wanted, *([] if how == "kill" else [NEVER_FAIL])):
        number = ERRORS[point[1] % len(ERRORS)]
        ended = faults.at(point, how if how == "kill" else f"error:{number}", *words)
        about = f"{point} {recorded.at(point)}: {errno.errorcode[number]}, exit status {ended.code}, {ended.err!r}"
        try:
            if how == "error" or point[0] > 0:
                assert ended.code in (0, 255, 137)
                assert ended.code != 255 or one_sentence(ended.err)
            assert_unharmed(pyrun, container.id)
        except AssertionError as error:
            failures.append(f"{about}: {error}")
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("command", ["exec", "create"])
def test_killed_between_birth_and_word(faults: Faults, pyrun: Pyrun, bundle, command: str) -> None:
    """The process outside dies when it has made the one inside, and before it has told its pid: the command says so at
    once, and the one inside ends."""
    container = pyrun.start(bundle().args("sleep", "1000"))
    name = pyrun.id()
    words = ("exec", container.id, "true")
    if command == "create":
        needs.kernel(6, 17, "creating from outside of a joined PID namespace")
        other = bundle().namespace("pid", f"/proc/{container.pid}/ns/pid")
        words = ("create", "-b", str(other.path), name)
    recorded = faults.record(*words)
    assert recorded.code == 0, recorded.err
    pyrun.ok("delete", "--force", name)
    after = recorded.calls[1].index("clone") + 2
    ended = faults.at((1, after), "kill", *words)
    assert recorded.at((1, after)) == "sendto"
    assert ended.code == (255 if command == "exec" else 1)
    assert one_sentence(ended.err), ended.err
    assert "killed by signal 9" in ended.err
    assert_unharmed(pyrun, container.id)
    pyrun.assert_gone(name)
