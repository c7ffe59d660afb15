"""pyrun for a user without privileges: in a user namespace that maps the user's own id, or a range of /etc/subuid."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import needs
import pytest
import seccomp_agent
from bundles import Config, make_rootfs, new_id

UID, GID = 61234, 61235  # nobody's here

ID = new_id()  # of the container, one at a time


class User:
    """An ordinary user with a session's folder, a copy of the runtime, and a bundle by `spec --rootless`."""

    def __init__(self, folder: Path, runtime: Path, busybox: str) -> None:
        self.folder = folder
        self.binary = folder / "bin/pyrun"
        (folder / "bin").mkdir()
        shutil.copy(runtime, self.binary)
        shutil.copytree(runtime.parent.parent / "lib/pyrun", folder / "lib/pyrun")
        self.bundle = folder / "bundle"
        make_rootfs(self.bundle / "rootfs", busybox)
        self.session = folder / "session"
        self.session.mkdir(mode=0o700)
        for each in (self.bundle, self.bundle / "rootfs", self.session):
            os.chown(each, UID, GID)
        self.ok("spec", "--rootless", "--bundle", str(self.bundle))
        self.config: Config = json.loads((self.bundle / "config.json").read_text())
        self.config["process"]["terminal"] = False

    def __call__(self, *words: str, uid: int = UID, session: bool = True) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"]} | ({"XDG_RUNTIME_DIR": str(self.session)} if session else {})
        with (
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
        ):  # a container keeps them open
            done = subprocess.run(
                [str(self.binary), *words],
                env=env,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                user=uid,
                group=GID,
                extra_groups=[],
                timeout=60,
                check=False,
            )
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())

    def ok(self, *words: str) -> str:
        """A command line that must succeed silently; what it prints."""
        done = self(*words)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def error(self, *words: str, **more: Any) -> str:
        """A command line that must fail with one sentence."""
        done = self(*words, **more)
        assert done.returncode != 0, done
        assert done.stderr.startswith("pyrun: "), done
        assert done.stderr.count("\n") == 1, done
        assert "internal error" not in done.stderr, done
        return done.stderr

    def write(self, *args: str) -> str:
        """Write the configuration, with another program if one is given."""
        if args:
            self.config["process"]["args"] = list(args)
        (self.bundle / "config.json").unlink(missing_ok=True)
        (self.bundle / "config.json").write_text(json.dumps(self.config))
        return str(self.bundle)


@pytest.fixture
def user(runtime: Path, busybox: str) -> Iterator[User]:
    """The user; what is left of containers at the end fails the test."""
    needs.user_namespaces()
    folder = Path(tempfile.mkdtemp(prefix="pyrun-user-"))  # tmp_path is closed to other users
    folder.chmod(0o755)
    one = User(folder, runtime, busybox)
    yield one
    state = one.session / "pyrun"
    left = [name for name in os.listdir(state) if name[0] != "."] if state.exists() else []
    for name in left:
        one("delete", "--force", name)
    shutil.rmtree(folder)
    assert not left


def test_a_bundle_in_two_commands(user: User) -> None:
    """`spec --rootless` and `run`: the user is root in there, alone, and nobody else is anybody."""
    script = "id -u; id -g; cat /proc/self/uid_map; echo x >/dev/null && hostname"
    assert user.ok("run", "--bundle", user.write("sh", "-c", script), ID).split() == [
        *("0", "0"), *("0", str(UID), "1"), "pyrun",
    ]  # fmt: skip


def test_a_whole_life(user: User) -> None:
    """Create, start, state, exec, list, kill and delete work for the owner."""
    user.ok("create", "--bundle", user.write("sleep", "1000"), ID)
    assert json.loads(user.ok("state", ID))["status"] == "created"
    user.ok("start", ID)
    assert user.ok("exec", ID, "id", "-u") == "0\n"
    assert json.loads(user.ok("list", "--format", "json"))[0]["status"] == "running"
    user.ok("kill", ID, "KILL")
    user.ok("delete", "--force", ID)
    assert user.ok("list", "--quiet") == ""


def test_exec_has_the_score_that_it_asks_for(user: User) -> None:
    """process.oomScoreAdj of an exec document, or that of the container's process: the process is closed to its own
    user's other processes by then, so it writes its score itself, before."""
    user.config["process"]["oomScoreAdj"] = 200
    user.ok("run", "--detach", "--bundle", user.write("sleep", "1000"), ID)
    document = user.bundle / "process.json"
    asked = {"cwd": "/", "args": ["cat", "/proc/self/oom_score_adj"], "oomScoreAdj": 300}
    document.write_text(json.dumps(asked))
    document.chmod(0o644)
    try:
        for _ in range(20):
            assert user.ok("exec", "--process", str(document), ID) == "300\n"
            assert user.ok("exec", ID, "cat", "/proc/self/oom_score_adj") == "200\n"
    finally:
        user.ok("delete", "--force", ID)


