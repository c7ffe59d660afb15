"""Hooks: when and where they run, what they are given, what their failure does (config.md, POSIX-platform Hooks)."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from bundles import new_id

CONTAINER_KINDS = ("createContainer", "startContainer")
KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
ENV = ["PATH=/bin:/usr/bin"]


@pytest.fixture
def logged(bundle):
    """A bundle whose folder log/ is /log in the container, and how a hook of a kind names it."""
    one = bundle()
    (one.path / "log").mkdir()
    one.mount("/log", "bind", "log", "bind", "rw")

    def folder(kind):
        return "/log" if kind == "startContainer" else str(one.path / "log")

    return one, folder


def read(one, name="log"):
    """What hooks have written into a file of log/."""
    path = one.path / "log" / name
    return path.read_text() if path.exists() else ""


def test_run_runs_them_all(pyrun, logged):
    """`run` runs the hooks of all kinds too, once each."""
    one, folder = logged
    for kind in KINDS:
        one.hook(kind, f"echo {kind} >> {folder(kind)}/log")
    pyrun.output(one)
    assert read(one).splitlines() == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_root(pyrun, logged, kind):
    """Only startContainer hooks see the container's root; createContainer runs before pivot_root."""
    one, folder = logged
    (one.rootfs / "mark").touch()
    one.hook(kind, f"ls -d /mark {one.rootfs}/mark > {folder(kind)}/log 2>/dev/null; true")
    pyrun.output(one)
    assert read(one).split() == ["/mark" if kind == "startContainer" else f"{one.rootfs}/mark"]


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_environment_is_made_before_create_hooks(pyrun, logged, kind):
    """When the hooks of create run, the mounts are made."""
    one, folder = logged
    script = "cat" if kind == "createContainer" else "sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'"
    look = f"pid=$({script}); nsenter --mount=/proc/$pid/ns/mnt ls {one.rootfs}/dev {one.rootfs}/proc"
    if kind == "createContainer":
        look = f"ls {one.rootfs}/dev {one.rootfs}/proc"
    one.hook(kind, f"{look} > {folder(kind)}/log", env=["PATH=/usr/bin:/bin"])
    pyrun.output(one)
    assert {"null", "zero", "pts", "stdin", "1", "self", "meminfo"} <= set(read(one).split())


@pytest.mark.parametrize("kind", KINDS)
def test_state_on_stdin(pyrun, logged, kind):
    """A hook reads the state on stdin: the pid as seen from its side, the status of that moment."""
    one, folder = logged
    one.config["annotations"] = {"com.example": "x"}
    one.hook(kind, f"cat > {folder(kind)}/log")
    one.args("sleep", "1000")
    container = pyrun.start(one)
    pid = container.pid
    container.delete("--force")
    state = json.loads(read(one))
    assert state["id"] == container.id
    assert state["ociVersion"] == "1.3.0"
    assert state["bundle"] == str(one.path)
    assert state["annotations"] == {"com.example": "x"}
    statuses = {"startContainer": "created", "poststart": "running", "poststop": "stopped"}
    assert state["status"] == statuses.get(kind, "creating")
    assert state.get("pid", 0) == (0 if kind == "poststop" else 1 if kind in CONTAINER_KINDS else pid)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "createContainer"])
def test_descriptors(pyrun, logged, kind):
    """A hook has stdin, stdout and stderr, and no other descriptor."""
    one, folder = logged
    one.hook(kind, f"ls /proc/$$/fd > {folder(kind)}/log; true", env=["PATH=/bin:/usr/bin"])
    pyrun.output(one)
    # a shell keeps what it redirects away from at 10 and above
    assert [fd for fd in read(one).split() if int(fd) < 10] == ["0", "1", "2"]


CREATE_KINDS = ("prestart", "createRuntime", "createContainer")


