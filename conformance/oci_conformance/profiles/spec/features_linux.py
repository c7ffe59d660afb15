"""What the Features structure says of Linux (features-linux.md)."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oci_conformance.core.bundle import Changes
from oci_conformance.profiles.spec.documents import runs
from oci_conformance.profiles.spec.features import features, listed, recognised
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test
from oci_spec import names as known

FILES = {"mount": "mnt", "network": "net"}  # in /proc/PID/ns, where the name is another
IDENTITY = [{"containerID": 0, "hostID": 0, "size": 65536}]
NOTIFY = "SCMP_ACT_NOTIFY"
KILLABLE = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
# A call for each action, which nothing makes between the loading of the filter and the probe, and what comes of it.
ACTIONS = {
    "SCMP_ACT_ERRNO": ("sched_get_priority_max", {"errno": "EPERM"}),
    "SCMP_ACT_TRACE": ("sched_get_priority_min", {"errno": "ENOSYS"}),
    "SCMP_ACT_TRAP": ("getpriority", {"signal": "SIGSYS"}),
    "SCMP_ACT_KILL": ("getsid", {"signal": "SIGSYS"}),
    "SCMP_ACT_KILL_THREAD": ("sched_rr_get_interval", {"signal": "SIGSYS"}),
    "SCMP_ACT_KILL_PROCESS": ("getitimer", {"signal": "SIGSYS"}),
    "SCMP_ACT_LOG": ("syncfs", {}),
    "SCMP_ACT_ALLOW": ("kcmp", {}),
}
BIG_ENDIAN = (
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "PPC",
    "PPC64",
    "S390",
    "S390X",
    "PARISC",
    "PARISC64",
    "M68K",
    "SHEB",
)


@test("features.namespaces", needs=("root",))
def namespaces(t: Case) -> None:
    """Containers have a namespace of their own of every type that is listed."""
    names = listed(t, "features.namespaces", "linux", "namespaces")
    if not names:
        return
    ours = {name: f"/proc/self/ns/{FILES.get(name, name)}" for name in names}
    there = [name for name in names if os.path.exists(ours[name]) or name not in known.NAMESPACES]
    for types in ([name for name in there if name != "user"], ["user"] if "user" in there else []):
        if not types:
            continue
        changes: dict[Any, Any] = {
            "linux.namespaces": [{"type": name} for name in dict.fromkeys((*types, "mount", "pid"))]
        }
        if "user" in types:
            changes |= {"linux.uidMappings": IDENTITY, "linux.gidMappings": IDENTITY}
        c = t.prepare(changes, "ns")
        fault = runs(c)
        if not t.check(
            "features.namespaces", not fault, f"a container with namespaces {', '.join(types)}", fault
        ):
            continue
        seen = next((each.get("result") for each in c.results() if each["command"] == "ns"), None) or {}
        shared = [
            name for name in types if seen.get(FILES.get(name, name)) in (None, os.readlink(ours[name]))
        ]
        t.check("features.namespaces", not shared, f"namespaces {', '.join(types)} of its own", shared)


@test("features.capabilities", needs=("root",))
def capabilities(t: Case) -> None:
    """Containers get every listed capability that this host can give."""
    names = listed(t, "features.capabilities", "linux", "capabilities")
    if not names:
        return
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    ours = int(status["CapPrm"], 16) & int(status["CapBnd"], 16)
    newest = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    numbers = {name: number for number, name in enumerate(known.CAPABILITIES)}
    possible = [name for name in names if name in numbers and ours >> numbers[name] & 1]
    strange = [name for name in names if numbers.get(name, newest) > newest] if t.spec >= "1.1.0" else []
    sets = ("bounding", "effective", "permitted")
    seen = t.run({f"process.capabilities.{name}": possible + strange for name in sets}, "caps")["caps"]
    for name in sets:
        missing = [each for each in possible if each not in seen[name]]
        t.check(
            "features.capabilities", not missing, f"all listed capabilities in {name}", f"without {missing}"
        )


@test("features.seccomp-actions")
def seccomp_actions(t: Case) -> None:
    """Every listed action can be that of a rule, and does what it says."""
    names = listed(t, "features.seccomp-actions", "linux", "seccomp", "actions")
    if not names:
        return
    rules = [(name, *ACTIONS.get(name, ("vhangup", {}))) for name in names if name != NOTIFY]
    changes: Changes = {
        "linux.seccomp": {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": [call], "action": name} for name, call, _ in rules],
        }
    }
    c = t.prepare(changes, *(f"try {call}" for _, call, _ in rules))
    fault = runs(c)
    t.check("features.seccomp-actions", not fault, f"a container with {', '.join(names)}", fault)
    answers = {each["command"]: each for each in c.results()}
    for name, call, wanted in rules:
        answer = answers.get(f"try {call}", {})
        found = {"errno": answer.get("errno"), "signal": None}
        if isinstance(answer.get("result"), dict):
            found["signal"] = answer["result"].get("signal")
        ok = bool(fault) or wanted.items() <= found.items()
        t.check("features.seccomp-actions", ok, f"{wanted} of {call} with {name}", answer)
    if NOTIFY in names:
        with _listener(t) as path:
            fault = runs(t.prepare(_notified(path, [])))
        t.check("features.seccomp-actions", not fault, f"a container with {NOTIFY}", fault)


@test("features.seccomp-operators")
def seccomp_operators(t: Case) -> None:
    """Every listed operator can be that of an argument's comparison."""
    names = listed(t, "features.seccomp-operators", "linux", "seccomp", "operators")
    calls = (
        "getpriority",
        "getsid",
        "getitimer",
        "kcmp",
        "syncfs",
        "mincore",
        "sched_get_priority_max",
        "vhangup",
    )

    def compared(operators: list[str]) -> Changes:
        rules = [
            {
                "names": [calls[number % len(calls)]],
                "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 0, "value": 99, "valueTwo": 99, "op": name}],
            }
            for number, name in enumerate(operators)
        ]
        return {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}}

    if names:
        recognised(t, "features.seccomp-operators", names, compared)


