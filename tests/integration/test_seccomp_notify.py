"""SCMP_ACT_NOTIFY: a seccomp agent decides system calls (config-linux.md, Seccomp; The Container Process State)."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import needs
import pytest
import seccomp_agent
from bundles import eventually

from pyrun.base.errors import PyrunError
from pyrun.features.seccomp import notify

AGENT = Path(seccomp_agent.__file__)
OURS = ["sendmsg", "sendmmsg", "sendto", "recvfrom", "recvmsg", "read", "readv", "write", "writev", "close"]
ENDS = ["exit_group", "exit"]
MKDIR = ["mkdir", "mkdirat"]
HEADS = {True: "nnp", False: "no-nnp"}


class Agent:
    """tests/seccomp_agent.py, as long as a test needs it."""

    def __init__(self, path, *answers):
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, str(AGENT), str(path), *answers], stdout=subprocess.PIPE, text=True
        )
        assert self.next("listening")

    def next(self, key):
        """The next line that has `key`."""
        while line := self.process.stdout.readline():
            if key in (found := json.loads(line)):
                return found
        raise AssertionError("the agent has ended")

    def state(self):
        """The next container process state; the one descriptor must be a listener."""
        found = self.next("state")
        assert found["links"] == [seccomp_link()], found
        return found["state"]

    def rest(self):
        """End it: all that it said and nobody asked for yet."""
        self.process.terminate()
        return [json.loads(line) for line in self.process.stdout]

    def kill(self):
        """SIGKILL."""
        self.process.kill()
        self.process.wait()


def seccomp_link():
    return "anon_inode:seccomp notify"


@pytest.fixture
def agent(tmp_path):
    """Starts agents, which end with the test."""
    running = []

    def start(*answers, name="agent"):
        running.append(Agent(tmp_path / name, *answers))
        return running[-1]

    yield start
    for each in running:
        each.kill()
        each.process.stdout.close()


def notifying(path, *names, action="SCMP_ACT_NOTIFY", no_new_privileges=True, **more):
    """A configuration by which an agent at `path` decides these calls."""
    rules = [{"names": [*names], "action": action}] if names else []
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules, "listenerPath": str(path), **more}
    process = {"noNewPrivileges": no_new_privileges}
    return {"process": process, "root": {"readonly": False}, "linux": {"seccomp": seccomp}}


# What the agent is told


def test_state_of_create_and_start(pyrun, bundle, agent):
    """One connection brings the state that the specification describes: of a created container, whose process is the
    program's, with the metadata as it is."""
    one = agent()
    config = notifying(one.path, *MKDIR, listenerMetadata='a "text" ünïcode\n')
    config["annotations"] = {"org.example": "x"}
    container = pyrun.create(bundle(config, sh="mkdir /tmp/a; sleep 1000"))
    container.start()
    pid = container.pid
    assert one.state() == {
        "ociVersion": "1.3.0",
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": 'a "text" ünïcode\n',
        "state": {
            "ociVersion": "1.3.0",
            "id": container.id,
            "status": "created",
            "pid": pid,
            "bundle": str(container.bundle.path),
            "annotations": {"org.example": "x"},
        },
    }
    assert one.next("call")["pid"]
    container.delete("--force")
    assert [each for each in one.rest() if "state" in each] == []


def test_metadata_of_any_length(pyrun, bundle, agent):
    """A metadata that no socket takes at once arrives whole."""
    one = agent()
    text = "0123456789abcdef" * (1 << 16)
    pyrun.output(bundle(notifying(one.path, *MKDIR, listenerMetadata=text)))
    assert one.state()["metadata"] == text


