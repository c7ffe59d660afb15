"""A container that is created and not yet started: what ends it, and what its program gets of that."""

from __future__ import annotations

import time

import pytest

NEVER_SIGNALLED = "grep -E '^Sig(Blk|Ign|Cgt):' /proc/self/status"


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT"])
@pytest.mark.parametrize("pid", ["", None], ids=["pid-1", "no-pid-namespace"])
def test_a_stop_signal_ends_it(pyrun, bundle, name, pid):
    """The signals that engines stop containers with end a created one at once, though pid 1 has no default actions."""
    container = pyrun.create(bundle().namespace("pid", pid))
    container.kill(name)
    container.wait()
    assert pyrun.error("start", container.id)
    container.delete()


@pytest.mark.slow
def test_at_once(pyrun, bundle):
    """A signal right after create, while stage 2 is on its way to wait, isn't lost."""
    for _ in range(20):
        container = pyrun.create(bundle())
        container.kill("TERM")
        container.wait()
        container.delete()


def test_other_signals_leave_it(pyrun, bundle):
    """SIGUSR1 isn't one of them: it waits on, and starts."""
    container = pyrun.create(bundle(sh="echo ran"))
    container.kill("USR1")
    time.sleep(0.1)
    assert container.status == "created"
    assert container.finish() == "ran\n"


def test_the_program_gets_default_actions(pyrun, bundle):
    """No signal is blocked, ignored or caught when the program and startContainer hooks begin."""
    one = bundle(sh="exec " + NEVER_SIGNALLED)
    one.rootfs.joinpath("tmp").chmod(0o777)
    one.hook("startContainer", f"{NEVER_SIGNALLED} >&2; exit 1")
    sentence = pyrun.error("run", "-b", str(one.path), pyrun.id())
    assert sentence.count("0000000000000000") >= 2, sentence
    del one.config["hooks"]
    assert {line.split()[1] for line in pyrun.output(one.write()).splitlines()} == {"0" * 16}
