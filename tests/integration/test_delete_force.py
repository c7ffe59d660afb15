"""`delete --force` ends with nothing, whatever is in its way; and `kill KILL` with no process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import needs
import pytest
from bundles import Bundle, Container, Pyrun, eventually, processes_of

Make = Callable[..., Bundle]
FREEZER = Path("/sys/fs/cgroup/freezer")


def freezer() -> Path:
    """The v1 hierarchy in which nothing dies frozen."""
    if not (FREEZER / "cgroup.procs").exists():
        pytest.skip("needs the freezer of cgroup v1")
    return FREEZER


def writable_cgroups(bundle: Bundle) -> Bundle:
    """Let the container write to its cgroups."""
    for mount in bundle.config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"] = ["nosuid", "noexec", "nodev"]
    return bundle.write()


def frozen_below(pyrun: Pyrun, bundle: Make) -> Container:
    """A container that has frozen a cgroup below a cgroup of its own."""
    script = (
        "cd /sys/fs/cgroup/freezer && mkdir -p a/b; sleep 1000 & echo $! > a/b/cgroup.procs; "
        "echo FROZEN > a/b/freezer.state; until grep -q FROZEN a/b/freezer.state; do :; done; echo up; exec sleep 1000"
    )
    container = pyrun.start(writable_cgroups(bundle(sh=script)))
    eventually(lambda: "up" in container.out(), "nothing is frozen")
    return container


def test_frozen_below(pyrun: Pyrun, bundle: Make) -> None:
    """A container that freezes a cgroup of its own, as docker in docker does, can be deleted."""
    freezer()
    container = frozen_below(pyrun, bundle)
    pyrun.ok("delete", "--force", container.id, time_limit=9)
    pyrun.assert_gone(container.id)


@pytest.mark.parametrize("shared", [False, True], ids=["own processes", "shared processes"])
def test_kill_frozen_below(pyrun: Pyrun, bundle: Make, shared: bool) -> None:
    """KILL ends it, too."""
    freezer()
    container = frozen_below(
        pyrun, lambda **more: bundle(**more).namespace("pid", None) if shared else bundle(**more)
    )
    container.kill("KILL")
    container.wait()
    eventually(lambda: not list(processes_of([container.id])), "a process is left")
    container.delete()


def test_frozen_above(pyrun: Pyrun, bundle: Make) -> None:
    """A cgroup above that somebody has frozen keeps nobody from deleting what is below, and stays frozen."""
    above = freezer() / pyrun.id()
    container = pyrun.start(
        bundle({"linux": {"cgroupsPath": f"/{above.name}/one"}}, sh="sleep 1000 & exec sleep 1000")
    )
    try:
        (above / "freezer.state").write_text("FROZEN")
        eventually(lambda: (above / "freezer.state").read_text() == "FROZEN\n", "it isn't frozen")
        pyrun.ok("delete", "--force", container.id, time_limit=9)
    finally:
        if above.exists():
            (above / "freezer.state").write_text("THAWED")
    assert not list(processes_of([above.name]))


def test_paused_again_and_again_meanwhile(pyrun: Pyrun, bundle: Make) -> None:
    """Somebody who pauses the container all the time doesn't keep it from being deleted."""
    container = pyrun.start(bundle(sh="for i in 1 2 3 4 5 6; do sleep 1000 & done; wait"))
    path = next(path for path in [freezer() / container.id] if path.exists())
    child = os.fork()
    if child == 0:  # without the container's lock, as another program would
        while True:
            try:
                (path / "freezer.state").write_text("FROZEN")
            except OSError:
                os._exit(0)
    try:
        pyrun.ok("delete", "--force", container.id, time_limit=12)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    pyrun.assert_gone(container.id)


def test_a_small_limit_of_file_sizes(pyrun: Pyrun, bundle: Make) -> None:
    """RLIMIT_FSIZE of the caller's that has no room for the state is one sentence, and nothing is left."""
    pyrun.wrapper = ["sh", "-c", 'ulimit -f 1; exec "$@"', "sh"]
    sentence = pyrun.refused(bundle({"annotations": {"x": "y" * 4096}}))
    assert "File too large" in sentence
    assert "state.json" in sentence
    assert "RLIMIT_FSIZE" in sentence


READ_ONLY = """
for place in $(grep -E ' - cgroup2? ' /proc/self/mountinfo | cut -d' ' -f5); do
  mount -o remount,bind,ro "$place" || exit 99
done
exec "$@"
"""