@pytest.mark.parametrize("kind", CREATE_KINDS)
@pytest.mark.parametrize("command", ["create", "run"])
def test_failure_in_create(pyrun, logged, kind, command):
    """A hook that fails in create: an error with its name and last words, nothing left, and poststop hooks run."""
    one, folder = logged
    one.hook(kind, "true")
    one.hook(kind, "echo some words; echo last words >&2; exit 3")
    one.hook(kind, f"echo too far > {folder(kind)}/log")
    one.hook("poststop", f"echo poststop >> {folder('poststop')}/log")
    container_id = new_id()
    sentence = pyrun.error(command, "--bundle", str(one.path), container_id)
    assert sentence == f"hooks.{kind}[1]: /bin/sh exited with status 3: some words last words"
    pyrun.assert_gone(container_id)
    assert read(one) == "poststop\n"


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
@pytest.mark.parametrize("command", ["start", "run"])
def test_failure_in_start(pyrun, logged, kind, command):
    """A startContainer or poststart hook that fails: an error, the container is stopped and destroyed."""
    one, folder = logged
    one.hook(kind, "true")
    one.hook(kind, "echo last words; exit 3")
    one.hook("poststop", f"echo poststop >> {folder('poststop')}/log")
    one.args("sleep", "1000")
    if command == "start":
        container_id = pyrun.create(one).id
        sentence = pyrun.error("start", container_id)
    else:
        container_id = new_id()
        sentence = pyrun.error("run", "--bundle", str(one.path), container_id)
    assert sentence.startswith(f"hooks.{kind}[1]: ")
    assert sentence.endswith("exited with status 3: last words")
    pyrun.assert_gone(container_id)
    assert read(one) == "poststop\n"


def test_poststop_failure(pyrun, logged):
    """A failing poststop hook is a warning; the rest run, and the container is deleted."""
    one, folder = logged
    one.hook("poststop", "echo words; exit 4")
    one.hook("poststop", "kill -9 $$")
    one.hook("poststop", f"echo third > {folder('poststop')}/log")
    container = pyrun.start(one)
    container.wait()
    result = pyrun("delete", container.id)
    assert result.code == 0
    assert result.err.splitlines() == [
        "pyrun: warning: hooks.poststop[0]: /bin/sh exited with status 4: words",
        "pyrun: warning: hooks.poststop[1]: /bin/sh was killed by signal 9",
    ]
    assert read(one) == "third\n"
    pyrun.assert_gone(container.id)


@pytest.mark.parametrize("kind", KINDS)
def test_timeout(pyrun, logged, kind):
    """A hook that takes longer than its timeout is killed, and has failed."""
    one, folder = logged
    one.hook(kind, f"echo $$ > {folder(kind)}/log; exec sleep 1000", timeout=1)
    one.args("sleep", "1000")
    begin = time.monotonic()
    if kind in CREATE_KINDS:
        sentence = pyrun.refused(one)
    elif kind == "poststop":
        container = pyrun.start(one)
        sentence = pyrun("delete", "--force", container.id).err
    else:
        sentence = pyrun.error("start", pyrun.create(one).id)
    assert f"hooks.{kind}[0]: " in sentence
    assert "did not end within its timeout" in sentence
    assert 1 <= time.monotonic() - begin < 5
    if kind not in CONTAINER_KINDS:
        assert not Path(f"/proc/{read(one).strip()}").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_timeout_not_reached(pyrun, logged, kind):
    """A hook that ends in time is not disturbed, and one without a timeout may take its time."""
    one, folder = logged
    one.hook(kind, f"sleep 0.1; echo one >> {folder(kind)}/log", timeout=20)
    one.hook(kind, f"sleep 0.1; echo two >> {folder(kind)}/log")
    pyrun.output(one)
    assert read(one) == "one\ntwo\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("path", "args", "why"),
    [
        ("/no/such/hook", [], "it does not exist"),
        ("/etc/passwd", [], "it isn't executable"),
        ("/etc", [], "it isn't executable"),
        ("/bin/sh", ["sh", "x" * 140_000], "its args and env are too long"),
    ],
    ids=["missing", "not executable", "folder", "too long"],
)
def test_hook_that_can_not_be_executed(pyrun, logged, kind, path, args, why):
    """A hook that isn't there or can't be executed has failed, with the cause; no engine takes it for a missing
    program."""
    one, _ = logged
    one.config["hooks"] = {kind: [{"path": path, "args": args or [path]}]}
    one.args("sleep", "1000")
    one.write()
    if kind in CREATE_KINDS:
        sentence = pyrun.refused(one)
    elif kind == "poststop":
        container = pyrun.start(one)
        sentence = pyrun("delete", "--force", container.id).err
    else:
        sentence = pyrun.error("start", pyrun.create(one).id)
    assert f"hooks.{kind}[0]: " in sentence
    assert path in sentence
    assert "can't be executed: " in sentence
    assert why in sentence
    for words in ("no such file or directory", "permission denied", "executable file not found"):
        assert words not in sentence.lower()


