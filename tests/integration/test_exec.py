"""`exec`: one more program in a container: where it is, who it is, and how it ends."""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import needs
import pytest
from bundles import Container, eventually, process_status, wait_for_file

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
LOOK = "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Groups|Seccomp|Uid|Gid):' /proc/self/status"
ALL_CAPABILITIES = ("bounding", "effective", "permitted", "inheritable", "ambient")


@pytest.fixture
def sleeper(pyrun, bundle):
    """A running container that does nothing; its root file system can be written."""
    return pyrun.start(bundle({"root": {"readonly": False}}).args("sleep", "1000"))


def facts(text):
    """Lines "name: value" as a dictionary."""
    return {line.split(":")[0]: " ".join(line.partition(":")[2].split()) for line in text.splitlines()}


def document(container, **changes):
    """The container's own process document with changes, as an engine would send it."""
    return {**container.bundle.config["process"], **changes}


def process_file(container, tmp_path, **changes):
    """The same in a file, for --process."""
    path = tmp_path / "process.json"
    path.write_text(json.dumps(document(container, **changes)))
    return str(path)


# where


def namespaces(pid):
    """Kind to identity of all namespaces of a process."""
    names = [name for name in os.listdir(f"/proc/{pid}/ns") if "_for_children" not in name]
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in names}


def detached(pyrun, container, *program, options=()):
    """`exec --detach`; the pid on the host."""
    pid_file = pyrun.folder / "pid"
    pyrun.ok("exec", "--detach", "--pid-file", str(pid_file), *options, container.id, *program)
    return int(pid_file.read_text())


def cgroups(pid):
    """Hierarchy to path of a process's cgroups."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}


def test_all_namespaces_are_inits(pyrun, bundle):
    """The program is in every namespace of the container's process, and its root is the same."""
    container = pyrun.start(bundle().namespace("cgroup").args("sleep", "1000"))
    pid = detached(pyrun, container, "sleep", "1000")
    assert namespaces(pid) == namespaces(container.pid)
    ours = namespaces("self")
    assert {kind for kind in KINDS if namespaces(pid)[kind] != ours[kind]} == set(KINDS)
    for name in ("root", "cwd"):
        ends = [os.stat(f"/proc/{each}/{name}") for each in (pid, container.pid)]
        assert ends[0].st_ino == ends[1].st_ino
        assert ends[0].st_dev == ends[1].st_dev


def test_user_namespace(pyrun, bundle):
    """In a container with a user namespace the program is its root, with its capabilities in it."""
    needs.user_namespaces()
    container = pyrun.start(bundle().user_namespace().args("sleep", "1000"))
    pid = detached(pyrun, container, "sleep", "1000")
    assert namespaces(pid) == namespaces(container.pid)
    assert process_status(pid)["Uid"].split() == ["100000"] * 4
    assert process_status(pid)["Groups"] == ""
    assert container.sh("id -u; cat /proc/self/uid_map").split() == ["0", "0", "100000", "65536"]
    assert container.sh("id -u; id -g", "--user", "1000:1000").split() == ["1000", "1000"]
    assert "process.user.uid" in container.exec_refused(("true",), "--user", "70000")


def test_time_namespace(pyrun, bundle):
    """A time namespace is joined too."""
    needs.namespace("time")
    container = pyrun.start(bundle().namespace("time").args("sleep", "1000"))
    pid = detached(pyrun, container, "sleep", "1000")
    assert namespaces(pid)["time"] == namespaces(container.pid)["time"] != namespaces("self")["time"]


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup"])
def test_namespace_of_the_host(pyrun, bundle, kind):
    """A container without a namespace of a kind of its own: the program has the host's, as the container has."""
    one = bundle({"hostname": None}).namespace(kind, None)
    one.config["mounts"] = [mount for mount in one.config["mounts"] if mount["destination"] != "/sys"]
    container = pyrun.start(one.args("sleep", "1000"))
    pid = detached(pyrun, container, "sleep", "1000")
    assert namespaces(pid) == namespaces(container.pid)
    os.kill(pid, signal.SIGKILL)