def test_cgroups_that_nobody_can_remove(pyrun: Pyrun, bundle: Make) -> None:
    """Where cgroup file systems are read-only, every process ends and the id is free; a warning names what stays."""
    needs.program("unshare")
    container = pyrun.start(bundle(sh="sleep 1000 & exec sleep 1000").namespace("pid", None))
    record = json.loads((pyrun.root / container.id / "state.json").read_text().split("\n")[0])["cgroup"]
    folders = [Path(each["mount"] + record["path"]) for each in record["hierarchies"]]
    members = folders[0] / "cgroup.procs"
    try:
        eventually(lambda: len(members.read_text().split()) == 2, "there are no two processes")
        pyrun.wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY, "sh"]
        forced = pyrun("delete", "--force", container.id)
        pyrun.wrapper = []
        assert (forced.code, forced.out) == (0, "")
        assert "read-only" in forced.err.lower()
        assert record["path"] in forced.err
        assert members.read_text() == ""
        assert "does not exist" in pyrun.error("state", container.id)
    finally:
        pyrun.wrapper = []
        for folder in folders:
            if folder.exists():
                folder.rmdir()


@pytest.mark.parametrize("gone", [False, True], ids=["init lives", "init is gone"])
def test_kill_without_a_pid_namespace(pyrun: Pyrun, bundle: Make, gone: bool) -> None:
    """KILL is for all of a container whose processes don't die with the first; also when that one is gone."""
    one = bundle(sh="sleep 1000 & echo up; exec sleep 1000").namespace("pid", None)
    container = pyrun.start(one)
    eventually(lambda: "up" in container.out(), "not up")
    if gone:
        os.kill(container.pid, signal.SIGKILL)
        container.wait()
        assert "container not running" in pyrun.error("kill", container.id, "TERM")
    assert list(processes_of([container.id]))
    container.kill("KILL")
    assert not list(processes_of([container.id]))
    assert "container not running" in pyrun.error("kill", container.id, "KILL")
    container.delete()


@pytest.mark.slow
def test_a_zombie_that_nobody_reaps_is_named(pyrun: Pyrun, bundle: Make) -> None:
    """A PID namespace ends when the last of its zombies is reaped: a parent outside that doesn't is named."""
    needs.program("python3")
    container = pyrun.start(bundle().args("sleep", "1000"))
    script = (
        "import ctypes, os, subprocess, sys, time\n"
        "ctypes.CDLL(None).prctl(36, 1)\n"
        "subprocess.run(sys.argv[1:], check=True)\n"
        "print(flush=True)\n"
        "time.sleep(60)\n"
    )
    argv = [str(pyrun.runtime), "--root", str(pyrun.root), "exec", "--detach", container.id, "sleep", "1000"]
    with subprocess.Popen(["python3", "-c", script, *argv], stdout=subprocess.PIPE) as parent:
        try:
            assert parent.stdout is not None
            parent.stdout.readline()
            sentence = pyrun.error("delete", "--force", container.id)
            assert f"until process {parent.pid}, outside of the container, takes note" in sentence
        finally:
            parent.kill()
    container.delete("--force")


def test_list_survives_any_bundle(pyrun: Pyrun, bundle: Make, tmp_path: Path) -> None:
    """A path with newlines and escapes is one line of the table, and itself in JSON; the owner has his name."""
    one = bundle()
    path = tmp_path / "a\nb\x1b[31m"
    one.path.rename(path)
    one.path = path
    container = pyrun.create(one)
    lines = pyrun.ok("list").lines()
    assert len(lines) == 2
    assert "\x1b" not in lines[1]
    assert "a\\u000ab\\u001b[31m" in lines[1]
    assert lines[1].split()[-1] == "root"
    assert container.state()["bundle"] == str(path)
    container.delete("--force")


def test_list_of_ids_has_nothing_else(pyrun: Pyrun, bundle: Make) -> None:
    """Files, and folders whose name no container can have, are none."""
    container = pyrun.create(bundle())
    (pyrun.root / "a\x1b[31m\nb").mkdir()
    (pyrun.root / "file").write_text("")
    try:
        assert pyrun.ok("list", "-q").out == f"{container.id}\n"
        assert len(pyrun.ok("list").lines()) == 2
    finally:
        (pyrun.root / "a\x1b[31m\nb").rmdir()
        (pyrun.root / "file").unlink()
    container.delete("--force")
