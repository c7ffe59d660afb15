"""`exec --tty`: a terminal of the container, passed through in the foreground or handed to an engine."""

from __future__ import annotations

import json
import os
import time

import needs
import pytest
from bundles import eventually
from test_terminal import Console, Outer, get_size, read_until, set_size


@pytest.fixture
def sleeper(pyrun, bundle):
    """A running container that does nothing."""
    return pyrun.start(bundle().args("sleep", "1000"))


@pytest.fixture
def outer():
    """The terminal that a person sits at."""
    one = Outer()
    yield one
    os.close(one.master)
    os.close(one.slave)


@pytest.fixture
def console(tmp_path):
    """A console socket; the test must let a master come."""
    one = Console(tmp_path / "console")
    yield one
    one.close()


def begin(pyrun, outer, container, script, *options):
    """Begin `exec --tty` on the outer terminal."""
    outer.execute(pyrun, "exec", "--tty", *options, container.id, "sh", "-c", script)


def test_foreground(pyrun, sleeper, outer):
    """A pty of the container's devpts, raw outside, with the window's size; the exit status is the program's."""
    before = outer.modes()
    set_size(outer.slave, 30, 100)
    begin(pyrun, outer, sleeper, "tty; tty 0<&1; tty 0<&2; stty size; read x; echo got $x; exit 7")
    shown = read_until(outer.master, "30 100\r\n")
    assert shown.split() == ["/dev/pts/0"] * 3 + ["30", "100"]
    assert outer.is_raw()
    os.write(outer.master, b"word\r")
    assert read_until(outer.master, "got word\r\n").count("got word") == 1
    assert outer.end() == 7
    assert outer.modes() == before


def test_window_size(pyrun, sleeper, outer):
    """SIGWINCH of the window reaches the program."""
    begin(pyrun, outer, sleeper, "trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done")
    read_until(outer.master, "ready\r\n")
    set_size(outer.master, 50, 132)
    read_until(outer.master, "50 132\r\n")
    set_size(outer.master, 20, 40)
    read_until(outer.master, "20 40\r\n")
    assert outer.process.poll() is None


@pytest.mark.parametrize(("key", "name"), [(b"\x03", "INT"), (b"\x1c", "QUIT")])
def test_control_characters(pyrun, sleeper, outer, key, name):
    """^C and ^\\ are the program's business, by its controlling terminal."""
    script = f"trap 'echo caught; exit 3' {name}; echo ready > /dev/tty; while :; do sleep 0.01; done"
    begin(pyrun, outer, sleeper, script)
    read_until(outer.master, "ready\r\n")
    os.write(outer.master, key)
    read_until(outer.master, "caught\r\n")
    assert outer.end() == 3
    assert sleeper.status == "running"


def test_end_of_input(pyrun, sleeper, outer):
    """^D ends the program's input."""
    begin(pyrun, outer, sleeper, "echo ready; cat; echo end of file; exit 3")
    read_until(outer.master, "ready\r\n")
    os.write(outer.master, b"\x04")
    read_until(outer.master, "end of file\r\n")
    assert outer.end() == 3


@pytest.mark.parametrize("how", ["no such program", "signal", "container killed", "bad user"])
def test_restored(pyrun, sleeper, outer, how):
    """However exec ends, the terminal is as it was."""
    before = outer.modes()
    if how == "no such program":
        outer.execute(pyrun, "exec", "--tty", sleeper.id, "no-such")
    elif how == "bad user":
        outer.execute(pyrun, "exec", "--tty", "--user", "nobody-here", sleeper.id, "true")
    else:
        begin(pyrun, outer, sleeper, "echo ready; exec sleep 1000")
        read_until(outer.master, "ready\r\n")
        assert outer.is_raw()
    if how == "signal":
        outer.process.terminate()
    elif how == "container killed":
        sleeper.kill("KILL")
    assert outer.end() == {"signal": 143, "container killed": 137}.get(how, 255)
    assert outer.modes() == before


def test_much_output(pyrun, sleeper, outer):
    """Output is passed on whole, however slowly it is read."""
    begin(pyrun, outer, sleeper, "stty -opost; seq 1 40000; echo the end")
    time.sleep(0.2)
    shown = read_until(outer.master, "the end\n", 20)
    assert shown.split("\n")[:-2] == [str(number) for number in range(1, 40001)]
    assert outer.end() == 0


def test_many_terminals(pyrun, sleeper):
    """Each exec has a terminal of its own, and gives it back."""
    outers = [Outer() for _ in range(4)]
    for one in outers:
        begin(pyrun, one, sleeper, "tty; read x; exit 5")
    names = {read_until(one.master, "\r\n").strip() for one in outers}
    assert names == {f"/dev/pts/{number}" for number in range(4)}
    for one in outers:
        os.write(one.master, b"x\r")
        assert one.end() == 5
        os.close(one.master)
        os.close(one.slave)
    eventually(lambda: sleeper.sh("ls /dev/pts") == "ptmx\n", "terminals are left")