def test_namespace_by_path(pyrun, bundle, tmp_path):
    """Namespaces that were joined by path are those of the init, though the path is gone by now."""
    holder = subprocess.Popen(["unshare", "--net", "--uts", "sleep", "1000"])
    try:
        eventually(lambda: namespaces(holder.pid)["uts"] != namespaces("self")["uts"], "not unshared")
        one = bundle().namespace("network", f"/proc/{holder.pid}/ns/net")
        container = pyrun.start(one.namespace("uts", f"/proc/{holder.pid}/ns/uts").args("sleep", "1000"))
    finally:
        holder.kill()
        holder.wait()
    pid = detached(pyrun, container, "sleep", "1000")
    assert namespaces(pid) == namespaces(container.pid)


@pytest.mark.parametrize("options", [(), ("--no-pivot",)])
def test_init_has_chrooted(pyrun, bundle, options):
    """The root is the container's, wherever its first program has chrooted to: so it is with runc."""
    one = bundle({"root": {"readonly": False}})
    for kind in ("bounding", "effective", "permitted"):
        one.config["process"]["capabilities"][kind].append("CAP_SYS_CHROOT")
    (one.rootfs / "jail").mkdir()
    (one.rootfs / "jail/sleep").hardlink_to(one.rootfs / "bin/busybox")
    container = pyrun.start(one.args("chroot", "/jail", "/sleep", "1000"), *options)
    eventually(lambda: b"chroot" not in Path(f"/proc/{container.pid}/cmdline").read_bytes(), "not in jail")
    assert container.sh("ls -d /jail; pwd") == "/jail\n/\n"


def test_init_has_a_user_namespace_of_its_own(pyrun, bundle):
    """What its first program has unshared is not the container's user namespace."""
    needs.user_namespaces()
    container = pyrun.start(bundle().args("unshare", "-U", "sleep", "1000"))
    ours = namespaces("self")["user"]
    eventually(lambda: namespaces(container.pid)["user"] != ours, "not unshared")
    assert container.sh("readlink /proc/self/ns/user; id -u").split() == [ours, "0"]


def test_joined_mount_namespace(pyrun, bundle):
    """A mount namespace that was joined by path may have another root than the container."""
    holder = subprocess.Popen(["unshare", "--mount", "sleep", "1000"])
    try:
        eventually(lambda: namespaces(holder.pid)["mnt"] != namespaces("self")["mnt"], "not unshared")
        one = bundle({"root": {"readonly": False}}).namespace("mount", f"/proc/{holder.pid}/ns/mnt")
        container = pyrun.start(one.args("sleep", "1000"))
        (one.rootfs / "marker").touch()
        assert container.sh("ls /marker; pwd") == "/marker\n/\n"
    finally:
        holder.kill()
        holder.wait()


def test_pid_namespace(sleeper):
    """The program has a number there; its parent is outside, and nobody of the host is seen."""
    seen = sleeper.sh("echo $$ $PPID; ls -d /proc/[0-9]* | wc -l")
    pid, parent, count = seen.split()
    assert int(pid) > 1
    assert parent == "0"
    assert int(count) <= 4


def test_cgroups_are_inits(pyrun, sleeper):
    """The program is in the container's cgroup, in every hierarchy."""
    pid = detached(pyrun, sleeper, "sleep", "1000")
    assert cgroups(pid) == cgroups(sleeper.pid)
    assert sleeper.id in json.dumps(cgroups(pid))


def test_init_in_another_cgroup(pyrun, bundle):
    """--cgroup names a cgroup below the container's; a missing one is an error, and so is one outside."""
    container = pyrun.start(bundle().args("sleep", "1000"))
    own = {name: f"/sys/fs/cgroup{path}" for name, path in cgroups(container.pid).items()}
    controllers = [name for name in ("pids", "freezer") if name in own]
    if not controllers:
        pytest.skip("needs cgroup v1")
    for name in controllers:
        os.mkdir(f"/sys/fs/cgroup/{name}{cgroups(container.pid)[name]}/below")
    text = f"{','.join(controllers)}:/below"
    pid = detached(pyrun, container, "sleep", "1000", options=("--cgroup", text))
    found = cgroups(pid)
    for name, path in cgroups(container.pid).items():
        assert found[name] == (f"{path}/below" if name in controllers else path)
    assert "pids" in container.exec_refused(("true",), "--cgroup", "pids:none")
    for path in ("../x", "pids:..", "below/../../.."):
        assert "leads out" in container.exec_refused(("true",), "--cgroup", path)
    assert "no controller" in container.exec_refused(("true",), "--cgroup", "nonsense:below")