def test_state_of_exec(pyrun, bundle, agent):
    """A process of exec has a listener of its own; the state is the container's, and the pid its own."""
    one = agent("mkdir")
    container = pyrun.start(bundle(notifying(one.path, *MKDIR), sh="sleep 1000"))
    one.state()
    pid_file = pyrun.folder / "pid"
    done = container.exec(("sh", "-c", "mkdir /tmp/a && ls /tmp/a"), "--pid-file", str(pid_file))
    assert (done.code, done.out) == (0, "by-agent\n"), done
    state = one.state()
    assert state["pid"] == int(pid_file.read_text()) != container.pid
    assert (state["state"]["pid"], state["state"]["status"]) == (container.pid, "running")
    container.delete("--force")


def test_state_in_a_joined_pid_namespace(pyrun, bundle, agent):
    """Where stage 2 is born in a PID namespace that is joined, the state has the number of that process."""
    one = agent("mkdir")
    first = pyrun.start(bundle(sh="sleep 1000"))
    made = bundle(notifying(one.path, *MKDIR), sh="mkdir /tmp/a; ls /tmp/a; sleep 1000")
    container = pyrun.start(made.namespace("pid", f"/proc/{first.pid}/ns/pid"))
    state = one.state()
    assert state["pid"] == state["state"]["pid"] == container.pid
    eventually(lambda: container.out() == "by-agent\n", "the agent made no folder")
    container.delete("--force")
    first.delete("--force")


def test_no_listener_stays_with_us(pyrun, bundle, agent):
    """Nobody but the agent has the listener: the program has no descriptor of it."""
    one = agent()
    running = pyrun.start(bundle(notifying(one.path, *MKDIR), sh="sleep 1000"))
    links = [os.readlink(each) for each in Path(f"/proc/{running.pid}/fd").iterdir()]
    assert seccomp_link() not in links
    assert len(links) == 3
    running.delete("--force")
    assert one.state()


# What the agent decides


@pytest.mark.parametrize("no_new_privileges", HEADS, ids=HEADS.values())
@pytest.mark.parametrize("user_namespace", [False, True], ids=["root", "userns"])
def test_agent_makes_folders_and_mounts(pyrun, bundle, agent, no_new_privileges, user_namespace):
    """What the container has no right to do, the agent does for it."""
    if user_namespace:
        needs.user_namespaces()
    one = agent("mkdir", "mount")
    config = notifying(one.path, *MKDIR, "mount", no_new_privileges=no_new_privileges)
    script = "mkdir /tmp/a; ls /tmp/a; mount -t tmpfs x /tmp; grep /tmp /proc/mounts; mount -t ramfs x /tmp"
    made = bundle(config, sh=f"({script}) 2>&1")
    if user_namespace:
        made.user_namespace()
    lines = pyrun.run(made.write()).lines()
    assert lines[0] == "by-agent"
    assert lines[1].startswith("by-agent /tmp tmpfs rw")
    assert "not permitted" in lines[2] or "permission denied" in lines[2]


@pytest.mark.parametrize("no_new_privileges", HEADS, ids=HEADS.values())
@pytest.mark.parametrize(
    "names", [OURS, ENDS, ["execve"], None], ids=["talk", "ends", "execve", "everything"]
)
@pytest.mark.parametrize("way", ["run", "exec"])
def test_our_own_calls_are_no_deadlock(pyrun, bundle, agent, names, no_new_privileges, way):
    """The filter may ask the agent about the very calls by which it gets the listener: it gets it all the same, and no
    other call of ours waits for it. Everything may be asked, as the specification allows."""
    one = agent()
    config = notifying(one.path, *(names or ()), no_new_privileges=no_new_privileges)
    if names is None:
        config["linux"]["seccomp"]["defaultAction"] = "SCMP_ACT_NOTIFY"
    script = "echo fine; exit 3"
    if way == "run":
        done = pyrun.run(bundle(config, sh=script))
    else:
        container = pyrun.start(bundle(config, sh="sleep 1000"))
        done = container.exec(("sh", "-c", script))
        container.delete("--force")
    assert (done.code, done.out, done.err) == (3, "fine\n", "")


