"""process.ioPriority (config.md#linux-process, ioprio_set(2))."""

from __future__ import annotations

from oci_conformance.core.bundle import Changes
from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test

BEST_EFFORT = "IOPRIO_CLASS_BE"


@test("ioprio.applied")
def applied(t: Case) -> None:
    """The program, its process group and its children have the class and the priority of ioPriority."""
    wanted = [(BEST_EFFORT, 6), (BEST_EFFORT, 1), ("IOPRIO_CLASS_IDLE", 0)]
    if t.host.uid == 0:
        wanted.append(("IOPRIO_CLASS_RT", 3))
    refusals = []
    for kind, priority in wanted:
        changes: Changes = {"process.ioPriority": {"class": kind, "priority": priority}}
        try:
            seen = t.run(changes, "ioprio", "session")
        except Refused as error:
            # A runtime may support a part of the classes (config.md#valid-values).
            refusals.append(str(error))
            continue
        own = {name: seen["ioprio"][name] for name in ("class", "priority")}
        t.equal("ioprio.applied", own, {"class": kind, "priority": priority})
        # Where the group is the container's own: of several processes Linux shows the best priority.
        if seen["session"]["pgid"] == seen["session"]["pid"]:
            t.equal("ioprio.applied", seen["ioprio"]["group"], {"class": kind, "priority": priority})
    if len(refusals) == len(wanted):
        t.unsupported("ioprio.applied", refusals[0])


@test("ioprio.invalid")
def invalid(t: Case) -> None:
    """A class that isn't one of the three, and a priority that isn't in 0 to 7, are refused."""
    base: Changes = {"process.ioPriority": {"class": BEST_EFFORT, "priority": 4}}
    for name in ("IOPRIO_CLASS_UNICORN", "IOPRIO_CLASS_NONE", ""):
        t.refused("ioprio.invalid", base, {"process.ioPriority.class": name}, at="start")
    for priority in (8, -1):
        t.refused("ioprio.invalid", base, {"process.ioPriority.priority": priority}, at="start")
