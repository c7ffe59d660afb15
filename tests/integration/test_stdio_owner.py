"""stdin, stdout and stderr: they are the user's of the program, and never the host's null device.

No test changes a mode or owner of /dev/null: whose it is shows by its number on its file system.
"""

from __future__ import annotations

import os
import pty
import subprocess

import needs
import pytest

USER = {"uid": 1000, "gid": 1000}
REOPEN = "cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr"
STREAMS = ("stdin", "stdout", "stderr")


def identity(path):
    """Which file it is, whatever its name."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def streams_of(pid):
    """The files that a process has as its stdin, stdout and stderr."""
    return [identity(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)]


def exec_pid(pyrun, container, *options, **more):
    """The pid of a program that `exec --detach` has begun, with nothing but the null device."""
    pid_file = pyrun.folder / "exec-pid"
    argv = ["exec", "--detach", "--pid-file", str(pid_file), *options, container.id, "sleep", "1000"]
    process = pyrun.popen(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)
    assert process.wait(30) == 0
    return int(pid_file.read_text())


def start_with_null(pyrun, one):
    """Create and start a container whose three streams are the host's /dev/null."""
    container_id = pyrun.id()
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert pyrun.popen("create", "--bundle", str(one.path), container_id, **null).wait(30) == 0
    assert pyrun.popen("start", container_id, **null).wait(30) == 0
    return container_id


# the null device


@pytest.mark.parametrize("owner", ["the host's ids", "ids of its own"])
def test_null_streams_become_the_containers_null(pyrun, bundle, owner):
    """Streams that are the host's null device are the container's /dev/null, so that root of the container can't change
    the host's inode: either another one, or (user namespace) the host's on a read-only mount."""
    one = bundle().args("sleep", "1000")
    if owner == "ids of its own":
        needs.user_namespaces()
        one.user_namespace().args("sleep", "1000")
    container_id = start_with_null(pyrun, one)
    pid = pyrun.state(container_id)["pid"]
    assert streams_of(pid) == [identity(f"/proc/{pid}/root/dev/null")] * 3
    if owner == "the host's ids":
        assert identity("/dev/null") not in streams_of(pid)
    else:
        assert os.statvfs(f"/proc/{pid}/fd/0").f_flag & os.ST_RDONLY
    assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)] == ["/dev/null"] * 3


def test_null_streams_of_exec_become_the_containers_null(pyrun, bundle):
    """The same for a program of exec."""
    container = pyrun.start(bundle().args("sleep", "1000"))
    pid = exec_pid(pyrun, container)
    assert streams_of(pid) == [identity(f"/proc/{pid}/root/dev/null")] * 3
    assert identity("/dev/null") not in streams_of(pid)


