"""The probe tells what is so: what it prints is compared with what Python and the kernel's files say."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import pty
import resource
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

REPOSITORY = Path(__file__).resolve().parents[3]
if str(REPOSITORY / "conformance") not in sys.path:
    sys.path.insert(0, str(REPOSITORY / "conformance"))

from oci_conformance.core import probe  # noqa: E402

SECONDS = 30


@pytest.fixture(scope="session", autouse=True)
def program() -> Path:
    if not (shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("needs a C compiler")
    return probe.binary()


def call(*commands: str | bytes, code: int = 0, **options: Any) -> list[dict[str, Any]]:
    """The answers of a probe that is started in the ordinary way."""
    argv: list[Any] = [str(probe.binary()), *commands]
    done = subprocess.run(argv, capture_output=True, timeout=SECONDS, check=False, **options)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert not done.stderr
    assert done.stdout.count(b"\n") == len(probe.parse(done.stdout))
    return probe.parse(done.stdout)


def ask(command: str, **options: Any) -> Any:
    """The result of one command."""
    (answer,) = call(command, **options)
    assert answer["command"] == command
    return answer["result"]


def error(command: str, **options: Any) -> str:
    """The errno of one command."""
    (answer,) = call(command, **options)
    assert "result" not in answer
    return str(answer["errno"])


def as_shown(data: bytes) -> str:
    """Bytes as the contract has them: UTF-8, and each byte that isn't part of any as the character of its number."""
    shown = ""
    while data:
        try:
            return shown + data.decode()
        except UnicodeDecodeError as wrong:
            shown += data[: wrong.start].decode() + "".join(map(chr, data[wrong.start : wrong.end]))
            data = data[wrong.end :]
    return shown


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")


def unshared(*options: str) -> list[str]:
    """The beginning of a command in new namespaces."""
    command = ["unshare", *options]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip(f"{' '.join(command)} doesn't work here")
    return command


# what the process is


def test_ids() -> None:
    seen = ask("ids", umask=0o027)
    status = ask("status")
    uids = [seen[name] for name in ("uid", "euid", "suid", "fsuid")]
    assert uids == [int(one) for one in status["Uid"].split()] == [*os.getresuid(), os.geteuid()]
    gids = [seen[name] for name in ("gid", "egid", "sgid", "fsgid")]
    assert gids == [int(one) for one in status["Gid"].split()]
    assert seen["groups"] == os.getgroups()
    assert seen["umask"] == 0o027


def test_other_ids() -> None:
    needs_root()
    with probe.binary().open("rb") as program:  # the folder that it is in may be closed to others
        options = {"executable": f"/proc/self/fd/{program.fileno()}", "pass_fds": [program.fileno()]}
        seen = ask("ids", user=1234, group=2345, extra_groups=[7, 9, 2**32 - 2], **options)
    assert [seen["uid"], seen["euid"], seen["suid"], seen["fsuid"]] == [1234] * 4
    assert [seen["gid"], seen["egid"], seen["sgid"], seen["fsgid"]] == [2345] * 4
    assert seen["groups"] == [7, 9, 2**32 - 2]


def test_cwd_and_argv(tmp_path: Path) -> None:
    assert [answer["result"] for answer in call("cwd", "argv", "echo é", cwd=tmp_path)] == [
        str(tmp_path),
        [str(probe.binary()), "cwd", "argv", "echo é"],
        "é",
    ]


def test_the_environment_is_in_order_and_whole() -> None:
    environment = {"Z": "1", "A": "", "LD_PRELOAD": "/none", "MALLOC_CHECK_": "3", "new": "a\nb"}
    assert ask("env", env=environment) == [f"{name}={value}" for name, value in environment.items()]
    assert ask("env", env={}) == []


def test_descriptors() -> None:
    read, write = os.pipe()
    one, two = socket.socketpair()
    with one, two, open("/dev/null") as null, open(__file__) as file:
        poll = select.epoll()
        kept = [write, one.fileno(), null.fileno(), file.fileno(), poll.fileno()]
        seen = {row["fd"]: row for row in ask("fds", pass_fds=kept)}
        os.close(read)
        os.close(write)
        poll.close()
    assert sorted(seen) == [0, 1, 2, *sorted(kept)]
    assert [seen[fd]["type"] for fd in kept] == ["pipe", "socket", "char", "file", "anon"]
    assert seen[null.fileno() if not null.closed else kept[2]]["link"] == "/dev/null"
    assert seen[kept[3]]["link"] == __file__


