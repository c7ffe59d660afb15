"""Properties that meet in the kernel, in pairs: each pair is there together, alone and not at all, in few containers.

Every property has tests of its own; here a container has about half of them at once. Which ones is an orthogonal array:
in its rows any two properties are both set, one without the other, and the other without the one. A verdict is given
on the requirement of the property that isn't in effect; on a combination that is refused, on create's to apply all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oci_conformance.profiles.spec.seccomp import CALLS, ERRNO, VICTIM, outcome, profile, rule
from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import tmpfs
from oci_conformance.run.case import Case, Container, Refused, Seen
from oci_conformance.run.registry import test

REFUSAL = "create.apply-all-but-process"
IDS = [{"containerID": 0, "hostID": 100_000, "size": 65536}]
SCORE = 650
TWO_MORE = "sysctls of two namespaces more"
NET = {"net.ipv4.ip_unprivileged_port_start": "555"}
# Only the host's root may write these, also where root of a user namespace owns the namespace.
MORE = {"kernel.shm_rmid_forced": "1", "kernel.domainname": "meets"}
Look = Callable[[Seen], object]


@dataclass(frozen=True)
class Factor:
    """A property, or a few that belong together: what they take, how they are seen, and on what that is a verdict."""

    name: str
    changes: dict[Any, Any]
    looks: dict[str, tuple[Look, object]]  # requirement -> what is seen of it, and what should be
    commands: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def _ids(name: str) -> Look:
    return lambda seen: seen["ids"][name]


def _groups(seen: Seen) -> list[int]:
    return sorted({*seen["ids"]["groups"]} - {seen["ids"]["gid"]})


def _failed(command: str) -> Look:
    return lambda seen: seen.error(command) or "done"


def _read(path: str) -> Callable[[Seen], list[str]]:
    def look(seen: Seen) -> list[str]:
        answer = seen.answer(f"read {path}")
        return str(answer.get("result", answer.get("errno"))).split()

    return look


def _device(seen: Seen) -> list[object]:
    found = seen["stat /dev/pipe"]
    return [found["type"], found["mode"], found["uid"], found["gid"]]


def _path(name: str) -> str:
    return f"/proc/sys/{name.replace('.', '/')}"


def _sysctls(wanted: dict[str, str]) -> Look:
    return lambda seen: [" ".join(_read(_path(name))(seen)) for name in wanted]


FACTORS = (
    Factor(
        "an ordinary user",
        {"process.user.uid": 1000, "process.user.gid": 1001},
        {"user.uid": (_ids("euid"), 1000), "user.gid": (_ids("egid"), 1001)},
    ),
    Factor(
        "a user namespace",
        {"linux.namespaces[+]": {"type": "user"}, "linux.uidMappings": IDS, "linux.gidMappings": IDS},
        {"userns.mappings": (_read("/proc/self/uid_map"), ["0", "100000", "65536"])},
        ("read /proc/self/uid_map",),
        ("userns",),
    ),
    Factor(
        "a terminal",
        {"process.terminal": True},
        {"process.terminal": (lambda seen: seen["tty"]["isatty"], [True] * 3)},
        ("tty",),
    ),
    Factor(
        "a read-only root",
        {"root.readonly": True},
        {"root.readonly": (_failed("mkdir /new"), "EROFS")},
        ("mkdir /new",),
    ),
    Factor(
        "limits",
        {"process.rlimits": [{"type": "RLIMIT_CORE", "soft": 100, "hard": 200}]},
        {
            "rlimits.soft": (lambda seen: seen["rlimits"]["RLIMIT_CORE"]["soft"], "100"),
            "rlimits.hard": (lambda seen: seen["rlimits"]["RLIMIT_CORE"]["hard"], "200"),
        },
        ("rlimits",),
    ),
    Factor(
        "a mask and an OOM score",
        {"process.user.umask": 0o35, "process.oomScoreAdj": SCORE},
        {"user.umask": (_ids("umask"), 0o35), "oom.set": (_read("/proc/self/oom_score_adj"), [str(SCORE)])},
        ("read /proc/self/oom_score_adj",),
    ),
    Factor("groups", {"process.user.additionalGids": [5, 6]}, {"user.additionalGids": (_groups, [5, 6])}),
    Factor(
        "a seccomp filter",
        profile(rule(ERRNO, VICTIM)),
        {"seccomp.actions": (lambda seen: outcome(seen.answer(CALLS[VICTIM])), "EPERM")},
        (CALLS[VICTIM],),
    ),
    Factor(
        "masks",
        {"linux.maskedPaths": ["/proc/version"], "linux.readonlyPaths": ["/mnt"]},
        {
            "masked.applied": (_read("/proc/version"), []),
            "readonly.applied": (_failed("mkdir /mnt/new"), "EROFS"),
        },
        ("read /proc/version", "mkdir /mnt/new"),
    ),
    Factor(
        "a device",
        {"linux.devices": [{"path": "/dev/pipe", "type": "p", "fileMode": 0o642, "uid": 1, "gid": 2}]},
        {"devices.available": (_device, ["fifo", 0o642, 1, 2])},
        ("stat /dev/pipe",),
    ),
    Factor(
        "a sysctl of the network",
        {"linux.namespaces[4]": {"type": "network"}, "linux.sysctl": NET},
        {"sysctl": (_sysctls(NET), [*NET.values()])},
        tuple(f"read {_path(name)}" for name in NET),
        ("netns",),
    ),
    Factor(
        TWO_MORE,
        {("linux", "sysctl", name): value for name, value in MORE.items()},
        {"sysctl": (_sysctls(MORE), [*MORE.values()])},
        tuple(f"read {_path(name)}" for name in MORE),
    ),
    Factor("a limit of tasks", {"linux.resources.pids.limit": 77}, {}, (), ("cgroup:pids",)),
    Factor("hooks", {}, {}),  # which name the case's own files
)
# Columns of the array. The one that is left out hangs together with a user namespace and the sysctls that don't go
# with one.
COLUMNS = tuple(number for number in range(1, 16) if number != 14)
NUMBER = 16  # rows of the array, for up to 15 factors; the first one is empty


def rows() -> list[tuple[Factor, ...]]:
    """The rows: a factor is in one where the bits that its number and the row's share are odd in number.

    What the kernel never does together isn't there: sysctls that are the host's root's in a user namespace.
    """
    found = []
    for row in range(1, NUMBER):
        chosen = [
            each for number, each in zip(COLUMNS, FACTORS, strict=True) if (number & row).bit_count() % 2
        ]
        mapped = any(each.name == "a user namespace" for each in chosen)
        found.append(tuple(each for each in chosen if not (mapped and each.name == TWO_MORE)))
    return found


def _changes(t: Case, row: tuple[Factor, ...], log: str) -> dict[Any, Any]:
    """The changes of a row. Namespaces are counted, so network comes first."""
    found: dict[Any, Any] = mounting.add(t, tmpfs("/mnt", "mode=1777"))
    for each in sorted(row, key=lambda factor: "linux.namespaces[4]" not in factor.changes):
        found |= each.changes
        if each.name == "hooks":
            found |= {f"hooks.{kind}": [t.hook(f"to {log}.{kind}", "echo here")] for kind in KINDS}
    return found


KINDS = ("createRuntime", "createContainer", "poststart", "poststop")


def _run(t: Case, row: tuple[Factor, ...]) -> None:
    """A container with a row's properties, and a verdict on each of them."""
    row = tuple(each for each in row if not any(t.host.lacks(need) for need in each.needs))
    names = ", ".join(each.name for each in row)
    log = _log(t)
    commands = dict.fromkeys(["ids", *(command for each in row for command in each.commands)])
    try:
        container = t.create(_changes(t, row, log), *commands)
        limited = _limit(container) if any(each.name == "a limit of tasks" for each in row) else ""
        container.start()
    except Refused as error:
        _refused(t, row, names, str(error))
        return
    container.wait()
    container.delete()
    seen = Seen(container)
    for each in row:
        for id, (look, wanted) in each.looks.items():
            t.equal(id, [each.name, look(seen)], [each.name, wanted])
    if limited:
        t.equal("pids.limit", limited, "77")
    for kind in KINDS if any(each.name == "hooks" for each in row) else ():
        there = Path(f"{log}.{kind}")
        t.check(f"lifecycle.{kind}-invoked", there.exists(), f"{kind} invoked, with {names}", "it wasn't")
    t.check(REFUSAL, True, "", "")
    for id in t.test.ids:
        if id not in t.verdicts:
            t.unsupported(id, "this host lacks what it takes here")