def test_at_the_pids_limit(pyrun, bundle):
    """One more program fits where one more process does (cgroup v1: v2 counts exec's first process too)."""
    container = pyrun.start(bundle({"linux": {"resources": {"pids": {"limit": 2}}}}).args("sleep", "1000"))
    if "pids" not in cgroups(container.pid):
        pytest.skip("needs the pids controller of cgroup v1")
    assert container.exec(("echo", "ran")).out == "ran\n"
    busy = begin(pyrun, container, "echo up; exec sleep 1000")
    assert (
        container.exec(("echo", "ran")).out == "ran\n"
    )  # entering is not forking: an administrator still gets in
    busy.kill()
    busy.wait()


# who


def test_process_is_the_containers(pyrun, bundle):
    """Without --process: user, environment, folder, capabilities, limits are the configuration's."""
    process = {
        "user": {"uid": 1000, "gid": 1000, "additionalGids": [10, 11], "umask": 0o27},
        "env": ["PATH=/bin", "A=b", "HOME=/there"],
        "cwd": "/tmp",
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
        "noNewPrivileges": True,
        "oomScoreAdj": 500,
    }
    container = pyrun.start(bundle({"process": process}).args("sleep", "1000"))
    out = container.sh(f"{LOOK}; umask; pwd; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; env | sort")
    found, rest = facts(out), out.splitlines()[10:]
    init = process_status(container.pid)
    for name in (*[f"Cap{kind}" for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")], "NoNewPrivs", "Groups"):
        assert found[name] == init[name], name
    assert found["Uid"] == "1000 1000 1000 1000"
    assert found["Groups"] == "10 11"
    assert found["NoNewPrivs"] == "1"
    assert [line for line in rest if "SHLVL" not in line and "_=" not in line] == [
        *("0027", "/tmp", "100", "200", "500"),
        *("A=b", "HOME=/there", "PATH=/bin", "PWD=/tmp"),
    ]


def test_capabilities_are_the_configurations(pyrun, bundle):
    """Each set is what the configuration says."""
    names = ["CAP_KILL", "CAP_CHOWN"]
    capabilities = {kind: names if kind != "ambient" else names[:1] for kind in ALL_CAPABILITIES}
    container = pyrun.start(bundle({"process": {"capabilities": capabilities}}).args("sleep", "1000"))
    found, init = facts(container.sh(LOOK)), process_status(container.pid)
    for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
        assert found[f"Cap{kind}"] == init[f"Cap{kind}"]
    assert int(found["CapAmb"], 16) == 1 << 5


def test_cap(sleeper):
    """--cap adds to what the program may do, and nothing to what it may hand on."""
    before = facts(sleeper.sh(LOOK))
    found = facts(sleeper.sh(LOOK, "--cap", "CAP_SYS_PTRACE", "-c", "CAP_CHOWN"))
    for name in ("CapBnd", "CapPrm", "CapEff"):
        assert int(found[name], 16) == int(before[name], 16) | 1 << 19 | 1
    assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0
    for name in ("CAP_NONSENSE", "SYS_ADMIN", ""):
        sentence = sleeper.exec_refused(("true",), f"--cap={name}")
        assert sentence == f'--cap: "{name}" is not a capability'


def test_no_new_privs(pyrun, bundle):
    """--no-new-privs, where the configuration doesn't have it."""
    container = pyrun.start(bundle({"process": {"noNewPrivileges": False}}).args("sleep", "1000"))
    assert facts(container.sh(LOOK))["NoNewPrivs"] == "0"
    assert facts(container.sh(LOOK, "--no-new-privs"))["NoNewPrivs"] == "1"


def test_seccomp(pyrun, bundle):
    """The container's filter holds for the program, and only for the program."""
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }
    config = {"linux": {"seccomp": profile}, "process": {"noNewPrivileges": False}}
    container = pyrun.start(bundle(config).args("sleep", "1000"))
    result = container.exec(("mkdir", "/tmp/x"))
    assert result.code == 1
    assert "No space left" in result.err
    assert facts(container.sh(LOOK))["Seccomp"] == "2"
    out = facts(container.sh(LOOK, "--user", "1000"))
    assert int(out["CapEff"], 16) == 0


def test_env_and_cwd(sleeper):
    """--env adds to the environment, and wins over it; --cwd is the folder."""
    out = sleeper.sh(
        'echo "$A $B $TERM $PATH"; pwd', "-e", "A=1", "--env", "B=x y", "--env", "TERM=dumb", "--cwd", "/etc"
    )
    first, second = out.splitlines()
    assert first.startswith("1 x y dumb /usr/local/sbin:")
    assert second == "/etc"


@pytest.mark.parametrize("cwd", ["/missing", "/etc/passwd"])
def test_bad_cwd(sleeper, cwd):
    """A folder that isn't there is not made, and engines find status 127 by the words."""
    sentence = sleeper.exec_refused(("true",), "--cwd", cwd)
    assert sentence.startswith(f"process.cwd: entering {cwd}: ")
    assert ("no such file or directory" in sentence) == (cwd == "/missing")
    assert not (sleeper.bundle.rootfs / "missing").exists()


def test_relative_cwd(sleeper):
    """A relative folder is refused by the specification's rule."""
    for cwd in ("etc", ""):
        assert sleeper.exec_refused(("true",), f"--cwd={cwd}").startswith("process.cwd: ")


def test_user(sleeper):
    """Names are looked up in the container's files; a number needs none."""
    rootfs = sleeper.bundle.rootfs
    (rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\ndove:x:77:78:Dove:/nest:/bin/sh\n")
    (rootfs / "etc/group").write_text("root:x:0:\nbirds:x:80:owl,dove\nsongs:x:81:dove\nfish:x:90:cod\n")
    look = "id -u; id -g; grep Groups: /proc/self/status | tr -s '\\t ' ' '; echo $HOME"
    assert sleeper.sh(look, "--user", "dove").splitlines() == ["77", "78", "Groups: 80 81 ", "/nest"]
    assert sleeper.sh(look, "--user", "dove:fish").splitlines()[:2] == ["77", "90"]
    assert sleeper.sh(look, "--user", "dove:5").splitlines()[:2] == ["77", "5"]
    assert sleeper.sh(look, "-u", "77").splitlines() == ["77", "0", "Groups: ", "/nest"]
    assert sleeper.sh(look, "-u", "1234:5678").splitlines() == ["1234", "5678", "Groups: ", "/"]
    assert sleeper.sh(look, "-u", "0:birds").splitlines()[:2] == ["0", "80"]


@pytest.mark.parametrize("user", ["-5", "99999999999", "4294967295", "+1", "", ":", "0:", ":0", "0:-1", "0:0:0",
                                  "nobody", "0:nogroup", "0 ", "1e3", "0x0", "root:root:", "ro\not"])  # fmt: skip
def test_bad_user(sleeper, user):
    """What can't be understood is an error, and never root (CVE-2026-30892)."""
    sentence = sleeper.exec_refused(("id",), f"--user={user}")
    assert sentence.startswith("--user: "), sentence


def test_additional_gids(sleeper):
    """--additional-gids adds supplementary groups."""
    out = sleeper.sh(LOOK, "-g", "7", "--additional-gids", "8")
    assert facts(out)["Groups"] == "7 8"
    for gid in ("-1", "x", "4294967296", "99999999999"):
        assert "group id" in sleeper.exec_refused(("true",), f"--additional-gids={gid}")


@pytest.mark.parametrize("uid", [0, 1000, 4321])
def test_home(pyrun, bundle, uid):
    """HOME is what the container's /etc/passwd says, unless it is configured: in the container and in exec."""
    home = {0: "/root", 1000: "/nest", 4321: "/"}[uid]
    one = bundle(
        {"process": {"user": {"uid": uid, "gid": uid}, "rlimits": None}}, sh="echo $HOME; exec sleep 1000"
    )
    (one.rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/nest:/bin/sh\n")
    container = pyrun.start(one)
    eventually(lambda: container.out() == f"{home}\n", "no such HOME")
    assert container.sh("echo $HOME") == f"{home}\n"
    assert container.sh("echo $HOME", "--env", "HOME=/else") == "/else\n"
    configured = bundle({"process": {"env": ["PATH=/bin", "HOME=/mine"]}}, sh="echo $HOME")
    assert pyrun.output(configured) == "/mine\n"


# --process


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_process_document(pyrun, sleeper, tmp_path, way):
    """--process brings the whole process; options change it."""
    changes = {"args": ["sh", "-c", "echo $A $B; pwd; id -u"], "env": ["PATH=/bin", "A=1"], "cwd": "/etc"}
    changes["user"] = {"uid": 5, "gid": 6}
    if way == "file":
        argv, data = ["--process", process_file(sleeper, tmp_path, **changes)], None
    else:
        argv, data = ["--process", "-"], json.dumps(document(sleeper, **changes)).encode()
    result = pyrun.ok("exec", *argv, "--env", "B=2", sleeper.id, data=data)
    assert result.lines() == ["1 2", "/etc", "5"]


def test_process_document_and_program(sleeper, tmp_path):
    """Two programs are one too many, and none too few."""
    assert "--process" in sleeper.exec_refused(("true",), "--process", process_file(sleeper, tmp_path))
    assert sleeper.exec_refused(()) == "a program to run is missing"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "no JSON object"),
        ('{"args": ["true"], "cwd": "x"}', "process.cwd"),
        ('{"cwd": "/"}', "process.args"),
        ('{"cwd": "/", "args": []}', "process.args"),
        ('{"cwd": "/", "args": ["true", 5]}', "process.args[1]: "),
        ('{"cwd": "/", "args": ["true"], "user": {"uid": -1, "gid": 0}}', "process.user.uid: "),
        ('{"cwd": "/", "args": ["true"], "env": "x"}', "process.env: "),
        ('{"cwd": "/", "args": ["x"], "rlimits": [{"type": "X", "soft": 1, "hard": 1}]}', "process.rlimits[0]"),
        ('{"cwd": "/", "args": ["true"], "args": ["false"]}', "args"),
        ('{"cwd": "/", "args": ["true"], "scheduler": {"policy": "SCHED_X"}}', "process.scheduler.policy: "),
    ],
)  # fmt: skip
def test_bad_process_document(sleeper, tmp_path, text, words):
    """The sentence names the fault's place in the document."""
    path = tmp_path / "process.json"
    path.write_text(text)
    assert words in sleeper.exec_refused((), "--process", str(path))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["missing", "folder", "fifo"])
