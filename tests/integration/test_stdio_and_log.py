"""What the program has open, what engines are handed (pid file, pidfd), the keyring, and the log."""

from __future__ import annotations

import array
import json
import os
import select
import socket
import subprocess
import threading
from pathlib import Path

import needs
import pytest
from bundles import eventually

LIST_FDS = "ls /proc/$$/fd; true"


def test_only_stdio(pyrun, bundle):
    """The program has stdin, stdout and stderr, and nothing else, whatever the caller has open."""
    with open("/etc/passwd") as file, socket.socket() as sock:
        fds = (file.fileno(), sock.fileno())
        text = pyrun.output(bundle(sh=LIST_FDS), pass_fds=fds)
    assert text.split() == ["0", "1", "2"]


def test_only_stdio_in_a_started_container(pyrun, bundle):
    """The same after create and start, seen from outside."""
    container = pyrun.start(bundle().args("sleep", "1000"))
    assert sorted(os.listdir(f"/proc/{container.pid}/fd")) == ["0", "1", "2"]


def test_created_container_holds_no_file_of_the_host(pyrun, bundle):
    """A created container's process isn't the interpreter, and has open only what it waits with."""
    one = bundle()
    container = pyrun.create(one)
    pid = container.pid
    exe = os.readlink(f"/proc/{pid}/exe")
    assert exe.startswith("/memfd:pyrun-init")
    targets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if int(fd) > 2]
    assert [
        target
        for target in targets
        if not target.startswith(("socket:", "anon_inode:[signalfd]", str(pyrun.root)))
    ] == []
    assert str(pyrun.runtime) not in Path(f"/proc/{pid}/maps").read_text()
    assert "python" not in Path(f"/proc/{pid}/maps").read_text()


def test_created_container_is_small(pyrun, bundle):
    """A created container holds a few pages."""
    pid = pyrun.create(bundle()).pid
    pss = next(
        line for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")
    )
    assert int(pss.split()[1]) < 1024


def test_no_mount_of_the_host_in_a_created_container(pyrun, bundle):
    """A created container's root and cwd are its own already."""
    one = bundle()
    pid = pyrun.create(one).pid
    assert sorted(os.listdir(f"/proc/{pid}/root")) == sorted(os.listdir(one.rootfs))
    assert str(pyrun.folder) not in Path(f"/proc/{pid}/mountinfo").read_text().replace(str(one.rootfs), "")


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2), (1, 2)])
def test_closed_stdio(pyrun, bundle, closed, tmp_path):
    """With stdin, stdout or stderr closed, no file of the runtime's takes their place."""
    one = bundle(sh="exec sleep 1000")
    container_id = pyrun.id()

    def close():
        for fd in closed:
            os.close(fd)

    result = pyrun("create", "--bundle", str(one.path), container_id, preexec_fn=close)
    assert result.code == 0
    pyrun.ok("start", container_id)
    pid = pyrun.state(container_id)["pid"]
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    for fd in closed:
        assert os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/null"


def open_on(path, *numbers):
    """A function for preexec_fn that opens files, each with its number as text, on these descriptors."""

    def do():
        for number in numbers:
            fd = os.open(path.format(number), os.O_RDONLY)
            os.dup2(fd, number)
            os.set_inheritable(number, True)

    return do


@pytest.fixture
def numbered(tmp_path):
    """Files 3 to 12, each containing its name."""
    for number in range(3, 13):
        (tmp_path / f"file{number}").write_text(f"{number}\n")
    return str(tmp_path / "file{}")


def test_preserve_fds(pyrun, bundle, numbered):
    """--preserve-fds N passes descriptors 3 to 2+N, and no more."""
    one = bundle(sh=f"cat <&3; cat <&4; {LIST_FDS}")
    text = pyrun.output(one, "--preserve-fds", "2", preexec_fn=open_on(numbered, 3, 4, 5), close_fds=False)
    assert text.split() == ["3", "4", "0", "1", "2", "3", "4"]


def test_many_preserved_fds(pyrun, bundle, numbered):
    """Enough of them that the runtime's own have to get out of the way."""
    one = bundle(sh=f"cat <&3; cat <&9; {LIST_FDS}; set -- /proc/$$/fd/*; echo $#")
    preexec = open_on(numbered, *range(3, 13))
    text = pyrun.output(one, "--preserve-fds", "10", preexec_fn=preexec, close_fds=False)
    assert text.split()[:2] == ["3", "9"]
    assert text.split()[-1] == "14"  # and the folder that is read


