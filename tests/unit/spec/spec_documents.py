"""Documents for the tests of oci_spec: a full valid configuration, and strategies made from the tables."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from oci_spec import fields, names

Path = tuple[str | int, ...]

MAPPINGS = [{"containerID": 0, "hostID": 100000, "size": 65536}]
HOOK = {"path": "/bin/true", "args": ["true", "x"], "env": ["A=b"], "timeout": 5}
THROTTLE = {"major": 8, "minor": 0, "rate": 1000}

FULL: dict[str, Any] = {
    "ociVersion": "1.3.0",
    "process": {
        "terminal": True,
        "consoleSize": {"height": 25, "width": 80},
        "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [5, 6]},
        "args": ["sh", ""],
        "env": ["PATH=/bin"],
        "cwd": "/",
        "capabilities": {
            "bounding": ["CAP_KILL"],
            "effective": ["CAP_KILL"],
            "inheritable": [],
            "permitted": ["CAP_KILL"],
            "ambient": ["CAP_KILL"],
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 2**64 - 1, "soft": 1024}],
        "noNewPrivileges": True,
        "apparmorProfile": "profile",
        "oomScoreAdj": -5,
        "scheduler": {
            "policy": "SCHED_DEADLINE",
            "nice": 0,
            "priority": 0,
            "flags": ["SCHED_FLAG_RESET_ON_FORK"],
            "runtime": 10000,
            "deadline": 20000,
            "period": 30000,
        },
        "selinuxLabel": "a:b:c:s0",
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 7},
        "execCPUAffinity": {"initial": "0-3", "final": "0,2"},
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "häuschen",
    "domainname": "example",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"]},
        {
            "destination": "data",
            "source": "data",
            "options": ["rbind", "idmap"],
            "uidMappings": MAPPINGS,
            "gidMappings": MAPPINGS,
        },
    ],
    "hooks": {kind: [HOOK] for kind in names.HOOKS},
    "annotations": {"com.example.key": "", "🐚": "va\0lue"},
    "linux": {
        "uidMappings": MAPPINGS,
        "gidMappings": MAPPINGS,
        "sysctl": {"net.ipv4.ip_forward": "1", "kernel/shmmax": "5"},
        "resources": {
            "devices": [
                {"allow": False},
                {"allow": True, "type": "c", "major": 10, "minor": -1, "access": "rwm"},
            ],
            "memory": {
                "limit": 2**30,
                "reservation": 2**29,
                "swap": -1,
                "kernel": -1,
                "kernelTCP": -1,
                "swappiness": 0,
                "disableOOMKiller": False,
                "useHierarchy": True,
                "checkBeforeUpdate": False,
            },
            "cpu": {
                "shares": 1024,
                "quota": 1000000,
                "burst": 1000000,
                "period": 500000,
                "realtimeRuntime": 950000,
                "realtimePeriod": 1000000,
                "cpus": "2-3",
                "mems": "0-7",
                "idle": 0,
            },
            "pids": {"limit": 0},
            "blockIO": {
                "weight": 10,
                "leafWeight": 10,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}],
                "throttleReadBpsDevice": [THROTTLE],
                "throttleWriteBpsDevice": [THROTTLE],
                "throttleReadIOPSDevice": [THROTTLE],
                "throttleWriteIOPSDevice": [THROTTLE],
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 2**64 - 1}],
            "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
            "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
            "unified": {"io.max": "259:0 rbps=1\n253:0 rbps=2"},
        },
        "cgroupsPath": "/a/b",
        "namespaces": [
            {"type": "pid", "path": "/proc/1/ns/pid"},
            {"type": "network"},
            {"type": "mount"},
            {"type": "ipc"},
            {"type": "uts"},
            {"type": "user"},
            {"type": "cgroup"},
            {"type": "time"},
        ],
        "devices": [
            {
                "path": "/dev/fuse",
                "type": "c",
                "major": 10,
                "minor": 229,
                "fileMode": 438,
                "uid": 0,
                "gid": 0,
            },
            {"path": "/run/fifo", "type": "p"},
        ],
        "netDevices": {"eth1": {"name": "net%d"}, "eth2": {}},
        "seccomp": {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath": "/run/agent.sock",
            "listenerMetadata": "any",
            "syscalls": [
                {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
                {
                    "names": ["clone"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": 1,
                    "args": [{"index": 0, "value": 2**64 - 1, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
                },
            ],
        },
        "rootfsPropagation": "slave",
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "mountLabel": "a:b:c:s0",
        "intelRdt": {
            "closID": "group",
            "schemata": ["L3:0=7f0;1=1f", "MB:0=20;1=70"],
            "l3CacheSchema": "L3:0=7f0",
            "memBwSchema": "MB:0=20",
            "enableMonitoring": True,
        },
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-3,7", "flags": ["MPOL_F_STATIC_NODES"]},
        "personality": {"domain": "LINUX32", "flags": []},
        "timeOffsets": {"monotonic": {"secs": -5, "nanosecs": 999999999}, "boottime": {}},
    },
}


def full() -> dict[str, Any]:
    """A fresh copy of a configuration with every property, valid by tables and rules."""
    return json.loads(json.dumps(FULL))  # type: ignore[no-any-return]  # not copy: that keeps shared parts shared


def changed(path: Path, value: object) -> dict[str, Any]:
    """The full configuration with one value replaced or added."""
    document = full()
    put(document, path, value)
    return document


def without(path: Path) -> dict[str, Any]:
    """The full configuration with one value left out."""
    document = full()
    holder = at(document, path[:-1])
    del holder[path[-1]]
    return document


def at(document: Any, path: Path) -> Any:
    """The value at a path."""
    for part in path:
        document = document[part]
    return document


def put(document: Any, path: Path, value: object) -> None:
    """Set the value at a path."""
    at(document, path[:-1])[path[-1]] = value


def places(value: Any, path: Path = ()) -> list[Path]:
    """The path of every value inside a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in [(*path, key), *places(item, (*path, key))]]


