"""linux.resources.memory (config-linux.md#memory)."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from oci_conformance.core.bundle import Json
from oci_conformance.profiles.support import limits
from oci_conformance.profiles.support.limits import Knob
from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test

MIB = 1 << 20
NEEDS = ("root", "cgroup:memory")


def _bytes(mib: int) -> str:
    return str(mib * MIB)


def _unlimited(text: str) -> bool:
    """`max`, or the largest number of bytes in whole pages, which stands for no limit on v1."""
    return text == "max" or (text.isdigit() and int(text) >= (1 << 63) - (1 << 17))


@test("mem.limit", "mem.reservation", needs=NEEDS)
def limit(t: Case) -> None:
    """The memory cgroup has the limit and the soft limit of the configuration."""
    memory = {"limit": 64 * MIB, "reservation": 48 * MIB}
    c = t.create({"linux.resources.memory": memory})
    limits.check(
        t, "mem.limit", c, Knob("memory", {"memory.limit_in_bytes": _bytes(64)}, {"memory.max": _bytes(64)})
    )
    # Which limit of cgroup2 is the soft one is left open: both are soft in their own way.
    soft = Knob(
        "memory",
        {"memory.soft_limit_in_bytes": _bytes(48)},
        {"memory.low": _bytes(48), "memory.high": _bytes(48)},
    )
    limits.check(t, "mem.reservation", c, soft)


@test("mem.limit", needs=NEEDS)
def limit_holds(t: Case) -> None:
    """A program that wants more memory than the limit doesn't get it."""
    # Swap would take what is too much, so it is limited as well where the kernel can do that.
    swap = (limits.place("memory") / "memory.memsw.limit_in_bytes").exists() or t.host.controllers["memory"]
    memory = {"limit": 24 * MIB, **({"swap": 24 * MIB} if swap else {})}
    try:
        seen = t.run({"linux.resources.memory": memory}, "alloc 8", "alloc 96")
    except Refused:
        seen = t.run({"linux.resources.memory.limit": 24 * MIB}, "alloc 8", "alloc 96")
    got = [answer.get("result") for answer in seen.answers]
    full = any(isinstance(each, dict) and each.get("allocated", 0) >= 96 for each in got[1:])
    t.check(
        "mem.limit",
        len(got) >= 1 and isinstance(got[0], dict) and not full,
        "8 MiB within a limit of 24 MiB, but not 96 MiB",
        {"answers": got, "exit code": seen.exit_code, "signal": seen.signal},
    )


@test("mem.swap", needs=NEEDS)
def swap(t: Case) -> None:
    """The limit of memory and swap together is applied; cgroup2 gets what is beyond the memory limit."""
    for both, v1, v2 in ((96, _bytes(96), _bytes(32)), (64, _bytes(64), "0")):
        knob = Knob("memory", {"memory.memsw.limit_in_bytes": v1}, {"memory.swap.max": v2})
        changes: Json = {"linux.resources.memory": {"limit": 64 * MIB, "swap": both * MIB}}
        limits.applied(t, "mem.swap", changes, knob, {"linux.resources.memory.limit": 64 * MIB})


@test("mem.unlimited", needs=NEEDS)
def unlimited(t: Case) -> None:
    """-1 takes away a limit that the cgroup had."""
    v2 = t.host.controllers["memory"]
    file = "memory.max" if v2 else "memory.limit_in_bytes"
    where = limits.premade(t, "memory", "limited", {file: _bytes(64)})
    knob = Knob("memory", {file: _unlimited}, {file: _unlimited})
    limits.check(t, "mem.unlimited", t.create({**where, "linux.resources.memory.limit": -1}), knob)
    # and so for swap, where there is something to limit
    swap = Knob("memory", {"memory.memsw.limit_in_bytes": _unlimited}, {"memory.swap.max": _unlimited})
    limits.applied(
        t,
        "mem.unlimited",
        {"linux.resources.memory": {"limit": 64 * MIB, "swap": -1}},
        swap,
        {"linux.resources.memory.limit": 64 * MIB},
    )


@test("mem.kernel", needs=NEEDS)
def kernel(t: Case) -> None:
    """The limit of the kernel's memory is applied where the kernel has one, and refused where it hasn't."""
    _discouraged(t, "mem.kernel", "kernel", "memory.kmem.limit_in_bytes")


@test("mem.kernelTCP", needs=NEEDS)
def kernel_tcp(t: Case) -> None:
    """The limit of TCP buffers is applied where the kernel has one, and refused where it hasn't."""
    _discouraged(t, "mem.kernelTCP", "kernelTCP", "memory.kmem.tcp.limit_in_bytes")