def test_null_works(pyrun, bundle):
    """Reading it is the end of file, writing it succeeds, for another user too; and it can be opened again."""
    one = bundle({"process": {"user": USER}}, sh="cat; echo lost; cat /dev/stdin; echo $? >&2")
    process = pyrun.popen(
        "run", "-b", str(one.path), pyrun.id(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.communicate(timeout=30)[1] == b"0\n"
    assert process.returncode == 0


@pytest.mark.parametrize("instead", ["nothing", "a file", "a fifo", "a link out", "another device"])
@pytest.mark.parametrize("command", ["create", "exec"])
def test_no_null_in_the_container(pyrun, bundle, tmp_path, command, instead):
    """Where the container has no null device, or something else in its place, the streams are a null device all the
    same, and still not the host's; what is in its place isn't opened."""
    dev = tmp_path / "dev"
    dev.mkdir()
    place = dev / "null"
    if instead == "a file":
        place.write_text("not to be read")
    elif instead == "a fifo":
        os.mkfifo(place)
    elif instead == "a link out":
        place.symlink_to("/proc/self/fd/0")
    elif instead == "another device":
        os.mknod(place, 0o666 | 0o020000, os.makedev(1, 5))
    one = bundle().mount("/dev", "", str(dev), "rbind", "rw").args("sleep", "1000")
    one.config["mounts"] = [m for m in one.config["mounts"] if not m["destination"].startswith("/dev/")]
    one.write()
    container_id = start_with_null(pyrun, one)
    pid = pyrun.state(container_id)["pid"]
    if command == "exec":
        pid_file = tmp_path / "pid"
        argv = ["exec", "-d", "--pid-file", str(pid_file), container_id, "sleep", "1000"]
        null = subprocess.DEVNULL
        assert pyrun.popen(*argv, stdout=null, stderr=null).wait(30) == 0
        pid = int(pid_file.read_text())
    for fd in (0, 1, 2):
        found = os.stat(f"/proc/{pid}/fd/{fd}")
        assert found.st_rdev == os.makedev(1, 3)
        assert (found.st_dev, found.st_ino) not in (
            identity("/dev/null"),
            identity(place) if place.exists() else 0,
        )
    if instead == "a file":
        assert place.read_text() == "not to be read"


def test_no_null_in_a_user_namespace(pyrun, bundle, tmp_path):
    """There the host's may stay, as its owner isn't in the namespace, and nobody in it may change the inode."""
    needs.user_namespaces()
    dev = tmp_path / "dev"
    dev.mkdir()
    one = bundle().mount("/dev", "", str(dev), "rbind", "rw")
    one.config["mounts"] = [m for m in one.config["mounts"] if not m["destination"].startswith("/dev/")]
    one.user_namespace().sh("cat; stat -L -c '%t:%T %u' /proc/self/fd/0")
    assert pyrun.output(one) == "1:3 65534\n"


# the owner


def piped(pyrun, command, one, data=b"in\n", options=()):
    """Output and errors of a program whose streams are pipes."""
    if command == "run":
        argv = ["run", "-b", str(one.path), pyrun.id()]
    else:
        script = one.config["process"]["args"]
        container = pyrun.start(one.args("sleep", "1000"))
        argv = ["exec", *options, container.id, *script]
    process = pyrun.popen(*argv, stdin=-1, stdout=-1, stderr=-1)
    return (*process.communicate(data, timeout=30), process.returncode)


@pytest.mark.parametrize("command", ["run", "exec"])
def test_another_user_opens_its_streams_again(pyrun, bundle, command):
    """A program that isn't root's opens /dev/stdin, /dev/stdout and /dev/stderr when they are pipes: images log so."""
    one = bundle({"process": {"user": USER}}, sh=REOPEN)
    assert piped(pyrun, command, one) == (b"in\nout\n", b"err\n", 0)


def test_user_of_exec(pyrun, bundle):
    """It is the user of the program, not of the container."""
    one = bundle(sh=REOPEN)
    assert piped(pyrun, "exec", one, options=("--user", "1000:1000")) == (b"in\nout\n", b"err\n", 0)


def test_regular_files_are_given_away(pyrun, bundle, tmp_path):
    """Files are the user's; their group stays."""
    files = [tmp_path / name for name in STREAMS]
    for path in files:
        path.touch(0o600)
    argv = ["run", "-b", str(bundle({"process": {"user": USER}}, sh=REOPEN).path), pyrun.id()]
    opened = {
        name: path.open("r" if name == "stdin" else "w") for name, path in zip(STREAMS, files, strict=True)
    }
    assert pyrun.popen(*argv, **opened).wait(30) == 0
    assert [path.read_text() for path in files] == ["", "out\n", "err\n"]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in files} == {(1000, os.getgid())}


def test_ids_of_a_user_namespace(pyrun, bundle):
    """A pipe's owner outside of the user namespace can't be changed there: the program runs all the same."""
    needs.user_namespaces()
    one = bundle({"process": {"user": USER}}).user_namespace().sh("cat; echo out; echo err >&2")
    assert piped(pyrun, "run", one) == (b"in\nout\n", b"err\n", 0)


def test_owner_that_can_not_be_changed(pyrun, bundle, tmp_path):
    """A file on a read-only mount, and one that was opened as a path only, stay as they are and are no failure."""
    path = tmp_path / "file"
    path.touch()
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec 0<"$1" && shift && exec "$@"'
    pyrun.wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", str(path)]
    one = bundle({"process": {"user": USER}}, sh="cat; echo through")
    assert pyrun.output(one) == "through\n"
    pyrun.wrapper = []
    as_path = os.open(path, os.O_PATH)
    assert pyrun.output(one.sh("echo ran"), stdin=as_path) == "ran\n"
    os.close(as_path)
    assert path.stat().st_uid == os.getuid()


@pytest.mark.parametrize("kind", ["a terminal", "a folder", "a device"])
def test_terminals_devices_and_folders_keep_their_owner(pyrun, bundle, kind, tmp_path):
    """A terminal of the host, a device, and a folder keep their owner."""
    controller, fd = pty.openpty() if kind == "a terminal" else (-1, -1)
    if kind == "a folder":
        fd = os.open(tmp_path, os.O_RDONLY)
    elif kind == "a device":
        os.mknod(tmp_path / "zero", 0o600 | 0o020000, os.makedev(1, 5))
        fd = os.open(tmp_path / "zero", os.O_RDONLY)
    before = os.fstat(fd)
    one = bundle({"process": {"user": USER}}, sh="echo ran")
    assert pyrun.output(one, stdin=fd) == "ran\n"
    after = os.fstat(fd)
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
    for each in (controller, fd):
        if each >= 0:
            os.close(each)


def test_a_created_containers_are_its_users(pyrun, bundle):
    """They are the user's from create on, with hooks and all; and the null device never is."""
    one = bundle({"process": {"user": USER}}, sh="sleep 1000")
    container = pyrun.create(one)
    found = os.stat(f"/proc/{container.pid}/fd/1")
    assert found.st_uid == 1000
    assert os.stat(f"/proc/{container.pid}/fd/0").st_uid == 0
    assert os.stat("/dev/null").st_uid == os.stat("/dev/zero").st_uid
