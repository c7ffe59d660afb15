"""Hooks: when each kind is called (config.md#posix-platform-hooks)."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from oci_conformance.core import kernel
from oci_conformance.core.cgroup import Cgroups
from oci_conformance.profiles.support.hooked import PROGRAM, Hooked
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

# A mount of the container's, by which its mount namespace is known once the mounts are made.
MARK = "oci-conformance-mark"
MOUNT = {"mounts[+]": {"destination": "/mnt", "type": "tmpfs", "source": MARK}}


@test("hooks.prestart.timing")
def prestart(t: Case) -> None:
    """prestart hooks are called in create, when the mounts are made but the root isn't changed yet."""
    _before_pivot(t, "prestart")


@test("hooks.createRuntime.timing")
def create_runtime(t: Case) -> None:
    """createRuntime hooks are called in create, when the mounts are made but the root isn't changed yet."""
    _before_pivot(t, "createRuntime")


@test("hooks.prestart.timing-start")
def prestart_start(t: Case) -> None:
    """prestart hooks are called when start was called, and have ended when the program is executed."""
    _in_start(t, "prestart", "hooks.prestart.timing-start")


def _in_start(t: Case, kind: str, id: str) -> None:
    """A hook isn't called by create, and has ended before start executes the program."""
    hooked = Hooked(t)
    hooked.add(kind, kind, "sleep 150", "echo ended")
    container = hooked.prepare()
    container.create()
    t.equal(id, hooked.names(), [])
    container.start()
    container.wait()
    t.equal(id, hooked.names(), [kind, "ended", PROGRAM])


def _before_pivot(t: Case, kind: str) -> None:
    """Look at the container's process while a hook in the runtime's namespaces waits."""
    hooked = Hooked(t)
    hooked.add(kind, kind, "state", held=True)
    hooked.prepare(MOUNT)
    seen: dict[int, tuple[bool, bool]] = {}

    def look() -> None:
        for pid in _container_processes(hooked.answers(kind).get("state")):
            with contextlib.suppress(OSError):
                mounted = MARK in Path(f"/proc/{pid}/mountinfo").read_text()
                # Before its root is changed, the container's process still sees the host's files.
                seen[pid] = mounted, Path(f"/proc/{pid}/root{hooked.log}").exists()

    call = hooked.during("create", kind, look)
    id = f"hooks.{kind}.timing"
    if not t.check(id, call.ok, "create succeeds", call.sentence):
        return
    if t.check(id, hooked.wrote(kind), "the hook runs before create returns", "it didn't run"):
        expected = "a process of the container's, with its mounts, and with the host's root"
        t.check(id, (True, True) in seen.values(), expected, seen or "no such process")
    t.check(id, not hooked.wrote(PROGRAM), "the program isn't run by create", "it ran")


def _container_processes(state: Any) -> list[int]:
    """The process in a state that a hook was given, or, since it may lack before `created`, all that could be it."""
    with contextlib.suppress(TypeError, ValueError, AttributeError):
        pid = json.loads(state).get("pid")
        if isinstance(pid, int) and pid > 0:
            return [pid]
    found = []
    for pid in kernel.descendants(os.getpid()):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"):
                found.append(pid)
    return found


@test("hooks.createContainer.timing")
def create_container(t: Case) -> None:
    """createContainer hooks are called in create, when the mounts are made but the root isn't changed yet."""
    hooked = Hooked(t)
    hooked.add("createContainer", "createContainer", "mounts")
    container = hooked.prepare(MOUNT)
    container.create()
    seen = hooked.answers("createContainer")
    t.check(
        "hooks.createContainer.timing",
        bool(seen) and any(MARK in line for line in seen.get("mounts") or []),
        "the hook sees the container's mounts, and the host's files, before create returns",
        [line.split(" ")[4] for line in seen.get("mounts") or []]
        or "it didn't run, or not with the host's files",
    )
    t.check("hooks.createContainer.timing", not hooked.wrote(PROGRAM), "no program yet", hooked.names())


@test("hooks.startContainer.timing")
def start_container(t: Case) -> None:
    """startContainer hooks are called by start, and have ended when the program is executed."""
    _in_start(t, "startContainer", "hooks.startContainer.timing")


@test("hooks.poststart.timing-after-exec", "hooks.poststart.before-start-returns")
def poststart(t: Case) -> None:
    """poststart hooks are called when the program is executed, and have ended when start returns."""
    hooked = Hooked(t)
    # Whoever doesn't wait for the program to be executed is too early by this hook's time.
    hooked.add("startContainer", "slow", "sleep 250", "echo slow ended")
    hooked.add("poststart", "poststart", held=True)
    container = hooked.prepare({}, "pause")
    call = hooked.during("create", "poststart")
    after, returned = "hooks.poststart.timing-after-exec", "hooks.poststart.before-start-returns"
    if not call.ok or hooked.wrote("poststart"):
        t.check(
            after,
            False,
            "the hook runs after start was called",
            "it ran in create" if call.ok else call.sentence,
        )
    running: list[bool] = []
    # The program's own first words tell that it is executed: it says them while the hook is waiting, or it isn't.
    call = hooked.during("start", "poststart", lambda: running.append(hooked.wrote(PROGRAM, 3.0)))
    if not call.ok:
        t.check(after, False, "start succeeds", call.sentence)
        t.check(returned, False, "start succeeds", call.sentence)
        return
    names = hooked.names()
    t.check(returned, "poststart ended" in names, "the hook has ended when start returns", names)
    ordered = "slow ended" in names and names[-1:] != ["slow ended"] and running == [True]
    too_early = "poststart" in names and names.index("poststart") < _index(names, "slow ended")
    t.check(after, ordered and not too_early, "the program runs while the hook is waiting", names)
    container.kill("KILL")


def _index(names: list[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


@test("hooks.poststop.timing-after-delete", "hooks.poststop.before-delete-returns")
def poststop(t: Case) -> None:
    """poststop hooks are called when the container is deleted, and have ended when delete returns."""
    hooked = Hooked(t)
    hooked.add("poststop", "poststop", held=True)
    container = hooked.prepare()
    container.create()
    groups = _own_cgroups(container.pid, container.id)
    container.start()
    container.wait()
    after, returned = "hooks.poststop.timing-after-delete", "hooks.poststop.before-delete-returns"
    t.check(after, not hooked.wrote("poststop"), "the hook runs after delete was called", hooked.names())
    left: list[str] = []

    def look() -> None:
        if container.call("state").ok:
            left.append("state still knows the container")
        left.extend(f"its cgroup {group}" for group in groups if group.exists())

    call = hooked.during("delete", "poststop", look)
    t.check(
        returned,
        call.ok and hooked.wrote("poststop ended"),
        "the hook has ended when delete returns",
        call.sentence,
    )
    t.check(
        after,
        hooked.wrote("poststop") and not left,
        "nothing is left while the hook runs",
        left or "it never ran",
    )


def _own_cgroups(pid: int, id: str) -> list[Path]:
    """The cgroups that were made for a container of the suite's."""
    groups = Cgroups.of(pid)
    found = {groups.directory(name) for names in groups.paths for name in names or {""}}
    return [group for group in found if group is not None and id in str(group)]
