"""What a container has by default: capabilities, groups; and who may touch what the runtime keeps of it.

CVE-2022-24769, CVE-2022-29162, CVE-2022-27650, CVE-2025-27612: inheritable capabilities that nobody asked for. Names
that are paths were mended in several runtimes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from oci_conformance.core import bundle, cgroup
from oci_conformance.profiles.hardening.attack import UP, Canary, control
from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test

VERSION_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3 (linux/capability.h)
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 47, 2, 4  # linux/prctl.h
LENT = (0, 5, 10)  # CAP_CHOWN, CAP_KILL, CAP_NET_BIND_SERVICE
FOREIGN = 4242  # a group that no container asks for
USER = {"process.user": {"uid": 1000, "gid": 1000}}
NAMES = ("../{}", "x/../../{}", "x/{}", "/{}", "./{}", "..", ".", "{}/..", "{}\n", "{}\x1b[0m")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


@contextlib.contextmanager
def generous() -> Iterator[None]:
    """This process, and so the runtime that it calls, has inheritable and ambient capabilities for a while."""
    libc = ctypes.CDLL(None)
    header = _Header(VERSION_3, 0)
    before = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    libc.capget(ctypes.byref(header), before)
    more = (ctypes.c_uint32 * 6)(*before)
    for number in LENT:
        more[2] |= before[1] & 1 << number
    libc.capset(ctypes.byref(header), more)
    for number in LENT:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0)
    try:
        yield
    finally:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        libc.capset(ctypes.byref(header), before)


@test("hardening.inheritable")
def inheritable(t: Case) -> None:
    """Without inheritable and ambient sets the program has none, whoever it is and whatever the caller had."""
    if control(t, ("hardening.inheritable",), {}, "cwd") is None:
        return
    for user in (0,) if t.host.uid else (0, 1000):
        with generous():
            caps = t.run({"process.user": {"uid": user, "gid": user}}, "caps")["caps"]
        sets = {kind: caps.get(kind) for kind in ("inheritable", "ambient")}
        t.equal("hardening.inheritable", sets, {"inheritable": [], "ambient": []})
    with generous():
        caps = t.run({"process.capabilities": bundle.DELETE}, "caps")["caps"]
    t.equal("hardening.inheritable", caps.get("inheritable"), [])


@test("hardening.groups", needs=("root",))
def groups(t: Case) -> None:
    """The program has none of the supplementary groups that the runtime was called with."""
    before = os.getgroups()
    os.setgroups([FOREIGN, FOREIGN + 1])
    try:
        seen = [t.run(changes, "ids")["ids"].get("groups") for changes in ({}, USER)]
    finally:
        os.setgroups(before)
    for groups in seen:
        more = {FOREIGN, FOREIGN + 1} & set(groups or [])
        t.check("hardening.groups", not more, "no group of the caller's", sorted(more))


@test("hardening.id-path")
def ids(t: Case) -> None:
    """Ids that are paths: nothing is made, read or removed outside of the runtime's own folder."""
    id = "hardening.id-path"
    if control(t, (id,), {}, "cwd") is None:
        return
    deep = t.folder / "deep"  # whatever .. is taken for, it is a folder of this test alone
    victim = Canary(deep / "victim")
    for path in ("root/victim", "root/x"):
        (deep / path).mkdir(parents=True)
    t.runtime.root = deep / "root"
    made = set(os.listdir(deep))
    for number, name in enumerate(NAMES):
        for operation in ("state", "kill", "delete-force"):
            call = t.runtime.call(operation, name.format("victim"), {"signal": "KILL"})
            if operation != "delete-force":  # which may succeed where there is nothing
                t.check(id, not call.ok, f"{operation} {name.format('victim')!r}: an error", "it succeeded")
            t.check(
                id,
                not victim.changes(),
                f"{operation} {name.format('victim')!r}: folders outside as they were",
                victim.changes(),
            )
        container = t.prepare({}, "cwd", id=f"x{number}", folder=t.folder / f"bundle-{number}")
        container.id = name.format("new")
        if container.call("create").ok:
            container.call("delete-force")
        container.created = False
        more = set(os.listdir(deep) if deep.exists() else ()) - made
        t.check(
            id,
            not more,
            f"create {name.format('new')!r}: nothing is made beside the runtime's folder",
            sorted(more),
        )


@test("hardening.cgroup-path", needs=("root",))
def cgroups_path(t: Case) -> None:
    """A cgroupsPath that climbs out of the cgroup file system: nothing is made where it leads."""
    id = "hardening.cgroup-path"
    if t.host.systemd_cgroup:
        t.skip("this run has cgroups named by systemd, which are no paths")
    if control(t, (id,), {}, "cwd") is None:
        return
    canary = Canary(t.folder / "outside")
    place = str(canary.path / "cgroup")[1:]
    there = {path for _, point, _ in cgroup.mounted() for path in _tops(point)}
    for path in (f"/{t.cgroups}/x/{UP}{place}", UP + place, f"{t.cgroups}/../{UP}{place}"):
        try:
            t.run({"linux.cgroupsPath": path}, "cwd")
        except Refused:
            pass
        t.check(id, not canary.changes(), f"{path}: nothing is made outside", canary.changes())
    cgroup.remove(str(t.folder)[1:])  # where a runtime has taken / for the cgroup file system's root
    for _, point, _ in cgroup.mounted():
        for parent in (point / str(t.folder)[1:]).parents:
            if parent != point and point in parent.parents and parent.is_dir() and parent not in there:
                with contextlib.suppress(OSError):
                    parent.rmdir()


def _tops(point: Path) -> list[Path]:
    return [each for each in point.iterdir() if each.is_dir()]


@test("hardening.state-modes")
def state_modes(t: Case) -> None:
    """Called with umask 0, the runtime keeps nothing that other users could write, and no socket they could use."""
    id = "hardening.state-modes"
    if control(t, (id,), {}, "cwd") is None:
        return
    before = os.umask(0)
    try:
        t.create()
    finally:
        os.umask(before)
    root = t.runtime.root
    root.chmod(0o755)
    found = []
    for each in sorted(root.rglob("*")):
        status = each.lstat()
        kind = stat.S_IFMT(status.st_mode)
        if (
            kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFSOCK)
            and status.st_mode & 0o022
            and _reachable(each, root)
        ):
            found.append(f"{each.relative_to(root)} has mode {stat.S_IMODE(status.st_mode):04o}")
    t.check(id, not found, "nothing that group or others can write", found)


def _reachable(path: Path, root: Path) -> bool:
    """Can somebody else get through all folders on the way?"""
    return all(parent.stat().st_mode & 0o011 for parent in path.parents if root in parent.parents)