def test_a_refusal_of_our_own_calls_is_none(pyrun, bundle, agent):
    """The other actions can't keep the listener from the agent, either."""
    one = agent("mkdir")
    config = notifying(one.path, *MKDIR)
    rule = {
        "names": ["sendmsg", "sendmmsg", "sendto", "readv", "recvmsg", "recvfrom"],
        "action": "SCMP_ACT_KILL",
    }
    config["linux"]["seccomp"]["syscalls"].append(rule)
    assert pyrun.output(bundle(config, sh="mkdir /tmp/a; ls /tmp/a")) == "by-agent\n"


@pytest.mark.parametrize("way", ["start", "run", "exec"])
def test_a_failure_is_told(pyrun, bundle, agent, way):
    """A program that only execve finds unfit is told of as ever, though the agent is asked about everything; and a
    failing hook, too."""
    one = agent()
    made = bundle(notifying(one.path, defaultAction="SCMP_ACT_NOTIFY"), sh="sleep 1000")
    made.script("/garbage", "\0\1\2 no program\n")
    if way == "exec":
        container = pyrun.start(made)
        sentence = container.exec(("/garbage",)).err
        container.delete("--force")
    elif way == "run":
        sentence = pyrun.run(made.args("/garbage")).err
    else:
        container = pyrun.create(made.args("/garbage"))
        container.start()
        container.wait()
        sentence = (pyrun.calls / container.out_file.name.replace("out", "err")).read_text()
        container.delete()
    assert "exec format error" in sentence, sentence
    if way == "run":
        made.hook("startContainer", "echo why >&2; exit 5")
        assert pyrun.error("run", "-b", str(made.path), pyrun.id()).endswith("exited with status 5: why")


@pytest.mark.parametrize("no_new_privileges", HEADS, ids=HEADS.values())
@pytest.mark.parametrize("names", [MKDIR, [*MKDIR, *OURS]], ids=["early", "late"])
def test_hooks_are_under_the_filter(pyrun, bundle, agent, names, no_new_privileges):
    """startContainer hooks are under the container's filter: the agent hears of their calls, too, and its answer is
    theirs. Their state is that of a created container."""
    one = agent("mkdir")
    made = bundle(
        notifying(one.path, *names, no_new_privileges=no_new_privileges), sh="mkdir /run/b; ls /run/b"
    )
    made.hook("startContainer", "mkdir /run/a; test -e /run/a/by-agent")
    made.hook("startContainer", "mkdir /run/c; test -e /run/c/by-agent")
    assert pyrun.output(made) == "by-agent\n"
    states = [each["state"] for each in one.rest() if "state" in each]
    assert {state["state"]["status"] for state in states} == {"created"}


def test_the_capability_goes_early(pyrun, bundle, agent):
    """A filter that asks about no call of ours is loaded at once, though without no_new_privs: CAP_SYS_ADMIN, which it
    needs, is gone before the container is created."""
    one = agent()
    container = pyrun.create(bundle(notifying(one.path, *MKDIR, no_new_privileges=False)))
    status = dict(
        line.split(":\t") for line in Path(f"/proc/{container.pid}/status").read_text().splitlines()
    )
    assert status["Seccomp"] == "2"
    assert not int(status["CapPrm"], 16) & 1 << 21
    container.finish()
    assert one.state()["state"]["id"] == container.id


# An agent that isn't there, or goes


def test_a_listener_path_is_needed(pyrun, bundle):
    """SCMP_ACT_NOTIFY without listenerPath is refused, as a rule's and as the default action, by validate too."""
    for names, default in (MKDIR, "SCMP_ACT_ALLOW"), ([], "SCMP_ACT_NOTIFY"):
        config = notifying("/", *names, defaultAction=default)
        config["linux"]["seccomp"].pop("listenerPath")
        made = bundle(config)
        sentence = pyrun.refused(made)
        assert sentence == (
            "linux.seccomp.listenerPath: not set, and SCMP_ACT_NOTIFY needs an agent that listens there"
        )
        checked = pyrun("validate", str(made.path))
        assert (checked.code, "linux.seccomp.listenerPath" in checked.out + checked.err) == (1, True)


