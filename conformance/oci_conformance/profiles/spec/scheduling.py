"""process.scheduler (config.md#linux-process, sched_setattr(2)).

A runtime may support a part of the policies and of the flags (config.md#valid-values), so an error is one of the right
answers. Defaults are looked at where the runtime itself has other values, which its children would inherit.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from oci_conformance.core import cgroup
from oci_conformance.core.bundle import Changes, Json
from oci_conformance.run.case import DELETE, Case, Refused
from oci_conformance.run.registry import test

PRIVILEGED = ("root", "cap:SYS_NICE")
MS = 1_000_000  # nanoseconds
DEADLINE = {"policy": "SCHED_DEADLINE", "runtime": 5 * MS, "deadline": 40 * MS, "period": 50 * MS}
FIFO = {"policy": "SCHED_FIFO", "priority": 7}
ROUND_ROBIN = {"policy": "SCHED_RR", "priority": 3}
ORDINARY: tuple[Json, ...] = (
    {"policy": "SCHED_BATCH", "nice": 7},
    {"policy": "SCHED_OTHER", "nice": 5},
    {"policy": "SCHED_IDLE"},  # for which Linux takes no nice value
)
# Microseconds of real-time scheduling that cgroup v1 lets a group have in each period.
RT_PERIOD, RT_PARENT, RT_CONTAINER = 1_000_000, 20_000, 10_000
NICE = 6  # the suite's own, where a test asks for that


@contextlib.contextmanager
def callers(policy: int, nice: int | None = None) -> Iterator[None]:
    """The suite, and with it the runtime, is scheduled in this way meanwhile."""
    before = os.sched_getscheduler(0), os.sched_getparam(0), os.getpriority(os.PRIO_PROCESS, 0)
    os.sched_setscheduler(0, policy, os.sched_param(0))
    try:
        if nice is not None:
            os.setpriority(os.PRIO_PROCESS, 0, nice)
        yield
    finally:
        if nice is not None:
            os.setpriority(os.PRIO_PROCESS, 0, before[2])
        os.sched_setscheduler(0, *before[:2])


def scheduled(t: Case, wanted: Json, changes: Changes | None = None) -> Json:
    """How the program of a container with this scheduler is scheduled. Raises Refused."""
    all_changes = dict(changes or {})
    all_changes["process.scheduler"] = wanted
    seen: Json = t.run(all_changes, "sched")["sched"]
    return seen


def compare(t: Case, id: str, seen: Json, wanted: Json) -> None:
    """A verdict: is everything that was asked for to be seen?"""
    t.equal(id, {name: seen.get(name) for name in wanted}, wanted)


@test("sched.policy")
def ordinary(t: Case) -> None:
    """The policies that anybody may have are applied, with their nice value."""
    refusals = []
    # The caller's policy is another one each time, so that each has to be set.
    for own, wanted in zip((os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_OTHER), ORDINARY, strict=True):
        try:
            with callers(own):
                seen = scheduled(t, wanted)
        except Refused as error:
            refusals.append(str(error))
        else:
            compare(t, "sched.policy", seen, wanted)
    if len(refusals) == len(ORDINARY):
        t.unsupported("sched.policy", refusals[0])


@test("sched.policy", may_refuse=True)
def unknown_to_linux(t: Case) -> None:
    """SCHED_ISO, a name that Linux has reserved and doesn't have, isn't taken for another policy."""
    compare(t, "sched.policy", scheduled(t, {"policy": "SCHED_ISO"}), {"policy": "SCHED_ISO"})


@test("sched.policy", "sched.priority-default", needs=PRIVILEGED, may_refuse=True)
def real_time(t: Case) -> None:
    """Real-time policies are applied with their priority; without one that is 0, which Linux refuses for them."""
    changes = _real_time_cgroup(t)
    for wanted in (FIFO, ROUND_ROBIN):
        compare(t, "sched.policy", scheduled(t, wanted, changes), wanted)
    base = dict(changes)
    base["process.scheduler"] = FIFO
    t.refused("sched.priority-default", base, {"process.scheduler.priority": DELETE}, at="start")


def _real_time_cgroup(t: Case) -> Changes:
    """What a container needs so that it may have real-time processes, where cgroup v1 limits those."""
    for names, point, _ in cgroup.mounted():
        if "cpu" not in names or not (point / "cpu.rt_runtime_us").exists():
            continue
        if t.host.systemd_cgroup:
            t.skip("this host lacks real-time scheduling in the cgroups that systemd makes")
        parent = point / t.cgroups
        try:
            parent.mkdir(exist_ok=True)
            (parent / "cpu.rt_runtime_us").write_text(str(RT_PARENT))
        except OSError as error:
            t.skip(f"this host lacks real-time scheduling to give to a cgroup: {error}")
        return {"linux.resources.cpu": {"realtimePeriod": RT_PERIOD, "realtimeRuntime": RT_CONTAINER}}
    return {}


@test(
    "sched.policy",
    "sched.flags",
    "sched.runtime-default",
    "sched.deadline-default",
    "sched.period-default",
    needs=PRIVILEGED,
    may_refuse=True,
)
def deadline(t: Case) -> None:
    """SCHED_DEADLINE has its three times; those left out are 0, which Linux refuses but for the period."""
    both = ["SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_RECLAIM"]
    seen = scheduled(t, {**DEADLINE, "flags": both})
    compare(t, "sched.policy", seen, DEADLINE)
    t.equal("sched.flags", sorted(seen["flags"]), both)
    for name in ("runtime", "deadline"):
        base: Changes = {"process.scheduler": DEADLINE}
        t.refused(f"sched.{name}-default", base, {f"process.scheduler.{name}": DELETE}, at="start")
    # sched(7): a period of 0 is as long as the deadline.
    seen = scheduled(t, {name: value for name, value in DEADLINE.items() if name != "period"})
    compare(t, "sched.period-default", seen, {**DEADLINE, "period": DEADLINE["deadline"]})


@test(
    "sched.nice-default",
    "sched.priority-default",
    "sched.runtime-default",
    "sched.deadline-default",
    "sched.period-default",
    needs=PRIVILEGED,
    may_refuse=True,
)
def defaults(t: Case) -> None:
    """What a scheduler doesn't say is 0, whatever the runtime's own values are."""
    # From 6.12 on Linux shows the length of its time slices as `runtime` of ordinary processes, 0 standing for its own.
    own = t.run({}, "sched")["sched"]
    with callers(os.SCHED_OTHER, NICE):
        seen = scheduled(t, {"policy": "SCHED_BATCH"})
    t.equal("sched.nice-default", seen["nice"], 0)
    t.equal("sched.priority-default", seen["priority"], 0)
    t.equal("sched.runtime-default", seen["runtime"], own["runtime"])
    t.equal("sched.deadline-default", seen["deadline"], 0)
    t.equal("sched.period-default", seen["period"], 0)


# What each flag makes of {"policy": "SCHED_OTHER", "nice": 2} where the caller has SCHED_BATCH and another nice value.
# The flags of the utilization clamps have no values in a configuration: they are 0.
FLAGS: dict[str, Callable[[Json], bool]] = {
    "SCHED_FLAG_RESET_ON_FORK": lambda seen: seen["flags"] == ["SCHED_FLAG_RESET_ON_FORK"],
    "SCHED_FLAG_KEEP_POLICY": lambda seen: seen["policy"] == "SCHED_BATCH",
    "SCHED_FLAG_KEEP_PARAMS": lambda seen: seen["nice"] == NICE,
    "SCHED_FLAG_UTIL_CLAMP_MIN": lambda seen: seen["util_min"] == 0,
    "SCHED_FLAG_UTIL_CLAMP_MAX": lambda seen: seen["util_max"] == 0,
}


@test("sched.flags", needs=PRIVILEGED)
def flags(t: Case) -> None:
    """Flags have their effect, or are refused."""
    refusals = []
    for flag, holds in FLAGS.items():
        try:
            with callers(os.SCHED_BATCH, NICE):
                seen = scheduled(t, {"policy": "SCHED_OTHER", "nice": 2, "flags": [flag]})
        except Refused as error:
            refusals.append(str(error))
        else:
            t.check("sched.flags", holds(seen), f"the effect of {flag}, or an error", seen)
    if len(refusals) == len(FLAGS):
        t.unsupported("sched.flags", refusals[0])


@test("sched.policy-invalid")
def unknown(t: Case) -> None:
    """A policy that isn't one of the seven is refused."""
    for policy in ("SCHED_UNICORN", "", "sched_other"):
        base: Changes = {"process.scheduler": {"policy": "SCHED_OTHER"}}
        t.refused("sched.policy-invalid", base, {"process.scheduler.policy": policy}, at="start")
