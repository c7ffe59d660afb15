"""Terminals: handed to an engine by --console-socket, or passed through by `run` in the foreground."""

from __future__ import annotations

import array
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path

import pytest
from bundles import CALLER, TIME_LIMIT, eventually

TERMINAL = {"process": {"terminal": True}}


def read_until(fd, text, seconds=10.0):
    """Read from a terminal until it has shown `text`; all that it showed."""
    shown = b""
    end = time.monotonic() + seconds
    while text.encode() not in shown:
        left = end - time.monotonic()
        assert left > 0, f"no {text!r} in {shown!r}"
        if select.select([fd], [], [], left)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:  # EIO: the other side is closed
                data = b""
            assert data, f"the terminal closed; no {text!r} in {shown!r}"
            shown += data
    return shown.decode()


def set_size(fd, rows, columns):
    """TIOCSWINSZ."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def get_size(fd):
    """TIOCGWINSZ: rows and columns."""
    return struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))[:2]


# by socket


class Console:
    """A console socket, as conmon and containerd-shim have it."""

    def __init__(self, path):
        self.path = str(path)
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(self.path)
        self.server.listen()
        self.server.settimeout(10)
        self.master = -1
        self.thread = threading.Thread(target=self._take)
        self.thread.start()

    def _take(self):
        connection, _ = self.server.accept()
        with connection:
            _, control, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4 * 8))
            fds = array.array("i")
            for _, _, payload in control:
                fds.frombytes(payload)
            self.master = fds[0] if fds else -1

    def close(self):
        """Give back what it holds."""
        self.thread.join()
        self.server.close()
        if self.master >= 0:
            os.close(self.master)


@pytest.fixture
def console(tmp_path):
    """A console socket that waits for a master."""
    one = Console(tmp_path / "console")
    yield one
    if one.thread.is_alive():  # nobody came
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(one.path)
            client.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))])
    one.close()


def create(pyrun, one, console):
    """A created container whose terminal's master has come."""
    container = pyrun.create(one, "--console-socket", console.path)
    console.thread.join()
    assert console.master >= 0
    return container


def test_console_socket(pyrun, bundle, console):
    """The master of a pty of the container's own devpts comes over the socket; stdio is the other side."""
    container = create(
        pyrun, bundle(TERMINAL, sh="tty; tty 0<&1; tty 0<&2; ls /dev/pts; echo end; read x"), console
    )
    container.start()
    shown = read_until(console.master, "end\r\n")
    assert shown.split() == ["/dev/pts/0"] * 3 + ["0", "ptmx", "end"]
    assert container.out() == ""
    fds = [os.readlink(f"/proc/{container.pid}/fd/{fd}") for fd in (0, 1, 2)]
    assert fds == ["/dev/pts/0"] * 3
    assert sorted(os.listdir(f"/proc/{container.pid}/fd")) == ["0", "1", "2"]


def test_dialogue(pyrun, bundle, console):
    """What is typed arrives, with echo and line discipline."""
    container = create(pyrun, bundle(TERMINAL, sh='echo ready; read x; echo "<$x>"'), console)
    container.start()
    read_until(console.master, "ready")
    os.write(console.master, b"wordX\x7f\r")
    assert "<word>" in read_until(console.master, "<word>\r\n")
    container.wait()


def test_dev_console(pyrun, bundle, console):
    """/dev/console is the terminal, bound over a file."""
    script = "echo through > /dev/console; stat -c %F /dev/console; "
    script += "grep -c ' /dev/console devpts ' /proc/mounts; echo end"
    container = create(pyrun, bundle(TERMINAL, sh=script), console)
    container.start()
    assert read_until(console.master, "end\r\n").splitlines()[:3] == [
        "through",
        "character special file",
        "1",
    ]


def test_controlling_terminal(pyrun, bundle, console):
    """It is the program's controlling terminal: /dev/tty works, and ^C is SIGINT."""
    container = create(
        pyrun,
        bundle(TERMINAL, sh="trap 'echo int; exit' INT; echo hi > /dev/tty; while :; do sleep 0.01; done"),
        console,
    )
    container.start()
    read_until(console.master, "hi\r\n")
    os.write(console.master, b"\x03")
    read_until(console.master, "int\r\n")
    container.wait()


def test_console_size(pyrun, bundle, console):
    """consoleSize is the terminal's size."""
    one = bundle({"process": {"terminal": True, "consoleSize": {"height": 33, "width": 111}}}, sh="stty size")
    container = create(pyrun, one, console)
    assert get_size(console.master) == (33, 111)
    container.start()
    read_until(console.master, "33 111\r\n")


