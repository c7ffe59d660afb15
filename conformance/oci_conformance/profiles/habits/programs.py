"""What a program finds: its working folder, environment, umask, CPUs, groups, descriptors."""

from __future__ import annotations

import os
from typing import Any

from oci_conformance.profiles.habits import tools
from oci_conformance.profiles.habits.tools import MAPPED, USER
from oci_conformance.run.case import Case, Refused, Seen
from oci_conformance.run.registry import test

FOREIGN = 4242  # a group that no container asks for
PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"


def _program(t: Case, container: Any) -> Seen:
    container.create()
    container.start()
    container.wait()
    container.delete()
    return Seen(container)


@test("habits.cwd-readonly")
def cwd_readonly(t: Case) -> None:
    """A working folder that isn't there, in a read-only root: the program is in it."""
    with tools.control(t):
        t.run({"root.readonly": True}, "cwd")
    seen = t.run({"root.readonly": True, "process.cwd": "/work/here"}, "cwd")
    t.equal("habits.cwd-readonly", seen["cwd"], "/work/here")


GUEST = {"uid": 1000, "gid": 1000, "additionalGids": [2000]}
CLOSED = {
    "host owner": 5,
    "host group": 102000,
    "mode": 0o770,
}  # root of the namespace can't enter, GUEST can


@test("habits.cwd-user", needs=("root", "userns"))
def cwd_user(t: Case) -> None:
    """A working folder of an owner who isn't mapped, open to a group of process.user only: the program is in it."""
    changes = {**MAPPED, "process.user": GUEST}
    with tools.control(t):
        t.run({**changes, "process.cwd": "/tmp"}, "cwd")
    container = t.prepare({**changes, "process.cwd": "/work"}, "cwd")
    _close(container)
    t.equal("habits.cwd-user", _program(t, container)["cwd"], "/work")


@test("habits.cwd-user-exec", needs=("root", "userns"))
def cwd_user_exec(t: Case) -> None:
    """A working folder as in `cwd_user`, of an exec: its program is in it."""
    with tools.control(t):
        container = t.prepare({**MAPPED, "process.user": GUEST}, "pause")
        _close(container)
        container.create()
        container.start()
        document = {**container.config["process"], "args": ["/probe", "cwd"]}
        call = tools.execute_document(container, document)
        if not call.ok:
            raise Refused(call)
    call = tools.execute_document(container, {**document, "cwd": "/work"})
    t.equal("habits.cwd-user-exec", tools.result(call.stdout, "cwd") or call.sentence, "/work")


def _close(container: Any) -> None:
    """Make /work in its root file system, which the container's root can't enter."""
    folder = container.rootfs / "work"
    folder.mkdir()
    os.chown(folder, CLOSED["host owner"], CLOSED["host group"])
    folder.chmod(CLOSED["mode"])


@test("habits.env-last")
def env_last(t: Case) -> None:
    """A variable twice in the configuration: the program has it once, with the last value."""
    seen = t.run({"process.env": ["PATH=/bin", "ONE=a", "TWO=2", "ONE=b"]}, "env")["env"]
    t.equal("habits.env-last", [each for each in seen if each.startswith("ONE=")], ["ONE=b"])


@test("habits.env-path-last")
def env_path_last(t: Case) -> None:
    """A program without a slash is found in the second PATH, and not in the first."""
    changes = {"process.args": ["probe", "cwd"]}
    with tools.control(t):
        t.run({**changes, "process.env": ["PATH=/bin"]}, "cwd")
    container = t.prepare({**changes, "process.env": ["PATH=/nosuch", "PATH=/bin"]})
    t.equal("habits.env-path-last", _program(t, container)["cwd"], "/")
    container = t.prepare({**changes, "process.env": ["PATH=/bin", "PATH=/nosuch"]})
    t.is_refused(
        "habits.env-path-last", container, at="start", expected="an error: it isn't in the last PATH"
    )


@test("habits.env-exec")
def env_exec(t: Case) -> None:
    """A variable by --env that the container has: the program has it once, with this value."""
    with tools.control(t):
        container = tools.paused(t, {"process.env": ["PATH=/bin", "ONE=a"]})
        tools.executed(container, "env")
    seen = tools.executed(container, "env", options=("--env", "ONE=b"))["env"].get("result", [])
    t.equal("habits.env-exec", [each for each in seen if each.startswith("ONE=")], ["ONE=b"])


def _home(variables: list[str]) -> list[str]:
    return [each for each in variables if each.startswith("HOME=")]


@test("habits.home-passwd")
def home(t: Case) -> None:
    """HOME of root, of a user with an entry in /etc/passwd, and of one without; in the program and in an exec."""
    for user, wanted in ((0, "/root"), (1000, "/home/app"), (1001, "/")):
        if user and t.host.uid:
            break
        changes = {"process.user": {"uid": user, "gid": user}}
        container = t.create(changes, "serve", files={"/etc/passwd": PASSWD})
        container.start()
        seen = container.ask("env").get("result", [])
        t.equal("habits.home-passwd", _home(seen), [f"HOME={wanted}"])
        seen = tools.executed(container, "env")["env"].get("result", [])
        t.equal("habits.home-passwd", _home(seen), [f"HOME={wanted}"])


