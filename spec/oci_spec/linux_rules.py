"""Rules on `linux.resources`, `seccomp`, devices and what runtime-spec 1.1 to 1.3 added (config-linux.md).

See rules for how they are called.
"""

from __future__ import annotations

from oci_spec import names
from oci_spec.fields import ConfigError, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Document = dict[str, Any]
    Parts = tuple[str | int, ...]

RESOURCES = ("linux", "resources")
SECCOMP = ("linux", "seccomp")
ERRNO_ACTIONS = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")


def faults(linux: Document, namespaces: dict[str, str]) -> Iterator[ConfigError]:
    """Every violation in `linux`; `namespaces` are its types, each with its path or "" for a new one."""
    for index, device in enumerate(linux.get("devices", ())):
        if device["type"] != "p":
            yield from device_faults(device, ("linux", "devices", index))
    if "resources" in linux:
        yield from resource_faults(linux["resources"])
    if "seccomp" in linux:
        yield from seccomp_faults(linux["seccomp"])
    if "timeOffsets" in linux:
        yield from time_faults(linux["timeOffsets"], namespaces)
    if "netDevices" in linux:
        yield from net_device_faults(linux["netDevices"], namespaces)
    if "intelRdt" in linux:
        yield from intel_rdt_faults(linux["intelRdt"])
    if "memoryPolicy" in linux:
        yield from memory_policy_faults(linux["memoryPolicy"])
    for flag in linux.get("personality", {}).get("flags", ()):
        yield ConfigError(
            show(flag),
            "no flag: none is supported",
            "config-linux.md#personality",
            ("linux", "personality", "flags"),
        )


def device_faults(device: Document, parts: Parts) -> Iterator[ConfigError]:
    """config-linux.md#devices: required unless it is a FIFO; mknod(2) has 12 and 20 bits."""
    for key, most in (("major", 4095), ("minor", 1048575)):
        number = device.get(key)
        if number is None:
            yield ConfigError(
                "nothing", "a number: only type p has none", "config-linux.md#devices", (*parts, key)
            )
        elif not 0 <= number <= most:
            yield ConfigError(
                show(number), f"an integer from 0 to {most}", "config-linux.md#devices", (*parts, key)
            )


def resource_faults(resources: Document) -> Iterator[ConfigError]:
    """config-linux.md#control-groups"""
    cpu = resources.get("cpu", {})
    if cpu.get("quota", 0) > 0 and cpu.get("burst", 0) > cpu["quota"]:
        yield ConfigError(
            show(cpu["burst"]),
            f"a burst that is not above the quota, {cpu['quota']}",
            "config-linux.md#cpu",
            (*RESOURCES, "cpu", "burst"),
        )
    for index, device in enumerate(resources.get("blockIO", {}).get("weightDevice", ())):
        if "weight" not in device and "leafWeight" not in device:
            yield ConfigError(
                "neither",
                "weight or leafWeight",
                "config-linux.md#block-io",
                (*RESOURCES, "blockIO", "weightDevice", index),
            )
    for name, device in resources.get("rdma", {}).items():
        if "hcaHandles" not in device and "hcaObjects" not in device:
            yield ConfigError(
                "neither", "hcaHandles or hcaObjects", "config-linux.md#rdma", (*RESOURCES, "rdma", name)
            )
    for name in resources.get("unified", ()):
        if "/" in name or name.strip(".") == "":
            yield ConfigError(
                show(name),
                "the name of a file in the cgroup",
                "config-linux.md#unified",
                (*RESOURCES, "unified", name),
            )