@pytest.mark.parametrize("kind", KINDS)
def test_daemon_of_a_hook(pyrun, logged, kind):
    """A process that a hook leaves behind with its stdout doesn't keep the command from going on."""
    one, folder = logged
    one.hook(kind, f"sleep 4 & echo $! > {folder(kind)}/log")
    begin = time.monotonic()
    pyrun.output(one)
    assert time.monotonic() - begin < 3
    assert read(one)


@pytest.mark.parametrize("kind", KINDS)
def test_much_output(pyrun, logged, kind):
    """A hook may write much, and its error quotes the end of it, on one line."""
    one, folder = logged
    one.hook(
        kind,
        f'busybox yes 0123456789 | head -c 300000; echo "the\tend"; echo ok > {folder(kind)}/log; exit 9',
    )
    if kind in CREATE_KINDS:
        sentence = pyrun.refused(one)
    elif kind == "poststop":
        container = pyrun.start(one)
        container.wait()
        sentence = pyrun("delete", container.id).err.strip()
    else:
        sentence = pyrun.error("start", pyrun.create(one).id)
    assert "exited with status 9: " in sentence
    assert sentence.endswith("the end")
    assert len(sentence) < 1500
    assert read(one) == "ok\n"


@pytest.mark.parametrize("kind", KINDS)
def test_hook_killed_by_signal(pyrun, logged, kind):
    """A hook that a signal kills has failed, and the error says which."""
    one, _ = logged
    one.hook(kind, "kill -TERM $$; sleep 1000")
    if kind in CREATE_KINDS:
        sentence = pyrun.refused(one)
    elif kind == "poststop":
        container = pyrun.start(one)
        container.wait()
        sentence = pyrun("delete", container.id).err
    else:
        sentence = pyrun.error("start", pyrun.create(one).id)
    # process 1 and its children in a pid namespace can be killed too: the hook is not process 1
    assert "was killed by signal 15" in sentence


def test_createcontainer_can_mount_for_the_container(pyrun, logged):
    """What a createContainer hook mounts below the root file system is in the container: what it is for."""
    one, _folder = logged
    (one.rootfs / "data").mkdir()
    one.hook("createContainer", f"mount -t tmpfs mine {one.rootfs}/data && touch {one.rootfs}/data/file",
             env=["PATH=/usr/bin:/bin:/usr/sbin:/sbin"])  # fmt: skip
    assert pyrun.output(one.sh("ls /data; grep -c /data /proc/mounts")) == "file\n1\n"
    assert os.listdir(one.rootfs / "data") == []


def test_prestart_can_reach_the_network_namespace(pyrun, logged):
    """A prestart hook finds the container's network namespace by the pid in its state: how docker sets it up."""
    one, _folder = logged
    one.hook(
        "prestart",
        "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); nsenter --net=/proc/$pid/ns/net ip link set lo up",
        env=["PATH=/usr/bin:/bin:/usr/sbin:/sbin"],
    )
    assert pyrun.output(one.sh("cat /sys/class/net/lo/operstate")) == "unknown\n"


def test_config_hooks_are_kept_from_create(pyrun, logged):
    """Poststart and poststop hooks are those of the configuration at create."""
    one, folder = logged
    one.hook("poststart", f"echo poststart >> {folder('poststart')}/log")
    one.hook("poststop", f"echo poststop >> {folder('poststop')}/log")
    container = pyrun.create(one)
    (one.path / "config.json").unlink()
    container.finish()
    assert read(one) == "poststart\npoststop\n"


@pytest.mark.parametrize("kind", KINDS)
def test_timeout_of_ages(pyrun, logged, kind):
    """A timeout beyond any clock is no limit, and no overflow."""
    one, folder = logged
    one.hook(kind, f"sleep 0.05; echo ran >> {folder(kind)}/log", timeout=2**62)
    pyrun.output(one)
    assert read(one) == "ran\n"


