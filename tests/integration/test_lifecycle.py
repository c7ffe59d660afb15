"""The life of a container: create, start, state, kill, delete, and what each of them refuses."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from bundles import eventually, new_id, process_status, processes_of

SLEEP = "exec sleep 1000"


def test_run_program(pyrun, bundle):
    """`run` executes the program as process 1 and returns its status."""
    assert pyrun.output(bundle(sh="echo $$; hostname")) == "1\npyrun\n"


def test_state_document(pyrun, bundle):
    """`state` prints the spec's document, with what engines expect besides."""
    one = bundle({"annotations": {"com.example.key": "välue"}}, sh=SLEEP)
    container = pyrun.create(one)
    state = container.state()
    assert state["ociVersion"] == "1.3.0"
    assert state["id"] == container.id
    assert state["status"] == "created"
    assert state["bundle"] == str(one.path)
    assert state["annotations"] == {"com.example.key": "välue"}
    assert state["rootfs"] == str(one.rootfs)
    assert state["owner"] == "0"
    assert state["created"].endswith("Z")
    assert process_status(state["pid"])["Name"] == "pyrun-init"


def test_state_of_stopped_has_pid_0(pyrun, bundle):
    """A stopped container has no process, and so no pid."""
    container = pyrun.start(bundle())
    container.wait()
    assert container.state()["pid"] == 0


def test_state_without_annotations(pyrun, bundle):
    """Without annotations in the configuration, the state has none."""
    assert not pyrun.create(bundle()).state().get("annotations")


@pytest.mark.parametrize("command", ["state", "start", "kill", "delete"])
def test_unknown_id(pyrun, command):
    """Every operation on an unknown id is an error that names it."""
    container_id = new_id()
    assert pyrun.error(command, container_id) == f'container "{container_id}" does not exist'


@pytest.mark.parametrize("command", ["create", "state", "start", "kill", "delete"])
def test_no_id(pyrun, command):
    """Every operation without an id is a usage error with exit status 1."""
    result = pyrun(command)
    assert result.code == 1
    assert "ID" in result.err


def test_bundle_may_go_after_create(pyrun, bundle):
    """A created container's state and deletion don't need its bundle any more."""
    one = bundle(sh=SLEEP)
    container = pyrun.create(one)
    shutil.move(one.path, one.path.with_name("moved"))
    assert container.status == "created"
    container.start()
    container.delete("--force")


def test_relative_bundle(pyrun, bundle):
    """A relative bundle path is made absolute in the state."""
    one = bundle(sh=SLEEP)
    container_id = new_id()
    pyrun.ok(
        "create",
        "--bundle",
        f"../{one.path.parent.name}/./{one.path.name}",
        container_id,
        cwd=one.path.parent,
    )
    assert json.loads(pyrun.ok("state", container_id).out)["bundle"] == str(one.path)


def test_bundle_defaults_to_current_folder(pyrun, bundle):
    """Without --bundle, the bundle is the current folder."""
    one = bundle(sh="echo here")
    assert pyrun.ok("run", new_id(), cwd=one.path).out == "here\n"


def test_config_option(pyrun, bundle):
    """--config names another file than the bundle's config.json."""
    one = bundle(sh="echo other")
    (one.path / "config.json").rename(one.path.parent / "other.json")
    assert pyrun.output(one, "--config", str(one.path.parent / "other.json")) == "other\n"


def test_relative_root_option(pyrun, bundle, tmp_path):
    """A relative --root is relative to the current folder."""
    container_id = new_id()
    one = bundle(sh=SLEEP)
    pyrun.ok("create", "--bundle", str(one.path), container_id)
    argv = ["--root", os.path.relpath(pyrun.root, tmp_path), "state", container_id]
    assert json.loads(pyrun.ok(*argv, cwd=tmp_path).out)["id"] == container_id


@pytest.mark.parametrize(
    "bad", ["", ".", "..", "a/b", "../x", "a b", "a\nb", "ä", "x" * 256, "a\x01", "-", "/", "a:b"]
)
def test_bad_id(pyrun, bundle, bad):
    """An id that can't be a name is refused, by create and by the rest."""
    one = bundle()
    if bad != "-":
        assert "is not valid" in pyrun.error("create", "--bundle", str(one.path), "--", bad)
        assert "is not valid" in pyrun.error("delete", "--force", "--", bad)
    assert "is not valid" in pyrun.error("state", "--", bad) or bad == "-"
    assert not pyrun.root.exists()


@pytest.mark.parametrize("form", ["{}_a+b-c.d", "{}" + "x" * 200, "{}ABC", "{}.."])
def test_good_id(pyrun, bundle, form):
    """Letters, digits and _ + - . make an id, up to 255 of them."""
    container_id = form.format(new_id())
    pyrun.ok("create", "--bundle", str(bundle().path), container_id)
    pyrun.ok("start", container_id)


def test_id_in_use(pyrun, bundle):
    """An id in use is refused, and the container that has it stays as it is."""
    container = pyrun.create(bundle(sh=SLEEP))
    before = container.state()
    for command in ("create", "run"):
        sentence = pyrun.error(command, "--bundle", str(bundle(sh="echo intruder").path), container.id)
        assert f'container ID "{container.id}" is in use' in sentence
    assert container.state() == before
    container.start()
    assert container.status == "running"