def _log(t: Case) -> str:
    """Where hooks leave a trace, whoever they run as."""
    folder = t.folder / "hooks"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o1777)
    return f"{folder}/hook"


def _limit(container: Container) -> str:
    return container.limit("pids", v1="pids.max", v2="pids.max")


def _refused(t: Case, row: tuple[Factor, ...], names: str, said: str) -> None:
    """The verdict on a combination that is refused: which pair of its properties, each of which is taken alone."""
    log = _log(t)
    alone = {each.name: t.control(_changes(t, (each,), log)) for each in row}
    if lacking := [name for name, fault in alone.items() if fault]:
        for id in t.test.ids:
            t.unsupported(id, f"{', '.join(lacking)}, alone: {alone[lacking[0]]}")
        return
    for pair in itertools.combinations(row, 2):
        if fault := t.control(_changes(t, pair, log)):
            names, said = " and ".join(each.name for each in pair), fault
            break
    t.check(REFUSAL, False, f"a container with {names}", said)
    for id in t.test.ids:
        if id not in t.verdicts:
            t.unsupported(id, "the combination was refused, which is another requirement's affair")


def _ids_of(row: tuple[Factor, ...]) -> list[str]:
    """The requirements that a row can be a verdict on."""
    found = list(dict.fromkeys(id for each in row for id in each.looks))
    found += ["pids.limit"] if any(each.name == "a limit of tasks" for each in row) else []
    found += [f"lifecycle.{kind}-invoked" for kind in KINDS] if row[-1].name == "hooks" else []
    return [REFUSAL, *found]


def _register(number: int, row: tuple[Factor, ...]) -> None:
    def function(t: Case) -> None:
        _run(t, row)

    function.__name__ = f"row_{number}"
    function.__doc__ = f"All are in effect at once: {', '.join(each.name for each in row)}."
    test(*_ids_of(row), needs=("root",))(function)


for _number, _row in enumerate(rows(), 1):
    _register(_number, _row)
