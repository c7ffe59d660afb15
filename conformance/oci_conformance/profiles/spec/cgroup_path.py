"""Where a container's cgroup is, and whether it is fit for use (config-linux.md#control-groups, #cgroups-path)."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from oci_conformance.core import cgroup, kernel
from oci_conformance.core.cgroup import Cgroups
from oci_conformance.core.runtime import TIMED_OUT
from oci_conformance.profiles.support import limits
from oci_conformance.run.case import DELETE, Case, Container
from oci_conformance.run.registry import test

PATH = "linux.cgroupsPath"
# Limits that make a runtime use a controller, each so wide that it hinders nobody.
WIDE = {
    "memory": {"linux.resources.memory.limit": 1 << 40},
    "pids": {"linux.resources.pids.limit": 20000},
    "cpu": {"linux.resources.cpu.shares": 1000},
}


def _wanted(t: Case) -> dict[str, object]:
    """Wide limits by all controllers that there are, so that the container is in their cgroups for certain."""
    return {
        key: value
        for name, change in WIDE.items()
        if name in t.host.controllers
        for key, value in change.items()
    }


def _where(t: Case, c: Container) -> dict[str, str]:
    """The container's cgroup for each controller that it was given a limit of, below the mount point."""
    names = [name for name in WIDE if name in t.host.controllers] or [""]
    found = {}
    for name in names:
        directory = c.cgroup(name)
        if directory is not None:
            found[name] = str(directory.relative_to(limits.place(name)))
    return found


def _own() -> Cgroups:
    return Cgroups.of(os.getpid())


def _forget(c: Container) -> None:
    """Remove cgroups that a runtime left in a place of its own choosing: named after the container, or us."""
    with contextlib.suppress(OSError):
        for directory in {c.cgroup(name) for names, _, _ in cgroup.mounted() for name in [*names, ""]}:
            mine = directory
            c.call("delete-force")
            while mine is not None and ("oci-conformance" in mine.name or c.id in mine.name):
                with contextlib.suppress(OSError):
                    mine.rmdir()
                mine = mine.parent


@test("cgroup.path-absolute", "cgroup.created", needs=("root",), may_refuse=True)
def absolute(t: Case) -> None:
    """An absolute cgroupsPath counts from the mount point of the hierarchy, and is made if it isn't there."""
    path = f"{t.cgroups}/some/where/deep"
    seen = _where(t, t.create({PATH: f"/{path}", **_wanted(t)}))
    right = bool(seen) and all(place == path or place.startswith(f"{path}/") for place in seen.values())
    t.check("cgroup.path-absolute", right, f"the cgroup {path} of every controller", seen)
    t.check("cgroup.created", right, f"a new cgroup {path}", seen)


@test("cgroup.path-relative", needs=("root",), may_refuse=True)
def relative(t: Case) -> None:
    """A relative cgroupsPath puts the container into a cgroup of its own, wherever that may be."""
    c = t.create({PATH: f"{t.cgroups}/relative", **_wanted(t)})
    try:
        own = _own().paths
        theirs = Cgroups.of(c.pid)
        names = [name for name in WIDE if name in t.host.controllers] or [""]
        moved = all(_path(theirs.paths, name) != _path(own, name) for name in names)
        t.check("cgroup.path-relative", moved, "a cgroup that isn't the caller's", _where(t, c))
    finally:
        _forget(c)


def _path(paths: dict[frozenset[str], str], controller: str) -> str | None:
    key = next((names for names in paths if controller in names), frozenset[str]())
    return paths.get(key)


@test("cgroup.path-consistent", needs=("root",))
def consistent(t: Case) -> None:
    """Two containers, one after the other, with the same cgroupsPath are put into the same place."""
    for value in (t.base("same")["linux"]["cgroupsPath"], f"{t.cgroups}/relative"):
        seen = []
        for _ in range(2):
            c = t.prepare({PATH: value, **_wanted(t)})
            if c.call("create").ok:
                try:
                    seen.append(_where(t, c))
                finally:
                    _forget(c)
        if seen:  # whether a runtime may refuse the value is for other tests, but it has to do so each time
            t.check(
                "cgroup.path-consistent", seen[0] == seen[-1] and len(seen) == 2, f"one for {value!r}", seen
            )


@test("cgroup.path-default", needs=("root",), may_refuse=True)
def default(t: Case) -> None:
    """Without cgroupsPath a container runs, and its limits hold, wherever its cgroup is."""
    c = t.create({PATH: DELETE, **_wanted(t)})
    try:
        theirs, own = Cgroups.of(c.pid).paths, _own().paths
        names = [name for name in WIDE if name in t.host.controllers]
        moved = all(_path(theirs, name) != _path(own, name) for name in names)
        t.check("cgroup.path-default", moved, "a cgroup of its own, since it has limits", _where(t, c))
    finally:
        _forget(c)