def test_id_can_be_used_again(pyrun, bundle):
    """A deleted id is free."""
    one = bundle(sh="echo again")
    container_id = new_id()
    for _ in range(3):
        pyrun.ok("create", "--bundle", str(one.path), container_id)
        pyrun.ok("delete", "--force", container_id)
    assert pyrun.ok("run", "--bundle", str(one.path), container_id).out == "again\n"
    pyrun.assert_gone(container_id)


def test_start_twice(pyrun, bundle):
    """Only a created container can be started; a second start changes nothing."""
    container = pyrun.start(bundle(sh=SLEEP))
    before = container.state()
    assert "running, and only a created one can be started" in pyrun.error("start", container.id)
    assert container.state() == before
    container.kill("KILL")
    container.wait()
    assert "stopped, and only a created one can be started" in pyrun.error("start", container.id)
    assert container.status == "stopped"


def test_process_absent(pyrun, bundle):
    """Without `process` a container can be created, not started."""
    container = pyrun.create(bundle({"process": None}))
    assert container.status == "created"
    assert pyrun.error("start", container.id).startswith("process: ")
    assert container.status == "created"


SIGNALS = [
    ("TERM", 15),
    ("SIGTERM", 15),
    ("sigterm", 15),
    ("15", 15),
    ("HUP", 1),
    ("10", 10),
    ("USR2", 12),
    ("WINCH", 28),
    ("RTMIN", 34),
    ("SIGRTMIN+3", 37),
    ("RTMAX-1", 63),
    ("64", 64),
]


@pytest.mark.parametrize(("name", "number"), SIGNALS)
def test_kill(pyrun, bundle, name, number):
    """`kill` delivers the signal that a name or a number stands for."""
    script = f"trap 'echo got; exit 7' {number}; echo ready; while :; do sleep 0.01; done"
    container = pyrun.start(bundle(sh=script))
    eventually(lambda: "ready" in container.out(), "no trap")
    container.kill(name)
    container.wait()
    assert container.out() == "ready\ngot\n"


def test_kill_default_is_term(pyrun, bundle):
    """Without a signal, SIGTERM is sent."""
    container = pyrun.start(bundle(sh="trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done"))
    eventually(lambda: "ready" in container.out(), "no trap")
    container.kill()
    container.wait()


@pytest.mark.parametrize("bad", ["FOO", "65", "-1", "SIG", "RTMAX+1", "RTMIN-1", "", "999"])
def test_kill_unknown_signal(pyrun, bundle, bad):
    """An unknown signal is refused, and nothing is sent: outside of a PID namespace, any would end the program."""
    container = pyrun.start(bundle(sh=SLEEP).namespace("pid", None))
    assert f'unknown signal "{bad}"' in pyrun.error("kill", "--", container.id, bad)
    assert container.status == "running"


def test_kill_stopped(pyrun, bundle):
    """A stopped container can't be killed; the words are those that engines look for."""
    container = pyrun.start(bundle())
    container.wait()
    assert "container not running" in pyrun.error("kill", container.id, "KILL")
    assert container.status == "stopped"


def test_kill_all(pyrun, bundle):
    """--all signals every process of the container, not only the first."""
    child = "sh -c 'trap \"echo child; exit\" USR1; echo r; while :; do sleep 0.01; done'"
    script = child + " & trap 'echo first' USR1; wait; wait"
    container = pyrun.start(bundle(sh=script))
    eventually(lambda: "r\n" in container.out(), "no child")
    pyrun.ok("kill", "--all", container.id, "USR1")
    container.wait()
    assert sorted(container.out().split()) == ["child", "first", "r"]


def test_delete_refuses_what_is_not_stopped(pyrun, bundle):
    """`delete` refuses a created and a running container, and does nothing to it."""
    container = pyrun.create(bundle(sh=SLEEP))
    before = container.state()
    assert "is created, and only a stopped one can be deleted" in pyrun.error("delete", container.id)
    assert container.state() == before
    container.start()
    assert "is running, and only a stopped one can be deleted" in pyrun.error("delete", container.id)
    assert container.status == "running"


@pytest.mark.parametrize("status", ["created", "running", "stopped"])
def test_delete_force(pyrun, bundle, status):
    """`delete --force` removes a container in any state, and all of its processes."""
    container = pyrun.create(bundle(sh="sleep 1000 & " + SLEEP))
    if status != "created":
        container.start()
    if status == "stopped":
        container.kill("KILL")
        container.wait()
    container.delete("--force")
    pyrun.assert_gone(container.id)


def test_delete_force_unknown(pyrun):
    """`delete --force` of an unknown id succeeds in silence, for engines ask twice."""
    result = pyrun.ok("delete", "--force", new_id())
    assert result.out == ""