def test_no_process_document(sleeper, tmp_path, kind):
    """A path that is no file."""
    path = tmp_path / "process.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    sentence = sleeper.exec_refused((), "--process", str(path))
    assert str(path) in sentence
    assert "no such file" not in sentence.lower()


# in and out


@pytest.mark.parametrize("status", [0, 1, 42, 127, 255])
def test_exit_status(sleeper, status):
    """The program's exit status is exec's."""
    result = sleeper.exec(("sh", "-c", f"exit {status}"))
    assert (result.code, result.err) == (status, "")


@pytest.mark.parametrize("number", [1, 2, 9, 11, 15])
def test_killed_by_signal(sleeper, number):
    """128+N for a program that signal N kills."""
    assert sleeper.exec(("sh", "-c", f"kill -{number} $$")).code == 128 + number


def begin(pyrun, container, script, *options, **more):
    """Begin an exec in the foreground; wait for its first line."""
    argv = ("exec", *options, container.id, "sh", "-c", script)
    process = pyrun.popen(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    pyrun.running.append(process)
    assert process.stdout.readline() == b"up\n"
    return process


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "QUIT"])
def test_forwards_signals(pyrun, sleeper, name):
    """A signal for exec is one for the program, not for the container."""
    process = begin(pyrun, sleeper, f"trap 'echo got; exit 5' {name}; echo up; while :; do sleep 0.01; done")
    process.send_signal(getattr(signal, f"SIG{name}"))
    assert process.communicate(timeout=20) == (b"got\n", b"")
    assert process.returncode == 5
    assert sleeper.status == "running"