@pytest.mark.parametrize("detach", [(), ("--detach",)])
def test_console_socket(pyrun, sleeper, console, detach):
    """The master goes to --console-socket, detached or not; stdio is the other side, with the document's size."""
    pid_file = pyrun.folder / "pid"
    argv = [
        "exec",
        "--tty",
        "--console-socket",
        console.path,
        "--pid-file",
        str(pid_file),
        *detach,
        sleeper.id,
    ]
    argv += ["sh", "-c", 'tty; read x; echo "<$x>"; sleep 0.1; exit 6']
    process = pyrun.popen(*argv, stdout=-1, stderr=-1)
    pyrun.running.append(process)
    console.thread.join()
    read_until(console.master, "/dev/pts/0\r\n")
    set_size(console.master, 20, 30)
    assert get_size(console.master) == (20, 30)
    eventually(pid_file.exists, "no pid file")
    pid = int(pid_file.read_text())
    assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)] == ["/dev/pts/0"] * 3
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    os.write(console.master, b"word\r")
    read_until(console.master, "<word>\r\n")
    assert process.communicate(timeout=20) == (b"", b"")
    assert process.returncode == (0 if detach else 6)


def test_console_size(pyrun, sleeper, console, tmp_path):
    """consoleSize of the process document."""
    process = {
        **sleeper.bundle.config["process"],
        "terminal": True,
        "consoleSize": {"height": 33, "width": 111},
    }
    process["args"] = ["sh", "-c", "stty size; read x"]
    path = tmp_path / "process.json"
    path.write_text(json.dumps(process))
    pyrun.ok("exec", "--detach", "--process", str(path), "--console-socket", console.path, sleeper.id)
    console.thread.join()
    read_until(console.master, "33 111\r\n")


def test_user_owns_it(pyrun, sleeper, outer):
    """The terminal belongs to the program's user."""
    begin(pyrun, outer, sleeper, "stat -c %u /dev/pts/0; echo again > /dev/pts/0", "--user", "1000:1000")
    assert read_until(outer.master, "again\r\n").split() == ["1000", "again"]
    assert outer.end() == 0


def test_user_namespace(pyrun, bundle, outer):
    """Terminals work in a user namespace."""
    needs.user_namespaces()
    container = pyrun.start(bundle().user_namespace().args("sleep", "1000"))
    begin(pyrun, outer, container, "tty; stat -c %u /dev/pts/0; exit 4")
    assert read_until(outer.master, "0\r\n0\r\n").split() == ["/dev/pts/0", "0"]
    assert outer.end() == 4


def test_console_of_init_stays(pyrun, bundle, outer, console):
    """/dev/console of a container with a terminal stays its own; exec's terminal is another."""
    container = pyrun.create(
        bundle({"process": {"terminal": True}}, sh="tty; exec sleep 1000"), "--console-socket", console.path
    )
    container.start()
    console.thread.join()
    read_until(console.master, "/dev/pts/0\r\n")
    begin(pyrun, outer, container, "tty; echo to init > /dev/console; exit 0")
    read_until(outer.master, "/dev/pts/1\r\n")
    read_until(console.master, "to init\r\n")
    assert outer.end() == 0


def test_no_terminal_by_default(pyrun, bundle, console):
    """Without --tty there is none, though the container has one."""
    container = pyrun.create(
        bundle({"process": {"terminal": True}}, sh="exec sleep 1000"), "--console-socket", console.path
    )
    console.thread.join()
    container.start()
    result = container.exec(("tty",))
    assert (result.code, result.out) == (1, "not a tty\n")


def test_refused(pyrun, sleeper, tmp_path):
    """A detached terminal needs a socket; a socket needs a terminal, and somebody who listens."""
    assert sleeper.exec_refused(("true",), "--tty", "--detach").startswith("process.terminal: ")
    assert "--console-socket" in sleeper.exec_refused(("true",), "--console-socket", "/tmp/x")
    missing = str(tmp_path / "none")
    assert "console socket" in sleeper.exec_refused(("true",), "--tty", "--console-socket", missing)


@pytest.mark.parametrize("stdin", ["null", "pipe"])
def test_terminal_without_a_terminal(sleeper, stdin):
    """--tty where no stream is a terminal is refused: nobody could ever use it."""
    data = b"word\n" if stdin == "pipe" else None
    sentence = sleeper.exec_refused(("cat",), "--tty", data=data)
    assert sentence.startswith("process.terminal: stdin, stdout and stderr are no terminal")