@pytest.mark.parametrize("what", ["nothing", "file"])
def test_create_knows_what_is_no_socket(pyrun, bundle, tmp_path, what):
    """Where no socket is, create says so and leaves nothing."""
    path = tmp_path / "agent"
    if what == "file":
        path.touch()
    sentence = pyrun.refused(bundle(notifying(path, *MKDIR)))
    assert sentence.startswith("linux.seccomp.listenerPath: "), sentence
    assert str(path) in sentence
    checked = pyrun("validate", str(bundle(notifying(path, *MKDIR)).path))
    assert (checked.code, sentence.partition(": ")[2] in checked.out) == (1, True), checked


def bound(path, kind=socket.SOCK_STREAM, backlog=None):
    found = socket.socket(socket.AF_UNIX, kind)
    found.bind(str(path))
    if backlog is not None:
        found.listen(backlog)
    return found


@pytest.mark.parametrize("way", ["start", "run", "exec"])
@pytest.mark.parametrize("what", ["deaf", "other-type", "gone"])
def test_no_program_without_an_agent(pyrun, bundle, agent, tmp_path, what, way):
    """Where nobody takes the listener, the command is an error in one sentence that names the socket, and no program is
    executed."""
    path = tmp_path / "socket"
    made = bundle(notifying(path, *MKDIR), sh="touch /ran; sleep 1000")
    with contextlib.ExitStack() as stack:
        container = None
        if way == "exec":
            first = agent(name="socket")
            container = pyrun.start(made)
            eventually(lambda: (made.rootfs / "ran").exists(), "the program didn't run")
            (made.rootfs / "ran").unlink()
            path.unlink()
            assert first.state()
        if what != "gone" or way == "start":
            kind = socket.SOCK_SEQPACKET if what == "other-type" else socket.SOCK_STREAM
            stack.enter_context(bound(path, kind, 1 if what == "other-type" else None))
        if way == "start":
            container = pyrun.create(made)
            if what == "gone":
                path.unlink()
            sentence = pyrun.error("start", container.id)
        elif way == "exec":
            sentence = container.exec_refused(("touch", "/ran"))
        else:
            sentence = pyrun.error("run", "-b", str(made.path), pyrun.id())
    assert sentence.startswith("linux.seccomp.listenerPath: "), sentence
    assert f"{path}: " in sentence
    assert not (made.rootfs / "ran").exists()
    if way == "start":
        assert container.status == "stopped"
        container.delete()
    elif way == "exec":
        container.delete("--force")


def test_an_agent_that_accepts_nobody(pyrun, bundle, tmp_path):
    """An agent that hangs is waited for for some seconds; then start says so in one sentence."""
    path = tmp_path / "agent"
    with bound(path, backlog=0), contextlib.ExitStack() as stack:
        while True:  # fill its queue
            other = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            other.setblocking(False)
            try:
                other.connect(str(path))
            except BlockingIOError:
                break
        container = pyrun.create(bundle(notifying(path, *MKDIR), sh="echo ran"))
        sentence = pyrun.error("start", container.id)
    assert sentence.startswith("linux.seccomp.listenerPath: connecting to the seccomp agent: "), sentence
    assert "hasn't accepted" in sentence
    assert (container.status, container.out()) == ("stopped", "")
    container.delete()


@pytest.mark.parametrize("way", ["start", "exec"])
def test_an_agent_that_holds_execve(pyrun, bundle, agent, way):
    """An agent that never lets the program be executed is waited for for some seconds; then the process is killed."""
    execve = 59 if seccomp_agent.X86_64 else 221
    container = None
    if way == "start":
        one = agent(f"{execve}=hold")
        container = pyrun.create(bundle(notifying(one.path, "execve"), sh="echo ran"))
        sentence = pyrun.error("start", container.id)
        assert (container.status, container.out()) == ("stopped", "")
    else:
        one = agent()
        container = pyrun.start(bundle(notifying(one.path, "execve"), sh="sleep 1000"))
        one.kill()
        one.path.unlink()
        agent(f"{execve}=hold")
        sentence = container.exec_refused(("true",))
    assert sentence.startswith("linux.seccomp.listenerPath: the seccomp agent at "), sentence
    assert "has not let the program be executed" in sentence
    container.delete("--force")