def test_preserved_fds_in_create_and_start(pyrun, bundle, numbered):
    """They survive the wait between create and start."""
    one = bundle(sh="cat <&3")
    container = pyrun.create(one, "--preserve-fds", "1", preexec_fn=open_on(numbered, 3), close_fds=False)
    assert container.finish() == "3\n"


def test_preserved_fd_that_is_not_open(pyrun, bundle):
    """Asking for a descriptor that isn't open is an error."""
    assert "file descriptor 3 is not open" in pyrun.refused(bundle(), "--preserve-fds", "1")


def test_listen_fds(pyrun, bundle, numbered):
    """LISTEN_FDS of the caller is passed on, with LISTEN_PID as the program's."""
    env = ["PATH=/bin", "A=1", "HOME=/"]
    one = bundle({"process": {"env": env}}, sh=f"cat <&3; cat /proc/$$/environ | tr '\\0' '\\n'; {LIST_FDS}")
    text = pyrun.output(one, env={"LISTEN_FDS": "1"}, preexec_fn=open_on(numbered, 3), close_fds=False)
    lines = text.splitlines()
    assert lines[0] == "3"
    assert lines[1:6] == [*env, "LISTEN_FDS=1", "LISTEN_PID=1"]
    assert lines[6:] == ["0", "1", "2", "3"]


def test_listen_fds_for_another(pyrun, bundle, numbered):
    """LISTEN_FDS with another process's LISTEN_PID is not for us."""
    env = {"LISTEN_FDS": "1", "LISTEN_PID": "1"}
    text = pyrun.output(
        bundle(sh="env; " + LIST_FDS), env=env, preexec_fn=open_on(numbered, 3), close_fds=False
    )
    assert "LISTEN" not in text
    assert text.split()[-3:] == ["0", "1", "2"]


def test_pid_file(pyrun, bundle, tmp_path):
    """--pid-file has the pid, without a newline, and replaces an old file."""
    path = tmp_path / "pid"
    path.write_text("a much longer old content")
    container = pyrun.create(bundle().args("sleep", "1000"), "--pid-file", str(path))
    assert path.read_text() == str(container.pid)


def test_relative_pid_file(pyrun, bundle, tmp_path):
    """A relative pid file is relative to the current folder."""
    container = pyrun.create(bundle(), "--pid-file", "pid", cwd=tmp_path)
    assert (tmp_path / "pid").read_text() == str(container.pid)


@pytest.mark.parametrize("path", ["/no/such/folder/pid", "/proc/pid"])
def test_bad_pid_file(pyrun, bundle, path):
    """A pid file that can't be written is an error, and the container is taken back."""
    assert "pid file" in pyrun.refused(bundle(), "--pid-file", path)


class Listener:
    """A unix socket that takes one message with one descriptor."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(path))
        self.socket.listen()
        self.socket.settimeout(10)
        self.result = None
        self.thread = threading.Thread(target=self._take)
        self.thread.start()

    def _take(self):
        connection, _ = self.socket.accept()
        with connection:
            data, control, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4 * 8))
            fds = array.array("i")
            for _, _, payload in control:
                fds.frombytes(payload)
            self.result = (data, list(fds))

    def get(self):
        """The message and its descriptor."""
        self.thread.join()
        self.socket.close()
        data, fds = self.result
        assert len(fds) == 1
        return data, fds[0]


def test_pidfd_socket(pyrun, bundle, tmp_path):
    """--pidfd-socket gets a pidfd of the container's process."""
    listener = Listener(tmp_path / "sock")
    container = pyrun.create(bundle().args("sleep", "1000"), "--pidfd-socket", str(tmp_path / "sock"))
    _, pidfd = listener.get()
    try:
        info = dict(
            line.split(":", 1) for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
        )
        assert int(info["Pid"]) == container.pid
        assert not select.select([pidfd], [], [], 0)[0]
        container.kill("KILL")
        assert select.select([pidfd], [], [], 10)[0]
    finally:
        os.close(pidfd)


def test_bad_pidfd_socket(pyrun, bundle, tmp_path):
    """A pidfd socket that nobody listens on is an error, and the container is taken back."""
    assert "pidfd" in pyrun.refused(bundle(), "--pidfd-socket", str(tmp_path / "none"))


