"""Every property of config.json with every value that its table doesn't allow (config.md#valid-values).

For each property there is a control: the plain bundle with a value of this property that is right, and with what that
takes. Each wrong value is put into the control's configuration, so that a refusal can have no other reason. Where the
control itself is refused, by the runtime or for what the host lacks, nothing can be said.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oci_conformance.core.bundle import DELETE, Key
from oci_conformance.core.runtime import NOT_EXECUTED
from oci_conformance.profiles.spec.seccomp import needed
from oci_conformance.run.case import Case, Container
from oci_conformance.run.registry import test
from oci_conformance.run.values import MISSING, Property, properties, wrong
from oci_spec import fields
from oci_spec.config import CONFIG

Place = tuple[Key, ...]
TOKEN = re.compile(r"[^.\[\]{}]+|\[\]|\{\}")
Values = dict[Any, Any]
MIB = 1 << 20

MOUNT_IDS = [{"containerID": 0, "hostID": 1000, "size": 10}]
IDS = [{"containerID": 0, "hostID": 100_000, "size": 65536}]

# A value that is right for each property that has none of its own in the plain configuration, where a number is
# not 1, a string not "text", and a name not the first of its list.
SAMPLES: dict[str, Any] = {
    "process.consoleSize.height": 24,
    "process.consoleSize.width": 80,
    "process.user.umask": 18,
    "process.rlimits[].type": "RLIMIT_CORE",
    "process.rlimits[].hard": 0,
    "process.rlimits[].soft": 0,
    "process.apparmorProfile": "unconfined",
    "process.oomScoreAdj": 500,
    "process.scheduler.policy": "SCHED_OTHER",
    "process.scheduler.nice": 0,
    "process.scheduler.priority": 0,
    "process.scheduler.flags[]": "SCHED_FLAG_RESET_ON_FORK",
    "process.ioPriority.class": "IOPRIO_CLASS_BE",
    "process.ioPriority.priority": 4,
    "process.execCPUAffinity.initial": "0",
    "process.execCPUAffinity.final": "0",
    "mounts[]": {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"},
    "mounts[].uidMappings": MOUNT_IDS,
    "mounts[].gidMappings": MOUNT_IDS,
    "mounts[].options[]": "ro",
    "linux.uidMappings": IDS,
    "linux.gidMappings": IDS,
    "linux.namespaces[].type": "network",
    "linux.devices[].path": "/dev/extra",
    "linux.devices[].type": "p",
    "linux.devices[].fileMode": 0o600,
    "linux.devices[].uid": 0,
    "linux.devices[].gid": 0,
    "linux.seccomp.defaultAction": "SCMP_ACT_ALLOW",
    "linux.seccomp.syscalls[].names[]": "getcwd",
    "linux.seccomp.syscalls[].action": "SCMP_ACT_ALLOW",
    "linux.seccomp.syscalls[].args[].index": 0,
    "linux.seccomp.syscalls[].args[].op": "SCMP_CMP_EQ",
    "linux.rootfsPropagation": "private",
    "linux.maskedPaths[]": "/proc/version",
    "linux.readonlyPaths[]": "/proc/sys",
    "linux.sysctl{}": "8192",
    "linux.intelRdt.closID": "oci-conformance",
    "linux.intelRdt.memBwSchema": "MB:0=100",
    "linux.memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"},
    "linux.memoryPolicy.nodes": "0",
    "linux.memoryPolicy.flags[]": "MPOL_F_STATIC_NODES",
    "linux.personality.domain": "LINUX",
    "linux.personality.flags": [],
    "linux.resources.devices[]": {"allow": True, "access": "rwm"},
    "linux.resources.devices[].allow": True,
    "linux.resources.devices[].type": "c",
    "linux.resources.devices[].access": "rwm",
    "linux.resources.memory.limit": 64 * MIB,
    "linux.resources.memory.reservation": 32 * MIB,
    "linux.resources.memory.swap": 128 * MIB,
    "linux.resources.memory.kernel": 64 * MIB,
    "linux.resources.memory.kernelTCP": 64 * MIB,
    "linux.resources.memory.swappiness": 60,
    "linux.resources.memory.disableOOMKiller": False,
    "linux.resources.cpu.shares": 512,
    "linux.resources.cpu.quota": 50_000,
    "linux.resources.cpu.period": 100_000,
    "linux.resources.cpu.burst": 1000,
    "linux.resources.cpu.realtimeRuntime": 1000,
    "linux.resources.cpu.realtimePeriod": 100_000,
    "linux.resources.cpu.cpus": "0",
    "linux.resources.cpu.mems": "0",
    "linux.resources.cpu.idle": 0,
    "linux.resources.pids.limit": 100,
    "linux.resources.blockIO.weight": 500,
    "linux.resources.blockIO.leafWeight": 500,
    "linux.resources.blockIO.weightDevice[].weight": 500,
    "linux.resources.blockIO.weightDevice[].leafWeight": 500,
    "linux.resources.hugepageLimits[].pageSize": "2MB",
    "linux.resources.hugepageLimits[].limit": 2 * MIB,
    "linux.resources.rdma": {"mlx5_0": {"hcaHandles": 2}},
    "linux.resources.unified{}": "max",
}
# The name of the one member of a map.
NAMES = {
    "linux.sysctl": "kernel.msgmax",
    "linux.timeOffsets": "monotonic",
    "linux.resources.unified": "cgroup.max.depth",
}
IDMAPPED = {
    "destination": "/mnt",
    "type": "bind",
    "source": "rootfs/etc",  # relative to the bundle
    "options": ["bind"],
    "uidMappings": MOUNT_IDS,
    "gidMappings": MOUNT_IDS,
}
DEADLINE = {
    "process.scheduler": {"policy": "SCHED_DEADLINE", "runtime": 10**6, "deadline": 10**7, "period": 10**7}
}
# What else a property takes, by the beginning of its path. A later line is applied after an earlier one.
ALSO: dict[str, Values] = {
    "process.consoleSize": {"process.terminal": True},
    "process.scheduler.runtime": DEADLINE,
    "process.scheduler.deadline": DEADLINE,
    "process.scheduler.period": DEADLINE,
    "mounts[].uidMappings": {("mounts", 3): IDMAPPED},
    "mounts[].gidMappings": {("mounts", 3): IDMAPPED},
    "linux.uidMappings": {"linux.namespaces[+]": {"type": "user"}, "linux.gidMappings": IDS},
    "linux.gidMappings": {"linux.namespaces[+]": {"type": "user"}, "linux.uidMappings": IDS},
    "linux.timeOffsets": {"linux.namespaces[+]": {"type": "time"}},
    "linux.devices[].m": {
        ("linux", "devices", 0): {"path": "/dev/extra", "type": "c", "major": 1, "minor": 3}
    },
    "linux.netDevices": {"linux.namespaces[+]": {"type": "network"}},
    "linux.resources.memory.swap": {"linux.resources.memory.limit": 64 * MIB},
    "linux.resources.cpu.burst": {"linux.resources.cpu.quota": 50_000, "linux.resources.cpu.period": 100_000},
    "linux.seccomp.defaultErrnoRet": {
        "linux.seccomp.defaultAction": "SCMP_ACT_ERRNO",
        "linux.seccomp.syscalls": [needed()],
    },
    "linux.seccomp.listenerMetadata": {"linux.seccomp.listenerPath": "/none"},
    "linux.seccomp.syscalls[].errnoRet": {("linux", "seccomp", "syscalls", 0, "action"): "SCMP_ACT_ERRNO"},
}


def sample(t: Case, kind: Any, path: str) -> Any:
    """A value that is right, with no more in it than is required."""
    if path in SAMPLES:
        return SAMPLES[path]
    if re.fullmatch(r"hooks\.\w+\[\]", path):
        return t.hook("cwd", path="/probe" if "startContainer" in path else None)
    if path.startswith("linux.resources.blockIO.") and path.endswith(("major", "minor")):
        return _disk()[path.endswith("minor")]
    if path == "linux.namespaces[].path":
        return f"/proc/{os.getpid()}/ns/net"
    check = kind[0]
    if path == "linux.resources.blockIO.weightDevice[]":
        return {"major": _disk()[0], "minor": _disk()[1], "weight": 500}
    if check is fields.check_object:
        return {name: sample(t, kind[1][name], f"{path}.{name}") for name in kind[2]}
    if check is fields.check_list:
        return [sample(t, kind[1], f"{path}[]")]
    if check is fields.check_map:
        return {NAMES.get(path, "name"): sample(t, kind[1], f"{path}{{}}")}
    if check is fields.check_enum:
        return kind[1][0]
    return {fields.check_path: "/tmp", fields.check_boolean: True, fields.check_integer: 1}.get(check, "text")


def _disk() -> tuple[int, int]:
    """The numbers of a block device of this host; some that are nobody's if it has none."""
    for path in sorted(Path("/sys/block").glob("*")):
        major, _, minor = (path / "dev").read_text().strip().partition(":")
        return int(major), int(minor)
    return 8, 0