@test("habits.home-empty", needs=("root",))
def home_empty(t: Case) -> None:
    """HOME= of a user with an entry in /etc/passwd: the program has what stands there."""
    changes = {**USER, "process.env": ["PATH=/bin", "HOME="]}
    seen = t.run(changes, "env", files={"/etc/passwd": PASSWD})["env"]
    t.equal("habits.home-empty", _home(seen), ["HOME=/home/app"])


@test("habits.affinity", needs=("cpus:2",))
def affinity(t: Case) -> None:
    """The caller may use one CPU only: the program may use as many as without that."""
    with tools.control(t):
        free = t.run({}, "affinity")["affinity"]
    for number in sorted(os.sched_getaffinity(0))[:2]:
        with tools.on_cpu(number):
            seen = t.run({}, "affinity")["affinity"]
        t.equal("habits.affinity", seen, free)


@test("habits.affinity-exec", needs=("cpus:2",))
def affinity_exec(t: Case) -> None:
    """The caller of exec may use one CPU only: its program may use as many as without that."""
    with tools.control(t):
        container = tools.paused(t)
        free = tools.executed(container, "affinity")["affinity"]["result"]
    for number in sorted(os.sched_getaffinity(0))[:2]:
        with tools.on_cpu(number):
            seen = tools.executed(container, "affinity")["affinity"].get("result")
        t.equal("habits.affinity-exec", seen, free)


@test("habits.umask")
def umask(t: Case) -> None:
    """The caller's umask is 0, and 077: the program's is 022."""
    for mask in (0, 0o77):
        with tools.umask(mask):
            seen = t.run({}, "ids")["ids"]["umask"]
        t.equal("habits.umask", seen, 0o22)


@test("habits.umask-exec")
def umask_exec(t: Case) -> None:
    """The umask of exec's caller is 0, and 077: its program's is 022."""
    with tools.control(t):
        container = tools.paused(t)
        tools.executed(container, "ids")
    for mask in (0, 0o77):
        with tools.umask(mask):
            seen = tools.executed(container, "ids")["ids"]["result"]["umask"]
            call = tools.execute_document(
                container, {**container.config["process"], "args": ["/probe", "ids"]}
            )
        t.equal("habits.umask-exec", seen, 0o22)
        t.equal("habits.umask-exec", (tools.result(call.stdout, "ids") or {}).get("umask"), 0o22)


@test("habits.groups", needs=("root",))
def groups(t: Case) -> None:
    """The caller has supplementary groups: neither the program nor that of an exec has them."""
    before = os.getgroups()
    os.setgroups([FOREIGN, FOREIGN + 1])
    try:
        for changes in ({}, USER, *((MAPPED,) if not t.host.lacks("userns") else ())):
            container = t.create(dict(changes), "serve")
            container.start()
            seen = container.ask("ids").get("result", {}).get("groups", [])
            seen += tools.executed(container, "ids")["ids"].get("result", {}).get("groups", [])
            t.equal("habits.groups", sorted({FOREIGN, FOREIGN + 1, 65534} & set(seen)), [])
            container.hang_up()
    finally:
        os.setgroups(before)


@test("habits.descriptors")
def descriptors(t: Case) -> None:
    """The caller has files and folders open that are inherited: the program has its standard streams only."""
    opened = [os.open(t.folder, os.O_RDONLY), os.open(t.program, os.O_RDONLY)]
    t.runtime.inherited = tuple(opened)
    try:
        container = t.create({}, "serve")
        container.start()
        seen = [each["fd"] for each in container.ask("fds").get("result", [])]
        t.equal("habits.descriptors", sorted(seen), [0, 1, 2])
        seen = [each["fd"] for each in tools.executed(container, "fds")["fds"].get("result", [])]
        t.equal("habits.descriptors", sorted(seen), [0, 1, 2])
    finally:
        t.runtime.inherited = ()
        for each in opened:
            os.close(each)


@test("habits.preserve-fds", needs=("program:sh",))
def preserved(t: Case) -> None:
    """The caller has descriptors 3, 4 and 5 open and says --preserve-fds 2: the program has 3 and 4."""
    t.runtime.through = ("sh", "-c", 'exec "$@" 3<"$0" 4<"$0" 5<"$0"', str(t.program))
    container = t.prepare({}, "fds", "pause")
    tools.create(container, "--preserve-fds", "2")
    container.start()
    call = tools.execute(container, "fds", options=("--preserve-fds", "2"))
    t.runtime.through = ()
    container.kill("KILL")
    container.wait()
    for text in (container.stdout, call.stdout):
        seen = sorted(each["fd"] for each in tools.result(text, "fds") or [])
        t.equal("habits.preserve-fds", seen, [0, 1, 2, 3, 4])
