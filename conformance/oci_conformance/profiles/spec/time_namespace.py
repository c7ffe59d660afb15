"""linux.timeOffsets (config-linux.md#offset-for-time-namespace)."""

from __future__ import annotations

import time

from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

NAMESPACE = {"linux.namespaces[+]": {"type": "time"}}
CLOCKS = {"monotonic": time.CLOCK_MONOTONIC, "boottime": time.CLOCK_BOOTTIME}
SECOND = 10**9  # nanoseconds


@test("timens.offsets", needs=("timens",), may_refuse=True)
def offsets(t: Case) -> None:
    """The clocks of the container are ahead of the host's by exactly the offsets, and one without an offset isn't."""
    _offsets(t, {"monotonic": {"secs": 172800, "nanosecs": 500000007}, "boottime": {"secs": 604800}})
    _offsets(t, {"boottime": {"nanosecs": 999999999}})
    _offsets(t, {"monotonic": {"secs": -1}, "boottime": {"secs": -2, "nanosecs": 1}})
    _offsets(t, {})


def _offsets(t: Case, configured: dict[str, dict[str, int]]) -> None:
    """Run with offsets, and compare the clocks that the program reads with the host's before and after it."""
    before = {name: time.clock_gettime_ns(clock) for name, clock in CLOCKS.items()}
    seen = t.run({**NAMESPACE, "linux.timeOffsets": configured}, "clocks", "read /proc/self/timens_offsets")
    after = {name: time.clock_gettime_ns(clock) for name, clock in CLOCKS.items()}
    listed = {}
    for line in seen["read"].splitlines():
        name, secs, nanosecs = line.split()
        listed[name] = int(secs) * SECOND + int(nanosecs)
    for name in CLOCKS:
        entry = configured.get(name, {})
        offset = entry.get("secs", 0) * SECOND + entry.get("nanosecs", 0)
        t.equal("timens.offsets", {name: listed.get(name)}, {name: offset})
        ahead = _nanoseconds(str(seen["clocks"][name]))
        expected = f"{name} between {before[name] + offset} and {after[name] + offset} ns"
        t.check(
            "timens.offsets", before[name] + offset <= ahead <= after[name] + offset, expected, f"{ahead} ns"
        )


def _nanoseconds(text: str) -> int:
    """Of a clock's reading, whose last digits a float has rounded."""
    whole, _, fraction = text.partition(".")
    return int(whole) * SECOND + int(fraction[:9].ljust(9, "0"))


@test("timens.unknown-clock", needs=("timens",))
def unknown_clock(t: Case) -> None:
    """An offset for a clock that time namespaces don't have is an error."""
    base = {**NAMESPACE, "linux.timeOffsets": {"monotonic": {"secs": 1}}}
    for name in ("realtime", "no-such-clock"):
        t.refused("timens.unknown-clock", base, {f"linux.timeOffsets.{name}": {"secs": 1}})
