"""`exec` enters a container that its attacker already lives in: CVE-2016-9962, CVE-2019-5736, CVE-2024-21626.

The attacker looks at every process again and again while exec goes on, with no capability more than the default, with
CAP_SYS_PTRACE, and as root of a user namespace. It may see programs of the container and stage 2, and no file, folder
or program of the host.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import needs
import pytest
from bundles import CALLER, eventually, process_status
from hostile import Outside, open_folders
from test_own_binary import maps
from test_planted_modules import base, names, plant, planted

CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
# For every process: what it runs, where it stands, what it has open and mapped; and is that file to be opened?
LOOK = """
echo looking > /ready
while [ ! -e /stop ]; do
    for process in /proc/[0-9]*; do
        case $process in /proc/1|/proc/$$) continue;; esac
        for each in exe root cwd; do
            target=$(readlink $process/$each) && echo "$each $target"
        done
        (ls -id $process/root/. | cut -d/ -f1) | sed 's/^/rootnode /'
        for fd in $process/fd/*; do target=$(readlink $fd) && echo "fd $target"; done
        head -c1 $process/mem > /dev/null && echo "mem"
        cut -c74- $process/maps | sed 's/^/maps /'
    done
done 2>/dev/null | sort -u > /seen
"""


def seen_by(pyrun, attacker, times=25):
    """What the attacker sees while `exec true` runs so often in its container: lines "what target"."""
    hostile = pyrun.start(attacker)
    eventually((attacker.rootfs / "ready").exists, "the attacker doesn't look")
    for _ in range(times):
        assert hostile.exec(("true",)).code == 0
    hostile.exec(("sleep", "0.3"))
    (attacker.rootfs / "stop").touch()
    hostile.wait()
    lines = (attacker.rootfs / "seen").read_text().splitlines()
    hostile.delete()
    return lines


def assert_nothing_of_the_host(pyrun, lines, root):
    """No line is about a file of the host."""
    lines = [line for line in lines if str(pyrun.calls) not in line]  # the program's own stdout and stderr
    bad = [
        line
        for line in lines
        if "/pyrun" in line or "cgroup" in line or str(pyrun.folder.parent) in line or "/tasks" in line
    ]
    assert not bad
    nodes = {int(line.split()[1]) for line in lines if line.startswith("rootnode ") and len(line.split()) > 1}
    assert nodes <= {root}, (nodes, root)


def test_looked_at_with_default_capabilities(pyrun, bundle):
    """Root of the container sees the exec'd program, and of what it was before nothing at all."""
    attacker = bundle({"root": {"readonly": False}}, sh=LOOK)
    lines = seen_by(pyrun, attacker)
    assert "exe /bin/busybox" in lines
    assert_nothing_of_the_host(pyrun, lines, attacker.rootfs.stat().st_ino)
    assert {line for line in lines if line.startswith("exe ")} <= {"exe /bin/busybox"}
    targets = {line.partition(" ")[2] for line in lines if line.startswith("fd ")}
    assert not [each for each in targets if "memfd" in each or "pidfd" in each or each == "/"]


def test_looked_at_with_ptrace(pyrun, bundle):
    """CAP_SYS_PTRACE without a user namespace: no setting of a process keeps it out. But what it looks into stands on
    the container's root, and holds no folder of the host; what runs there, test_never_more_than_the_program.py has."""
    attacker = bundle({"root": {"readonly": False}}, sh=LOOK)
    for kind in ("bounding", "effective", "permitted"):
        attacker.config["process"]["capabilities"][kind].append("CAP_SYS_PTRACE")
    lines = seen_by(pyrun, attacker.write())
    root = attacker.rootfs.stat().st_ino
    nodes = {int(line.split()[1]) for line in lines if line.startswith("rootnode ") and len(line.split()) > 1}
    assert nodes == {root}
    assert {line for line in lines if line.startswith(("root ", "cwd "))} <= {"root /", "cwd /"}
    targets = {line.partition(" ")[2] for line in lines if line.startswith("fd ")}
    assert not [each for each in targets if str(pyrun.root) in each]


def test_looked_at_from_a_user_namespace(pyrun, bundle):
    """Root of a user namespace has CAP_SYS_PTRACE in it, which is nothing over a process that comes from outside."""
    needs.user_namespaces()
    attacker = bundle({"root": {"readonly": False}}, sh=LOOK)
    for kind in ("bounding", "effective", "permitted"):
        attacker.config["process"]["capabilities"][kind].append("CAP_SYS_PTRACE")
    attacker.user_namespace()
    attacker.rootfs.chmod(0o777)
    lines = seen_by(pyrun, attacker.write())
    assert "exe /bin/busybox" in lines
    assert_nothing_of_the_host(pyrun, lines, attacker.rootfs.stat().st_ino)


@pytest.mark.parametrize("user", ["0", "1000"])
def test_nothing_is_inheritable(pyrun, bundle, user):
    """CVE-2022-29162 and its like, for exec: with --cap and as a user, from a caller that has inheritable ones."""
    needs.program("setpriv")
    container = pyrun.start(bundle().args("sleep", "1000"))
    pyrun.wrapper = "setpriv --inh-caps=+net_raw,+sys_chroot --ambient-caps=+net_raw --groups=4,24".split()
    script = "grep -E '^(Cap|Groups)' /proc/self/status"
    for options in ((), ("--cap", "CAP_NET_RAW")):
        out = container.sh(script, "--user", user, *options)
        found = {line.split(":")[0]: line.partition(":")[2].strip() for line in out.splitlines()}
        assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0
        assert found["Groups"] == ""
        if user != "0":
            assert int(found["CapPrm"], 16) == int(found["CapEff"], 16) == 0
    pyrun.wrapper = []


def test_never_more_than_the_container(pyrun, bundle):
    """A program of exec has exactly what the container's configuration allows, filter and no_new_privs included."""
    seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}],
    }
    container = pyrun.start(bundle({"linux": {"seccomp": seccomp}}).args("sleep", "1000"))
    pid_file = pyrun.folder / "pid"
    pyrun.ok("exec", "--detach", "--pid-file", str(pid_file), container.id, "sleep", "1000")
    init, other = process_status(container.pid), process_status(int(pid_file.read_text()))
    for name in (*CAPABILITIES, "NoNewPrivs", "Seccomp", "Seccomp_filters", "Uid", "Gid", "Groups"):
        assert init.get(name) == other.get(name), name


def test_descriptors(pyrun, bundle):
    """A careless caller's open folders reach neither the program nor its working directory (CVE-2024-21626)."""
    container = pyrun.start(bundle({"root": {"readonly": False}}).args("sleep", "1000"))
    with open_folders(3, 40):
        out = container.exec(("sh", "-c", "ls /proc/$$/fd; true"), close_fds=False)
        assert out.out.split() == ["0", "1", "2"]
        for number in range(3, 41):
            for path in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../.."):
                result = container.exec(("true",), "--cwd", path, close_fds=False)
                assert result.code == 255, path
                assert "process.cwd" in result.err


@pytest.mark.parametrize("path", ["/proc/self/fd/7", "/proc/1/root", "/proc/self/cwd", "/proc/thread-self/root",
                                  "/outside", "/outside/../../..", "/loop"])  # fmt: skip
def test_working_directory(pyrun, bundle, tmp_path, path):
    """Links of the container lead below its root or nowhere."""
    outside = Outside(tmp_path / "outside")
    container = pyrun.start(bundle({"root": {"readonly": False}}).args("sleep", "1000"))
    rootfs = container.bundle.rootfs
    (rootfs / "outside").symlink_to(outside.path / "folder")
    (rootfs / "loop").symlink_to("loop")
    result = container.exec(("sh", "-c", "pwd; ls -a"), "--cwd", path)
    assert result.code == 255, result
    assert "process.cwd" in result.err
    assert "internal" not in result.err
    outside.assert_untouched()


def test_links_stay_inside(pyrun, bundle, tmp_path):
    """A link upwards ends at the container's root, and an /etc/passwd that is a link to the host's is not read."""
    (tmp_path / "passwd").write_text("dove:x:0:0::/:/bin/sh\n")
    container = pyrun.start(bundle({"root": {"readonly": False}}).args("sleep", "1000"))
    rootfs = container.bundle.rootfs
    (rootfs / "up").symlink_to("../../../../../..")
    assert container.sh("pwd", "--cwd", "/up") == "/\n"
    (rootfs / "etc/passwd").unlink()
    (rootfs / "etc/passwd").symlink_to(tmp_path / "passwd")
    assert "looking up the user" in container.exec_refused(("id",), "--user", "dove")


def test_no_mount_and_no_file_on_the_host(pyrun, bundle):
    """exec makes no mount, here or in the container, nor any file in the state folder."""
    container = pyrun.start(bundle().args("sleep", "1000"))

    def look():
        mounts = [Path(f"/proc/{pid}/mountinfo").read_text() for pid in ("self", container.pid)]
        return (
            mounts,
            sorted(os.listdir(pyrun.root / container.id)),
            (pyrun.root / container.id / "state.json").read_bytes(),
        )

    before = look()
    process = pyrun.popen("exec", container.id, "sh", "-c", "echo up; sleep 0.3", stdout=-1, stderr=-1)
    assert process.stdout.readline() == b"up\n"
    assert look() == before
    assert process.communicate(timeout=20) == (b"", b"")
    assert look() == before


def test_nothing_planted_is_loaded(pyrun, bundle, tmp_path):
    """Of a root file system full of modules, libraries and configurations, exec names /etc/passwd and the program."""
    needs.program("strace")
    one = bundle().args("sleep", "1000")
    plant(one)
    container = pyrun.start(one)
    log = tmp_path / "strace"
    argv = ["strace", "-f", "-s", "300", "-o", str(log), "-e", "trace=%file,openat2,execveat"]
    argv += [str(pyrun.runtime), "--root", str(pyrun.root), "exec", container.id, "echo", "ran"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=CALLER, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")
    lines = log.read_text().splitlines()
    last = max(i for i, line in enumerate(lines) if 'execve("/bin/echo"' in line)
    second = lines[last].split()[0]  # the process that is the program now
    inside = [line for line in lines[:last] if line.split()[0] == second]
    allowed = {".", "", "/", "echo", "ran", "etc/passwd", "/etc/passwd", "/proc/self/fd", "/dev/null"}
    seen = set(names(inside))
    assert {
        each for each in seen if base(each) not in ("echo", "pyrun-exec") and each not in allowed
    } == set(), inside
    looked_for = {base(path) for path in planted()} - {"localtime", "ld.so.preload", "ld.so.cache"}
    assert not [
        name
        for name in names(lines[: last + 1])
        if base(name) in looked_for or name.endswith((".py", ".pyc"))
    ]


def test_nothing_of_the_runtime_is_mapped(pyrun, bundle):
    """What runs when exec has returned has nothing of the runtime mapped."""
    container = pyrun.start(bundle().args("sleep", "1000"))
    pid_file = pyrun.folder / "pid"
    pyrun.ok("exec", "--detach", "--pid-file", str(pid_file), container.id, "sleep", "1000")
    assert not [line for line in maps(int(pid_file.read_text())) if "pyrun" in line]


@pytest.mark.parametrize("program", ["/proc/self/exe", "/proc/1/exe"])
def test_the_program_is_an_exe_link(pyrun, bundle, program):
    """/proc/self/exe as the program is stage 2 or the container's own, never the runtime (CVE-2019-5736)."""
    container = pyrun.start(bundle().args("sleep", "1000"))
    result = container.exec((program, "--version"))
    assert "runtime" not in result.out
    assert "spec" not in result.out
    assert result.code in (255, 127)
