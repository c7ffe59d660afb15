"""sd_notify(3): a container's READY=1 reaches the service manager of pyrun's caller, and nothing else does."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from pathlib import Path

import needs
import pytest
from bundles import CALLER, TIME_LIMIT, eventually

from oci_conformance.core import probe

INSIDE = "/run/notify/notify.sock"


class Manager:
    """A socket such as systemd's; descriptors that come are closed, which is what a barrier waits for."""

    def __init__(self, address: str) -> None:
        self.messages: list[str] = []
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 8)
            for each in descriptors:
                os.close(each)
            if data == b"end":
                return
            self.messages.append(data.decode())

    @property
    def env(self) -> dict[str, str]:
        """The environment of pyrun's caller."""
        return {**CALLER, "NOTIFY_SOCKET": self.address}

    def end(self) -> None:
        """No more is listened to."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
            ours.connect("\0" + self.address[1:] if self.address[0] == "@" else self.address)
            ours.send(b"end")
        self._thread.join()
        self._socket.close()


@pytest.fixture(params=["path"])
def manager(request, tmp_path):
    """A service manager that listens."""
    one = Manager(f"@pyrun-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "manager"))
    yield one
    one.end()


@pytest.fixture(scope="module")
def teller(tmp_path_factory):
    """A program whose arguments are done one after the other: `notify TEXT` sends a message."""
    path = tmp_path_factory.mktemp("probe") / "probe"
    probe.build(path)
    return path


@pytest.fixture
def tell(bundle, teller):
    """Makes bundles whose program does these commands of the probe's, and then waits."""

    def make(*commands, changes=None, last="pause"):
        one = bundle(changes)
        (one.rootfs / "probe").write_bytes(teller.read_bytes())
        (one.rootfs / "probe").chmod(0o755)
        return one.args("/probe", *commands, *([last] if last else []))

    return make


@pytest.mark.parametrize("manager", ["path", "abstract"], indirect=True)
def test_start_returns_when_it_is_ready(pyrun, tell, manager):
    """The caller of start is told the pid on the host and READY=1, then asked to have read it; start returns then."""
    one = tell("sleep 300", "write /tmp/made x", "notify READY=1", changes={"root": {"readonly": False}})
    container = pyrun.create(one, env=manager.env)
    assert manager.messages == []
    pyrun.ok("start", container.id, env=manager.env)
    assert manager.messages == [f"MAINPID={container.pid}", "READY=1", "BARRIER=1"]
    assert (one.rootfs / "tmp/made").exists()
    assert container.status == "running"


def test_an_ordinary_user_is_ready(pyrun, tell, manager):
    """The socket is open to every user of the container, whatever the umask of create and start."""
    container = pyrun.create(
        tell("notify READY=1", changes={"process": {"user": {"uid": 1000, "gid": 1000}}}),
        env=manager.env,
        umask=0o77,
    )
    pyrun.ok("start", container.id, env=manager.env, umask=0o77)
    assert "READY=1" in manager.messages


def test_in_a_user_namespace(pyrun, tell, manager):
    """The same with ids of its own."""
    needs.user_namespaces()
    one = tell("notify READY=1").user_namespace()
    os.chown(one.rootfs / "run", 100000, 100000)
    container = pyrun.create(one, env=manager.env)
    pyrun.ok("start", container.id, env=manager.env)
    assert "READY=1" in manager.messages


def test_detached_run(pyrun, tell, manager):
    """run --detach waits as start does."""
    container_id = pyrun.id()
    path = tell("sleep 100", "notify READY=1").path
    pyrun.ok("run", "--detach", "-b", str(path), container_id, env=manager.env)
    pid = pyrun.state(container_id)["pid"]
    assert manager.messages == [f"MAINPID={pid}", "READY=1", "BARRIER=1"]


def test_run_in_the_foreground(pyrun, tell, manager):
    """run stays the main process: READY=1 alone is told, while it passes streams and signals on."""
    running = pyrun.popen_run(tell("notify READY=1", "sleep 100", last=None), env=manager.env)
    assert running.process.wait(TIME_LIMIT) == 0
    assert manager.messages == ["READY=1"]


def test_only_ready_counts(pyrun, tell, manager):
    """Other lines of the container's, as of a MAINPID of its choice, aren't passed on."""
    words = ["MAINPID=1", "STOPPING=1", "READY=0", "XREADY=1", "READY=11", "FDSTORE=1"]
    container = pyrun.create(tell(*[f"notify {word}" for word in words], "notify READY=1"), env=manager.env)
    pyrun.ok("start", container.id, env=manager.env)
    assert manager.messages == [f"MAINPID={container.pid}", "READY=1", "BARRIER=1"]