def test_an_agent_that_goes(pyrun, bundle, agent):
    """When the agent has gone, what it would decide fails with ENOSYS: also the call that waits for its answer."""
    number = 83 if seccomp_agent.X86_64 else 34
    one = agent(f"{number}=hold")
    running = pyrun.popen_run(bundle(notifying(one.path, *MKDIR), sh="mkdir /tmp/a; mkdir /tmp/b; echo end"))
    one.next("call")
    one.kill()
    running.process.wait(20)
    assert running.out() == "end\n"
    assert running.err_file.read_text().count("Function not implemented") == 2


# Flags, and what is left to the program


@pytest.mark.parametrize("waits", [True, False], ids=["with", "without"])
def test_wait_killable_recv(pyrun, bundle, agent, waits):
    """With SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV a call that the agent has received waits on when a signal comes that
    doesn't kill; without it, the signal interrupts the call."""
    if kernel() < (5, 19):
        pytest.skip("needs Linux 5.19")
    number = 80 if seccomp_agent.X86_64 else 49  # chdir, which the shell calls itself
    one = agent(f"{number}=hold")
    flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] if waits else []
    made = bundle(notifying(one.path, "chdir", flags=flags), sh="trap 'echo trapped' USR1; cd /tmp; echo end")
    container = pyrun.start(made)
    assert one.next("call")["call"] == number
    os.kill(container.pid, signal.SIGUSR1)
    if waits:
        time.sleep(0.3)  # an absence: too short a wait can only hide a fault
        assert pending(container.pid) == 1 << signal.SIGUSR1 - 1
    else:
        eventually(lambda: not pending(container.pid), "the signal did not interrupt the call")
    container.delete("--force")


def test_under_another_agent(pyrun, bundle, agent):
    """Where the runtime is under an agent's filter itself, the kernel allows no second agent: one sentence says so."""
    libc = ctypes.CDLL(None, use_errno=True)
    allow = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
    number = 317 if seccomp_agent.X86_64 else 277

    def be_supervised():
        buffer = ctypes.create_string_buffer(allow)
        program = struct.pack("@HP", 1, ctypes.addressof(buffer))
        listener = libc.syscall(number, 1, 8, program)  # SECCOMP_SET_MODE_FILTER, NEW_LISTENER
        assert listener >= 0
        os.set_inheritable(listener, True)  # it ends with its last descriptor

    made = bundle(notifying(agent().path, *MKDIR))
    sentence = pyrun.error("run", "-b", str(made.path), pyrun.id(), preexec_fn=be_supervised, close_fds=False)
    assert sentence.startswith("linux.seccomp: loading the filter for another agent: "), sentence


def test_a_filter_as_long_as_can_be(pyrun, bundle, agent):
    """The longest profile that is accepted can be loaded together with what stands before it; one that is longer is
    refused by create, and would be accepted without an agent."""
    compiler = pytest.importorskip("pyrun.features.seccomp.compiler")
    one = agent("mkdir")
    config = notifying(one.path, *MKDIR)
    rules = config["linux"]["seccomp"]["syscalls"]

    def with_rules(count):
        condition = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in range(count)]
        rules[1:] = [{"names": ["acct"], "action": "SCMP_ACT_ERRNO", "args": [each]} for each in condition]
        return config["linux"]["seccomp"]

    def fits(count):
        try:
            return bool(compiler.compile_profile(with_rules(count)))
        except PyrunError:
            return False

    shortest, longest = 1, 4096
    while longest - shortest > 1:
        middle = (shortest + longest) // 2
        shortest, longest = (middle, longest) if fits(middle) else (shortest, middle)
    with_rules(shortest)
    assert pyrun.output(bundle(config, sh="mkdir /tmp/a; ls /tmp/a")) == "by-agent\n"
    with_rules(longest)
    assert "BPF instructions" in pyrun.refused(bundle(config))
    rules[0]["action"] = "SCMP_ACT_ERRNO"
    assert pyrun.output(bundle(config)) == ""