def control(t: Case, prop: Property) -> tuple[Values, Place]:
    """The changes that give the plain configuration this property, and the place where it then stands."""
    changes: Values = {}
    place: Place = ()
    node: Any = t.base("none")
    kind, path = CONFIG, ""
    for token in TOKEN.findall(prop.path):
        inner = token in ("[]", "{}")
        kind = kind[1] if inner else kind[1][token]
        path += token if inner or not path else f".{token}"
        key: Key = token
        if token == "[]":
            key = 0 if changes else len(node)  # the one item of a sample, or after what is there
        elif token == "{}":
            key = next(iter(node))
        place += (key,)
        if key in node if isinstance(node, dict) else int(key) < len(node):
            node = node[key]
        else:
            node = changes[place] = sample(t, kind, path)
    for beginning, values in ALSO.items():
        if prop.path.startswith(beginning) and not (t.host.uid and beginning.endswith("Mappings")):
            changes |= values
    return changes, place


def _taken(container: Container) -> str:
    """What became of a container that should be refused by create, or by start; nothing if it was."""
    call = container.call("create")
    if call.ok:
        call = container.call("start")
    if call.ok:
        return "taken by create and start"
    return "" if call.code > NOT_EXECUTED else f"{call.operation}: {call.sentence}"


def judge(t: Case, prop: Property, controls: dict[str, str]) -> None:
    """The verdict on one property. `controls` are those of this test -> why they were refused."""
    changes, place = control(t, prop)
    key = json.dumps([[str(name), value] for name, value in changes.items()])
    if key not in controls:
        controls[key] = t.control(changes)
    if controls[key]:
        t.unsupported(prop.id, f"no wrong value can be tried, as a right one is refused: {controls[key]}")
        return
    taken: list[str] = []
    first: Container | None = None
    for value in wrong(prop):
        rest = {name: each for name, each in changes.items() if name != place}  # what is put last stays
        container = t.prepare({**rest, place: DELETE if value is MISSING else value})
        if said := _taken(container):
            first = first or container
            taken.append(f"{repr(value) if value is MISSING else json.dumps(value)}: {said}")
    t.check(
        prop.id, not taken, f"an error for each wrong value of {prop.path}", "; ".join(taken), about=first
    )


def _tests() -> None:
    """Register a test for each table, with a verdict for each of its properties."""
    tables: dict[str, list[Property]] = {}
    for prop in properties():
        tables.setdefault(prop.path.rpartition(".")[0], []).append(prop)
    for path, members in tables.items():
        test(*(prop.id for prop in members), slow=len(members) > 10)(_test(path, members))


def _test(path: str, members: list[Property]) -> Callable[[Case], None]:
    def function(t: Case) -> None:
        controls: dict[str, str] = {}
        for prop in members:
            judge(t, prop, controls)

    function.__name__ = "_".join(name for name in TOKEN.findall(path) if name.isalpha()) or "top"
    function.__doc__ = f"No property of {path or 'the configuration'} takes a value that it mustn't have."
    return function


_tests()
