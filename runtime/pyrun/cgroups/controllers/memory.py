"""linux.resources.memory: config-linux.md § Memory; kernel: cgroup-v1/memory.rst, cgroup-v2.rst § Memory.

Hot module. Bytes; -1 is unlimited. 0 is "not set": no process could live with it, and engines send it for
unset.
"""

from __future__ import annotations

from pyrun.base.errors import PyrunError
from pyrun.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.files import Write

PATH = "linux.resources.memory"
# property: the v1 file. The limit comes before memory+swap, as a new cgroup wants it: it may not be above it.
V1_LIMITS = (
    ("limit", "memory.limit_in_bytes"),
    ("swap", "memory.memsw.limit_in_bytes"),
    ("reservation", "memory.soft_limit_in_bytes"),
    ("kernel", "memory.kmem.limit_in_bytes"),
    ("kernelTCP", "memory.kmem.tcp.limit_in_bytes"),
)
V1_STATS = (
    ("usage", "memory"),
    ("swap", "memory.memsw"),
    ("kernel", "memory.kmem"),
    ("kernelTCP", "memory.kmem.tcp"),
)


def v1(memory: dict[str, Any], directory: str = "") -> list[Write]:
    """What to write into the container's cgroup of the memory hierarchy. Raises PyrunError for a number below -1."""
    writes: list[Write] = []
    if "useHierarchy" in memory:  # the kernel has nothing else since 5.11, and refuses 0
        writes.append(
            ("memory.use_hierarchy", str(int(memory["useHierarchy"])), f"{PATH}.useHierarchy", False)
        )
    for key, name in V1_LIMITS:
        value = _limit(memory, key)
        if value:
            # as in v2: without accounting for swap, no swap and any swap are no reason not to start
            optional = key == "swap" and value in (-1, _limit(memory, "limit"))
            writes.append((name, str(value), f"{PATH}.{key}", optional))
    if memory.get("limit") == -1 and not memory.get("swap"):
        # An unlimited limit would be above the memory+swap limit that an update finds, so that one has to
        # go as well.
        writes.append(("memory.memsw.limit_in_bytes", "-1", f"{PATH}.limit", True))
    if "swappiness" in memory:
        writes.append(("memory.swappiness", str(memory["swappiness"]), f"{PATH}.swappiness", False))
    if memory.get("disableOOMKiller"):
        writes.append(("memory.oom_control", "1", f"{PATH}.disableOOMKiller", False))
    return writes


def v2(memory: dict[str, Any], directory: str) -> list[Write]:
    """What to write into a cgroup v2, `directory`. Raises PyrunError for what v2 has no equivalent of."""
    for key in ("kernel", "kernelTCP"):
        if _limit(memory, key) > 0:
            raise PyrunError("cgroup v2 has no limit of its own for kernel memory", f"{PATH}.{key}")
    if "swappiness" in memory:
        raise PyrunError("cgroup v2 has no swappiness per cgroup", f"{PATH}.swappiness")
    if memory.get("disableOOMKiller"):
        raise PyrunError("cgroup v2 can't disable the OOM killer", f"{PATH}.disableOOMKiller")
    if memory.get("useHierarchy") is False:
        raise PyrunError("cgroup v2 is always hierarchical", f"{PATH}.useHierarchy")
    limit, swap, reservation = _limit(memory, "limit"), _limit(memory, "swap"), _limit(memory, "reservation")
    writes: list[Write] = []
    if limit:
        check_usage(memory, directory)
        writes.append(("memory.max", _or_max(limit), f"{PATH}.limit", False))
    if swap or limit == -1:
        unlimited = swap == -1 or not swap
        if not unlimited and not limit:
            limit = _limit_in_force(directory)
        value = "max" if unlimited else str(_swap_alone(limit, swap))
        # A kernel that doesn't account for swap has no such file. No swap at all is what engines ask for by default
        # (a limit equal to that of memory): no reason not to start, with runc and crun neither.
        writes.append(("memory.swap.max", value, f"{PATH}.swap", value in ("max", "0")))
    if reservation:
        writes.append(("memory.low", _or_max(reservation), f"{PATH}.reservation", False))
    return writes


