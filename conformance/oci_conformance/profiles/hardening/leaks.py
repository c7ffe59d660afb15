"""Descriptors and variables that a careless caller, or the runtime itself, leaves where a container finds them.

CVE-2024-21626: a folder of the host, open as descriptor N, and /proc/self/fd/N as working folder or in the program's
path. CVE-2016-9962: the same, looked up from a container that is joined.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from oci_conformance.core import probe
from oci_conformance.profiles.hardening.attack import Attack, attack, control, links, nothing
from oci_conformance.profiles.hardening.links import CWD, judge_folder
from oci_conformance.profiles.support import mounting
from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test

FIRST, LAST = 3, 20  # descriptors that the runtime itself may have open
COUNT = 12  # descriptors that the caller leaves open
HOST_HOOKS = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
SECRET = "OCI_CONFORMANCE_SECRET"


@contextlib.contextmanager
def careless(t: Case, folder: Path) -> Iterator[tuple[int, ...]]:
    """The runtime's calls find a folder open under the first numbers that are free."""
    source = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    mine: list[int] = []
    try:
        while len(mine) < COUNT:
            mine.append(fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, FIRST))
        t.runtime.inherited = tuple(mine)
        yield tuple(mine)
    finally:
        t.runtime.inherited = ()
        for number in (*mine, source):
            os.close(number)


@test("hardening.cwd-descriptor")
def working_folder(t: Case) -> None:
    """process.cwd is a descriptor's magic link, with and without folders that the caller left open."""
    id = "hardening.cwd-descriptor"
    if control(t, (id,), {"process.cwd": "/run"}, "cwd", CWD) is None:
        return
    attacks = attack(t, id)
    with careless(t, attacks.canary.path / "folder") as numbers:
        for number in numbers:
            _try_folder(attacks, f"/proc/self/fd/{number}", "left open")
        _try_folder(attacks, f"/proc/self/fd/{numbers[-1]}/below", "left open")
        _try_folder(attacks, f"/proc/1/fd/{numbers[-1]}", "left open")
        _try_folder(attacks, f"/proc/thread-self/fd/{numbers[-1]}/../folder", "left open")
        what = "a link to a descriptor"
        seen = attacks.run(
            what, {"process.cwd": "/way"}, links({"way": f"/proc/self/fd/{numbers[-1]}"}), "cwd", CWD
        )
        if seen is not None:
            judge_folder(attacks, what, seen["cwd"], seen.answer(CWD).get("result"))
    for number in range(FIRST, LAST):
        _try_folder(attacks, f"/proc/self/fd/{number}", "the runtime's own")


def _try_folder(attacks: Attack, path: str, whose: str) -> None:
    what = f"cwd {path}, {whose}"
    seen = attacks.run(what, {"process.cwd": path}, nothing, "cwd", CWD)
    if seen is not None:
        judge_folder(attacks, what, seen["cwd"], seen.answer(CWD).get("result"))


@test("hardening.program-descriptor")
def program(t: Case) -> None:
    """The program's path begins with a descriptor that the caller left open on a folder: it isn't executed."""
    id = "hardening.program-descriptor"
    attacks = attack(t, id)
    shutil.copy(t.program, attacks.canary.path / "folder/outside")
    attacks.canary.accept()
    if control(t, (id,), {}, "cwd") is None:
        return
    with careless(t, attacks.canary.path / "folder") as numbers:
        for number in numbers:
            container = t.prepare({"process.args": [f"/proc/self/fd/{number}/outside", "echo executed"]})
            try:
                container.create()
                container.start()
                container.wait()
            except Refused:
                pass
            ran = any(each.get("result") == "executed" for each in container.results())
            t.check(
                id,
                not ran,
                "a program of the host isn't executed in the container",
                f"by descriptor {number}",
            )


@test("hardening.created-descriptors")
def created(t: Case) -> None:
    """What waits in a created container has no folder open that isn't one of its own mounts."""
    id = "hardening.created-descriptors"
    if control(t, (id,), {}, "cwd") is None:
        return
    attacks = attack(t, id)
    for whose in ("the runtime's own", "the caller's"):
        with careless(t, attacks.canary.path) if whose == "the caller's" else contextlib.nullcontext():
            container = t.create()
        own = {mount.id for mount in mounting.parse(container.proc("mountinfo").splitlines())}
        found = []
        for link in Path(f"/proc/{container.pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed in the meantime
                info = dict(line.split(":", 1) for line in container.proc(f"fdinfo/{link.name}").splitlines())
                if link.is_dir() and int(info["mnt_id"]) not in own:
                    found.append(f"{link.name} is {os.readlink(link)}")
        t.check(id, not found, f"{whose}: no folder of the host", found)
        container.delete(force=True)


@test("hardening.container-hook", "hardening.host-hooks")
def hooks(t: Case) -> None:
    """Hooks get neither the descriptors nor, in the container, the variables that the runtime was called with."""
    if control(t, ("hardening.container-hook", "hardening.host-hooks"), {}, "cwd") is None:
        return
    attacks = attack(t, "hardening.host-hooks")
    logs = {kind: t.folder / f"hook-{kind}" for kind in HOST_HOOKS}
    hooked: dict[str, object] = {kind: [t.hook(f"to {log}", "fds")] for kind, log in logs.items()}
    hooked["startContainer"] = [t.hook("to /hook", "fds", "env", path="/probe")]
    with careless(t, attacks.canary.path), mock.patch.dict(os.environ, {SECRET: "x"}):
        container = t.create({"hooks": hooked}, "env")
        container.start()
        container.wait()
        container.delete()
    log = container.rootfs / "hook"
    inside = probe.parse(log.read_bytes()) if log.exists() else []
    answers = {kind: probe.parse(path.read_bytes()) if path.exists() else [] for kind, path in logs.items()}
    for kind, lines in {**answers, "startContainer": inside}.items():
        id = "hardening.container-hook" if kind == "startContainer" else "hardening.host-hooks"
        t.check(id, bool(lines), f"a {kind} hook that says what it has", "nothing")
        for line in lines:
            entries = line.get("result", [])
            if line["command"] == "fds":
                leaked = [each for each in entries if attacks.canary.holds(each["link"] or "")]
                t.check(id, not leaked, f"{kind}: no descriptor that the caller left open", leaked)
            elif line["command"] == "env":
                variables = [each for each in entries if each.startswith(SECRET)]
                t.check(id, not variables, f"{kind}: no variable of the caller's", variables)
    said = [each for each in container.results() if each["command"] == "env"]
    secret = [each for line in said for each in line.get("result", []) if each.startswith(SECRET)]
    t.check("hardening.container-hook", not secret, "the program has no variable of the caller's", secret)