def test_terminal_of_a_user(pyrun, bundle, console):
    """The terminal belongs to the program's user, who can open it again."""
    one = bundle(
        {"process": {"terminal": True, "user": {"uid": 1000, "gid": 1000}}},
        sh="stat -c %u /dev/pts/0; echo again > /dev/pts/0",
    )
    container = create(pyrun, one, console)
    container.start()
    assert read_until(console.master, "again").split() == ["1000", "again"]


def test_terminal_in_user_namespace(pyrun, bundle, console):
    """Terminals work in a user namespace."""
    one = bundle(
        {"process": {"terminal": True}}, sh="tty; echo x > /dev/console; stat -c %u /dev/pts/0; echo end"
    ).user_namespace()
    container = create(pyrun, one, console)
    container.start()
    assert read_until(console.master, "end").split() == ["/dev/pts/0", "x", "0", "end"]


def test_hang_up(pyrun, bundle, console):
    """When the master is closed, the program gets SIGHUP."""
    one = bundle(
        TERMINAL, sh="trap 'echo hup > /log/hup; exit' HUP; echo ready; while :; do sleep 0.01; done"
    )
    (one.path / "log").mkdir()
    container = create(pyrun, one.mount("/log", "none", "log", "bind"), console)
    container.start()
    read_until(console.master, "ready")
    os.close(console.master)
    console.master = -1
    container.wait()
    assert (one.path / "log/hup").read_text() == "hup\n"


def test_terminal_needs_a_socket(pyrun, bundle):
    """A terminal without a console socket is refused by create, and a socket without a terminal too."""
    assert pyrun.refused(bundle(TERMINAL)).startswith("process.terminal: ")
    assert "--console-socket" in pyrun.refused(bundle(), "--console-socket", "/tmp/x")


def test_missing_socket(pyrun, bundle, tmp_path):
    """A console socket that isn't there is an error, and nothing is left."""
    assert "console socket" in pyrun.refused(bundle(TERMINAL), "--console-socket", str(tmp_path / "none"))


def test_long_socket_path(pyrun, bundle, tmp_path):
    """A path longer than a socket address can hold works."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    here = os.open(tmp_path / folder, os.O_RDONLY)
    console = Console(f"/proc/self/fd/{here}/sock")
    console.path = str(folder / "sock")
    try:
        create(pyrun, bundle(TERMINAL), console)
    finally:
        console.close()
        os.close(here)


def test_no_devpts(pyrun, bundle, console):
    """A terminal needs a devpts at /dev/pts: without it, an error says what to add."""
    one = bundle(TERMINAL)
    one.config["mounts"] = [mount for mount in one.config["mounts"] if mount["destination"] != "/dev/pts"]
    sentence = pyrun.refused(one.write(), "--console-socket", console.path)
    assert sentence.startswith("process.terminal: ")
    assert "devpts" in sentence


def test_console_size_without_terminal(pyrun, bundle):
    """Without a terminal, consoleSize is ignored."""
    pyrun.output(bundle({"process": {"terminal": False, "consoleSize": {"height": 10, "width": 10}}}))


@pytest.mark.parametrize("planted", ["link", "dangling"])
def test_planted_console(pyrun, bundle, console, planted):
    """An image's link at /dev/console leads nowhere outside (CVE-2025-52565)."""
    one = bundle(TERMINAL, sh="echo hi; echo x > /dev/console; true")
    one.config["mounts"] = [mount for mount in one.config["mounts"] if mount["destination"] != "/dev"]
    target = one.path / "target"
    if planted == "link":
        target.write_text("")
    (one.rootfs / "dev/console").symlink_to(f"../../../../../../../..{target}")
    result = pyrun("create", "-b", str(one.write().path), "--console-socket", console.path, pyrun.id())
    assert result.code == 1
    assert "terminal" in result.err
    assert not target.exists() or target.read_text() == ""


# in the foreground


class Outer:
    """The terminal that a person sits at: `run` is started on it."""

    def __init__(self):
        self.master, self.slave = os.openpty()
        set_size(self.slave, 24, 80)
        self.process = None

    def modes(self):
        """The terminal's settings."""
        return termios.tcgetattr(self.slave)

    def is_raw(self):
        """Are echo and line editing off?"""
        return not self.modes()[3] & (termios.ECHO | termios.ICANON | termios.ISIG)

    def run(self, pyrun, one, *options):
        """Begin `run` on this terminal; returns the container's id."""
        container_id = pyrun.id()
        self.execute(pyrun, "run", "-b", str(one.path), *options, container_id)
        return container_id

    def execute(self, pyrun, *arguments):
        """Begin a command on this terminal."""

        def take():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        argv = [str(pyrun.runtime), "--root", str(pyrun.root), *arguments]
        self.process = subprocess.Popen(
            argv, stdin=self.slave, stdout=self.slave, stderr=self.slave, preexec_fn=take, env=CALLER
        )
        pyrun.running.append(self.process)

    def end(self):
        """The exit status of `run`."""
        return self.process.wait(TIME_LIMIT)