@pytest.mark.parametrize("default", ["ALLOW", "NOTIFY"], ids=["mkdir", "everything"])
def test_a_seccomp_agent(user: User, default: str) -> None:
    """A seccomp agent gets the listener from an ordinary user's container, for run and exec, whatever it is asked."""
    socket = user.folder / "agent"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}
    user.config["linux"]["seccomp"] = {
        "defaultAction": f"SCMP_ACT_{default}",
        "listenerPath": str(socket),
        "syscalls": [rule],
    }
    user.config["root"]["readonly"] = False
    argv = [sys.executable, seccomp_agent.__file__, str(socket), "mkdir"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as agent:
        try:
            assert agent.stdout
            assert agent.stdout.readline()
            socket.chmod(0o777)
            script = "mkdir /tmp/a; ls /tmp/a; sleep 1000"
            user.ok("run", "--detach", "--bundle", user.write("sh", "-c", script), ID)
            assert user.ok("exec", ID, "sh", "-c", "mkdir /tmp/b; ls /tmp/b") == "by-agent\n"
            user.ok("delete", "--force", ID)
        finally:
            agent.kill()


def test_others_are_refused(user: User) -> None:
    """Another user of the host reaches neither the container nor its state, and is told so in one sentence."""
    user.ok("create", "--bundle", user.write("sleep", "1000"), ID)
    for words in (("state", ID), ("exec", ID, "id"), ("kill", ID, "KILL"), ("delete", "--force", ID)):
        assert "access refused" in user.error(*words, uid=UID + 7)
    assert json.loads(user.ok("state", ID))["status"] == "created"
    user.ok("delete", "--force", ID)


def test_a_limit_that_cannot_be_had_is_an_error(user: User) -> None:
    """A limit that was asked for is refused by its name where the user has no cgroup; without one, none is missed."""
    user.config["linux"]["resources"] = {"pids": {"limit": 50}}
    assert "cgroup" in user.error("run", "--bundle", user.write("true"), ID)


def test_ranges_come_from_newuidmap(user: User) -> None:
    """More than one's own id is given out by newuidmap; a range that the user hasn't got is refused in its words, with
    the file that gives ranges."""
    needs.program("newuidmap")
    user.config["linux"]["uidMappings"].append({"containerID": 1, "hostID": 3_000_000_000, "size": 10})
    sentence = user.error("run", "--bundle", user.write("true"), ID)
    assert "linux.uidMappings" in sentence
    assert "newuidmap" in sentence
    assert "/etc/subuid" in sentence


def test_groups_that_cannot_be_set_are_left_out(user: User) -> None:
    """A user who maps the own id alone has given up setgroups(2): additional groups are left out, as runc and crun do,
    with a warning that names the property."""
    user.config["process"]["user"]["additionalGids"] = [0]
    done = user("run", "--bundle", user.write("true"), ID)
    assert done.returncode == 0, done
    assert "process.user.additionalGids" in done.stderr


def test_without_a_session_the_sentence_says_what_is_missing(user: User) -> None:
    """Without XDG_RUNTIME_DIR the user has no place for state."""
    assert "XDG_RUNTIME_DIR" in user.error("run", "--bundle", user.write("true"), ID, session=False)


def test_state_is_safe_from_cleaners(user: User) -> None:
    """The root folder carries the sticky bit, by which programs that clean $XDG_RUNTIME_DIR leave it alone."""
    user.ok("run", "--bundle", user.write("true"), ID)
    assert (user.session / "pyrun").stat().st_mode & 0o7777 == 0o1700


def test_rootless_false_insists_on_cgroups(user: User) -> None:
    """--rootless=false makes an error of a cgroup that can't be made."""
    assert "cgroup" in user.error("--rootless=false", "run", "--bundle", user.write("true"), ID)


def test_no_cgroups_on_request(user: User) -> None:
    """--cgroup-manager=disabled makes none, and refuses limits by name."""
    script = "cat /proc/self/cgroup"
    user.config["linux"]["namespaces"] = [
        each for each in user.config["linux"]["namespaces"] if each["type"] != "cgroup"
    ]
    inside = user.ok("--cgroup-manager=disabled", "run", "--bundle", user.write("sh", "-c", script), ID)
    assert inside == Path("/proc/self/cgroup").read_text()
    user.config["linux"]["resources"] = {"pids": {"limit": 50}}
    sentence = user.error("--cgroup-manager=disabled", "run", "--bundle", user.write("true"), ID)
    assert sentence.startswith("pyrun: linux.resources: limits need cgroups")


OWN = f"idmap=uids=0-{UID}-1;gids=0-{GID}-1"


@pytest.mark.parametrize(
    ("kind", "option"),
    [("none", "idmap"), ("none", OWN), ("tmpfs", OWN)],
    ids=["the host's by the container's", "the host's", "new"],
)
def test_mapped_ids_are_for_root(user: User, kind: str, option: str) -> None:
    """An ordinary user can't have ids of a mount mapped: one sentence with the mount's JSON path and the right that is
    missing, and nothing is left."""
    needs.kernel(6, 3, "a tmpfs with mapped ids")
    options = [option, *(["bind"] if kind == "none" else [])]
    entry = {"destination": "/tmp", "type": kind, "source": str(user.bundle), "options": options}
    user.config["mounts"].append(entry)
    place = f"mounts[{len(user.config['mounts']) - 1}]"
    sentence = user.error("create", "--bundle", user.write("true"), ID)
    assert sentence.startswith(f"pyrun: {place}: mapping the ids of /tmp: ")
    assert "which an ordinary user hasn't" in sentence
