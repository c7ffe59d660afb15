"""A system call that fails in a command about a living container: one sentence or success, and nothing in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import Bundle, Pyrun
from faults import Faults, one_sentence, points, points_wanted
from test_call_failures import ERRORS, NEVER_FAIL

COMMANDS = {
    "ps": ("ps",),
    "ps-json": ("ps", "--format", "json"),
    "pause": ("pause",),
    "resume": ("resume",),
    "update": (
        "update",
        "--memory",
        "32M",
        "--memory-swap",
        "32M",
        "--cpu-share",
        "99",
        "--pids-limit",
        "55",
    ),
    "events": ("events", "--stats"),
}
LIMITS = ("memory/{}/memory.limit_in_bytes", "memory/{}/memory.memsw.limit_in_bytes", "cpu/{}/cpu.shares", "pids/{}/pids.max")  # fmt: skip  # noqa: E501
V2_LIMITS = ("{}/memory.max", "{}/memory.swap.max", "{}/cpu.weight", "{}/pids.max")


def limits(container_id: str) -> list[str]:
    """What update changes."""
    found = [Path("/sys/fs/cgroup", name.format(container_id)) for name in (*LIMITS, *V2_LIMITS)]
    return [path.read_text() for path in found if path.exists()]


@pytest.mark.parametrize("name", COMMANDS)
def test_failing_call(name: str, faults: Faults, pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    """After a failed update all limits are the old ones, and after one that succeeded the new ones."""
    container = pyrun.start(bundle(sh="sleep 1000 & sleep 1000"))
    words = (*COMMANDS[name], container.id)
    if name == "resume":
        pyrun.ok("pause", container.id)
    old = limits(container.id)
    if name == "update" and len(old) < 4:
        pytest.skip("needs the controllers memory (with swap), cpu and pids where containers are made")
    recorded = faults.record(*words)
    assert recorded.code == 0, recorded.err
    new = limits(container.id)
    assert (old != new) == (name == "update")
    failures = []
    for point in points(recorded.calls, points_wanted(25), NEVER_FAIL):
        if name in ("pause", "resume"):
            pyrun("resume" if name == "pause" else "pause", container.id)
        elif name == "update":
            back = ("--memory", "64M", "--memory-swap", "128M", "--cpu-share", "1024", "--pids-limit", "77")
            pyrun.ok("update", *back, container.id)
            old = limits(container.id)
        number = ERRORS[point[1] % len(ERRORS)]
        ended = faults.at(point, f"error:{number}", *words)
        about = f"{point} {recorded.at(point)}: error {number}, exit status {ended.code}, {ended.err!r}"
        if ended.code not in (0, 1) or (ended.code == 1 and not one_sentence(ended.err)):
            failures.append(about)
        if name == "update" and limits(container.id) != (old if ended.code else new):
            failures.append(f"{about}: {limits(container.id)}")
        if container.status not in ("running", "paused"):
            failures.append(f"{about}: {container.status}")
    assert not failures, "\n".join(failures)
