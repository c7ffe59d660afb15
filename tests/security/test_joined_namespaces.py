"""CVE-2016-9962 and its like: who lives in a namespace that a container joins looks into the runtime's process.

While the runtime enters namespaces of a hostile container it still is the host's root, with descriptors of the host.
It can't be traced or looked into from there (PR_SET_DUMPABLE), and brings no groups along.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import needs
import pytest
from bundles import eventually, new_id, process_status, sleeping

KEYCTL = {"x86_64": 250}.get(os.uname().machine, 219)  # 219 wherever the table of calls is the unified one
KEYCTL_JOIN_SESSION_KEYRING = 1
OWNER = 100000
# Becomes root with all capabilities in namespaces of its own, and there looks at all it can see of every process.
HUNTER = r"""
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def call(result):
    if result:
        sys.exit(f"errno {ctypes.get_errno()}")
call(libc.unshare(0x10000000))  # CLONE_NEWUSER
print("map", flush=True)
sys.stdin.readline()
os.setresgid(0, 0, 0)
os.setresuid(0, 0, 0)
call(libc.unshare(0x20020000))  # CLONE_NEWPID | CLONE_NEWNS
child = os.fork()
if child:
    print(child, flush=True)
    sys.exit(os.waitpid(child, 0)[1])
call(libc.prctl(1, 9))  # PR_SET_PDEATHSIG
call(libc.mount(b"proc", b"/proc", b"proc", 0, None))
found = set()
print("hunting", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end and not os.path.exists(sys.argv[1]):
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or pid == "1":
            continue
        for name in ("exe", "cwd", "root", *(f"fd/{n}" for n in range(3, 40))):
            try:
                found.add((name.partition("/")[0], os.readlink(f"/proc/{pid}/{name}")))
            except OSError:
                pass
for each in sorted(found):
    print(*each)
"""


@pytest.fixture
def hostile(tmp_path):
    """A user and PID namespace of somebody who has all capabilities in it, and looks at every process there."""
    needs.user_namespaces()
    stop = tmp_path / "stop"
    for folder in (tmp_path, *tmp_path.parents[:3]):  # for the hunter to see `stop`
        if folder.stat().st_uid == os.geteuid() and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)
    argv = [sys.executable, "-I", "-S", "-c", HUNTER, str(stop)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "map\n"
        for kind in ("uid", "gid"):
            Path(f"/proc/{process.pid}/{kind}_map").write_text(f"0 {OWNER} 65536\n")
        process.stdin.write("\n")
        process.stdin.flush()
        lines = {process.stdout.readline(), process.stdout.readline()}
        assert "hunting\n" in lines
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield int(child), stop, process
        stop.touch()
        process.kill()


def test_nothing_of_the_host_is_seen(pyrun, bundle, hostile):
    """The hunter sees processes of the container, and neither the runtime's program nor its descriptors."""
    pid, stop, hunter = hostile
    one = bundle(sh="sleep 0.2")
    one.user_namespace(OWNER)
    for kind in ("user", "pid"):
        one.namespace(kind, f"/proc/{pid}/ns/{kind}")
    one.config["linux"].pop("uidMappings")
    one.config["linux"].pop("gidMappings")
    # Namespaces that belong to the joined user namespace, as in a pod
    one.config["mounts"] = [m for m in one.config["mounts"] if m["destination"] in ("/proc", "/dev")]
    one.write()
    for _ in range(12):
        assert pyrun.run(one).code == 0
    stop.touch()
    out, err = hunter.communicate(timeout=60)
    seen = [line.partition(" ")[::2] for line in out.splitlines()]
    assert ("exe", "/bin/busybox") in seen, (out, err)
    bad = [
        (what, target)
        for what, target in seen
        if str(pyrun.runtime) in target
        or str(one.path) in target
        or "cgroup" in target
        or target in ("/run", "/dev/null")
    ]
    assert not bad


def test_groups_of_the_host_are_dropped(pyrun, bundle):
    """A joined user namespace that forbids setgroups doesn't let the caller's groups in."""
    needs.user_namespaces()
    needs.program("setpriv", "unshare")
    sleeper = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "sleep", "100"],
    )
    try:
        eventually(lambda: Path(f"/proc/{sleeper.pid}/comm").read_text() == "sleep\n", "sleep didn't start")
        assert Path(f"/proc/{sleeper.pid}/setgroups").read_text() == "deny\n"
        one = bundle(sh="grep Groups: /proc/self/status")
        one.config["mounts"] = [m for m in one.config["mounts"] if m["destination"] == "/proc"]
        one.namespace("user", f"/proc/{sleeper.pid}/ns/user")
        log = pyrun.folder / "log"
        argv = [
            "setpriv",
            "--groups=4,24,27",
            str(pyrun.runtime),
            "--root",
            str(pyrun.root),
            "run",
            "-b",
            str(one.path),
        ]
        with log.open("wb") as out:
            subprocess.run(
                [*argv, f"h8-groups-{os.getpid()}"], stdout=out, stderr=out, timeout=30, check=False
            )
        assert log.read_text().split() == ["Groups:"]
    finally:
        sleeper.kill()
        sleeper.wait()


def test_session_keyring_is_new(pyrun, bundle):
    """A keyring that somebody made under the container's name is not joined."""
    name = new_id()
    one = bundle({"linux": {"maskedPaths": []}}, sh="cat /proc/keys; sleep 0.1")
    libc = ctypes.CDLL(None, use_errno=True)
    with subprocess.Popen(
        ["sleep", "20"],
        preexec_fn=lambda: libc.syscall(KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, f"_ses.{name}".encode()),
    ) as holder:
        result = pyrun.ok("run", "-b", str(one.path), name)
        holder.kill()
    names = [line.split("keyring")[1].split(":")[0].strip() for line in result.lines() if "keyring" in line]
    assert names.count(f"_ses.{name}") <= 1  # the holder's


def test_stage_2_is_not_dumpable(pyrun, bundle):
    """/proc/PID of a created container belongs to root and is closed to those who aren't the host's root."""
    container = pyrun.create(bundle({"process": {"user": {"uid": 1000, "gid": 1000}, "rlimits": []}}))
    assert os.stat(f"/proc/{container.pid}/exe", follow_symlinks=False).st_uid == 0
    assert process_status(container.pid)["Uid"].split()[0] == "1000"
    root = pyrun.create(bundle())
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "ls", "-l", f"/proc/{root.pid}/fd"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0, done.stdout


def test_hooks_in_a_joined_mount_namespace(pyrun, bundle):
    """A createContainer hook's path is the host's: it is not run where somebody else decides what is at that path."""
    needs.program("unshare")
    with sleeping("unshare", "--mount") as pid:
        one = bundle().namespace("mount", f"/proc/{pid}/ns/mnt")
        assert pyrun.refused(one.hook("createContainer", "true")).startswith("hooks.createContainer")


def test_mount_namespaces_of_the_host_are_refused(pyrun, bundle):
    """Neither the runtime's own nor that of the machine's first process."""
    for owner in ("self", "1"):
        one = bundle().namespace("mount", f"/proc/{owner}/ns/mnt")
        assert "mount namespace" in pyrun.refused(one)  # or that it is not ours to see
