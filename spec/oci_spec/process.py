"""Tables of `process`, `root`, `mounts` and `hooks` (config.md)."""

from __future__ import annotations

from oci_spec import names
from oci_spec.fields import (
    BOOLEAN,
    ID,
    INT32,
    NAME,
    PATH,
    STRING,
    STRINGS,
    UINT32,
    UINT64,
    check_enum,
    check_integer,
    form,
    list_of,
    table,
)

LINUX_PROCESS = "config.md#linux-process"


def is_cpu_list(text: str) -> bool:
    """Whether only the characters of a CPU list ("0-3,8") occur."""
    return not text.strip("0123456789, -")


CONSOLE_SIZE = table({"height": UINT64, "width": UINT64}, ("height", "width"), "config.md#process")

USER = table(
    {"uid": ID, "gid": ID, "umask": UINT32, "additionalGids": list_of(ID)},
    ("uid", "gid"),
    "config.md#posix-platform-user",
)

CAPABILITIES = table(
    {
        "bounding": STRINGS,
        "effective": STRINGS,
        "inheritable": STRINGS,
        "permitted": STRINGS,
        "ambient": STRINGS,
    },
    (),
    LINUX_PROCESS,
)

RLIMIT = table(
    {"type": (check_enum, names.RLIMITS), "hard": UINT64, "soft": UINT64},
    ("type", "hard", "soft"),
    "config.md#posix-process",
)

SCHEDULER = table(
    {
        "policy": (check_enum, tuple(names.SCHEDULER_POLICIES)),
        "nice": INT32,
        "priority": INT32,
        "flags": list_of((check_enum, tuple(names.SCHEDULER_FLAGS))),
        "runtime": UINT64,
        "deadline": UINT64,
        "period": UINT64,
    },
    ("policy",),
    LINUX_PROCESS,
)

IO_PRIORITY = table(
    {
        "class": (check_enum, tuple(names.IO_PRIORITY_CLASSES)),
        "priority": (check_integer, 0, 7),
    },
    ("class", "priority"),
    LINUX_PROCESS,
)

CPU_LIST = form(is_cpu_list, "^[0-9, -]*$", 'a list of CPUs such as "0-3,8"')

EXEC_CPU_AFFINITY = table({"initial": CPU_LIST, "final": CPU_LIST}, (), LINUX_PROCESS)

PROCESS = table(
    {
        "terminal": BOOLEAN,
        "consoleSize": CONSOLE_SIZE,
        "user": USER,
        "args": list_of(STRING, 1),
        "env": STRINGS,
        "cwd": PATH,
        "capabilities": CAPABILITIES,
        "rlimits": list_of(RLIMIT),
        "noNewPrivileges": BOOLEAN,
        "apparmorProfile": STRING,
        "oomScoreAdj": (check_integer, -1000, 1000),
        "scheduler": SCHEDULER,
        "selinuxLabel": STRING,
        "ioPriority": IO_PRIORITY,
        "execCPUAffinity": EXEC_CPU_AFFINITY,
    },
    ("args", "cwd"),
    "config.md#process",
    {
        "capabilities": LINUX_PROCESS,
        "rlimits": "config.md#posix-process",
        "noNewPrivileges": LINUX_PROCESS,
        "apparmorProfile": LINUX_PROCESS,
        "oomScoreAdj": LINUX_PROCESS,
        "selinuxLabel": LINUX_PROCESS,
    },
)

ROOT = table({"path": NAME, "readonly": BOOLEAN}, ("path",), "config.md#root")

ID_MAPPINGS = list_of(
    table(
        {"containerID": UINT32, "hostID": UINT32, "size": UINT32},
        ("containerID", "hostID", "size"),
        "config-linux.md#user-namespace-mappings",
    )
)

MOUNT = table(
    {
        "destination": NAME,
        "type": STRING,
        "source": STRING,
        "options": STRINGS,
        "uidMappings": ID_MAPPINGS,
        "gidMappings": ID_MAPPINGS,
    },
    ("destination",),
    "config.md#mounts",
    {"type": "config.md#posix-platform-mounts", "options": "config.md#linux-mount-options"},
)

HOOK_LIST = list_of(
    table(
        {
            "path": PATH,
            "args": STRINGS,
            "env": STRINGS,
            "timeout": (check_integer, 1, (1 << 63) - 1),
        },
        ("path",),
        "config.md#posix-platform-hooks",
    )
)

HOOKS = table(
    {
        "prestart": HOOK_LIST,
        "createRuntime": HOOK_LIST,
        "createContainer": HOOK_LIST,
        "startContainer": HOOK_LIST,
        "poststart": HOOK_LIST,
        "poststop": HOOK_LIST,
    },
    (),
    "config.md#posix-platform-hooks",
)