def test_user_namespace(pyrun, logged):
    """With a user namespace, runtime hooks are the host's root still, container hooks the container's."""
    one, folder = logged
    (one.path / "log").chmod(0o777)
    kinds = [kind for kind in KINDS if kind != "createContainer"]
    for kind in kinds:
        one.hook(kind, f"readlink /proc/self/ns/user > {folder(kind)}/{kind}", env=["PATH=/bin:/usr/bin"])
    one.config["process"]["args"] = ["sleep", "1000"]
    one.config["process"].pop("rlimits")
    container = pyrun.start(one.user_namespace())
    inside, own = (os.readlink(f"/proc/{pid}/ns/user") for pid in (container.pid, "self"))
    container.delete("--force")
    for kind in kinds:
        assert read(one, kind).strip() == (inside if kind in CONTAINER_KINDS else own), kind
    # what the container's root may not reach on the host, this hook can't either: it tells by failing
    one.hook("createContainer", "readlink /proc/self/ns/user; id -u; exit 1", env=["PATH=/bin:/usr/bin"])
    *_, namespace, uid = pyrun.refused(one).split()
    assert namespace.startswith("user:[")
    assert namespace != own
    assert uid == "0"


@pytest.mark.parametrize("kind", CONTAINER_KINDS)
def test_pid_in_a_joined_namespace(pyrun, bundle, logged, kind):
    """In a joined pid namespace, the pid in the state is the container's number there, which isn't 1; for
    createContainer hooks, which may run outside of it, a number that is the container's where they run."""
    one, folder = logged
    first = pyrun.start(bundle().args("sleep", "1000"))
    one.hook(kind, f"cat > {folder(kind)}/log")
    if kind == "createContainer":
        of = f"sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/' {folder(kind)}/log"
        one.hook(kind, f"kill -0 $({of})", env=ENV)
    one.namespace("pid", f"/proc/{first.pid}/ns/pid").args("sleep", "1000")
    container = pyrun.start(one)
    status = Path(f"/proc/{container.pid}/status").read_text()
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
    pid = json.loads(read(one))["pid"]
    assert pid > 1
    if kind == "startContainer":
        assert pid == int(numbers[-1])


def test_working_directory(pyrun, logged, tmp_path):
    """A hook never starts where the caller happens to stand: the runtime's are in the bundle, those of createContainer
    in the container's root (as the host sees it, nothing of the image is followed), those of startContainer in /."""
    one, folder = logged
    for kind in KINDS:
        one.hook(kind, f"echo {kind} $(pwd -P) >> {folder(kind)}/log; ls > {folder(kind)}/{kind}", env=ENV)
    one.config["process"]["cwd"] = "/tmp"
    (one.rootfs / "only-in-the-root").touch()
    (tmp_path / "elsewhere").mkdir()
    pyrun.output(one.write(), cwd=tmp_path / "elsewhere")
    where = dict(line.split() for line in read(one).splitlines())
    assert where == {
        "prestart": str(one.path),
        "createRuntime": str(one.path),
        "createContainer": str(one.rootfs),
        "startContainer": "/",
        "poststart": str(one.path),
        "poststop": str(one.path),
    }
    # what is seen there is the container's root, mounts included, and not the folder that they cover
    assert "only-in-the-root" in read(one, "createContainer").split()


def test_a_relative_name_in_the_bundle(pyrun, logged, tmp_path):
    """A hook that is a script beside config.json finds its files by relative names."""
    one, _ = logged
    (one.path / "settings").write_text("beside config.json\n")
    one.hook("createRuntime", "cat settings > log/log", env=ENV)
    pyrun.output(one.write(), cwd=tmp_path)
    assert read(one) == "beside config.json\n"


def test_poststop_without_the_bundle(pyrun, logged, tmp_path):
    """If the bundle is gone, poststop hooks run in /, and the container is deleted."""
    one, _ = logged
    one.hook("poststop", f"pwd > {tmp_path}/poststop", env=ENV)
    container = pyrun.start(one.write())
    container.wait()
    one.path.rename(tmp_path / "moved")
    pyrun.ok("delete", container.id, cwd=tmp_path)
    assert (tmp_path / "poststop").read_text() == "/\n"
