"""Tables of `linux.resources` (config-linux.md#control-groups)."""

from __future__ import annotations

from oci_spec.fields import (
    BOOLEAN,
    INT64,
    NAME,
    STRING,
    STRING_MAP,
    UINT16,
    UINT32,
    UINT64,
    check_enum,
    check_integer,
    form,
    list_of,
    map_of,
    table,
)


def is_access(text: str) -> bool:
    """Whether only the letters of device permissions occur."""
    return not text.strip("rwm")


def is_page_size(text: str) -> bool:
    """Whether a huge page size has the form of the kernel's file names: 64KB, 2MB, 1GB."""
    digits = text[:-2]
    return text[-2:] in ("KB", "MB", "GB") and digits.isascii() and digits.isdigit() and digits[0] != "0"


DEVICE_RULE = table(
    {
        "allow": BOOLEAN,
        "type": (check_enum, ("a", "c", "b")),
        "major": INT64,
        "minor": INT64,
        "access": form(is_access, "^[rwm]*$", "a composition of r, w and m"),
    },
    ("allow",),
    "config-linux.md#allowed-device-list",
)

MEMORY = table(
    {
        "limit": INT64,
        "reservation": INT64,
        "swap": INT64,
        "kernel": INT64,
        "kernelTCP": INT64,
        "swappiness": (check_integer, 0, 100),
        "disableOOMKiller": BOOLEAN,
        "useHierarchy": BOOLEAN,
        "checkBeforeUpdate": BOOLEAN,
    },
    (),
    "config-linux.md#memory",
)

CPU = table(
    {
        "shares": UINT64,
        "quota": INT64,
        "burst": UINT64,
        "period": UINT64,
        "realtimeRuntime": INT64,
        "realtimePeriod": UINT64,
        "cpus": STRING,
        "mems": STRING,
        "idle": INT64,
    },
    (),
    "config-linux.md#cpu",
)

# Before 1.3.0 its limit was required: that is a rule.
PIDS = table({"limit": INT64}, (), "config-linux.md#pids")

WEIGHT_DEVICE = table(
    {"major": INT64, "minor": INT64, "weight": UINT16, "leafWeight": UINT16},
    ("major", "minor"),
    "config-linux.md#block-io",
)

THROTTLE_DEVICES = list_of(
    table(
        {"major": INT64, "minor": INT64, "rate": UINT64},
        ("major", "minor", "rate"),
        "config-linux.md#block-io",
    )
)

BLOCK_IO = table(
    {
        "weight": UINT16,
        "leafWeight": UINT16,
        "weightDevice": list_of(WEIGHT_DEVICE),
        "throttleReadBpsDevice": THROTTLE_DEVICES,
        "throttleWriteBpsDevice": THROTTLE_DEVICES,
        "throttleReadIOPSDevice": THROTTLE_DEVICES,
        "throttleWriteIOPSDevice": THROTTLE_DEVICES,
    },
    (),
    "config-linux.md#block-io",
)

HUGEPAGE_LIMIT = table(
    {
        "pageSize": form(is_page_size, "^[1-9][0-9]*[KMG]B$", "a page size such as 64KB, 2MB or 1GB"),
        "limit": UINT64,
    },
    ("pageSize", "limit"),
    "config-linux.md#huge-page-limits",
)

NETWORK = table(
    {
        "classID": UINT32,
        "priorities": list_of(
            table({"name": STRING, "priority": UINT32}, ("name", "priority"), "config-linux.md#network")
        ),
    },
    (),
    "config-linux.md#network",
)

RDMA_DEVICE = table({"hcaHandles": UINT32, "hcaObjects": UINT32}, (), "config-linux.md#rdma")

RESOURCES = table(
    {
        "devices": list_of(DEVICE_RULE),
        "memory": MEMORY,
        "cpu": CPU,
        "pids": PIDS,
        "blockIO": BLOCK_IO,
        "hugepageLimits": list_of(HUGEPAGE_LIMIT),
        "network": NETWORK,
        "rdma": map_of(RDMA_DEVICE, NAME),
        "unified": STRING_MAP,
    },
    (),
    "config-linux.md#control-groups",
    {
        "devices": "config-linux.md#allowed-device-list",
        "hugepageLimits": "config-linux.md#huge-page-limits",
        "rdma": "config-linux.md#rdma",
        "unified": "config-linux.md#unified",
    },
)
