"""The runtime's own program and processes, seen from a container.

CVE-2019-5736: a container rewrites the runtime's file by /proc/PID/exe. CVE-2016-9962: who lives in a PID namespace
that a new container joins looks into the runtime's process there, which still has the host open. Nothing is ever
opened for writing: access(2) tells whether it could be.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oci_conformance.core.runtime import digest
from oci_conformance.profiles.hardening.attack import Canary, control, link
from oci_conformance.run.case import Broken, Case, Container, Refused
from oci_conformance.run.registry import test

ROUNDS = 6
NAMESPACES = ("pid", "ipc", "uts", "mount")
USER = {"process.user": {"uid": 1000, "gid": 1000}}
LOOK_AT = ("root", "cwd", *(f"fd/{number}" for number in range(3, 16)))


@test("hardening.own-binary")
def waiting(t: Case) -> None:
    """What waits in a created container is no file of the host that somebody in it could open for writing."""
    if control(t, ("hardening.own-binary",), {}, "cwd") is None:
        return
    container = t.create()
    exe = Path(f"/proc/{container.pid}/exe")
    status = exe.stat()
    # Without a name (a memfd, a removed copy) it isn't the file that is started next time.
    named = stat.S_ISREG(status.st_mode) and status.st_nlink > 0
    own = any(each.stat().st_ino == status.st_ino for each in container.rootfs.rglob("*") if each.is_file())
    writable = named and not own and os.access(exe, os.W_OK)
    t.check(
        "hardening.own-binary",
        not writable,
        "a copy without a name, a file of the container, or one on a read-only mount",
        f"{os.readlink(exe)}, which can be written",
    )


@test("hardening.program-is-exe")
def itself(t: Case) -> None:
    """The program, or a script's interpreter, is /proc/self/exe: it ends, and the runtime's file is as it was."""
    id = "hardening.program-is-exe"
    if control(t, (id,), {}, "cwd") is None:
        return
    before = digest(t.runtime.path)
    for what in ("the program", "an interpreter", "a link"):
        container = t.prepare(
            {"process.args": ["/proc/self/exe" if what == "the program" else "/program", "init"]}
        )
        if what == "an interpreter":
            (container.rootfs / "program").write_text("#!/proc/self/exe\n")
            (container.rootfs / "program").chmod(0o755)
        else:
            link(container.rootfs / "program", "/proc/self/exe")
        try:
            container.create()
            container.start()
            with contextlib.suppress(Broken):  # it may well wait for something that never comes
                container.wait(1.0)
            exe = Path(f"/proc/{container.pid}/exe")
            if exe.exists():
                status = exe.stat()
                same = (status.st_dev, status.st_ino) == _identity(t.runtime.path) and os.access(exe, os.W_OK)
                t.check(
                    id,
                    not same,
                    f"{what}: not the runtime's file",
                    f"{os.readlink(exe)}, which can be written",
                )
        except Refused:
            pass
        container.call("delete-force")
    t.equal(id, digest(t.runtime.path), before)


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


@test("hardening.joined-pid", needs=("root",))
def joined(t: Case) -> None:
    """While containers join a container's PID namespace, it can neither reach the host nor write their binaries."""
    id = "hardening.joined-pid"
    canary = Canary(t.folder / "outside")
    attacker = t.serve()
    namespaces = [{"type": kind} for kind in NAMESPACES]
    namespaces[0] = {"type": "pid", "path": f"/proc/{attacker.pid}/ns/pid"}
    changes: dict[Any, Any] = {"linux.namespaces": namespaces}
    if control(t, (id,), changes, "cwd") is None:
        return
    with _looking(attacker, str(canary.path / "file")) as found:
        for _ in range(ROUNDS):
            victim = t.create(changes)
            victim.pid  # noqa: B018 - while it surely exists
            victim.delete(force=True)
            victim.wait()  # a zombie in it would keep the attacker's PID namespace
            victim.created = False
    t.check(id, "looked" in found, "the attacker sees the processes", "nothing was seen")
    found.discard("looked")
    t.check(
        id, not found, "neither a file of the host, nor a binary that could be written", sorted(found)[:5]
    )
    t.equal(id, canary.changes(), [])


@contextlib.contextmanager
def _looking(attacker: Container, outside: str) -> Iterator[set[str]]:
    """The attacker looks at every process that he sees, without end. What he can reach; "looked" when he saw any."""
    found: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for name in attacker.ask("list /proc").get("result", []):
                if name.isdigit() and name != "1":
                    found.update(_reached(attacker, f"/proc/{name}", outside))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def _reached(attacker: Container, process: str, outside: str) -> Iterator[str]:
    if "result" in attacker.ask(f"stat {process}"):
        yield "looked"
    target = (attacker.ask(f"stat {process}/exe").get("result") or {}).get("target")
    named = (
        isinstance(target, str)
        and not target.endswith("(deleted)")
        and target not in ("/probe", "/bin/probe")
    )
    if named and "result" in attacker.ask(f"access {process}/exe w"):
        yield f"{process}/exe, {target}, could be written"
    for name in LOOK_AT:
        if "result" in attacker.ask(f"stat {process}/{name}{outside}"):
            yield f"{process}/{name} leads to the host"


@test("hardening.not-looked-into", needs=("root",))
def same_user(t: Case) -> None:
    """A user in the same PID namespace can neither trace, nor look into, what waits for start with his id."""
    id = "hardening.not-looked-into"
    victim = t.create(USER)
    namespaces = [{"type": kind} for kind in NAMESPACES]
    namespaces[0] = {"type": "pid", "path": f"/proc/{victim.pid}/ns/pid"}
    looks = ["list /proc/1/fd", "read /proc/1/environ 16", "open /proc/1/exe", "list /proc/1/root/"]
    seen = t.run({**USER, "linux.namespaces": namespaces}, *looks, "list /proc")
    t.check(id, "1" in (seen.answer("list /proc").get("result") or []), "it is seen", "it isn't there")
    for command in looks:
        error = seen.error(command)
        t.check(id, error in ("EACCES", "EPERM"), f"{command}: EACCES or EPERM", error or seen[command])
    victim.start()
    victim.wait()