@pytest.fixture
def outer():
    """A terminal for `run`."""
    one = Outer()
    yield one
    os.close(one.master)
    os.close(one.slave)


def test_foreground(pyrun, bundle, outer):
    """The terminal is passed through in raw mode, with its size; the exit status is the program's."""
    before = outer.modes()
    set_size(outer.slave, 30, 100)
    outer.run(pyrun, bundle(TERMINAL, sh="tty; stty size; read x; echo got $x; exit 7"))
    read_until(outer.master, "30 100\r\n")
    assert outer.is_raw()
    os.write(outer.master, b"word\r")
    shown = read_until(outer.master, "got word\r\n")
    assert shown.count("got word") == 1
    assert outer.end() == 7
    assert outer.modes() == before


def test_window_size(pyrun, bundle, outer):
    """When the window changes its size, so does the container's terminal, and its program gets SIGWINCH."""
    outer.run(pyrun, bundle(TERMINAL, sh="trap 'stty size' WINCH; echo ready; while :; do sleep 0.01; done"))
    read_until(outer.master, "ready\r\n")
    set_size(outer.master, 50, 132)
    read_until(outer.master, "50 132\r\n")
    set_size(outer.master, 20, 40)
    read_until(outer.master, "20 40\r\n")
    os.write(outer.master, b"\x1c")  # ^\ is the container's, too
    time.sleep(0.05)
    assert outer.process.poll() is None


def test_control_characters(pyrun, bundle, outer):
    """^C is the container's business."""
    script = "trap 'echo int; exit 3' INT; echo ready; while :; do sleep 0.01; done"
    outer.run(pyrun, bundle(TERMINAL, sh=script))
    read_until(outer.master, "ready\r\n")
    os.write(outer.master, b"\x03")
    read_until(outer.master, "int\r\n")
    assert outer.end() == 3


def test_end_of_input(pyrun, bundle, outer):
    """^D ends the program's input."""
    outer.run(pyrun, bundle(TERMINAL, sh="echo ready; cat; echo end of file; exit 3"))
    read_until(outer.master, "ready\r\n")
    os.write(outer.master, b"\x04")
    read_until(outer.master, "end of file\r\n")
    assert outer.end() == 3


@pytest.mark.parametrize(
    "how", ["exit", "kill container", "signal run", "delete", "no such program", "failing hook"]
)
def test_restored(pyrun, bundle, outer, how):
    """However `run` ends, the terminal is as it was."""
    before = outer.modes()
    one = bundle(TERMINAL, sh="echo ready; exec sleep 1000" if how != "exit" else "exit 0")
    if how == "no such program":
        one.script("/tool", "#!/no/interpreter\n")
        one.args("/tool")
    if how == "failing hook":
        one.hook("poststart", "exit 1")
    container_id = outer.run(pyrun, one)
    if how in ("kill container", "signal run", "delete"):
        read_until(outer.master, "ready\r\n")
        assert outer.is_raw()
    if how == "kill container":
        pyrun.ok("kill", container_id, "KILL")
    elif how == "delete":
        pyrun.ok("delete", "--force", container_id)
    elif how == "signal run":
        # process 1 of a pid namespace ignores SIGTERM that it doesn't handle; SIGKILL comes from outside
        outer.process.send_signal(signal.SIGTERM)
        pyrun.ok("kill", container_id, "KILL")
    status = outer.end()
    assert status == {"exit": 0, "no such program": 1, "failing hook": 1}.get(how, 137)
    assert outer.modes() == before
    pyrun.assert_gone(container_id)


def test_much_output(pyrun, bundle, outer):
    """Output is passed on whole, however slowly it is read, and the last of it before `run` ends."""
    outer.run(pyrun, bundle(TERMINAL, sh="stty -opost; seq 1 40000; echo the end"))
    time.sleep(0.2)
    shown = read_until(outer.master, "the end\n", 20)
    assert shown.split("\n")[:-2] == [str(number) for number in range(1, 40001)]
    assert outer.end() == 0