def seccomp_faults(seccomp: Document) -> Iterator[ConfigError]:
    """config-linux.md#seccomp"""
    if "defaultErrnoRet" in seccomp:
        yield from errno_faults(
            seccomp["defaultAction"], seccomp["defaultErrnoRet"], (*SECCOMP, "defaultErrnoRet")
        )
    if seccomp.get("listenerMetadata") and not seccomp.get("listenerPath"):
        yield ConfigError(
            show(seccomp["listenerMetadata"]),
            "listenerPath to go with it",
            "config-linux.md#seccomp",
            (*SECCOMP, "listenerMetadata"),
        )
    for index, rule in enumerate(seccomp.get("syscalls", ())):
        if "errnoRet" in rule:
            yield from errno_faults(
                rule["action"], rule["errnoRet"], (*SECCOMP, "syscalls", index, "errnoRet")
            )
        if "" in rule["names"]:
            yield ConfigError(
                '""',
                "the name of a system call",
                "config-linux.md#seccomp",
                (*SECCOMP, "syscalls", index, "names", rule["names"].index("")),
            )


def errno_faults(action: str, number: int, parts: Parts) -> Iterator[ConfigError]:
    """An errno needs an action that takes one; the kernel has 16 bits for it (seccomp(2))."""
    if action not in ERRNO_ACTIONS:
        yield ConfigError(show(number), f"no errno: {action} takes none", "config-linux.md#seccomp", parts)
    elif number > 65535:
        yield ConfigError(show(number), "65535 at most", "config-linux.md#seccomp", parts)


def time_faults(offsets: Document, namespaces: dict[str, str]) -> Iterator[ConfigError]:
    """config-linux.md#offset-for-time-namespace; time_namespaces(7)"""
    section = "config-linux.md#offset-for-time-namespace"
    for clock in offsets:
        if clock not in names.CLOCKS:
            yield ConfigError(show(clock), "monotonic or boottime", section, ("linux", "timeOffsets", clock))
    if offsets and "time" not in namespaces:
        yield ConfigError(
            "offsets",
            "a time namespace in linux.namespaces to have them",
            section,
            ("linux", "timeOffsets"),
        )


def net_device_faults(devices: Document, namespaces: dict[str, str]) -> Iterator[ConfigError]:
    """config-linux.md#network-devices: they need a network namespace; names as the kernel allows them."""
    section = "config-linux.md#network-devices"
    if devices and "network" not in namespaces:
        yield ConfigError(
            "devices",
            "a network namespace in linux.namespaces to move them to",
            section,
            ("linux", "netDevices"),
        )
    seen: tuple[str, ...] = ()
    for host_name, device in devices.items():
        if not is_interface(host_name):
            yield ConfigError(
                show(host_name), "the name of a network device", section, ("linux", "netDevices", host_name)
            )
        name = device.get("name") or host_name
        parts = ("linux", "netDevices", host_name, "name")
        if not is_interface(name):
            yield ConfigError(show(name), "the name of a network device", section, parts)
        elif name in seen and "%" not in name:
            yield ConfigError(show(name), "a name for one device only", section, parts)
        seen += (name,)


def is_interface(name: str) -> bool:
    """Whether the kernel takes this as a device's name: 1 to 15 bytes, no slash, colon, white space."""
    return (
        0 < len(name.encode()) < 16
        and name not in (".", "..")
        and "/" not in name
        and ":" not in name
        and name.split() == [name]
    )


def intel_rdt_faults(rdt: Document) -> Iterator[ConfigError]:
    """config-linux.md#intelrdt: closID names one directory of resctrl, or "/" for its root."""
    name = rdt.get("closID", "")
    if name and name != "/" and ("/" in name or name in (".", "..") or "\n" in name):
        yield ConfigError(
            show(name),
            'the name of a directory, or "/"',
            "config-linux.md#intelrdt",
            ("linux", "intelRdt", "closID"),
        )