def test_its_own_descriptors_are_not_shown(tmp_path: Path) -> None:
    """Neither that of `to`, nor those of folders read, nor pipes of programs run."""
    log = tmp_path / "log"
    assert call("exec /bin/true", "net", "list /", f"to {log}", "fds", stdin=subprocess.DEVNULL)[-1]
    (answer,) = [one for one in probe.parse(log.read_bytes()) if one["command"] == "fds"]
    assert [row["fd"] for row in answer["result"]] == [0, 1, 2]


def test_capabilities_and_no_new_privileges() -> None:
    status = Path("/proc/self/status").read_text()
    for name, field in (("bounding", "CapBnd"), ("effective", "CapEff"), ("permitted", "CapPrm")):
        bits = int(status.split(f"{field}:")[1].split()[0], 16)
        assert len(ask("caps")[name]) == bits.bit_count()
    assert ask("nnp") is (status.split("NoNewPrivs:")[1].split()[0] == "1")


def test_capabilities_by_name() -> None:
    needs_root()
    if not shutil.which("setpriv"):
        pytest.skip("needs setpriv")
    keep = "--bounding-set=-all,+chown,+kill", "--inh-caps=-all,+chown,+kill", "--ambient-caps=-all,+kill"
    done = subprocess.run(
        ["setpriv", *keep, "--no-new-privs", probe.binary(), "caps", "nnp"], capture_output=True, check=True
    )
    seen, nnp = [answer["result"] for answer in probe.parse(done.stdout)]
    assert seen["bounding"] == seen["inheritable"] == ["CAP_CHOWN", "CAP_KILL"]
    assert seen["ambient"] == ["CAP_KILL"]
    assert nnp is True


def test_resource_limits() -> None:
    names = [name for name in dir(resource) if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"]
    seen = ask("rlimits", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (17, 4096)))
    assert len(seen) == 16
    assert set(names) <= seen.keys() | {"RLIMIT_VMEM", "RLIMIT_SBSIZE", "RLIMIT_SWAP", "RLIMIT_NPTS"}
    for name in names:
        wanted = (17, 4096) if name == "RLIMIT_CORE" else resource.getrlimit(getattr(resource, name))
        assert seen[name] == {"soft": str(wanted[0] % 2**64), "hard": str(wanted[1] % 2**64)}, name


def test_scheduling() -> None:
    def change() -> None:
        os.sched_setscheduler(0, os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, 7)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    def real_time() -> None:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(3))

    seen, affinity = [answer["result"] for answer in call("sched", "affinity", preexec_fn=change)]
    assert (seen["policy"], seen["nice"], seen["priority"]) == ("SCHED_BATCH", 7, 0)
    assert affinity == [min(os.sched_getaffinity(0))]
    assert ask("affinity") == sorted(os.sched_getaffinity(0))
    if os.geteuid() == 0:
        try:
            seen = ask("sched", preexec_fn=real_time)
        except subprocess.SubprocessError:
            pytest.skip("real-time scheduling isn't granted here")
        assert (seen["policy"], seen["priority"]) == ("SCHED_RR", 3)


def test_io_priority_and_personality_and_memory_policy() -> None:
    if not shutil.which("ionice") or not shutil.which("setarch"):
        pytest.skip("needs ionice and setarch")
    command = ["ionice", "-c", "2", "-n", "6", "setarch", "linux32", "-R"]
    done = subprocess.run(
        [*command, probe.binary(), "ioprio", "personality", "mempolicy"], capture_output=True, check=True
    )
    priority, personality, policy = probe.parse(done.stdout)
    assert priority["result"] | {"group": None} == {"class": "IOPRIO_CLASS_BE", "priority": 6, "group": None}
    assert personality["result"] == {"domain": "LINUX32", "flags": 0x0040000, "value": 0x0040008}
    assert policy.get("errno") == "ENOSYS" or policy["result"] == {
        "mode": "MPOL_DEFAULT",
        "flags": [],
        "nodes": [],
    }


def test_clocks_and_names_of_the_machine() -> None:
    before = time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)
    seen = ask("clocks")
    after = time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)
    for name, first, last in zip(("realtime", "monotonic", "boottime"), before, after, strict=True):
        assert first - 0.01 <= seen[name] <= last + 0.01
    assert ask("time")["monotonic"] >= after[1] - 0.01
    names = dict(zip(("sysname", "nodename", "release", "version", "machine"), os.uname(), strict=True))
    assert ask("uname") == names | {"domainname": Path("/proc/sys/kernel/domainname").read_text().strip()}