def test_a_program_that_ends(pyrun, tell, manager):
    """start doesn't wait for one that has ended without a word, but hears what it said last."""
    container = pyrun.create(tell("exit 3", last=None), env=manager.env)
    pyrun.ok("start", container.id, env=manager.env)
    assert manager.messages == []
    container = pyrun.create(tell("notify READY=1", "exit 0", last=None), env=manager.env)
    pyrun.ok("start", container.id, env=manager.env)
    assert "READY=1" in manager.messages


@pytest.mark.parametrize("how", ["kill", "delete"])
def test_other_commands_work_while_start_waits(pyrun, tell, manager, how):
    """While start waits, the container can be looked at, killed and deleted; start ends then."""
    container = pyrun.create(tell(), env=manager.env)
    start = pyrun.popen(
        "start", container.id, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=manager.env
    )
    eventually(lambda: container.status == "running", "not running")
    assert start.poll() is None
    if how == "kill":
        container.kill("KILL")
    else:
        container.delete("--force")
    assert start.communicate(timeout=TIME_LIMIT) == (None, b"")
    assert start.returncode == 0
    assert manager.messages == []


def test_a_killed_start_leaves_nothing(pyrun, tell, manager):
    """When start is killed while it waits, the container runs on and can be deleted."""
    container = pyrun.create(tell(), env=manager.env)
    start = pyrun.popen(
        "start", container.id, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=manager.env
    )
    eventually(lambda: container.status == "running", "not running")
    start.kill()
    start.wait()
    assert container.status == "running"
    container.delete("--force")
    pyrun.assert_gone(container.id)


def test_the_folder_is_read_only(pyrun, bundle, manager):
    """In the container nothing can be made in the folder, which is one of the host's."""
    script = "touch /run/notify/x; ls -a /run/notify; grep ' /run/notify ' /proc/mounts; echo $NOTIFY_SOCKET"
    container = pyrun.create(bundle(sh=f"{{ {script}; }} >&2"), env=manager.env)
    result = pyrun("start", container.id, env=manager.env)
    assert result.code == 0
    container.wait()
    state = pyrun.root / container.id / "notify"
    assert [each.name for each in state.iterdir()] == ["notify.sock"]
    said = Path(pyrun.calls / f"err-{1}").read_text()
    for word in ("Read-only file system", "ro,nosuid,nodev,noexec", INSIDE):
        assert word in said, said


def test_delete_removes_files_of_the_container(pyrun, bundle, manager):
    """Whatever a container with the right to write there has left goes with it, however deep; no link is followed."""
    outside = pyrun.folder / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    container = pyrun.create(bundle(), env=manager.env)
    folder = pyrun.root / container.id / "notify"
    (folder / "a/b/c").mkdir(parents=True)
    (folder / "a/b/file").touch()
    (folder / "a/.removed-1").mkdir()
    (folder / "a/.removed-1/x").touch()
    (folder / "a/link").symlink_to(outside)
    container.delete("--force")
    pyrun.assert_gone(container.id)
    assert (outside / "kept").exists()


def test_without_the_variable(pyrun, bundle):
    """Without NOTIFY_SOCKET in the caller's environment there is no folder, mount or variable."""
    one = bundle(sh="ls -d /run/notify; echo $NOTIFY_SOCKET")
    container = pyrun.create(one)
    assert not (pyrun.root / container.id / "notify").exists()
    assert INSIDE not in container.finish()


def test_start_without_what_create_had(pyrun, tell, manager):
    """start waits only if it has the variable, and only for a container that was created with it."""
    container = pyrun.create(tell(), env=manager.env)
    pyrun.ok("start", container.id)
    container = pyrun.create(tell())
    pyrun.ok("start", container.id, env=manager.env)
    assert manager.messages == []


def test_nobody_listens(pyrun, tell, tmp_path):
    """Where the caller's socket doesn't exist, that is a warning: the container runs."""
    env = {**CALLER, "NOTIFY_SOCKET": str(tmp_path / "none")}
    container = pyrun.create(tell("notify READY=1"), env=env)
    result = pyrun("start", container.id, env=env)
    assert result.code == 0
    assert "warning: telling NOTIFY_SOCKET" in result.err
    assert container.status == "running"


@pytest.mark.slow
def test_a_flood_of_messages(pyrun, tell, manager):
    """A container that sends without end and is never ready keeps start no longer than it lives."""
    container = pyrun.create(tell(*["notify X=1"] * 3000, last=None), env=manager.env)
    pyrun.ok("start", container.id, env=manager.env)
    assert manager.messages == []