def memory_policy_faults(policy: Document) -> Iterator[ConfigError]:
    """config-linux.md#memory-policy; set_mempolicy(2)"""
    section = "config-linux.md#memory-policy"
    mode = policy["mode"]
    nodes = policy.get("nodes", "")
    flags = policy.get("flags", ())
    parts = ("linux", "memoryPolicy", "nodes")
    if nodes and not is_number_list(nodes):
        yield ConfigError(show(nodes), 'a list of nodes such as "0-3,7"', section, parts)
    if nodes and mode in ("MPOL_DEFAULT", "MPOL_LOCAL"):
        yield ConfigError(show(nodes), f"no nodes: {mode} takes none", section, parts)
    if not nodes and mode not in ("MPOL_DEFAULT", "MPOL_LOCAL", "MPOL_PREFERRED"):
        yield ConfigError("no nodes", f"some: {mode} needs them", section, parts)
    parts = ("linux", "memoryPolicy", "flags")
    if "MPOL_F_STATIC_NODES" in flags and "MPOL_F_RELATIVE_NODES" in flags:
        yield ConfigError("both", "MPOL_F_STATIC_NODES or MPOL_F_RELATIVE_NODES", section, parts)
    if flags and mode in ("MPOL_DEFAULT", "MPOL_LOCAL"):
        yield ConfigError(show(flags[0]), f"no flag: {mode} takes none", section, parts)
    if "MPOL_F_NUMA_BALANCING" in flags and mode not in ("MPOL_BIND", "MPOL_PREFERRED_MANY"):
        yield ConfigError(
            '"MPOL_F_NUMA_BALANCING"', "it with MPOL_BIND or MPOL_PREFERRED_MANY only", section, parts
        )


def is_number_list(text: str) -> bool:
    """Whether text is numbers and ascending ranges with commas between them (cpuset(7), list format)."""
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if not (low.isascii() and low.isdigit() and len(low) < 10):
            return False
        if dash and not (high.isascii() and high.isdigit() and len(high) < 10 and int(low) <= int(high)):
            return False
    return True


def scheduler_faults(scheduler: Document) -> Iterator[ConfigError]:
    """config.md#linux-process: scheduler; sched_setattr(2)"""
    section = "config.md#linux-process"
    parts = ("process", "scheduler")
    policy = scheduler["policy"]
    nice = scheduler.get("nice", 0)
    priority = scheduler.get("priority", 0)
    if not -20 <= nice <= 19:
        yield ConfigError(show(nice), "an integer from -20 to 19", section, (*parts, "nice"))
    if policy in ("SCHED_FIFO", "SCHED_RR"):
        if not 1 <= priority <= 99:
            yield ConfigError(show(priority), f"1 to 99 with {policy}", section, (*parts, "priority"))
    elif priority != 0:
        yield ConfigError(show(priority), f"0 with {policy}", section, (*parts, "priority"))
    runtime = scheduler.get("runtime", 0)
    deadline = scheduler.get("deadline", 0)
    period = scheduler.get("period", 0)
    if policy != "SCHED_DEADLINE":
        for key in ("runtime", "deadline", "period"):
            if scheduler.get(key, 0):
                yield ConfigError(show(scheduler[key]), f"0 with {policy}", section, (*parts, key))
    elif not 1024 <= runtime <= deadline <= (period or deadline):
        yield ConfigError(
            f"runtime {runtime}, deadline {deadline}, period {period}",
            "1024 <= runtime <= deadline <= period",
            section,
            parts,
        )


def cpu_affinity_faults(affinity: Document) -> Iterator[ConfigError]:
    """config.md#linux-process: execCPUAffinity; sched_setaffinity(2)"""
    for name in ("initial", "final"):
        text = affinity.get(name, "")
        if text.strip() and not is_number_list(text):
            parts = ("process", "execCPUAffinity", name)
            yield ConfigError(show(text), 'a list of CPUs such as "0-3,8"', "config.md#linux-process", parts)


def warnings(linux: Document) -> Iterator[str]:
    """What config-linux.md says SHOULD (NOT) be, a sentence each."""
    schema = linux.get("intelRdt", {}).get("l3CacheSchema", "")
    if schema and (schema[:3] != "L3:" or "\n" in schema):
        yield 'linux.intelRdt.l3CacheSchema: should be one line that starts with "L3:"'
    seen: dict[tuple[object, ...], int] = {}
    for index, device in enumerate(linux.get("devices", ())):
        key = (device["type"], device.get("major"), device.get("minor"))
        if key[0] != "p" and key in seen:
            yield f"linux.devices[{index}]: same type and numbers as linux.devices[{seen[key]}]"
        seen[key] = index