def test_namespaces_mounts_and_status() -> None:
    assert ask("ns") == {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
    assert ask("mounts") == Path("/proc/self/mountinfo").read_text().splitlines()
    seen = ask("status")
    assert seen["Name"].startswith("probe")
    assert seen["PPid"] == str(os.getpid())


def test_session_without_a_terminal() -> None:
    seen = ask("session", start_new_session=True)
    assert seen["pid"] == seen["sid"] == seen["pgid"]
    assert (seen["ppid"], seen["foreground"]) == (os.getpid(), None)
    assert ask("tty")["isatty"] == [False, False, False]


def test_a_terminal() -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.execv(probe.binary(), ["probe", "sleep 50", "tty", "session"])
    fcntl.ioctl(terminal, 0x5414, (12).to_bytes(2, "little") + (34).to_bytes(2, "little") + bytes(4))
    printed = b""
    try:
        while data := os.read(terminal, 4096):
            printed += data
    except OSError:  # EIO: the other side is closed
        pass
    os.waitpid(child, 0)
    os.close(terminal)
    _, seen, session = [answer["result"] for answer in probe.parse(printed)]
    assert seen["isatty"] == [True, True, True]
    assert seen["name"].startswith("/dev/pts/")
    assert (seen["rows"], seen["columns"]) == (12, 34)
    assert session["foreground"] == session["pgid"] == session["sid"] == child


def test_signals() -> None:
    def change() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR1, signal.SIGRTMIN + 2})
        os.kill(os.getpid(), signal.SIGUSR1)

    seen = ask("signals", preexec_fn=change)
    assert seen["blocked"] == ["SIGUSR1", "SIGRTMIN+2"]
    assert seen["pending"] == ["SIGUSR1"]
    assert "SIGHUP" in seen["ignored"]


def test_seccomp_keyring_and_labels() -> None:
    status = Path("/proc/self/status").read_text()
    assert ask("seccomp")["mode"] == int(status.split("Seccomp:")[1].split()[0])
    (answer,) = call("keyring")
    assert answer.get("errno") or answer["result"]["raw"].endswith(";" + answer["result"]["session"])
    try:
        label = Path("/proc/self/attr/current").read_text().strip("\n\0") or None
    except OSError:
        label = None
    assert ask("lsm")["current"] == label


def test_interfaces() -> None:
    seen = {row["name"]: row for row in ask("net")}
    assert {(row["index"], name) for name, row in seen.items()} == set(socket.if_nameindex())
    for name, row in seen.items():
        folder = Path("/sys/class/net") / name
        if folder.exists():
            assert row["mtu"] == int((folder / "mtu").read_text())
            assert row["up"] == bool(int((folder / "flags").read_text(), 16) & 1)
            assert row["mac"] in ((folder / "address").read_text().strip(), None)
    if "lo" in seen and seen["lo"]["up"]:
        assert "127.0.0.1/8" in seen["lo"]["addresses"]


# files


def test_stat(tmp_path: Path) -> None:
    file, link, pipe = tmp_path / "file with spaces", tmp_path / "link", tmp_path / "pipe"
    file.write_text("12345")
    file.chmod(0o4640)
    link.symlink_to("no where")
    os.mkfifo(pipe)
    for path, kind in (
        (file, "file"),
        (link, "link"),
        (pipe, "fifo"),
        (tmp_path, "dir"),
        (Path("/dev/null"), "char"),
    ):
        seen, status = ask(f"stat {path}"), path.lstat()
        assert seen["type"] == kind
        assert seen["mode"] == stat.S_IMODE(status.st_mode)
        assert [seen[name] for name in ("uid", "gid", "ino", "size", "nlink")] == [
            getattr(status, f"st_{name}") for name in ("uid", "gid", "ino", "size", "nlink")
        ]
        assert (seen["major"], seen["minor"]) == (os.major(status.st_rdev), os.minor(status.st_rdev))
        assert seen["dev"] == f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
        assert seen["target"] == ("no where" if kind == "link" else None)
    assert error(f"stat {tmp_path}/none") == "ENOENT"
    assert error(f"stat {file}/none") == "ENOTDIR"


