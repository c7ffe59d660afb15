"""linux.resources.unified, and limits of cgroup v1 on a cgroup2 host (config-linux.md#unified)."""

from __future__ import annotations

from pathlib import Path

from oci_conformance.profiles.support import limits
from oci_conformance.run.case import Case, Container
from oci_conformance.run.registry import test

UNIFIED = "linux.resources.unified"
V2 = ("root", "cgroup-v2")
MIB = 1 << 20
# Limits by controller that the kernel gives back as they were written; each of `io` needs a device.
LIMITS = {
    "pids": {"pids.max": "31"},
    "memory": {"memory.high": "67108864", "memory.max": "100663296"},
    "cpu": {"cpu.weight": "77", "cpu.max": "60000 200000"},
    "cpuset": {"cpuset.cpus": "0"},
    "hugetlb": {"hugetlb.2MB.max": "4194304"},
}
# What cgroup2 has nothing like: a runtime there can't convert it, whatever formula it has.
INCONVERTIBLE: dict[str, dict[str, object]] = {
    "memory.swappiness": {"memory": {"limit": 64 * MIB, "swappiness": 20}},
    "memory.disableOOMKiller": {"memory": {"limit": 64 * MIB, "disableOOMKiller": True}},
    "memory.kernelTCP": {"memory": {"limit": 64 * MIB, "kernelTCP": 16 * MIB}},
    "cpu.realtimeRuntime": {"cpu": {"realtimeRuntime": 4000, "realtimePeriod": 500000}},
    "blockIO.leafWeight": {"blockIO": {"leafWeight": 300}},
    "network.classID": {"network": {"classID": 0x100001}},
    "network.priorities": {"network": {"priorities": [{"name": "lo", "priority": 500}]}},
}
# Limits that any runtime can convert where there is the controller, and the file that then says something else.
CONVERTIBLE = {
    "memory": ({"limit": 64 * MIB}, "memory.max", "max"),
    "pids": ({"limit": 40}, "pids.max", "max"),
    "cpu": ({"quota": 50000, "period": 100000}, "cpu.max", "max 100000"),
}


def _value(c: Container, name: str) -> str | None:
    """What a file of the container's cgroup says, or None if it isn't there."""
    directory = c.cgroup("")
    try:
        return None if directory is None else " ".join((directory / name).read_text().split())
    except OSError:
        return None


@test("unified.controllers-enabled", needs=V2)
def controllers(t: Case) -> None:
    """A file of a controller is written, which has to be enabled for that."""
    shown = False
    for controller, values in LIMITS.items():
        if not t.host.controllers.get(controller):
            continue
        if controller == "hugetlb" and not Path("/sys/kernel/mm/hugepages/hugepages-2048kB").exists():
            continue
        c = t.create({UNIFIED: values})
        seen = {name: _value(c, name) for name in values}
        shown = True
        t.equal("unified.controllers-enabled", seen, values)
    if not shown:
        t.skip(f"this host lacks every one of the cgroup2 controllers {', '.join(LIMITS)}")


@test("unified.unknown-written", needs=V2)
def unknown(t: Case) -> None:
    """Files that stand for no other property of config.json are written as well."""
    values = {"cgroup.max.depth": "5", "cgroup.max.descendants": "7"}
    if t.host.controllers.get("memory"):
        values["memory.oom.group"] = "1"
    if t.host.controllers.get("cpu"):
        values["cpu.weight.nice"] = "-3"
    c = t.create({UNIFIED: values})
    t.equal("unified.unknown-written", {name: _value(c, name) for name in values}, values)


@test("unified.missing-controller-error", needs=("root",))
def missing(t: Case) -> None:
    """A controller that isn't there, or isn't cgroup2's on this host, is refused."""
    t.refused(
        "unified.missing-controller-error",
        {},
        {UNIFIED: {"nosuch.max": "1"}},
        at="start",
        why="an error: no kernel has this controller",
    )
    elsewhere = [name for name in ("pids", "memory", "cpu") if not t.host.controllers.get(name)]
    for controller in elsewhere:
        limits.refuses(
            t,
            "unified.missing-controller-error",
            {UNIFIED: LIMITS[controller]},
            f"cgroup2 has no {controller} controller here",
        )


@test("unified.convert", needs=V2)
def convert(t: Case) -> None:
    """A limit in the terms of cgroup v1 is converted, or refused; not passed over."""
    shown = False
    for controller, (resource, file, unset) in CONVERTIBLE.items():
        if not t.host.controllers.get(controller):
            continue
        shown = True
        c = t.prepare({f"linux.resources.{controller}": resource})
        if not c.call("create").ok:
            t.check("unified.convert", not c.call("state").ok, "an error, and no container", "a container")
            continue
        seen = _value(c, file)
        t.check("unified.convert", seen not in (None, unset), f"{file} for {controller} {resource}", seen)
    if not shown:
        t.skip(f"this host lacks every one of the cgroup2 controllers {', '.join(CONVERTIBLE)}")


@test("unified.convert-fail-error", needs=V2)
def inconvertible(t: Case) -> None:
    """A limit of cgroup v1 that cgroup2 has nothing like, or no controller for, is refused."""
    passed_over = []
    for name, resources in INCONVERTIBLE.items():
        first = next(iter(resources))
        if first == "memory" and not t.host.controllers.get("memory"):
            continue  # then the limit alone is reason enough to refuse: below
        if t.prepare({"linux.resources": resources}).call("create").ok:
            passed_over.append(name)
    for controller, (resource, _, _) in CONVERTIBLE.items():
        if (
            controller not in t.host.controllers
            and t.prepare({f"linux.resources.{controller}": resource}).call("create").ok
        ):
            passed_over.append(f"{controller}, for which there is no controller")
    t.check("unified.convert-fail-error", not passed_over, "an error for each", f"passed over: {passed_over}")