def test_process_one_takes_all_with_it(pyrun, bundle):
    """When process 1 of a pid namespace dies, everything else in it does too."""
    container = pyrun.start(bundle(sh="sleep 1000 & sleep 1000 & echo up; " + SLEEP))
    eventually(lambda: "up" in container.out(), "not up")
    container.kill("KILL")
    container.wait()
    eventually(lambda: not list_of(container.id), "processes are left")


def list_of(container_id):
    """Processes in the container's cgroup."""
    return list(processes_of([container_id]))


def test_delete_without_pid_namespace(pyrun, bundle):
    """Without a pid namespace, processes outlive the first one; delete kills them."""
    one = bundle(sh="(sleep 1000 & sleep 1000 & echo $!) ; exit 0").namespace("pid", None)
    container = pyrun.start(one)
    container.wait()
    pid = int(container.out())
    assert process_status(pid)["Name"] == "sleep"
    container.delete()
    pyrun.assert_gone(container.id)
    assert not Path(f"/proc/{pid}").exists() or process_status(pid)["State"][0] == "Z"


def test_creating_visible_to_hooks(pyrun, bundle):
    """While create runs, `state` says creating."""
    one = bundle(sh="true")
    out = one.path / "seen"
    script = f'id=$(sed \'s/.*"id": *"\\([^"]*\\)".*/\\1/\'); {pyrun.runtime} --root {pyrun.root} state $id > {out}'
    one.hook("createRuntime", script)
    container = pyrun.create(one)
    assert json.loads(out.read_text())["status"] == "creating"
    assert json.loads(out.read_text())["id"] == container.id


def test_delete_keeps_what_it_did_not_make(pyrun, bundle):
    """The bundle is the caller's and stays whole."""
    one = bundle(sh="true")
    before = sorted(str(path) for path in one.path.rglob("*"))
    pyrun.output(one)
    after = sorted(str(path) for path in one.path.rglob("*"))
    assert after == before


def test_missing_bundle(pyrun, tmp_path):
    """A bundle that isn't there is an error that names it."""
    sentence = pyrun.error("create", "--bundle", str(tmp_path / "nowhere"), new_id())
    assert str(tmp_path / "nowhere") in sentence
    assert not pyrun.root.exists()


@pytest.mark.parametrize(
    "kind", ["missing", "folder", "fifo", "empty", "unreadable JSON", "not UTF-8", "array", "device"]
)
def test_bad_config_file(pyrun, bundle, kind):
    """A config.json that is none is refused at once, whatever it is."""
    one = bundle()
    path = one.path / "config.json"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind != "missing":
        texts = {"empty": b"", "unreadable JSON": b"{", "not UTF-8": b'{"a": "\xff"}', "array": b"[]"}
        path.write_bytes(texts[kind])
    sentence = pyrun.refused(one, time_limit=10)
    assert "config.json" in sentence or kind == "array"


def test_killed_caller(pyrun, bundle):
    """A container lives on when the process that called create is gone."""
    container = pyrun.start(bundle(sh="sleep 0.1; echo alive"))
    container.wait()
    assert container.out() == "alive\n"


def test_list(pyrun, bundle):
    """`list` shows every container: as a table, as JSON, as ids."""
    assert pyrun.ok("list", "--quiet").out == ""
    created = pyrun.create(bundle(sh=SLEEP))
    stopped = pyrun.start(bundle())
    stopped.wait()
    ids = sorted([created.id, stopped.id])
    assert pyrun.ok("list", "--quiet").out.split() == ids
    assert pyrun.ok("list", "-q").out.split() == ids
    documents = {one["id"]: one for one in json.loads(pyrun.ok("list", "--format", "json").out)}
    assert sorted(documents) == ids
    assert documents[created.id] == created.state()
    assert documents[stopped.id]["status"] == "stopped"
    table = [line.split() for line in pyrun.ok("list").lines()]
    assert table[0] == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert {row[0]: row[2] for row in table[1:]} == {created.id: "created", stopped.id: "stopped"}
    assert next(row for row in table if row[0] == created.id)[1] == str(created.pid)


def test_empty_list(pyrun):
    """Without containers, `list` prints its head, `[]`, or nothing."""
    assert pyrun.ok("list").lines() == ["ID   PID   STATUS   BUNDLE   CREATED   OWNER"]
    assert json.loads(pyrun.ok("list", "--format", "json").out) == []


def test_list_head_closes_early(pyrun, bundle):
    """A reader that leaves early is no error."""
    pyrun.create(bundle())
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as out:
        process = pyrun.popen("list", stdout=out, stderr=subprocess.PIPE)
        assert process.communicate(timeout=10)[1] == b""
    assert process.returncode == 0


def test_signal_dispositions_are_default(pyrun, bundle):
    """Signals that the caller ignores or blocks are not ignored or blocked in the program."""

    def ignore():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        # the two that the C library keeps for itself, which its sigaction refuses: SIG_IGN is 1
        number = {"x86_64": 13, "aarch64": 134}[os.uname().machine]
        for reserved in (32, 33):
            ctypes.CDLL(None).syscall(number, reserved, (ctypes.c_ulong * 4)(1), None, 8)

    one = bundle().args("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status")
    text = pyrun.output(one, preexec_fn=ignore)
    assert text.split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]