def test_statfs() -> None:
    seen = ask("statfs /proc")
    flags = os.statvfs("/proc").f_flag
    assert seen["type"] == "0x9fa0"
    for name, bit in (("ro", os.ST_RDONLY), ("nosuid", os.ST_NOSUID), ("noexec", os.ST_NOEXEC)):
        assert (name in seen["flags"]) == bool(flags & bit)


def test_files(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    answers = call(
        f"write {file} a  b",
        f"read {file}",
        f"read {file} 2",
        f"mkdir {folder} 0700",
        f"link {file} {folder}/two",
        f"symlink a b {folder}/one",
        f"rename {file} {folder}/three",
        f"chmod {folder}/three 600",
        f"list {folder}",
        f"unlink {folder}/one",
        f"rmdir {folder}",
        f"access {folder} rwx",
        f"open {folder} dir",
        f"open {folder} w",
        f"open {folder}/none",
    )
    assert [answer.get("result", answer.get("errno")) for answer in answers[:5]] == [
        4,
        "a  b",
        "a ",
        True,
        True,
    ]
    assert (folder / "three").read_text() == "a  b"
    assert stat.S_IMODE((folder / "three").stat().st_mode) == 0o600
    assert "errno" not in answers[8] and set(answers[8]["result"]) == {"three", "two"}
    rest = [answer.get("result", answer.get("errno")) for answer in answers[9:]]
    assert rest == ["ENOENT", "ENOTEMPTY", True, True, "EISDIR", "ENOENT"]


def test_reading_stops_at_64_kib_and_never_waits(tmp_path: Path) -> None:
    assert ask("read /dev/zero") == "\0" * 65536
    os.mkfifo(tmp_path / "pipe")
    assert ask(f"read {tmp_path}/pipe") == ""


def test_devices_and_owners(tmp_path: Path) -> None:
    needs_root()
    null, pipe = tmp_path / "null", tmp_path / "pipe"
    assert ask(f"mknod {pipe} p") is True
    assert ask(f"chown {pipe} 12 34") is True
    assert (pipe.stat().st_uid, pipe.stat().st_gid) == (12, 34)
    (answer,) = call(f"mknod {null} c 1 3")
    if "result" in answer:
        assert null.stat().st_rdev == os.makedev(1, 3)


# escaping


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200).map(lambda data: data.replace(b"\0", b"")))
def test_any_bytes_are_escaped(data: bytes) -> None:
    (answer,) = call(b"echo " + data)
    assert answer == {"command": as_shown(b"echo " + data), "result": as_shown(data)}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=5))
def test_any_text_comes_back(texts: list[str]) -> None:
    environment = {f"N{number}": text for number, text in enumerate(texts)}
    assert ask("env", env=environment) == [f"{name}={text}" for name, text in environment.items()]


def test_all_bytes_of_a_file(tmp_path: Path) -> None:
    data = bytes(range(256)) + "…é𝄞".encode() + b"\xed\xa0\x80\xf4\x90\x80\x80\xe2\x82"
    (tmp_path / "file").write_bytes(data)
    assert ask(f"read {tmp_path}/file") == as_shown(data)
    assert ask("stdin", input=data) == as_shown(data)


# what the process does


def test_programs() -> None:
    seen = ask("exec /bin/sh -c printf$IFS'%s'$IFS$A;kill$IFS-9$IFS$$", env={"A": "hé"})
    assert seen == {"exit": None, "signal": "SIGKILL", "stdout": "hé"}
    assert ask("exec /bin/false") == {"exit": 1, "signal": None, "stdout": ""}
    assert error("exec /none") == "ENOENT"
    assert error("exec /etc/passwd") == "EACCES"


def test_tried_calls() -> None:
    assert ask("try getuid") == os.getuid()
    assert ask(f"try {'setpgid' if os.geteuid() else 'getppid'} 0 0") >= 0
    assert error("try openat 0xffffffffffffff9c @/none 0") == "ENOENT"
    assert error("try fchdir 12345") == "EBADF"
    assert error("try 1000") == "ENOSYS"
    assert ask("try getcwd buffer 4096") > 0
    assert ask("try fork" if os.uname().machine == "x86_64" else "try clone 17") > 1
    assert ask("try-thread getuid") == {"outcome": "returned", "value": os.getuid(), "signal": None}
    assert error("try-thread fchdir 12345") == "EBADF"
    assert ask("try-thread exit 3")["outcome"] == "thread killed"
    (killed,) = call("try tgkill 0 0 0", "try exit_group 7")[1:]
    assert killed["result"] == {"exit": 7, "signal": None}