# keyring


KEYRING_ID = """
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) { printf("%ld\\n", syscall(SYS_keyctl, 0, -3, 0)); return 0; } /* KEYCTL_GET_KEYRING_ID, session */
"""


@pytest.mark.parametrize("option", [(), ("--no-new-keyring",)])
def test_keyring(pyrun, bundle, tmp_path, option):
    """The program has a session keyring of its own; with --no-new-keyring it has the caller's."""
    needs.program("gcc")
    one = bundle().args("/keyring-id")
    (tmp_path / "id.c").write_text(KEYRING_ID)
    subprocess.run(["gcc", "-static", "-o", one.rootfs / "keyring-id", tmp_path / "id.c"], check=True)
    own = subprocess.run([one.rootfs / "keyring-id"], capture_output=True, text=True, check=True).stdout
    if own == "-1\n":
        pytest.skip("needs keyrings, which this kernel lacks")
    found = pyrun.output(one, *option)
    assert int(found) > 0
    assert (found == own) == bool(option)


# log


@pytest.mark.parametrize("layout", ["json", "text"])
def test_log(pyrun, bundle, tmp_path, layout):
    """The last record of the log is the sentence on stderr; records are appended."""
    log = tmp_path / "log"
    log.write_text("before\n")
    one = bundle({"root": {"path": 'no "such"\u2028place'}})
    sentence = pyrun.error(
        "--log", str(log), "--log-format", layout, "create", "-b", str(one.path), pyrun.id()
    )
    first, last = log.read_text().splitlines()
    assert first == "before"
    if layout == "json":
        record = json.loads(last)
        assert (record["level"], record["msg"]) == ("error", sentence)
        assert record["time"].endswith("Z")
    else:
        assert " level=error msg=" in last
        assert json.loads(last.split(" msg=", 1)[1]) == sentence


def test_warnings_go_to_the_log(pyrun, bundle, tmp_path):
    """With --log, warnings are in the log and not on stderr; the operation goes on."""
    log = tmp_path / "log"
    one = bundle(sh="echo ran")
    one.config["process"]["capabilities"]["bounding"].append("CAP_MADE_UP")
    one.write()
    result = pyrun("--log", str(log), "--log-format", "json", "run", "-b", str(one.path), pyrun.id())
    assert (result.code, result.out, result.err) == (0, "ran\n", "")
    record = json.loads(log.read_text())
    assert record["level"] == "warning"
    assert "CAP_MADE_UP" in record["msg"]
    result = pyrun("--log", str(log), "--log-level", "error", "run", "-b", str(one.path), pyrun.id())
    assert (result.out, result.err, len(log.read_text().splitlines())) == ("ran\n", "", 1)


def test_debug(pyrun, bundle):
    """--debug changes nothing but what is said."""
    result = pyrun("--debug", "run", "-b", str(bundle(sh="echo ran").path), pyrun.id())
    assert (result.code, result.out) == (0, "ran\n")


@pytest.mark.parametrize("option", [("--log-format", "xml"), ("--log-level", "loud")])
def test_bad_log_option(pyrun, option):
    """Values that the log's options can't have are refused."""
    assert pyrun.error(*option, "list").startswith(f"{option[0]}: ")


def test_closed_stderr(pyrun, bundle):
    """With nobody to tell, an error is still an error."""
    result = pyrun("state", pyrun.id(), preexec_fn=lambda: os.close(2))
    assert result.code == 1


def test_reader_of_stderr_has_gone(pyrun):
    """A stderr whose reader has gone kills nobody."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as err:
        process = pyrun.popen("state", pyrun.id(), stdout=subprocess.DEVNULL, stderr=err)
        assert process.wait(10) == 1


def test_umask_and_cwd_of_the_caller(pyrun, bundle, tmp_path):
    """State folders aren't open to others, whatever the caller's umask; the caller's folder may vanish."""
    gone = tmp_path / "gone"
    gone.mkdir()
    one = bundle().args("sleep", "1000")
    container = pyrun.create(one, umask=0, cwd=gone, preexec_fn=lambda: os.rmdir(gone))
    assert (pyrun.root / container.id).stat().st_mode & 0o077 == 0
    eventually(lambda: container.status == "created", "not created")
