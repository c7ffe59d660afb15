"""exec: what the process that it adds has, by options and by a document, and how it fails."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from oci_conformance.core.bundle import CAPABILITIES
from oci_conformance.core.cgroup import Cgroups
from oci_conformance.core.console import Console
from oci_conformance.core.runtime import Call
from oci_conformance.profiles.habits import tools
from oci_conformance.profiles.spec.oom_score import READ, callers_score
from oci_conformance.profiles.spec.seccomp import CALLS, ERRNO, VICTIM, outcome, profile, rule
from oci_conformance.run.case import Case, Container, Refused
from oci_conformance.run.registry import test

SHORT: dict[str, object] = {"cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["PATH=/bin"]}


def _said(container: Container, command: str, **more: Any) -> Any:
    """What a process says that a short document adds. Raises Refused."""
    call = tools.execute_document(container, {**SHORT, "args": ["/probe", command], **more})
    if not call.ok:
        raise Refused(call)
    return tools.result(call.stdout, command)


def _accepting(t: Case, changes: dict[Any, Any], **whole: Any) -> Container:
    """A running container that takes a document in which nothing lacks."""
    with tools.control(t):
        container = tools.paused(t, changes)
        _said(container, "cwd", **whole)
    return container


@test("habits.exec-document-capabilities", needs=("root",))
def short_capabilities(t: Case) -> None:
    """A document without capabilities: the process has the container's."""
    container = _accepting(t, {}, capabilities=t.base("x")["process"]["capabilities"])
    seen = _said(container, "caps")
    for kind in ("bounding", "effective", "permitted"):
        t.equal("habits.exec-document-capabilities", sorted(seen[kind]), sorted(CAPABILITIES))


@test("habits.exec-document-oom")
def short_oom_score(t: Case) -> None:
    """A document without oomScoreAdj, from a caller with one of his own: the process has the container's."""
    with callers_score(t) as own:
        container = _accepting(t, {"process.oomScoreAdj": own + 45}, oomScoreAdj=own + 45)
        t.equal("habits.exec-document-oom", int(_said(container, READ)), own + 45)


@test("habits.exec-document-pipe", needs=("program:sh",))
def piped(t: Case) -> None:
    """A document in a pipe, which is named /dev/fd/3: its process is executed."""
    with tools.control(t):
        container = tools.paused(t)
        document = json.dumps({**container.config["process"], "args": ["/probe", "cwd"]})
        call = tools.execute_document(container, json.loads(document))
        if not call.ok:
            raise Refused(call)
    t.runtime.through = ("sh", "-c", 'printf %s "$0" | { exec "$@" 3<&0; }', document)
    call = t.runtime.command("exec", "--process", "/dev/fd/3", container.id)
    t.equal("habits.exec-document-pipe", tools.result(call.stdout, "cwd") or call.sentence, "/")


@test("habits.exec-seccomp")
def filtered(t: Case) -> None:
    """The container's profile refuses a system call: so it does in an exec by options, and by a short document."""
    container = _accepting(t, profile(rule(ERRNO, VICTIM)))
    by_options = tools.executed(container, CALLS[VICTIM])[CALLS[VICTIM]]
    t.equal("habits.exec-seccomp", outcome(by_options), "EPERM")
    t.equal("habits.exec-seccomp", _said(container, CALLS[VICTIM]), "EPERM")


@test("habits.exec-cap", needs=("root",))
def cap(t: Case) -> None:
    """--cap CAP_CHOWN: it is in the three sets, with those that were there."""
    with tools.control(t):
        container = tools.paused(t)
        tools.executed(container, "caps")
    seen = tools.executed(container, "caps", options=("--cap", "CAP_CHOWN"))["caps"]["result"]
    for kind in ("bounding", "effective", "permitted"):
        t.equal("habits.exec-cap", sorted(seen[kind]), sorted((*CAPABILITIES, "CAP_CHOWN")))


@test("habits.exec-user", needs=("root",))
def user(t: Case) -> None:
    """--user 5 in a container of user 1000 and group 1001: the process is user 5 of group 1001."""
    with tools.control(t):
        container = tools.paused(t, {"process.user": {"uid": 1000, "gid": 1001}})
        tools.executed(container, "ids")
    seen = tools.executed(container, "ids", options=("--user", "5"))["ids"]["result"]
    t.equal("habits.exec-user", (seen["uid"], seen["gid"]), (5, 1001))
    seen = tools.executed(container, "ids", options=("--user", "5:6"))["ids"]["result"]
    t.equal("habits.exec-user", (seen["uid"], seen["gid"]), (5, 6))


