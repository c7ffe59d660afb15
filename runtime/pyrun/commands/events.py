"""pyrun events. Hot module."""

from __future__ import annotations

import time

from pyrun.base import jsontext
from pyrun.base.errors import PyrunError
from pyrun.cgroups import oom, stats
from pyrun.container import roots, states, store
from pyrun.features import intel_rdt
from pyrun.kernel import calls, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.commandline.parse import Values

NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
LONGEST_WAIT = 1_000_000  # ms: a limit of poll's int, and waking up after a quarter of an hour costs nothing


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Print statistics once, or again and again until the container ends; print an event when it runs out of memory."""
    interval = duration(str(values.get("interval", "5s")))
    if interval is None or interval <= 0:
        raise PyrunError(f'--interval: "{values["interval"]}" is not a duration, such as 5s, 100ms or 1m30s')
    found = store.find(roots.root_folder(root), arguments[0], lock=False)
    status = states.status(found)
    if status not in states.ALIVE:
        raise states.not_running(found, status)
    process.own_signals()
    try:
        if values.get("stats"):
            _put(found, "stats", _collect(found.record))
        else:
            _follow(found, interval / 10**9)
    except BrokenPipeError:
        pass  # the reader has seen enough
    return 0


def _follow(found: store.Container, interval: float) -> None:
    record = found.record
    pidfd = process.pidfd_open(record["pid"])
    if pidfd < 0 or not states.is_alive(record):
        return  # it has ended just now
    watch = oom.Watch(record["cgroup"])
    watched = [pidfd] + ([watch.fd] if watch.fd >= 0 else [])
    due = time.monotonic()
    while True:
        left = due - time.monotonic()
        if left <= 0:
            _put(found, "stats", _collect(record))
            due = max(due + interval, time.monotonic())
            continue
        ready = calls.poll(watched, min(int(left * 1000) + 1, LONGEST_WAIT))
        if watch.happened():
            _put(found, "oom")
        if pidfd in ready:
            return


def _collect(record: dict[str, Any]) -> dict[str, Any]:
    data = stats.collect(record["cgroup"], record["pid"])
    if record.get("rdt"):
        data["intel_rdt"] = intel_rdt.statistics(record["rdt"])
    return data


def _put(found: store.Container, kind: str, data: dict[str, Any] | None = None) -> None:
    event: dict[str, Any] = {"type": kind, "id": found.id}
    if data is not None:
        event["data"] = data
    calls.write_all(1, jsontext.encode(event).encode() + b"\n")


def duration(text: str) -> int | None:
    """Return nanoseconds from a duration as Go writes it: "5s", "100ms", "1m30s", "1.5h"; None if it isn't one."""
    total = 0
    rest = text
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("nuµμmsh"))]
        rest = rest[len(unit) :]
        whole, _, part = number.partition(".")
        digits = whole + part
        if unit not in NANOSECONDS or not digits.isdigit() or len(digits) > 18:
            return None
        total += int(digits) * NANOSECONDS[unit] // 10 ** len(part)
    return total if text else None