def test_a_kernel_without_the_flag(monkeypatch):
    """Where the kernel doesn't know a flag, or no listeners, the sentence names it."""
    profile = notifying(
        "/", *MKDIR, flags=["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
    )
    seccomp = profile["linux"]["seccomp"]
    flags = notify.NEW_LISTENER | notify.WAIT_KILLABLE_RECV | 2
    for known, path, words in (
        (2 | 8, "linux.seccomp.flags[1]", "Linux 5.19"),
        (2, "linux.seccomp", "no listeners"),
    ):
        monkeypatch.setattr(notify.process, "seccomp_knows", lambda asked, known=known: not asked & ~known)
        with pytest.raises(PyrunError, match=words) as caught:
            notify.check_kernel(seccomp, flags)
        assert caught.value.json_path == path
    monkeypatch.setattr(notify.process, "seccomp_knows", lambda asked: True)
    notify.check_kernel(seccomp, flags)


def pending(pid):
    """The signals that wait for a process, as a mask: proc_pid_status(5). 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(next(line for line in lines if line.startswith("ShdPnd")).split()[1], 16)


@pytest.mark.parametrize("flag", ["TSYNC", "LOG", "SPEC_ALLOW"])
def test_other_flags_go_with_a_listener(pyrun, bundle, agent, flag):
    """Every other flag can be had together with a listener."""
    one = agent("mkdir")
    config = notifying(one.path, *MKDIR, flags=[f"SECCOMP_FILTER_FLAG_{flag}"])
    assert pyrun.output(bundle(config, sh="mkdir /tmp/a; ls /tmp/a")) == "by-agent\n"


def test_the_program_has_no_way_around(pyrun, bundle, agent, tmp_path):
    """The four calls that a guarded filter lets pass for us alone are refused to the program, whatever it puts into the
    registers that hold our secret."""
    needs.program("gcc")
    one = agent()
    config = notifying(one.path, *MKDIR)
    rule = {"names": ["sendmmsg", "readv", "writev"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}
    config["linux"]["seccomp"]["syscalls"].append(rule)
    made = bundle(config)
    source = tmp_path / "try.c"
    source.write_text(PROBE)
    subprocess.run(["gcc", "-static", "-o", str(made.rootfs / "try"), str(source)], check=True)
    assert pyrun.output(made.args("/try")) == "refused\n"


PROBE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
    const long calls[] = {SYS_sendmmsg, SYS_readv, SYS_writev};
    unsigned long a = 0, b = 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 100000; j++) {
            if (syscall(calls[i], -1, 0, 0, 0, a, b) != -1 || errno != 77)
                return 1;
            a = a * 6364136223846793005UL + 1442695040888963407UL;
            b = j % 3 ? a >> 32 | a << 32 : 0;
        }
    puts("refused");
    return 0;
}
"""


def kernel():
    """The kernel's version as numbers."""
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


@pytest.mark.parametrize("name", ["seccomp.receiver", "seccomp.plugins", "seccomp_bpf_data"])
def test_annotations_of_crun_are_refused(pyrun, bundle, name):
    """Who asks for an agent or a filter by an annotation of crun's must not get a container without it."""
    made = bundle({"annotations": {f"run.oci.{name}": "/run/agent"}})
    sentence = pyrun.refused(made)
    assert sentence.startswith(f"annotations['run.oci.{name}']: "), sentence
    assert "linux.seccomp" in sentence
