"""Standard streams: whose they are, and that nothing of the host is among them."""

from __future__ import annotations

import os
import stat

from oci_conformance.profiles.habits import tools
from oci_conformance.profiles.habits.tools import USER
from oci_conformance.run.case import Broken, Case, Container
from oci_conformance.run.registry import test

OPENED = ("open /dev/stdin r", "open /dev/stdout w", "open /dev/stderr w")


@test("habits.null-reopened", needs=("root", "cap:MKNOD"))
def null(t: Case) -> None:
    """A node like /dev/null as standard streams: the program's are the container's own node, not this one."""
    id = "habits.null-reopened"
    ours = tools.null(t.folder / "null")
    container = t.prepare({}, "pause")
    descriptor = os.open(ours, os.O_RDWR)
    try:
        tools.create(container, stdin=descriptor, stdout=descriptor)
        container.start()
    finally:
        os.close(descriptor)
    own = _stat(container, "root/dev/null")
    for number in (0, 1):
        seen = _stat(container, f"fd/{number}")
        same = os.path.samestat(seen, ours.stat())
        t.check(id, not same, f"descriptor {number} isn't the node of the caller's", "the same node")
        t.check(id, _null(seen), f"descriptor {number} is a /dev/null", _kind(seen))
        t.check(id, os.path.samestat(seen, own), "the container's own /dev/null", _kind(seen))


@test("habits.null-owner", needs=("root", "cap:MKNOD"))
def null_owner(t: Case) -> None:
    """A node like /dev/null as standard streams of an ordinary user's program, and of an exec: it stays root's."""
    ours = tools.null(t.folder / "null")
    descriptor = os.open(ours, os.O_RDWR)
    try:
        container = t.prepare(USER, "pause")
        tools.create(container, stdin=descriptor, stdout=descriptor)
        container.start()
        call = tools.execute(container, "ids", stdin=descriptor, stdout=descriptor)
        t.check("habits.null-owner", call.ok, "an exec that works", call.sentence)
    finally:
        os.close(descriptor)
    status = ours.stat()
    t.equal("habits.null-owner", (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)), (0, 0, 0o666))


def _stat(container: Container, name: str) -> os.stat_result:
    """What a link of /proc/PID leads to."""
    try:
        return os.stat(f"/proc/{container.pid}/{name}")
    except OSError as error:
        raise Broken(f"/proc/PID/{name} of the container's process: {error.strerror}") from None


def _null(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)


def _kind(status: os.stat_result) -> str:
    return f"inode {status.st_ino} of device {status.st_dev:#x}, mode {status.st_mode:o}"


@test("habits.stdio-owner", needs=("root",))
def owner(t: Case) -> None:
    """Three pipes as standard streams: an ordinary user's program can open each by its name."""
    container = t.prepare(USER, f"to {_log(t)}", *OPENED)
    (container.rootfs / "tmp").chmod(0o1777)
    with tools.pipes(3) as made:
        tools.create(container, stdin=made[0][0], stdout=made[1][1], stderr=made[2][1])
        container.start()
        container.wait()
    _judge(t, "habits.stdio-owner", container)


def _log(t: Case) -> str:
    """Where the probe writes what it sees, as its standard output is what is tested."""
    return "/tmp/log"


def _judge(t: Case, id: str, container: Container) -> None:
    log = container.rootfs / "tmp/log"
    text = log.read_text() if log.exists() else ""
    seen = {command: tools.result(text, command) for command in OPENED}
    t.equal(id, seen, dict.fromkeys(OPENED, True))


@test("habits.stdio-owner-exec", needs=("root",))
def owner_of_exec(t: Case) -> None:
    """Three pipes as standard streams of an exec: an ordinary user's program can open each by its name."""
    with tools.control(t):
        container = tools.paused(t)
    (container.rootfs / "tmp").chmod(0o1777)
    with tools.pipes(3) as made:
        call = tools.execute(
            container, f"to {_log(t)}", *OPENED,
            options=("--user", "1000:1000"), stdin=made[0][0], stdout=made[1][1], stderr=made[2][1],
        )  # fmt: skip
    t.check("habits.stdio-owner-exec", call.ok, "an exec that works", call.sentence)
    _judge(t, "habits.stdio-owner-exec", container)