def test_killed_exec_leaves_the_container(pyrun, sleeper):
    """SIGKILL for exec ends neither the container nor, as runc and crun have it, the program."""
    process = begin(pyrun, sleeper, "echo up; read x; echo got > /tmp/got", stdin=subprocess.PIPE)
    process.kill()
    process.wait()
    assert sleeper.sh("cat /tmp/got 2>/dev/null || echo none") == "none\n"
    process.stdin.close()
    eventually(
        lambda: sleeper.sh("cat /tmp/got 2>/dev/null || echo none") == "got\n", "the program was killed"
    )


def test_container_ends_meanwhile(pyrun, sleeper):
    """When the container is killed, so are the programs of exec: 137."""
    process = begin(pyrun, sleeper, "echo up; exec sleep 1000")
    sleeper.kill("KILL")
    assert process.wait(20) == 137


def test_big_data_passes_through(sleeper):
    """Megabytes go in and come out unchanged, bytes of any value."""
    data = bytes(range(256)) * 16384
    result = sleeper.exec(("cat",), data=data)
    assert (result.code, result.err) == (0, "")
    assert result.out_file.read_bytes() == data


def test_stdio_is_the_callers(sleeper):
    """The program's stdio are the caller's files, and nothing else is open."""
    result = sleeper.exec(("sh", "-c", "readlink /proc/$$/fd/0; echo err >&2; ls /proc/$$/fd; true"))
    assert (result.out, result.err) == ("/dev/null\n0\n1\n2\n", "err\n")