@test("habits.exec-groups", needs=("root",))
def groups(t: Case) -> None:
    """--additional-gids 2001 in a container with group 2000: the process has both."""
    with tools.control(t):
        container = tools.paused(t, {"process.user": {"uid": 1000, "gid": 1000, "additionalGids": [2000]}})
        tools.executed(container, "ids")
    seen = tools.executed(container, "ids", options=("--additional-gids", "2001"))["ids"]["result"]
    t.equal("habits.exec-groups", sorted({2000, 2001} & set(seen["groups"])), [2000, 2001])


@test("habits.exec-inherits")
def inherits(t: Case) -> None:
    """A container with a working folder, a variable and noNewPrivileges: the process has them, but for --cwd, --env."""
    changes = {"process.cwd": "/mnt", "process.env": ["PATH=/bin", "ONE=1"], "process.noNewPrivileges": True}
    with tools.control(t):
        container = tools.paused(t, changes)
    seen = tools.executed(container, "cwd", "env", "nnp")
    t.equal("habits.exec-inherits", (seen["cwd"]["result"], seen["nnp"]["result"]), ("/mnt", True))
    t.check("habits.exec-inherits", "ONE=1" in seen["env"]["result"], "ONE=1", seen["env"]["result"])
    seen = tools.executed(container, "cwd", "env", options=("--cwd", "/tmp", "--env", "TWO=2"))
    t.equal("habits.exec-inherits", seen["cwd"]["result"], "/tmp")
    kept = [each for each in ("ONE=1", "TWO=2") if each in seen["env"]["result"]]
    t.equal("habits.exec-inherits", kept, ["ONE=1", "TWO=2"])


@test("habits.exec-pid-file")
def pid_file(t: Case) -> None:
    """The file has digits alone, and they are a process of the container's PID namespace."""
    with tools.control(t):
        container = tools.paused(t)
    path = t.folder / "pid"
    call = tools.execute(container, "pause", options=("--detach", "--pid-file", str(path)))
    t.check("habits.exec-pid-file", call.ok, "exec succeeds", call.sentence)
    text = path.read_text() if path.exists() else "no file"
    t.check("habits.exec-pid-file", text.isascii() and text.isdigit(), "digits, and no newline", repr(text))
    if text.isdigit():
        there = os.path.exists(f"/proc/{text}/ns/pid")
        same = there and os.readlink(f"/proc/{text}/ns/pid") == container.proc("ns/pid")
        t.check("habits.exec-pid-file", same, "a process in the container's PID namespace", text)


@test("habits.exec-console")
def console(t: Case) -> None:
    """The socket gets a terminal, where what the process prints comes out."""
    with tools.control(t):
        container = tools.paused(t)
    ours = Console(t.folder / "console")
    try:
        options = ("--tty", "--detach", "--console-socket", str(ours.path))
        call = tools.execute(container, "tty", options=options)
        t.check("habits.exec-console", call.ok, "exec succeeds", call.sentence)
        got = call.ok and ours.receive(t.runtime.limit)
        t.check("habits.exec-console", got, "a descriptor", "none")
        tools.eventually(lambda: b"isatty" in _output(ours))
        seen = tools.result(ours.output.decode("utf-8", "replace"), "tty") or {}
    finally:
        ours.close()
    t.equal("habits.exec-console", seen.get("isatty"), [True, True, True])


def _output(ours: Console) -> bytes:
    """What the terminal has shown so far."""
    ours.drain(0.05)
    return ours.output


def _below(container: Container) -> list[Any]:
    """A new folder `below` in each of the container's cgroups."""
    groups = Cgroups.of(container.pid)
    made = []
    for names in groups.paths:
        directory = groups.directory(next(iter(names), ""))
        if directory is not None and container.id in directory.name:
            (directory / "below").mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):  # without them a cpuset of version 1 takes no process
                if "cpuset" in names:
                    (directory / "below" / name).write_text((directory / name).read_text())
            made.append(directory / "below")
    return made


@test("habits.exec-cgroup", needs=("root",))
def cgroup(t: Case) -> None:
    """--cgroup below: the process is there, in each hierarchy that has the container."""
    with tools.control(t):
        container = tools.paused(t)
        tools.executed(container, "cwd")
    made = _below(container)
    seen = tools.executed(container, "read /proc/self/cgroup", options=("--cgroup", "below"))
    places = _places(seen["read /proc/self/cgroup"].get("result", ""), container)
    t.equal("habits.exec-cgroup", len(places), len(made))
    t.equal("habits.exec-cgroup", [each for each in places if not each.endswith("/below")], [])