@test("features.seccomp-archs")
def seccomp_architectures(t: Case) -> None:
    """Filters can be for every listed architecture that can share one with this host's."""
    names = listed(t, "features.seccomp-archs", "linux", "seccomp", "archs")
    big = os.uname().machine in ("s390x", "ppc64", "mips", "mips64")
    alike = [name for name in names if (name.removeprefix("SCMP_ARCH_") in BIG_ENDIAN) is big]

    def filtered(architectures: list[str]) -> Changes:
        rule = {"names": ["vhangup"], "action": "SCMP_ACT_ERRNO"}
        seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": [rule]}
        return {"linux.seccomp": seccomp}

    if alike:
        recognised(t, "features.seccomp-archs", alike, filtered)
    elif names:
        t.skip("this host's architecture shares no filter with a listed one")


@test("features.seccomp-knownFlags", "features.seccomp-supportedFlags")
def seccomp_flags(t: Case) -> None:
    """Filters can have every flag that is listed as supported; one that is only known may be refused."""
    supported = listed(t, "features.seccomp-supportedFlags", "linux", "seccomp", "supportedFlags")
    names = listed(t, "features.seccomp-knownFlags", "linux", "seccomp", "knownFlags")

    def flagged(flags: list[str]) -> Changes:
        return {"linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "flags": flags}}

    plain = [name for name in supported if name != KILLABLE]
    if plain:
        recognised(t, "features.seccomp-supportedFlags", plain, flagged)
    if KILLABLE in supported:
        with _listener(t) as path:
            fault = runs(t.prepare(_notified(path, [KILLABLE])))
        t.check("features.seccomp-supportedFlags", not fault, f"a container with {KILLABLE}", fault)
    if names:
        unknown = [name for name in supported if name not in names]
        t.check(
            "features.seccomp-knownFlags", not unknown, "all supported flags among the known ones", unknown
        )
        for name in names:
            call = t.prepare(flagged([name])).call("create")
            t.check(
                "features.seccomp-knownFlags",
                call.code >= 0,
                f"a container with {name}, or an error",
                call.sentence,
            )


@test("features.mempolicy-modes", "features.mempolicy-flags", needs=("numa:1",))
def memory_policy(t: Case) -> None:
    """Memory policies can have every listed mode and flag that this kernel has."""
    modes = listed(t, "features.mempolicy-modes", "linux", "memoryPolicy", "modes")
    flags = listed(t, "features.mempolicy-flags", "linux", "memoryPolicy", "flags")
    newer = {"MPOL_PREFERRED_MANY": (5, 15), "MPOL_WEIGHTED_INTERLEAVE": (6, 9)}
    for mode in modes:
        if newer.get(mode, (0, 0)) > t.host.kernel:
            continue
        nodes = {} if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") else {"nodes": "0"}
        c = t.prepare({"linux.memoryPolicy": {"mode": mode, **nodes}}, "mempolicy")
        fault = runs(c)
        t.check("features.mempolicy-modes", not fault, f"a container with {mode}", fault)
        seen = [(each.get("result") or {}).get("mode") for each in c.results()]
        t.check("features.mempolicy-modes", bool(fault) or seen == [mode], mode, seen)
    for flag in flags:
        if flag == "MPOL_F_NUMA_BALANCING" and t.host.kernel < (5, 12):
            continue
        policy = {"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}
        fault = runs(t.prepare({"linux.memoryPolicy": policy}))
        t.check("features.mempolicy-flags", not fault, f"a container with {flag}", fault)


@test("features.idmap-partial", needs=("root", "userns", "idmap"))
def idmapped_mounts(t: Case) -> None:
    """A runtime that makes an ID-mapped mount, if only in the simplest case, says that it does."""
    document = features(t)
    if not document:
        return
    bound = t.folder / "bound"
    bound.mkdir()
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    base = t.base("none")
    namespaces = [*base["linux"]["namespaces"], {"type": "user"}]
    mount = {"destination": "/mnt", "type": "bind", "source": str(bound), "options": ["bind"]}
    changes: Changes = {
        "linux.namespaces": namespaces,
        "linux.uidMappings": mapping,
        "linux.gidMappings": mapping,
        "mounts[+]": {**mount, "uidMappings": mapping, "gidMappings": mapping},
    }
    c = t.prepare(changes, "stat /mnt")
    fault = runs(c)
    owners = [(each.get("result") or {}).get("uid") for each in c.results()]
    extensions = (document.get("linux") or {}).get("mountExtensions") or {}
    says = (extensions.get("idmap") or {}).get("enabled")
    mapped = not fault and owners == [0]
    t.check(
        "features.idmap-partial", says is True or not mapped, "mountExtensions.idmap.enabled is true", says
    )


def _notified(path: str, flags: list[str]) -> Changes:
    seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": flags,
        "listenerPath": path,
        "syscalls": [{"names": ["vhangup"], "action": NOTIFY}],
    }
    return {"linux.seccomp": seccomp}


@contextlib.contextmanager
def _listener(t: Case) -> Iterator[str]:
    """A socket for a runtime to send the descriptor of a filter to. Nobody answers: the calls aren't made."""
    path = t.folder / "listener"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        yield str(path)
