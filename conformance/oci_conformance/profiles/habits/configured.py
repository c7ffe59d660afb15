"""The configuration: versions, sysctls, seccomp profiles, joined namespaces, whoever the caller is."""

from __future__ import annotations

import os
import platform
import pwd
from pathlib import Path
from typing import Any

from oci_conformance.profiles.habits import tools
from oci_conformance.profiles.spec import lsm
from oci_conformance.profiles.spec.seccomp import CALLS, ERRNO, OTHER, VICTIM, needed, outcome, profile, rule
from oci_conformance.profiles.spec.seccomp_filters import NATIVE, arg
from oci_conformance.profiles.support import namespaces
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

UNBORN = 4000  # the number of a system call that no kernel has yet
SYSCTL = "net.ipv4.ip_unprivileged_port_start"


@test("habits.version-newer")
def newer(t: Case) -> None:
    """ociVersion 1.99.0: the program runs."""
    t.equal("habits.version-newer", t.run({"ociVersion": "1.99.0"}, "cwd")["cwd"], "/")


@test("habits.sysctl-host", needs=("root", "netns"))
def sysctl(t: Case) -> None:
    """The caller is in a network namespace of its own, and the container joins that: refused, nothing changes."""
    file = Path("/proc/sys") / SYSCTL.replace(".", "/")
    wanted = {"linux.sysctl": {SYSCTL: "77"}}
    with tools.control(t):
        own: dict[Any, Any] = {**tools.NETWORK, **wanted}
        t.run(own, "cwd")
    with namespaces.apart("network"):
        before = file.read_text()
        join = {"linux.namespaces[+]": {"type": "network", "path": f"/proc/{os.getpid()}/ns/net"}}
        joined: dict[Any, Any] = {**join, **wanted}
        t.is_refused("habits.sysctl-host", t.prepare(joined, "cwd"), at="start")
        t.equal("habits.sysctl-host", file.read_text(), before)


@test("habits.seccomp-newer")
def newer_calls(t: Case) -> None:
    """A profile that allows what is needed and refuses the rest: an unborn system call fails with ENOSYS."""
    changes = profile(needed(), default=ERRNO)
    with tools.control(t):
        seen = t.run(changes, f"try {UNBORN}", CALLS[VICTIM])
    t.equal("habits.seccomp-newer", outcome(seen.answer(CALLS[VICTIM])), "EPERM")
    t.equal("habits.seccomp-newer", outcome(seen.answer(f"try {UNBORN}")), "ENOSYS")


@test("habits.seccomp-unknown")
def unknown_calls(t: Case) -> None:
    """A rule with a name that there isn't beside one that there is: the latter is refused."""
    seen = t.run(profile(rule(ERRNO, "no_such_call_anywhere", VICTIM)), CALLS[VICTIM], CALLS[OTHER])
    came = [outcome(seen.answer(CALLS[name])) for name in (VICTIM, OTHER)]
    t.equal("habits.seccomp-unknown", came, ["EPERM", "returned"])


@test("habits.seccomp-native")
def native(t: Case) -> None:
    """A profile for another machine's architecture alone: what it refuses is refused on this one."""
    own = NATIVE.get(platform.machine())
    other = "AARCH64" if own != "AARCH64" else "X86_64"
    seen = t.run(profile(rule(ERRNO, VICTIM), architectures=[f"SCMP_ARCH_{other}"]), CALLS[VICTIM])
    t.equal("habits.seccomp-native", outcome(seen.answer(CALLS[VICTIM])), "EPERM")


@test("habits.seccomp-conditions")
def conditions(t: Case) -> None:
    """A rule for lseek(2) to 5 and to 6: both are refused, 7 isn't."""
    both = [arg(1, "SCMP_CMP_EQ", 5), arg(1, "SCMP_CMP_EQ", 6)]
    calls = {offset: f"try lseek 99 {offset} 0" for offset in (5, 6, 7)}
    seen = t.run(profile(rule(ERRNO, "lseek", args=both)), *calls.values())
    came = [outcome(seen.answer(each)) for each in calls.values()]
    t.equal("habits.seccomp-conditions", came, ["EPERM", "EPERM", "EBADF"])


@test("habits.userns-last", needs=("root", "userns", "netns"))
def user_namespace(t: Case) -> None:
    """A user namespace and a network namespace in it, both somebody else's: the program is in both."""
    with namespaces.held("user", "network") as pid:
        joined = {kind: namespaces.link(kind, pid) for kind in ("user", "network")}
        entries = [{"type": kind, "path": str(namespaces.path(kind, pid))} for kind in joined]
        ns = t.run({"linux.namespaces": [*t.base("x")["linux"]["namespaces"], *entries]}, "ns")["ns"]
        t.equal("habits.userns-last", [ns["user"], ns["net"]], [joined["user"], joined["network"]])


@test("habits.apparmor", needs=("root", "apparmor", "program:apparmor_parser"), may_refuse=True)
def apparmor(t: Case) -> None:
    """A profile that is loaded: it is the program's."""
    name = f"oci-conformance-habits-{os.getpid()}"
    with lsm.profile(t, name):
        changes = {"process.noNewPrivileges": False, "process.apparmorProfile": name}
        labels = t.run(changes, "lsm")["lsm"]
        t.equal("habits.apparmor", labels.get("apparmor") or labels.get("current"), f"{name} (enforce)")


@test("habits.rootless", needs=("userns", "program:newuidmap", "program:newgidmap"))
def rootless(t: Case) -> None:
    """The caller's number is root's, and his ranges are the rest: the program runs as user 1000."""
    if t.host.uid == 0:
        t.skip("this run's user is root, who needs no ranges")
    name = pwd.getpwuid(t.host.uid).pw_name
    changes: dict[Any, Any] = {"process.user": {"uid": 1000, "gid": 1000}}
    for kind, own in (("uid", t.host.uid), ("gid", t.host.gid)):
        first = _range(Path(f"/etc/sub{kind}"), name, own)
        if first is None:
            t.skip(f"this host lacks a range of 2000 ids for {name} in /etc/sub{kind}")
        changes[f"linux.{kind}Mappings"] = [
            {"containerID": 0, "hostID": own, "size": 1},
            {"containerID": 1, "hostID": first, "size": 2000},
        ]
    ids = t.run(changes, "ids")["ids"]
    t.equal("habits.rootless", (ids["uid"], ids["gid"]), (1000, 1000))


def _range(path: Path, name: str, number: int) -> int | None:
    """The first id of a range that is large enough (subuid(5))."""
    for line in path.read_text().splitlines() if path.exists() else ():
        fields = line.split(":")
        if len(fields) == 3 and fields[0] in (name, str(number)) and int(fields[2]) >= 2000:
            return int(fields[1])
    return None