def _discouraged(t: Case, id: str, name: str, file: str) -> None:
    knob = Knob("memory", {file: _bytes(32)})
    base: dict[str, object] = {"linux.resources.memory.limit": 64 * MIB}
    # Since Linux 5.16 the limit of kernel memory is a file that takes every value and keeps none.
    if not t.host.controllers["memory"]:
        control = t.create(base)
        if knob.files(control) and not knob.takes(control):
            t.skip(f"this host lacks a {file} that keeps what is written to it")
    limits.applied(t, id, {**base, f"linux.resources.memory.{name}": 32 * MIB}, knob, base)


@test("mem.swappiness", needs=NEEDS)
def swappiness(t: Case) -> None:
    """Swappiness is set to the value of the configuration."""
    for value in (7, 0, 100):
        knob = Knob("memory", {"memory.swappiness": str(value)})
        limits.applied(t, "mem.swappiness", {"linux.resources.memory.swappiness": value}, knob)


@test("mem.swappiness", needs=NEEDS)
def swappiness_range(t: Case) -> None:
    """Swappiness above 100 is refused."""
    name = "linux.resources.memory.swappiness"
    t.refused("mem.swappiness", {name: 100}, {name: 101}, why="an error: the values are from 0 to 100")


@test("mem.disableOOMKiller", needs=NEEDS)
def oom_killer(t: Case) -> None:
    """disableOOMKiller switches the OOM killer of the cgroup off; false leaves it on."""
    name = "linux.resources.memory.disableOOMKiller"
    base: dict[str, object] = {"linux.resources.memory.limit": 64 * MIB}
    off = Knob("memory", {"memory.oom_control": lambda text: "oom_kill_disable 1" in text})
    limits.applied(t, "mem.disableOOMKiller", {**base, name: True}, off, base)
    # cgroup2 always has it on, so there `false` is what is
    on = Knob("memory", {"memory.oom_control": lambda text: "oom_kill_disable 0" in text})
    if t.host.controllers["memory"]:
        t.check("mem.disableOOMKiller", bool(t.create({**base, name: False}).pid), "a container", "none")
    else:
        limits.check(t, "mem.disableOOMKiller", t.create({**base, name: False}), on)


@test("mem.useHierarchy", needs=NEEDS)
def use_hierarchy(t: Case) -> None:
    """useHierarchy is applied; false is refused where the kernel counts by hierarchy always (since Linux 5.11)."""
    name = "linux.resources.memory.useHierarchy"
    base: dict[str, object] = {"linux.resources.memory.limit": 64 * MIB}
    if not t.host.controllers["memory"]:  # on cgroup2 it is always so, but a runtime need not know that
        on = Knob("memory", {"memory.use_hierarchy": "1"})
        limits.applied(t, "mem.useHierarchy", {**base, name: True}, on, base)
    off = Knob("memory", {"memory.use_hierarchy": "0"})
    if off.takes(t.create(base)):
        limits.check(t, "mem.useHierarchy", t.create({**base, name: False}), off)
    else:
        limits.refuses(t, "mem.useHierarchy", {**base, name: False}, "the kernel counts by hierarchy always")


@test("mem.checkBeforeUpdate-may", "mem.checkBeforeUpdate-reject", needs=NEEDS)
def check_before_update(t: Case) -> None:
    """A limit below what a cgroup uses already is rejected with an error, or it is set: nothing in between."""
    where = limits.premade(t, "memory", "charged", {})
    directory = limits.place("memory") / where["linux.cgroupsPath"].lstrip("/")
    v2 = t.host.controllers["memory"]
    usage = directory / ("memory.current" if v2 else "memory.usage_in_bytes")
    with _charge(directory, 24):
        if int(usage.read_text()) < 20 * MIB:
            t.skip("this host lacks memory that stays charged to a cgroup without processes")
        c = t.prepare({**where, "linux.resources.memory": {"limit": 12 * MIB, "checkBeforeUpdate": True}})
        call = c.call("create")
        knob = Knob("memory", {"memory.limit_in_bytes": _bytes(12)}, {"memory.max": _bytes(12)})
        for id in ("mem.checkBeforeUpdate-may", "mem.checkBeforeUpdate-reject"):
            if call.ok:
                limits.check(t, id, c, knob)
            else:
                t.check(id, not c.call("state").ok, "an error, and no container", "an error, but a container")


def _charge(directory: Path, mib: int) -> mmap.mmap:
    """Charge memory to a cgroup without processes: shared memory touched by one that was in it, until it is closed."""
    memory = mmap.mmap(-1, mib * MIB)
    child = os.fork()
    if not child:
        try:
            (directory / "cgroup.procs").write_text("0")
            for position in range(0, mib * MIB, mmap.PAGESIZE):
                memory[position] = 1
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return memory
