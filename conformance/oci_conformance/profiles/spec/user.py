"""process.user (config.md#posix-platform-user)."""

from __future__ import annotations

import os
from typing import Any

from oci_conformance.core.bundle import Path_
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test
from oci_spec.types import User

USERS: tuple[User, ...] = (
    {"uid": 0, "gid": 0},
    {"uid": 0, "gid": 0, "additionalGids": [5]},
    {"uid": 1000, "gid": 1001},
    {"uid": 1000, "gid": 1001, "additionalGids": [5]},
)
FIRST = 100000  # the host's id that is 0 in the container's user namespace


@test("user.uid", "user.gid", "user.additionalGids", needs=("root",))
def ids(t: Case) -> None:
    """The program runs as the user, the group and the supplementary groups of the configuration."""
    seen = t.run({"process.user": {"uid": 1000, "gid": 1001, "additionalGids": [5, 6]}}, "ids")["ids"]
    t.equal("user.uid", [seen[name] for name in ("uid", "euid", "suid", "fsuid")], [1000] * 4)
    t.equal("user.gid", [seen[name] for name in ("gid", "egid", "sgid", "fsgid")], [1001] * 4)
    t.equal("user.additionalGids", sorted({*seen["groups"]} - {1001}), [5, 6])


@test("user.additionalGids", needs=("root",))
def groups_of_the_caller(t: Case) -> None:
    """The program has the groups of the configuration, and none that whoever calls the runtime has."""
    before = os.getgroups()
    os.setgroups([4242, 4243])
    try:
        seen = [t.run({"process.user": user}, "ids")["ids"]["groups"] for user in USERS]
    finally:
        os.setgroups(before)
    t.equal("user.additionalGids", [sorted({*each} - {0, 1001}) for each in seen], [[], [5], [], [5]])


@test("user.umask")
def umask(t: Case) -> None:
    """The program's file mode creation mask is process.user.umask."""
    seen = [t.run({"process.user.umask": mask}, "ids")["ids"]["umask"] for mask in (0o27, 0)]
    t.equal("user.umask", seen, [0o27, 0])


@test("user.umask-unset")
def umask_unset(t: Case) -> None:
    """Without process.user.umask the program has the mask of whoever called the runtime."""
    before = os.umask(0o77)
    try:
        seen = t.run({}, "ids")["ids"]["umask"]
    finally:
        os.umask(before)
    t.equal("user.umask-unset", seen, 0o77)


@test("user.uid", "user.gid", "user.additionalGids", needs=("root", "userns"))
def mapped(t: Case) -> None:
    """In a user namespace the ids are those of the container, which the host sees as mapped."""
    mapping = [{"containerID": 0, "hostID": FIRST, "size": 65536}]
    changes: dict[Path_, Any] = {
        "linux.namespaces[+]": {"type": "user"},
        "linux.uidMappings": mapping,
        "linux.gidMappings": mapping,
        "process.user": {"uid": 1000, "gid": 1001, "additionalGids": [5, 6]},
    }
    container = t.serve(changes)
    seen = container.ask("ids").get("result", {})
    outside = dict(line.split(":", 1) for line in container.proc("status").splitlines())
    t.equal("user.uid", seen.get("uid"), 1000)
    t.equal("user.uid", outside["Uid"].split(), [str(FIRST + 1000)] * 4)
    t.equal("user.gid", seen.get("gid"), 1001)
    t.equal("user.gid", outside["Gid"].split(), [str(FIRST + 1001)] * 4)
    t.equal("user.additionalGids", sorted({*seen.get("groups", [])} - {1001}), [5, 6])