def check_usage(memory: dict[str, Any], directory: str) -> None:
    """`checkBeforeUpdate`: refuse a limit below what a v2 cgroup uses and can't give back; v1's kernel does so itself,
    where v2's kills processes. Raises PyrunError.
    """
    limit = _limit(memory, "limit")
    if not memory.get("checkBeforeUpdate") or limit <= 0:
        return
    try:
        used = int(files.read(f"{directory}/memory.current"))
    except OSError:
        return  # a new one, which uses nothing; or its controller is missing, and the write will say so
    if used > limit and (used := _after_reclaim(directory, limit, used)) > limit:
        try:
            peak = f" (at most it were {files.read(f'{directory}/memory.peak')})"
        except OSError:
            peak = ""  # of Linux 5.19
        raise PyrunError(
            f"{limit} bytes is below the {used} that {directory} uses now{peak}", f"{PATH}.limit"
        )


def _after_reclaim(directory: str, limit: int, used: int) -> int:
    """What a cgroup uses when it has given back what it can: who lowers memory.high takes it back before he returns."""
    try:
        before = files.read(f"{directory}/memory.high")
        files.put(directory, "memory.high", str(limit))
        try:
            return int(files.read(f"{directory}/memory.current"))
        finally:
            files.put(directory, "memory.high", before)
    except OSError:
        return used


def _limit_in_force(directory: str) -> int:
    try:
        return int(files.read(f"{directory}/memory.max").replace("max", "-1"))
    except OSError:
        return -1  # the controller is missing: the write would say so


def _swap_alone(limit: int, swap: int) -> int:
    """v2 limits swap alone, the configuration memory and swap together."""
    if limit <= 0:
        raise PyrunError(
            "cgroup v2 limits swap alone: memory and swap together need a memory limit", f"{PATH}.swap"
        )
    if swap < limit:
        raise PyrunError(f"memory and swap together, {swap}, is below memory, {limit}", f"{PATH}.swap")
    return swap - limit


def _limit(memory: dict[str, Any], key: str) -> int:
    value = memory.get(key, 0)
    if value < -1:
        raise PyrunError(f"{value} is neither a number of bytes nor -1", f"{PATH}.{key}")
    return int(value)


def _or_max(value: int) -> str:
    return "max" if value == -1 else str(value)


def stats(v1_directory: str, unified: str) -> dict[str, Any]:
    """What is used; of the v1 cgroup or else the v2 one, "" if there is none."""
    return _stats_v1(v1_directory) if v1_directory else _stats_v2(unified)


def _stats_v1(directory: str) -> dict[str, Any]:
    raw = files.pairs(f"{directory}/memory.stat")
    found: dict[str, Any] = {"cache": raw.get("cache", 0)}
    for key, name in V1_STATS:
        found[key] = {
            "limit": files.number(f"{directory}/{name}.limit_in_bytes"),
            "usage": files.number(f"{directory}/{name}.usage_in_bytes"),
            "max": files.number(f"{directory}/{name}.max_usage_in_bytes"),
            "failcnt": files.number(f"{directory}/{name}.failcnt"),
        }
    return {**found, "raw": raw}


def _stats_v2(directory: str) -> dict[str, Any]:
    """runc's shape is v1's, where swap is counted together with memory."""
    raw = files.pairs(f"{directory}/memory.stat")
    limit, usage = files.number(f"{directory}/memory.max"), files.number(f"{directory}/memory.current")
    swap_limit, swap = (
        files.number(f"{directory}/memory.swap.max"),
        files.number(f"{directory}/memory.swap.current"),
    )
    events = files.pairs(f"{directory}/memory.events")
    peak = files.number(f"{directory}/memory.peak")  # since Linux 5.19
    found: dict[str, Any] = {
        "cache": raw.get("file", 0),
        "usage": {"limit": limit, "usage": usage, "failcnt": events.get("max", 0)},
        "swap": {
            "limit": min(limit + swap_limit, files.UNLIMITED),
            "usage": usage + swap,
            "failcnt": files.pairs(f"{directory}/memory.swap.events").get("max", 0),
        },
        "kernel": {"limit": 0, "failcnt": 0},
        "kernelTCP": {"limit": 0, "failcnt": 0},
    }
    if peak:
        found["usage"]["max"] = peak
    if raw:
        found["raw"] = raw
    return found
