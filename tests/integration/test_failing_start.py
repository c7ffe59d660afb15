"""A `start` that fails must not surprise an engine, which deletes the container at once and gives up if that fails.

Engines hold a container's init as their child: they know that it ended when they have reaped it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time

import pytest

SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@pytest.fixture
def reaper():
    """We are what conmon and containerd's shim are: the init's parent, once create has ended."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    libc.prctl(SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def said_by(container):
    """What is on the program's stderr."""
    return container.out_file.with_name(container.out_file.name.replace("out-", "err-")).read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no program\n", "exec format error: it is neither an ELF program nor a script"),
        ("#!/no/interpreter\n", "its interpreter /no/interpreter is missing"),
    ],
    ids=["format", "interpreter"],
)
def test_program_that_execve_refuses_ends_with_255(pyrun, bundle, reaper, text, words):
    """`start` succeeds without a word; the container has ended with status 255, its cause is on the program's stderr,
    no poststart hook has run, and it is deleted like any other."""
    one = bundle()
    one.script("/tool", text)
    one.hook("poststart", f"echo ran > {one.path}/poststart")
    container = pyrun.create(one.args("/tool"))
    pid = container.pid
    container.start()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 255
    assert said_by(container).startswith("pyrun: process.args[0]: ")
    assert words in said_by(container)
    assert container.status == "stopped"
    container.delete()
    assert not (one.path / "poststart").exists()
    pyrun.assert_gone(container.id)


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_start_reaps_the_init_after_a_failing_hook(pyrun, bundle, reaper, kind):
    """Whoever is told that `start` failed finds no process of the container, not even a dead one."""
    one = bundle().args("sleep", "1000")
    one.hook(kind, "exit 3")
    container = pyrun.create(one)
    pid = container.pid
    reaped = threading.Event()

    def reap():
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        time.sleep(0.3)  # a busy shim
        reaped.set()
        os.waitpid(pid, 0)

    shim = threading.Thread(target=reap)
    shim.start()
    sentence = pyrun.error("start", container.id)
    assert sentence.startswith(f"hooks.{kind}[0]: ")
    assert reaped.is_set()
    shim.join()
    pyrun.assert_gone(container.id)


def test_start_does_not_wait_for_a_parent_that_never_reaps(pyrun, bundle, reaper):
    """`start` fails all the same, within seconds."""
    one = bundle().args("sleep", "1000")
    one.hook("startContainer", "exit 3")
    container = pyrun.create(one)
    pid = container.pid
    try:
        assert "exited with status 3" in pyrun.error("start", container.id, time_limit=20)
    finally:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def test_container_ends_without_a_reader_of_stderr(pyrun, bundle, reaper):
    """A closed pipe as the program's stderr."""
    one = bundle()
    one.script("/tool", "no program\n")
    container_id = pyrun.id()
    reading, writing = os.pipe()
    process = pyrun.popen(
        "create", "--bundle", str(one.args("/tool").path), container_id, stdout=writing, stderr=writing
    )
    os.close(writing)
    os.close(reading)
    assert process.wait(20) == 0
    pid = pyrun.state(container_id)["pid"]
    pyrun.ok("start", container_id)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0
    pyrun.ok("delete", container_id)
    pyrun.assert_gone(container_id)


@pytest.mark.parametrize("detached", [True, False], ids=["detached", "foreground"])
@pytest.mark.parametrize("fault", ["format", "hook"])
def test_run_takes_its_container_back(pyrun, bundle, fault, detached):
    """A container whose start fails has no other owner than `run`, which leaves nothing of it."""
    one = bundle(sh="true")
    if fault == "format":
        (one.rootfs / "bin/garbage").write_text("no program\n")
        (one.rootfs / "bin/garbage").chmod(0o755)
        one.args("/bin/garbage")
    else:
        one.hook("poststart", "exit 3")
    container_id = pyrun.id()
    options = ["--detach"] if detached else []
    pyrun.error("run", *options, "--bundle", str(one.write().path), container_id)
    pyrun.assert_gone(container_id)