def test_a_tried_call_changes_nothing(tmp_path: Path) -> None:
    answers = call("try chdir @/", "try close 1", "cwd", cwd=tmp_path)
    assert [answer["result"] for answer in answers] == [0, 0, str(tmp_path)]


def test_processes_memory_and_time() -> None:
    assert ask("fork 5") == {"made": 5, "errno": None}
    assert ask("alloc 3") == {"allocated": 3, "errno": None, "signal": None}
    little = ask("alloc 500", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (64 << 20, 64 << 20)))
    assert 0 < little["allocated"] < 64
    assert little["errno"] == "ENOMEM"
    spun = ask("spin 20")
    assert spun["wall"] >= 20
    assert 0 < spun["cpu"] <= spun["wall"] + 1
    before = time.monotonic()
    assert ask("sleep 30") is True
    assert time.monotonic() - before >= 0.03


def test_waiting_for_a_file(tmp_path: Path) -> None:
    assert ask(f"await {tmp_path}") is True
    assert error(f"await {tmp_path}/none 0") == "ETIMEDOUT"


def test_ends() -> None:
    assert call("exit 7", "cwd", code=7) == [{"command": "exit 7", "result": 7}]
    assert call("die TERM", code=-15) == [{"command": "die TERM", "result": "SIGTERM"}]
    assert call("die SIGKILL", code=-9)
    assert call() == []


def test_unknown_and_misused_commands() -> None:
    answers = call("nonsense", "cwd", "stat", "try nonsense", "", "cwd too", code=125)
    assert answers[0] == {"command": "nonsense", "error": "unknown command"}
    assert "result" in answers[1]
    assert answers[2]["error"] == "usage: stat PATH"
    assert ["error" in answer for answer in answers] == [True, False, True, True, True, True]
    many = " ".join(map(str, range(100)))
    assert ask(f"echo {many}") == many
    assert call(f"exec /bin/echo {many}", code=125)[0]["error"].startswith("usage: exec")


@pytest.fixture
def started(program: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    processes = []

    def start(*commands: str, **options: Any) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE} | options
        processes.append(subprocess.Popen([program, *commands], bufsize=0, **pipes))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()