# Half surrogate pairs have no UTF-8 form, and no portable form in a pattern: the parser alone sees them.
CHARACTERS = st.characters(blacklist_categories=("Cs",), blacklist_characters="\0")

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 5, 6, 7, 8, 100, 101, 1000, 1001, 65535, 65536, 10**9, 2**31, 2**32, 2**63]),
    st.integers(-(2**65), 2**65),
    st.sampled_from([1.0, 1e3, 0.5, -0.0]),
    st.text(max_size=3),
    st.sampled_from(
        ["", "/", "//x", "/\n", "a\n", "x\0", "2MB", "2MB\n", "02KB", "rw", "MB:", "MB:\n", "1-2"]
    ),
    st.sampled_from(["a", "c", "p", "SCMP_ACT_KILL", "pid", "rslave", "RLIMIT_AS", "SCHED_RR", "LINUX"]),
    st.just([]),
    st.just({}),
    st.just([None]),
    st.just([""]),
    st.just({"": ""}),
    st.just({"a\0": ""}),
)


def of_kind(kind: fields.Kind) -> st.SearchStrategy[Any]:
    """Values that a kind accepts."""
    check = kind[0]
    if check is fields.check_object:
        must = {key: of_kind(kind[1][key]) for key in kind[2]}
        may = {key: st.none() | of_kind(field) for key, field in kind[1].items() if key not in kind[2]}
        return st.fixed_dictionaries(must, optional=may)
    if check is fields.check_list:
        return st.lists(of_kind(kind[1]), min_size=kind[2], max_size=2)
    if check is fields.check_map:
        return st.dictionaries(of_kind(kind[2]), of_kind(kind[1]), max_size=2)
    if check is fields.check_integer:
        return st.sampled_from([kind[1], kind[2]]) | st.integers(kind[1], kind[2])
    if check is fields.check_enum:
        return st.sampled_from(list(kind[1]))
    if check is fields.check_boolean:
        return st.booleans()
    if check is fields.check_path:
        return st.text(CHARACTERS, max_size=4).map("/{}".format)
    if check is fields.check_name:
        return st.text(CHARACTERS, min_size=1, max_size=4)
    if check is fields.check_form:
        return st.from_regex(kind[2].replace("$", r"\Z"), fullmatch=True).filter(kind[1])
    return st.text(CHARACTERS, max_size=4)


@st.composite
def mutated(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """A document with up to three values replaced by odd ones, left out or added."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(document)))
        if draw(st.booleans()):
            put(document, path, draw(ODD))
        else:
            holder = at(document, path[:-1])
            del holder[path[-1]]
        if not document:
            break
    return document