def test_preserve_fds(pyrun, sleeper, tmp_path):
    """Exactly so many descriptors are passed on; LISTEN_FDS with the number that the program has itself."""
    place = tmp_path / "third"
    pyrun.wrapper = ["sh", "-c", f'exec "$@" 3>{place} 4>/dev/null', "sh"]
    out = sleeper.sh("echo through >&3; ls /proc/$$/fd; true", "--preserve-fds", "1")
    assert out.split() == ["0", "1", "2", "3"]
    assert place.read_text() == "through\n"
    listening = {**os.environ, "LISTEN_FDS": "1"}
    script = 'echo $LISTEN_FDS; test "$LISTEN_PID" = "$$" && echo mine; ls /proc/$$/fd; true'
    out = sleeper.sh(script, "--preserve-fds", "1", env=listening)
    assert out.split() == ["1", "mine", "0", "1", "2", "3", "4"]
    pyrun.wrapper = []
    assert "descriptor 3 is not open" in sleeper.exec_refused(("true",), "--preserve-fds", "1")


# detached


def test_detach(pyrun, sleeper):
    """--detach returns when the program runs; --pid-file has its pid on the host."""
    pid_file = pyrun.folder / "pid"
    script = "echo up; exec sleep 1000"
    result = pyrun.ok("exec", "-d", "--pid-file", str(pid_file), sleeper.id, "sh", "-c", script)
    pid = int(pid_file.read_text())
    assert not pid_file.read_bytes().endswith(b"\n")
    eventually(lambda: Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\0001000\0", "not the program")
    assert result.out_file.read_text() == "up\n"
    os.kill(pid, signal.SIGKILL)


def test_pid_file_in_the_foreground(pyrun, sleeper):
    """--pid-file without --detach."""
    pid_file = pyrun.folder / "pid"
    process = begin(pyrun, sleeper, "echo up; exec sleep 1000", "--pid-file", str(pid_file))
    eventually(pid_file.exists, "no pid file")
    os.kill(int(pid_file.read_text()), signal.SIGTERM)
    assert process.wait(20) == 143


def test_pidfd_socket(pyrun, sleeper, tmp_path):
    """--pidfd-socket gets a pidfd of the program."""
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        got = []

        def take():
            connection, _ = server.accept()
            with connection:
                _, control, _, _ = connection.recvmsg(100, socket.CMSG_SPACE(4))
                got.extend(array.array("i", control[0][2]))

        thread = threading.Thread(target=take)
        thread.start()
        pid = detached(pyrun, sleeper, "sleep", "1000", options=("--pidfd-socket", path))
        thread.join()
    info = Path(f"/proc/self/fdinfo/{got[0]}").read_text()
    assert f"Pid:\t{pid}\n" in info
    signal.pidfd_send_signal(got[0], signal.SIGKILL)
    os.close(got[0])


# errors


@pytest.mark.parametrize("detach", [(), ("--detach",)])
def test_program_not_found(sleeper, detach):
    """The phrases by which engines know exit statuses 126 and 127, detached or not."""
    sleeper.bundle.script("/tool", "#!/bin/sh\n", mode=0o644)
    sleeper.bundle.script("/crlf", "#!/bin/sh\r\n")
    assert "executable file not found in $PATH" in sleeper.exec_refused(("no-such",), *detach)
    assert '"/no/such": no such file or directory' in sleeper.exec_refused(("/no/such",), *detach)
    assert '"/tool": permission denied: it is not executable' in sleeper.exec_refused(("/tool",), *detach)
    assert '"/etc": permission denied' in sleeper.exec_refused(("/etc",), *detach)
    sentence = sleeper.exec_refused(("/crlf",), *detach)
    assert '"/crlf": no such file or directory' in sentence
    assert "CRLF" in sentence


def test_failed_exec_leaves_nothing(pyrun, sleeper):
    """No process, no pid file."""
    pid_file = pyrun.folder / "pid"
    sleeper.exec_refused(("no-such",), "--detach", "--pid-file", str(pid_file))
    assert not pid_file.exists()
    assert sleeper.sh("ls -d /proc/[0-9]* | wc -l").strip() in ("2", "3", "4")


def test_unknown(pyrun):
    """An id that nobody has."""
    assert pyrun.error("exec", pyrun.id(), "true").endswith("does not exist")


def test_stopped(pyrun, bundle):
    """A stopped container has no place for a program."""
    container = pyrun.start(bundle())
    container.wait()
    assert (
        container.exec_refused(("true",))
        == f'container "{container.id}" is stopped, and exec needs a running one'
    )


def test_created(pyrun, bundle):
    """A created container has its environment already, and stays created."""
    container = pyrun.create(bundle(sh="echo ran"))
    assert container.sh("hostname") == "pyrun\n"
    assert container.status == "created"
    assert container.finish() == "ran\n"


def freeze(container, state):
    """Pause or resume as an engine's other tools would."""
    places = cgroups(container.pid)
    if "freezer" in places:
        Path(f"/sys/fs/cgroup/freezer{places['freezer']}/freezer.state").write_text(
            "FROZEN" if state else "THAWED"
        )
    else:
        Path(f"/sys/fs/cgroup{places['']}/cgroup.freeze").write_text("1" if state else "0")


def test_paused(pyrun, sleeper):
    """A paused container is refused; --ignore-paused waits until it is resumed."""
    freeze(sleeper, True)
    try:
        assert "is paused" in sleeper.exec_refused(("true",))
        argv = ("exec", "--ignore-paused", sleeper.id, "echo", "ran")
        process = pyrun.popen(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        pyrun.running.append(process)
        time.sleep(0.3)
        assert process.poll() is None
    finally:
        freeze(sleeper, False)
    assert process.communicate(timeout=20) == (b"ran\n", b"")


@pytest.mark.parametrize("what", ["edited", "deleted", "bundle deleted"])
def test_config_is_the_one_of_create(pyrun, bundle, what):
    """Whatever happens to config.json later, exec goes by what the container was made from."""
    one = bundle({"process": {"env": ["PATH=/bin", "A=then"]}}).args("sleep", "1000")
    container = pyrun.start(one)
    file = one.path / "config.json"
    if what == "edited":
        one.config["process"]["env"] = ["PATH=/none", "A=now"]
        one.config["process"]["user"] = {"uid": 1, "gid": 1}
        one.write()
    else:
        file.unlink()
    if what == "bundle deleted":
        one.path.rename(f"{one.path}-moved")
    assert container.sh("echo $A; id -u") == "then\n0\n"
    if what == "bundle deleted":
        Path(f"{one.path}-moved").rename(one.path)


def test_labels_without_a_security_module(sleeper):
    """A label is refused by its name where its security module isn't active."""
    needs.no_security_modules()
    assert sleeper.exec_refused(("true",), "--apparmor", "x").startswith("process.apparmorProfile: ")
    assert sleeper.exec_refused(("true",), "--process-label", "x").startswith("process.selinuxLabel: ")


# many


def test_storm(pyrun, sleeper):
    """200 programs in one container, 8 at a time: none is lost, and nothing is left behind."""
    mounts = Path("/proc/self/mountinfo").read_text()
    init = sorted(os.listdir(f"/proc/{sleeper.pid}/fd"))

    def one(number):
        result = pyrun("exec", sleeper.id, "sh", "-c", f"echo {number}; exit {number % 256}")
        return result.code, result.out, result.err

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(one, range(200)))
    assert results == [(number % 256, f"{number}\n", "") for number in range(200)]
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert sorted(os.listdir(f"/proc/{sleeper.pid}/fd")) == init
    folder = next(Path("/sys/fs/cgroup").glob(f"*/{sleeper.id}/cgroup.procs"))
    assert folder.read_text().split() == [str(sleeper.pid)]
    assert sorted(os.listdir(pyrun.root / sleeper.id)) in (["start.sock", "state.json"], ["state.json"])


def test_exec_against_delete(pyrun, bundle):
    """exec while the container is killed and deleted: it ends with 137 or one sentence, and nothing is left."""
    for _ in range(5):
        container: Container = pyrun.start(bundle().args("sleep", "1000"))
        with ThreadPoolExecutor(4) as pool:
            tries = [pool.submit(container.exec, ("sleep", "1000")) for _ in range(4)]
            time.sleep(0.01)
            pyrun.ok("delete", "--force", container.id)
            for each in tries:
                result = each.result()
                assert result.code in (255, 137), result
                assert "internal" not in result.err
                assert result.err.count("\n") == (result.code == 255), result
        pyrun.assert_gone(container.id)


# pure v2

ONLY_V2 = 'umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'


@pytest.fixture
def only_v2(pyrun):
    """A view of this host that has nothing but cgroup v2."""
    needs.program("unshare", "mount")
    needs.filesystem("cgroup2")
    pyrun.wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", ONLY_V2, "sh"]
    yield pyrun
    for each in pyrun.ids:
        pyrun.ok("delete", "--force", each)


def test_v2(only_v2, bundle):
    """On a pure v2 host the program is born in the container's cgroup."""
    container = only_v2.start(bundle().args("sleep", "1000"))
    pid = detached(only_v2, container, "sleep", "1000")
    assert cgroups(pid)[""] == cgroups(container.pid)[""]
    assert container.id in cgroups(pid)[""]
    assert namespaces(pid) == namespaces(container.pid)
    assert container.sh("cat /proc/self/cgroup | grep ^0") == "0::/\n"


def test_v2_user_namespace(only_v2, bundle):
    """The same where the program's rights end at a user namespace."""
    needs.user_namespaces()
    container = only_v2.start(bundle().user_namespace().args("sleep", "1000"))
    pid = detached(only_v2, container, "sleep", "1000")
    assert cgroups(pid)[""] == cgroups(container.pid)[""]
    assert namespaces(pid) == namespaces(container.pid)


def test_v2_init_has_moved(only_v2, bundle):
    """An init that moved itself to a cgroup below the container's is followed there (systemd does so)."""
    script = (
        "mkdir /sys/fs/cgroup/init && echo 1 > /sys/fs/cgroup/init/cgroup.procs; echo up; exec sleep 1000"
    )
    one = bundle(sh=script)
    for mount in one.config["mounts"]:
        if mount["destination"] == "/sys/fs/cgroup":
            mount["options"].remove("ro")
    container = only_v2.start(one.write())
    assert wait_for_file(container.out_file) == "up\n"
    pid = detached(only_v2, container, "sleep", "1000")
    assert cgroups(pid)[""] == cgroups(container.pid)[""]
    assert cgroups(pid)[""].endswith("/init")
    container.sh("mkdir /sys/fs/cgroup/other")
    pid = detached(only_v2, container, "sleep", "1000", options=("--cgroup", "/other"))
    assert cgroups(pid)[""].endswith(f"{container.id}/other")