def test_waiting_for_signals(started: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = started("wait-signal", *["wait-signal 0"] * 3, "exec /bin/grep SigBlk /proc/self/status")
    assert process.stdout
    assert json.loads(process.stdout.readline()) == {"command": "wait-signal", "ready": True}
    for sent in (
        signal.SIGSTOP,
        signal.SIGUSR2,
        signal.SIGRTMAX,
        signal.SIGCONT,
    ):  # the probe goes on with the last
        process.send_signal(sent)
    lines = probe.parse(process.stdout.read())
    waited = [line["result"]["signal"] for line in lines[:-1] if "result" in line]
    assert waited == ["SIGUSR2", "SIGCONT", "SIGRTMAX", None]
    assert lines[-1]["result"]["stdout"] == "SigBlk:\t0000000000000000\n"


def test_serving(started: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = started("cwd", "serve", "echo after")
    assert process.stdin
    assert process.stdout
    process.stdout.readline()
    for number in range(3):
        process.stdin.write(f"echo {number}\n".encode())
        assert json.loads(process.stdout.readline()) == {"command": f"echo {number}", "result": str(number)}
    process.stdin.write(b"\nlist /none\ncwd")
    process.stdin.close()
    answers = probe.parse(process.stdout.read())
    assert [answer["command"] for answer in answers] == ["", "list /none", "cwd", "serve", "echo after"]
    assert answers[3]["result"] == 6
    assert process.wait() == 125


def test_pausing(started: Callable[..., subprocess.Popen[bytes]]) -> None:
    process = started("pause", "cwd")
    assert process.stdout
    assert json.loads(process.stdout.readline()) == {"command": "pause", "ready": True}
    process.terminate()
    assert process.wait() == -15
    assert process.stdout.read() == b""


def test_output_goes_to_a_file_line_by_line(tmp_path: Path, program: Path) -> None:
    """Two probes append to one file, and no line is torn."""
    log = tmp_path / "log"
    commands = [f"to {log}", *["read /proc/self/maps"] * 50]
    both = [subprocess.Popen([program, *commands], stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate(timeout=SECONDS)[0] for process in both] == [b"", b""]
    answers = probe.parse(log.read_bytes())
    assert len(answers) == log.read_bytes().count(b"\n") == 102
    assert error(f"to {tmp_path}") == "EISDIR"


# bad surroundings


def test_closed_descriptors(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = f"exec {probe.binary()} 'to {log}' fds stdin 'exec /bin/echo x' ids fds 0<&- 1>&- 2>&-"
    subprocess.run(["/bin/sh", "-c", command], check=True)
    answers = probe.parse(log.read_bytes())
    assert [
        answer.get("result", answer.get("errno")) for answer in answers if answer["command"] == "fds"
    ] == [[], []]
    assert answers[2]["errno"] == "EBADF"
    assert answers[3]["result"]["stdout"] == "x\n"


def test_ignored_child_signal() -> None:
    def change() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    first, _, last = call("exec /bin/false", "try getpid", "signals", preexec_fn=change)
    assert first["result"]["exit"] == 1
    assert "SIGCHLD" in last["result"]["ignored"]


KILL, REFUSE, ALLOW = 0x80000000, 0x00050000 | errno.ENOANO, 0x7FFF0000
needs_x86_64 = pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="needs x86_64, for system call numbers"
)


def confined(actions: dict[int, int], otherwise: int) -> Callable[[], None]:
    """What has a process filtered by seccomp: an action for each number of a system call."""
    program = [(0x20, 0, 0, 0)]  # the number of the call
    for number, action in actions.items():
        program += [(0x15, 0, 1, number), (0x06, 0, 0, action)]
    program += [(0x06, 0, 0, otherwise)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in program))
    filters = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None)

    def confine() -> None:
        assert code
        libc.prctl(38, 1, 0, 0, 0)
        libc.prctl(22, 2, filters)

    return confine


@needs_x86_64
def test_seccomp() -> None:
    """Calls that fail or kill, tried by name and by number, leave the probe as it was."""
    confine = confined({135: KILL, 170: REFUSE, 124: REFUSE, 57: REFUSE}, ALLOW)
    commands = (
        "nnp",
        "seccomp",
        "try personality 0xffffffff",
        "try 135 0",
        "sethostname x",
        "try getsid 0",
        "try fork",
    )
    seen = call(*commands, preexec_fn=confine)
    assert seen[0]["result"] is True
    assert seen[1]["result"]["mode"] == 2
    for answer in seen[2:4]:
        assert answer["signal"] == "SIGSYS"
        assert answer["result"] == {"exit": None, "signal": "SIGSYS"}
    assert [answer["errno"] for answer in seen[4:]] == ["ENOANO"] * 3


@needs_x86_64
def test_a_strict_seccomp_profile() -> None:
    """execve, write, brk, arch_prctl and exit_group are all that it can't do without."""
    confine = confined(dict.fromkeys((59, 1, 12, 158, 231), ALLOW), REFUSE)
    seen = call("echo x", "ids", "read /etc", "fork 2", "sched", preexec_fn=confine)
    assert seen[0]["result"] == "x"
    assert [answer.get("errno") for answer in seen[1:3]] == ["ENOANO"] * 2
    assert seen[3]["result"] == {"made": 0, "errno": "ENOANO"}
    assert call("try getpid", code=125, preexec_fn=confine)[0]["error"]


def test_an_empty_root(tmp_path: Path, program: Path) -> None:
    """No /proc, no /dev, read-only to its user: what can be told is told, the rest is ENOENT."""
    needs_root()
    shutil.copy(program, tmp_path / "probe")
    tmp_path.chmod(0o555)

    def enter() -> None:
        os.chroot(tmp_path)
        os.chdir("/")
        os.setgid(99)
        os.setuid(99)

    commands = (
        *("ids", "cwd", "caps", "rlimits", "sched", "affinity", "uname", "net", "session", "tty", "lsm"),
        *("fds", "seccomp", "ns", "mounts", "status", "exec /probe ids", "try getuid"),
    )
    answers = {}
    with open("/dev/null") as null:
        argv = ["/probe", *commands]
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stdin=null, preexec_fn=enter, pass_fds=[null.fileno()], check=True
        )
        for answer in probe.parse(done.stdout):
            answers[answer["command"]] = answer
        assert [row["fd"] for row in answers["fds"]["result"]] == [0, 1, 2, null.fileno()]
    missing = [name for name, answer in answers.items() if answer.get("errno") == "ENOENT"]
    assert missing == ["ns", "mounts", "status"]
    assert len(answers) == len(commands)
    assert answers["ids"]["result"]["uid"] == answers["try getuid"]["result"] == 99
    assert {row["link"] for row in answers["fds"]["result"]} == {None}
    assert json.loads(answers["exec /probe ids"]["result"]["stdout"])["result"] == answers["ids"]["result"]


