"""linux.resources.pids (config-linux.md#pids)."""

from __future__ import annotations

from oci_conformance.profiles.support import limits
from oci_conformance.profiles.support.limits import Knob
from oci_conformance.run.case import Case, Container
from oci_conformance.run.registry import test

LIMIT = "linux.resources.pids.limit"
NEEDS = ("root", "cgroup:pids")


def _knob(value: str) -> Knob:
    return Knob("pids", {"pids.max": value}, {"pids.max": value})


def _made(c: Container) -> int | None:
    """How many processes the program of a created container could fork."""
    c.start()
    c.wait()
    return next((answer["result"].get("made") for answer in c.results() if "result" in answer), None)


@test("pids.limit", needs=NEEDS)
def limit(t: Case) -> None:
    """The cgroup has the limit of the configuration, and the program can't fork beyond it."""
    c = t.create({LIMIT: 12}, "fork 30")
    limits.check(t, "pids.limit", c, _knob("12"))
    made = _made(c)
    # A runtime may have a process of its own in the cgroup, so there may be fewer.
    t.check("pids.limit", made is not None and 0 < made < 12, "at most 11 processes beside the program", made)


@test("pids.limit-minus1", needs=NEEDS)
def unlimited(t: Case) -> None:
    """-1 takes away a limit that the cgroup had."""
    where = limits.premade(t, "pids", "limited", {"pids.max": "40"})
    limits.check(t, "pids.limit-minus1", t.create({**where, LIMIT: -1}), _knob("max"))


@test("pids.limit-zero", needs=NEEDS)
def zero(t: Case) -> None:
    """0 is a limit like any other: the program runs and can't fork."""
    c = t.create({LIMIT: 0}, "fork 2")
    limits.check(t, "pids.limit-zero", c, _knob("0"))
    made = _made(c)
    t.equal("pids.limit-zero", made, 0)


@test("pids.limit-zero-open", needs=NEEDS, may_refuse=True)
def zero_before(t: Case) -> None:
    """Before 1.3.0 a limit of 0 may be a limit, or none: the container is there, and one of the two stands."""
    c = t.create({LIMIT: 0})
    said = c.limit("pids", v1="pids.max", v2="pids.max")
    t.check("pids.limit-zero-open", said in ("0", "max"), "0 or max", said)


@test("pids.limit-required", needs=NEEDS)
def without_limit(t: Case) -> None:
    """Before 1.3.0 pids without a limit is refused."""
    t.refused("pids.limit-required", {LIMIT: 20}, {"linux.resources.pids": {}})
