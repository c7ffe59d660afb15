"""linux.resources.cpu (config-linux.md#cpu)."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from oci_conformance.profiles.support import limits
from oci_conformance.profiles.support.limits import Knob
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

CPU = "linux.resources.cpu"
NEEDS = ("root", "cgroup:cpu")
CPUSET = ("root", "cgroup:cpuset")


@test("cpu.shares", needs=NEEDS)
def shares(t: Case) -> None:
    """The cgroup has the shares of the configuration, or a weight that grows with them on cgroup2."""
    given = (2, 512, 1024, 8192, 262144)
    if not t.host.controllers["cpu"]:
        for value in given[1:3]:
            limits.check(
                t, "cpu.shares", t.create({f"{CPU}.shares": value}), Knob("cpu", {"cpu.shares": str(value)})
            )
        return
    # How shares (2 to 262144) become a weight (1 to 10000) is left open, but more has to remain more.
    weights = [t.create({f"{CPU}.shares": value}).limit("cpu", v1="", v2="cpu.weight") for value in given]
    numbers = [int(weight) for weight in weights if weight.isdigit()]
    grows = all(low < high for low, high in itertools.pairwise(numbers))
    t.check(
        "cpu.shares",
        grows and len(numbers) == len(given),
        f"weights that grow with the shares {given}",
        weights,
    )


@test("cpu.quota", "cpu.period", needs=NEEDS)
def quota(t: Case) -> None:
    """The cgroup has the quota and the period of the configuration, together and each alone."""
    for cpu, allowed, period in (
        ({"quota": 60000, "period": 200000}, "60000", "200000"),
        ({"quota": 30000}, "30000", "100000"),
        ({"period": 50000}, "-1", "50000"),
    ):
        c = t.create({CPU: cpu})
        v2 = {"cpu.max": f"{allowed.replace('-1', 'max')} {period}"}
        limits.check(t, "cpu.quota", c, Knob("cpu", {"cpu.cfs_quota_us": allowed}, v2))
        limits.check(t, "cpu.period", c, Knob("cpu", {"cpu.cfs_period_us": period}, v2))


@test("cpu.quota", needs=NEEDS)
def quota_unlimited(t: Case) -> None:
    """A quota of -1 takes away the one that the cgroup had."""
    file, value = ("cpu.max", "50000") if t.host.controllers["cpu"] else ("cpu.cfs_quota_us", "50000")
    where = limits.premade(t, "cpu", "limited", {file: value})
    knob = Knob("cpu", {"cpu.cfs_quota_us": "-1"}, {"cpu.max": lambda text: text.split()[:1] == ["max"]})
    limits.check(t, "cpu.quota", t.create({**where, f"{CPU}.quota": -1}), knob)


@test("cpu.burst", needs=NEEDS)
def burst(t: Case) -> None:
    """The cgroup has the burst of the configuration."""
    knob = Knob("cpu", {"cpu.cfs_burst_us": "20000"}, {"cpu.max.burst": "20000"})
    base: dict[str, object] = {CPU: {"quota": 50000, "period": 100000}}
    limits.applied(t, "cpu.burst", {CPU: {"quota": 50000, "period": 100000, "burst": 20000}}, knob, base)


@test("cpu.quota-ge-burst", "cpu.burst-le-quota", needs=NEEDS)
def burst_above_quota(t: Case) -> None:
    """A burst above the quota is an error, or the quota holds all the same."""
    c = t.prepare({CPU: {"quota": 50000, "period": 100000, "burst": 60000}})
    call = c.call("create")
    knob = Knob("cpu", {"cpu.cfs_quota_us": "50000"}, {"cpu.max": "50000 100000"})
    for id in ("cpu.quota-ge-burst", "cpu.burst-le-quota"):
        if call.ok:
            limits.check(t, id, c, knob)
        else:
            t.check(id, not c.call("state").ok, "an error, and no container", "an error, but a container")


@test("cpu.realtime", needs=NEEDS)
def realtime(t: Case) -> None:
    """The cgroup has the realtime runtime and period of the configuration; where there are none, it is refused."""
    changes: dict[str, object] = {CPU: {"realtimeRuntime": 4000, "realtimePeriod": 500000}}
    top = limits.place("cpu") / t.cgroups
    if t.host.controllers["cpu"] or not (limits.place("cpu") / "cpu.rt_runtime_us").exists():
        why = "the cpu controller of this host has no realtime limits"
        limits.refuses(t, "cpu.realtime", changes, why)
        return
    top.mkdir(exist_ok=True)
    try:  # what a cgroup has for its children is 0 to begin with
        (top / "cpu.rt_runtime_us").write_text("50000")
    except OSError:
        t.skip("this host lacks realtime runtime to give away in the cpu controller of cgroup v1")
    c = t.create(changes)
    limits.check(t, "cpu.realtime", c, Knob("cpu", {"cpu.rt_runtime_us": "4000"}))
    limits.check(t, "cpu.realtime", c, Knob("cpu", {"cpu.rt_period_us": "500000"}))


@test("cpu.cpus", needs=CPUSET)
def cpus(t: Case) -> None:
    """The container runs on the CPUs of the configuration, given as a list and as a range."""
    usable = sorted(os.sched_getaffinity(0))
    wanted = {str(usable[-1]): usable[-1:]}
    if len(usable) > 1 and usable[1] == usable[0] + 1:
        wanted |= {f"{usable[0]},{usable[1]}": usable[:2], f"{usable[0]}-{usable[1]}": usable[:2]}
    for text, numbers in wanted.items():
        c = t.create({f"{CPU}.cpus": text}, "affinity")
        knob = Knob("cpuset", {"cpuset.cpus": _list(numbers)}, {"cpuset.cpus": _list(numbers)})
        limits.check(t, "cpu.cpus", c, knob)
        c.start()
        c.wait()
        said = [answer.get("result") for answer in c.results()]
        t.equal("cpu.cpus", said, [numbers])


@test("cpu.mems", needs=(*CPUSET, "numa:2"))
def mems(t: Case) -> None:
    """The container uses the memory nodes of the configuration."""
    nodes = _online("/sys/devices/system/node/online")
    for text in nodes[0], nodes[-1]:
        knob = Knob("cpuset", {"cpuset.mems": text}, {"cpuset.mems": text})
        limits.check(t, "cpu.mems", t.create({f"{CPU}.mems": text}), knob)


@test("cpu.idle", needs=NEEDS)
def idle(t: Case) -> None:
    """idle makes the whole cgroup run only when nothing else wants to."""
    for value in (1, 0):
        knob = Knob("cpu", {"cpu.idle": str(value)}, {"cpu.idle": str(value)})
        limits.applied(t, "cpu.idle", {f"{CPU}.idle": value}, knob)


def _list(numbers: list[int]) -> str:
    """A list of numbers as the kernel prints it; they are one, or two that follow each other."""
    return "-".join(str(number) for number in numbers)


def _online(file: str) -> list[str]:
    """The numbers of the online nodes, given as a list with ranges; `0` where the kernel tells none."""
    try:
        text = Path(file).read_text().strip()
    except OSError:
        return ["0"]
    return [end for part in text.split(",") for end in part.split("-")]