@test("cgroup.path-form", needs=("root",))
def form(t: Case) -> None:
    """cgroupsPath is an absolute or a relative path: anything but a string is refused."""
    good = t.base("x")["linux"]["cgroupsPath"]
    for wrong in (5, ["a"], {"path": good}):
        t.refused("cgroup.path-form", {PATH: good}, {PATH: wrong})


@test("cgroup.path-invalid", needs=("root",))
def invalid(t: Case) -> None:
    """A cgroupsPath by which no cgroup can be made is refused: one with a newline, one with a NUL."""
    good = t.base("x")["linux"]["cgroupsPath"]
    for wrong in (f"{good}\nnext", f"{good}\0"):
        t.refused("cgroup.path-invalid", {PATH: good}, {PATH: wrong})


@test("cgroup.extra-controllers", needs=("root", "cgroup:pids"))
def extra(t: Case) -> None:
    """A container is in the cgroup of the controller that it has a limit of; of others it may be."""
    path = t.base("one")["linux"]["cgroupsPath"]
    c = t.create({PATH: path, "linux.resources.pids.limit": 20000})
    theirs, own = Cgroups.of(c.pid).paths, _own().paths
    needed = _path(theirs, "pids")
    odd = {
        ",".join(names): place
        for names, place in theirs.items()
        if place not in (needed, own.get(names), "/")
    }
    t.check(
        "cgroup.extra-controllers",
        needed != _path(own, "pids") and not odd,
        f"{needed} or the caller's cgroup for every controller",
        theirs and {",".join(names): place for names, place in theirs.items()},
    )


@test("cgroup.unfit-check", "cgroup.unfit-error", needs=("root",))
def frozen(t: Case) -> None:
    """Creating a container in a frozen cgroup gives an error or a container, not neither."""
    v2 = t.host.cgroups == "v2"
    if not v2 and "freezer" not in t.host.controllers:
        t.skip("this host lacks the freezer cgroup controller")
    directory = limits.place("" if v2 else "freezer") / t.cgroups / "frozen"
    directory.mkdir(parents=True)
    file, freeze, thaw = ("cgroup.freeze", "1", "0") if v2 else ("freezer.state", "FROZEN", "THAWED")
    (directory / file).write_text(freeze)
    try:
        _unfit(t, t.prepare({PATH: f"/{t.cgroups}/frozen"}))
    finally:
        (directory / file).write_text(thaw)


@test("cgroup.unfit-check", "cgroup.unfit-error", needs=("root",))
def occupied(t: Case) -> None:
    """Creating a container in a cgroup with somebody's process gives an error or a container, and hurts nobody."""
    places = [point / t.cgroups / "occupied" for _, point, _ in cgroup.mounted()]
    sleeper = subprocess.Popen([t.program, "pause"], stdout=subprocess.DEVNULL)
    try:
        for directory in places:
            directory.mkdir(parents=True)
            if (
                directory / "cpuset.mems"
            ).exists():  # empty to begin with on v1, and then it takes no process
                for file in ("cpuset.cpus", "cpuset.mems"):
                    _inherit(directory, file)
            (directory / "cgroup.procs").write_text(str(sleeper.pid))
        c = t.prepare({PATH: f"/{t.cgroups}/occupied"})
        _unfit(t, c)
        if "cgroup.unfit-check" in t.verdicts:
            t.check("cgroup.unfit-check", sleeper.poll() is None, "the other process lives on", "it ended")
    finally:
        kernel.kill(sleeper.pid, 9)
        sleeper.wait()


def _inherit(directory: Path, file: str) -> None:
    """Give a cgroup of v1, and the one above it that is ours too, the CPUs or memory nodes of what is above both."""
    value = (directory.parent.parent / file).read_text()
    for each in (directory.parent, directory):
        (each / file).write_text(value)


def _unfit(t: Case, c: Container) -> None:
    """Verdicts: create answers with an error and leaves no container, or it makes one."""
    call = c.call("create")
    exists = c.call("state").ok
    if call.code == TIMED_OUT:  # what is frozen stands still; a runtime need not look for that before
        t.check("cgroup.unfit-check", True, "", "")
        t.unsupported("cgroup.unfit-error", f"the runtime makes no such check: {call.sentence}")
        return
    seen = f"create: {call.sentence}, and a container {'exists' if exists else 'does not exist'}"
    for id in ("cgroup.unfit-check", "cgroup.unfit-error"):
        ok = exists if call.ok else (not exists and call.code > 0)
        t.check(id, ok, "a container, or an error and no container", seen)