def test_much_input(pyrun, bundle, outer):
    """A program that doesn't read doesn't keep `run` from anything; what is typed waits for it."""
    outer.run(
        pyrun, bundle(TERMINAL, sh="stty raw -echo; echo ready; sleep 0.2; head -c 20000 | wc -c; echo end")
    )
    read_until(outer.master, "ready")
    data = b"x" * 20000
    while data:
        data = data[os.write(outer.master, data[:1000]) :]
    read_until(outer.master, "20000")
    assert outer.end() == 0


@pytest.mark.parametrize("stdin", ["null", "pipe"])
def test_terminal_without_a_terminal(pyrun, bundle, stdin):
    """`run` of a terminal container where no stream is a terminal is refused: nobody could ever use it."""
    one = bundle(TERMINAL, sh="cat")
    sentence = pyrun.error(
        "run", "-b", str(one.path), pyrun.id(), data=b"word\n" if stdin == "pipe" else None
    )
    assert sentence.startswith("process.terminal: stdin, stdout and stderr are no terminal")
    assert "--console-socket" in sentence


def test_terminal_for_output_alone(pyrun, bundle, outer):
    """Input may come from elsewhere, as with runc: it is typed, and what is shown goes to stdout."""
    argv = ["run", "-b", str(bundle(TERMINAL, sh="read x; echo got $x").path), pyrun.id()]
    process = pyrun.popen(*argv, stdin=subprocess.PIPE, stdout=outer.slave, stderr=outer.slave)
    process.communicate(b"word\n", timeout=TIME_LIMIT)
    read_until(outer.master, "got word")
    assert process.returncode == 0


def test_run_with_console_socket(pyrun, bundle, console):
    """`run --detach --console-socket` hands the terminal to the engine."""
    container_id = pyrun.id()
    one = bundle(TERMINAL, sh="tty; exec sleep 1000")
    pyrun.ok("run", "--detach", "--console-socket", console.path, "-b", str(one.path), container_id)
    console.thread.join()
    read_until(console.master, "/dev/pts/0\r\n")
    assert pyrun.state(container_id)["status"] == "running"


def test_detached_terminal_without_socket(pyrun, bundle):
    """`run --detach` of a terminal container without a socket is refused: nobody would have the terminal."""
    container_id = pyrun.id()
    sentence = pyrun.error("run", "--detach", "-b", str(bundle(TERMINAL).path), container_id)
    assert sentence.startswith("process.terminal: ")
    pyrun.assert_gone(container_id)


def test_session(pyrun, bundle):
    """Without a terminal, the program leads a session of its own and can't reach the caller's terminal."""
    text = pyrun.output(
        bundle(sh="cut -d' ' -f6,7 /proc/$$/stat; (echo x > /dev/tty) 2>/dev/null || echo none")
    )
    assert text == "1 0\nnone\n"


def test_stdin_is_not_taken_by_hooks_or_runtime(pyrun, bundle):
    """Nobody but the program reads the caller's stdin."""
    one = bundle(sh="cat")
    for kind in ("createRuntime", "createContainer", "startContainer", "poststart"):
        one.hook(kind, "cat > /dev/null")
    result = pyrun.run(one, data=b"all of it")
    assert (result.code, result.out) == (0, "all of it")


def test_zombie_free(pyrun, bundle, outer):
    """When `run` has ended, nothing of the container is left behind."""
    container_id = outer.run(pyrun, bundle(TERMINAL, sh="sleep 1000 & exit 0"))
    assert outer.end() == 0
    pyrun.assert_gone(container_id)
    eventually(lambda: not Path(f"/proc/{outer.process.pid}").exists(), "run is left")


def test_window_is_closed(pyrun, bundle):
    """When the terminal that `run` sits at goes away, the container hears of it, and nothing is left in the end."""
    outer = Outer()
    container_id = outer.run(
        pyrun, bundle(TERMINAL, sh="trap exit HUP; while :; do echo x; sleep 0.01; done")
    )
    read_until(outer.master, "x\r\n")
    os.close(outer.slave)
    os.close(outer.master)
    outer.end()
    pyrun.assert_gone(container_id)


def test_reader_of_output_has_gone(pyrun, bundle):
    """When nobody reads what the container's terminal shows, `run` ends and takes the container with it."""
    container_id = pyrun.id()
    one = bundle(TERMINAL, sh="while :; do echo x; sleep 0.01; done")
    read, write = os.pipe()
    with os.fdopen(write, "wb") as out:
        process = pyrun.popen("run", "-b", str(one.path), container_id, stdout=out, stderr=subprocess.DEVNULL)
        pyrun.running.append(process)
    os.read(read, 1)
    os.close(read)
    process.wait(TIME_LIMIT)
    pyrun.assert_gone(container_id)