def _places(text: str, container: Container) -> list[str]:
    """The paths of cgroups that are the container's."""
    return [line.split(":", 2)[2] for line in text.splitlines() if container.id in line]


@test("habits.exec-cgroup-follows", needs=("root", "cgroup-v2"))
def cgroup_follows(t: Case) -> None:
    """The process is in a cgroup below, and its own hands on controllers so that none may be in it: exec goes below."""
    with tools.control(t):
        container = tools.paused(t)
        tools.executed(container, "cwd")
    (below,) = _below(container)
    controllers = (below.parent / "cgroup.controllers").read_text().split()
    if not controllers:
        t.skip("this host lacks a controller in the container's cgroup")
    (below / "cgroup.procs").write_text(str(container.pid))
    (below.parent / "cgroup.subtree_control").write_text(f"+{controllers[0]}")
    call = tools.execute(container, "read /proc/self/cgroup")
    places = _places(str(tools.result(call.stdout, "read /proc/self/cgroup")), container)
    followed = [each.endswith("/below") for each in places] == [True]
    t.check(
        "habits.exec-cgroup-follows", followed, "one cgroup that ends with /below", places or call.sentence
    )


def _pause(container: Container) -> None:
    call = container.runtime.command("pause", container.id)
    if not call.ok:
        raise Refused(call)


@test("habits.exec-paused")
def while_paused(t: Case) -> None:
    """A paused container: exec is an error."""
    with tools.control(t):
        container = tools.paused(t)
        tools.executed(container, "cwd")
        _pause(container)
    call = tools.execute(container, "cwd")
    t.runtime.command("resume", container.id)
    t.check("habits.exec-paused", not call.ok and call.code > 0, "an error", call.sentence)


@test("habits.exec-ignore-paused")
def ignore_paused(t: Case) -> None:
    """exec --ignore-paused of a paused container, which is then resumed: the process runs, and exec ends with 0."""
    with tools.control(t):
        container = tools.paused(t)
        _pause(container)
    words = ("exec", "--ignore-paused", container.id, "/probe", "cwd")
    null = subprocess.DEVNULL
    with tools.running(t, *words, stdin=null, stdout=null, stderr=null) as process:
        tools.eventually(lambda: process.poll() is not None, 0.5)
        t.runtime.command("resume", container.id)
        t.equal("habits.exec-ignore-paused", tools.ended(t, process), 0)


@test("habits.exec-status")
def status(t: Case) -> None:
    """No such program, no permission, no such folder, no such container: 255."""
    with tools.control(t):
        container = tools.paused(t)
        tools.executed(container, "cwd")
    for what, call in _failing(t, container).items():
        t.equal("habits.exec-status", f"{what}: {call.code}", f"{what}: 255")
    call = t.runtime.command("exec", "no-such-container", "/probe")
    t.equal("habits.exec-status", f"no such container: {call.code}", "no such container: 255")


WORDS = {
    "no such program": ("executable file not found", "no such file or directory"),
    "no such path": ("executable file not found", "no such file or directory"),
    "no permission": ("permission denied", "operation not permitted"),
    "no such folder": ("no such file or directory",),
}


def _failing(t: Case, container: Container) -> dict[str, Call]:
    """Calls of exec that can't start."""
    (container.rootfs / "tmp/file").write_text("")
    (container.rootfs / "tmp/file").chmod(0o644)
    exec_ = t.runtime.command
    return {
        "no such program": exec_("exec", container.id, "nosuchprogram"),
        "no such path": exec_("exec", container.id, "/no/such/program"),
        "no permission": exec_("exec", container.id, "/tmp/file"),
        "no such folder": exec_("exec", "--cwd", "/no/such/folder", container.id, "/probe"),
    }


@test("habits.exec-words")
def words(t: Case) -> None:
    """No such program, no permission, no such folder: the words that engines look for, in any case."""
    with tools.control(t):
        container = tools.paused(t)
        tools.executed(container, "cwd")
    for what, call in _failing(t, container).items():
        said = call.stderr.lower()
        found = not call.ok and any(each in said for each in WORDS[what])
        t.check("habits.exec-words", found, f"{what}: {' or '.join(WORDS[what])}", call.sentence)
