"""process.rlimits (config.md#posix-process, getrlimit(2))."""

from __future__ import annotations

import resource

from oci_conformance.core.bundle import Json
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

# What is asked for, soft and hard: below any usual limit, and enough for a runtime to go on under it.
# Sizes in bytes, CPU in seconds, RTTIME in microseconds.
WANTED = {
    "RLIMIT_AS": (1 << 38, 1 << 39),
    "RLIMIT_CORE": (4096, 8192),
    "RLIMIT_CPU": (3001, 3002),
    "RLIMIT_DATA": (1 << 37, 1 << 38),
    "RLIMIT_FSIZE": (1 << 33, 1 << 34),
    "RLIMIT_LOCKS": (1001, 1002),
    "RLIMIT_MEMLOCK": (65536, 131072),
    "RLIMIT_MSGQUEUE": (4097, 8193),
    "RLIMIT_NICE": (1, 2),
    "RLIMIT_NOFILE": (511, 767),
    "RLIMIT_NPROC": (2001, 2002),
    "RLIMIT_RSS": (1 << 32, 1 << 33),
    "RLIMIT_RTPRIO": (1, 2),
    "RLIMIT_RTTIME": (5000001, 5000002),
    "RLIMIT_SIGPENDING": (901, 902),
    "RLIMIT_STACK": (4 << 20, 16 << 20),
}
NUMBERS = {"RLIMIT_LOCKS": 10}  # those that Python has no name for
INFINITY = 2**64 - 1
CORE = {"type": "RLIMIT_CORE", "soft": 4096, "hard": 8192}


def ceiling(name: str) -> int:
    """The hard limit of this process, which nobody may raise without CAP_SYS_RESOURCE."""
    number = NUMBERS[name] if name in NUMBERS else getattr(resource, name)
    hard = resource.getrlimit(number)[1]
    return INFINITY if hard == resource.RLIM_INFINITY else hard


@test("rlimits.get", "rlimits.soft", "rlimits.hard")
def applied(t: Case) -> None:
    """Every limit of getrlimit(2) has the configured soft and hard value."""
    wanted = {}
    for name, (soft, hard) in WANTED.items():
        hard = min(hard, ceiling(name))
        wanted[name] = {"type": name, "soft": min(soft, hard), "hard": hard}
    _compare(t, wanted)


@test("rlimits.get", "rlimits.soft", "rlimits.hard")
def extremes(t: Case) -> None:
    """Limits may be 0, and without end where the caller's are."""
    wanted: dict[str, Json] = {}
    for name in ("RLIMIT_CORE", "RLIMIT_LOCKS", "RLIMIT_RSS"):
        wanted[name] = {"type": name, "soft": 0, "hard": ceiling(name)}
    wanted["RLIMIT_MSGQUEUE"] = {"type": "RLIMIT_MSGQUEUE", "soft": 0, "hard": 0}
    endless = ceiling("RLIMIT_FSIZE")
    wanted["RLIMIT_FSIZE"] = {"type": "RLIMIT_FSIZE", "soft": endless, "hard": endless}
    _compare(t, wanted)


def _compare(t: Case, wanted: dict[str, Json]) -> None:
    seen = t.run({"process.rlimits": [*wanted.values()]}, "rlimits")["rlimits"]
    t.check(
        "rlimits.get",
        wanted.keys() <= seen.keys(),
        "getrlimit succeeds for all",
        sorted(wanted.keys() - seen.keys()),
    )
    for end in ("soft", "hard"):
        t.equal(
            f"rlimits.{end}",
            {name: seen.get(name, {}).get(end) for name in wanted},
            {name: str(entry[end]) for name, entry in wanted.items()},
        )


@test("rlimits.unmappable-error")
def unknown(t: Case) -> None:
    """A limit that the kernel has no name for is an error."""
    for name in ("RLIMIT_UNICORN", ""):
        fault = {"process.rlimits[0].type": name}
        t.refused("rlimits.unmappable-error", {"process.rlimits": [CORE]}, fault, at="start")


@test("rlimits.dup-error")
def twice(t: Case) -> None:
    """The same limit twice is an error, with the same values and with others."""
    other = {"type": "RLIMIT_NOFILE", "soft": 511, "hard": 511}
    for second in (CORE, {**CORE, "soft": 0}):
        base = {"process.rlimits": [CORE, other]}
        t.refused("rlimits.dup-error", base, {"process.rlimits": [CORE, other, second]}, at="start")
