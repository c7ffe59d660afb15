"""Tables of `linux` but for its resources (config-linux.md)."""

from __future__ import annotations

from oci_spec import names
from oci_spec.fields import (
    BOOLEAN,
    ID,
    INT64,
    NAME,
    PATH,
    STRING,
    STRING_MAP,
    STRINGS,
    UINT32,
    UINT64,
    check_enum,
    check_integer,
    form,
    list_of,
    map_of,
    table,
)
from oci_spec.process import ID_MAPPINGS
from oci_spec.resources import RESOURCES

ONE_LINE = "^[^\\n\\u0000]*$"


def is_one_line(text: str) -> bool:
    """Whether there is no newline."""
    return "\n" not in text


def is_bandwidth(text: str) -> bool:
    """Whether a memory bandwidth schema has its form."""
    return text[:3] == "MB:" and "\n" not in text


NAMESPACE = table(
    {"type": (check_enum, names.NAMESPACES), "path": PATH},
    ("type",),
    "config-linux.md#namespaces",
)

# The text requires major and minor "unless type is p": that is a rule. fileMode is any uint32 by the text;
# engines send the file type's bits along, so no bound on it.
DEVICE = table(
    {
        "path": PATH,
        "type": (check_enum, ("c", "b", "u", "p")),
        "major": INT64,
        "minor": INT64,
        "fileMode": UINT32,
        "uid": ID,
        "gid": ID,
    },
    ("path", "type"),
    "config-linux.md#devices",
)

SECCOMP_ACTION = (check_enum, names.SECCOMP_ACTIONS)

SECCOMP_ARGUMENT = table(
    {
        "index": (check_integer, 0, 5),
        "value": UINT64,
        "valueTwo": UINT64,
        "op": (check_enum, names.SECCOMP_OPERATORS),
    },
    ("index", "value", "op"),
    "config-linux.md#seccomp",
)

SECCOMP_RULE = table(
    {
        "names": list_of(STRING, 1),
        "action": SECCOMP_ACTION,
        "errnoRet": UINT32,
        "args": list_of(SECCOMP_ARGUMENT),
    },
    ("names", "action"),
    "config-linux.md#seccomp",
)

SECCOMP = table(
    {
        "defaultAction": SECCOMP_ACTION,
        "defaultErrnoRet": UINT32,
        "architectures": list_of((check_enum, names.SECCOMP_ARCHITECTURES)),
        "flags": list_of((check_enum, tuple(names.SECCOMP_FLAGS))),
        "listenerPath": STRING,
        "listenerMetadata": STRING,
        "syscalls": list_of(SECCOMP_RULE),
    },
    ("defaultAction",),
    "config-linux.md#seccomp",
)

INTEL_RDT = table(
    {
        "closID": STRING,
        "schemata": list_of(form(is_one_line, ONE_LINE, "a string of one line")),
        "l3CacheSchema": STRING,
        "memBwSchema": form(
            is_bandwidth, "^MB:" + ONE_LINE[1:], 'a string of one line that starts with "MB:"'
        ),
        "enableMonitoring": BOOLEAN,
    },
    (),
    "config-linux.md#intelrdt",
)

MEMORY_POLICY = table(
    {
        "mode": (check_enum, tuple(names.MEMORY_POLICY_MODES)),
        "nodes": STRING,
        "flags": list_of((check_enum, tuple(names.MEMORY_POLICY_FLAGS))),
    },
    ("mode",),
    "config-linux.md#memory-policy",
)

PERSONALITY = table(
    {"domain": (check_enum, tuple(names.PERSONALITY_DOMAINS)), "flags": STRINGS},
    ("domain",),
    "config-linux.md#personality",
)

TIME_OFFSET = table(
    {"secs": INT64, "nanosecs": (check_integer, 0, 999_999_999)},
    (),
    "config-linux.md#offset-for-time-namespace",
)

NET_DEVICE = table({"name": STRING}, (), "config-linux.md#network-devices")

LINUX = table(
    {
        "uidMappings": ID_MAPPINGS,
        "gidMappings": ID_MAPPINGS,
        "sysctl": STRING_MAP,
        "resources": RESOURCES,
        "cgroupsPath": STRING,
        "namespaces": list_of(NAMESPACE),
        "devices": list_of(DEVICE),
        "netDevices": map_of(NET_DEVICE, NAME),
        "seccomp": SECCOMP,
        "rootfsPropagation": (check_enum, names.ROOTFS_PROPAGATIONS),
        "maskedPaths": list_of(PATH),
        "readonlyPaths": list_of(PATH),
        "mountLabel": STRING,
        "intelRdt": INTEL_RDT,
        "memoryPolicy": MEMORY_POLICY,
        "personality": PERSONALITY,
        "timeOffsets": map_of(TIME_OFFSET),
    },
    (),
    "config-linux.md",
    {
        "uidMappings": "config-linux.md#user-namespace-mappings",
        "gidMappings": "config-linux.md#user-namespace-mappings",
        "sysctl": "config-linux.md#sysctl",
        "cgroupsPath": "config-linux.md#cgroups-path",
        "namespaces": "config-linux.md#namespaces",
        "devices": "config-linux.md#devices",
        "netDevices": "config-linux.md#network-devices",
        "rootfsPropagation": "config-linux.md#rootfs-mount-propagation",
        "maskedPaths": "config-linux.md#masked-paths",
        "readonlyPaths": "config-linux.md#readonly-paths",
        "mountLabel": "config-linux.md#mount-label",
        "timeOffsets": "config-linux.md#offset-for-time-namespace",
    },
)