def test_process_1_reaps_what_it_is_given(tmp_path: Path) -> None:
    needs_root()
    script = "exec /bin/sh -c (sleep$IFS.02;sleep$IFS.03)&"
    command = [*unshared("--fork", "--pid", "--mount-proc"), probe.binary()]
    commands = ["session", script, "sleep 120", "fork 20", "list /proc", "die TERM", "die SEGV"]
    done = subprocess.run([*command, *commands], capture_output=True, timeout=SECONDS)
    answers = probe.parse(done.stdout)
    assert answers[0]["result"]["pid"] == 1
    assert [name for name in answers[4]["result"] if name.isdigit()] == ["1"]
    assert answers[6] == {"command": "die TERM", "error": "still alive"}
    assert answers[7] == {"command": "die SEGV", "result": "SIGSEGV"}
    assert done.returncode in (-11, 139)


def test_mounts_namespaces_and_host_names(tmp_path: Path) -> None:
    needs_root()
    command = [*unshared("--mount", "--propagation", "private"), probe.binary()]
    commands = [
        "unshare uts,ipc",
        "sethostname other",
        "uname",
        f"mount none {tmp_path} tmpfs ro,nosuid,noexec size=64k",
        f"statfs {tmp_path}",
        f"write {tmp_path}/x y",
        f"mount none {tmp_path} - remount,bind,nodev,nonsense",
        f"umount {tmp_path} detach",
        f"umount {tmp_path}",
        f"setns /proc/{os.getpid()}/ns/uts",
        f"chroot {tmp_path}",
        "list /",
    ]
    done = subprocess.run([*command, *commands], capture_output=True, timeout=SECONDS)
    answers = probe.parse(done.stdout)
    seen = [answer.get("result", answer.get("errno")) for answer in answers]
    assert seen[2]["nodename"] == "other"
    assert (seen[4]["type"], seen[4]["blocks"]) == ("0x1021994", 16)
    assert {"ro", "nosuid", "noexec"} <= set(seen[4]["flags"])
    assert "nodev" not in seen[4]["flags"]
    assert seen[5] == "EROFS"
    assert answers[6]["error"].startswith("usage: mount")
    assert seen[7:] == [True, "EINVAL", True, True, []]


# the package


def test_parsing() -> None:
    text = 'noise\n{"command":"a","result":1}\r\n{"other":1}\n{"command":"b","result":2}\n{"command":"c","res'
    assert [answer["command"] for answer in probe.parse(text)] == ["a", "b"]
    assert probe.parse(b"") == []
    with pytest.raises(probe.ProbeError, match="line 1 of the probe's output"):
        probe.parse('{"command":"c","res\n')


def test_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
    compiled = []

    def build(output: Path) -> None:
        compiled.append(output)
        output.write_text("")

    monkeypatch.setattr(probe, "build", build)
    assert probe.binary() == probe.binary()
    assert compiled == [probe.binary()]
    assert compiled[0].parent == tmp_path / "new/oci-conformance"
    assert stat.S_IMODE(compiled[0].parent.stat().st_mode) == 0o700
    compiled[0].parent.chmod(0o777)
    with pytest.raises(probe.ProbeError, match="only its owner"):
        probe.binary()


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(probe.ProbeError, match=r"needs a C compiler .*: there is no cc and no gcc$"):
        probe.build(tmp_path / "probe")
    monkeypatch.setenv("CC", "strange-cc -m64")
    with pytest.raises(probe.ProbeError, match="there is no strange-cc"):
        probe.build(tmp_path / "probe")
    (tmp_path / "cc").write_text("#!/bin/sh\necho cannot find -lc >&2\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("CC", "cc")
    with pytest.raises(probe.ProbeError, match="cannot find -lc"):
        probe.build(tmp_path / "probe")
    assert not (tmp_path / "probe").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["cc"]


def test_it_compiles_without_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "FLAGS", (*probe.FLAGS, "-Werror", "-O0"))
    probe.build(tmp_path / "probe")
    assert os.access(tmp_path / "probe", os.X_OK)
