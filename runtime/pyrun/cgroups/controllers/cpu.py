"""linux.resources.cpu: config-linux.md § CPU; kernel: scheduler/sched-bwc.rst, cgroup-v1/cpusets.rst, cgroup-v2.rst.

Hot module. Times in microseconds. A share, quota or period of 0 is "not set": engines send it so.
"""

from __future__ import annotations

from pyrun.base.errors import PyrunError
from pyrun.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.files import Write

PATH = "linux.resources.cpu"
MIN_SHARES, MAX_SHARES = 2, 262144
MAX_WEIGHT = 10000
TICK = 10_000_000  # ns of the unit in cpuacct.stat: USER_HZ is 100 on every architecture with these files

V1_CPUSET = (
    "cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page", "memory_spread_slab",
    "memory_pressure", "sched_load_balance", "sched_relax_domain_level",
)  # fmt: skip


def v1(cpu: dict[str, Any], directory: str = "") -> list[Write]:
    """What to write into the container's cgroup of the cpu hierarchy, and of that of cpuset."""
    writes: list[Write] = []
    for key, name in (
        ("realtimePeriod", "cpu.rt_period_us"),
        ("realtimeRuntime", "cpu.rt_runtime_us"),
        ("shares", "cpu.shares"),
        ("period", "cpu.cfs_period_us"),
        ("quota", "cpu.cfs_quota_us"),
    ):
        if cpu.get(key):
            writes.append((name, str(cpu[key]), f"{PATH}.{key}", False))
    return writes + _burst_and_idle(cpu, "cpu.cfs_burst_us") + _lists(cpu)


def v2(cpu: dict[str, Any], directory: str) -> list[Write]:
    """What to write into a cgroup v2, `directory`. Raises PyrunError for real-time scheduling, of which v2 has no
    share."""
    for key in ("realtimeRuntime", "realtimePeriod"):
        if cpu.get(key):
            raise PyrunError("cgroup v2 has no limit for real-time scheduling", f"{PATH}.{key}")
    writes: list[Write] = []
    if cpu.get("shares"):
        writes.append(("cpu.weight", str(weight(cpu["shares"])), f"{PATH}.shares", False))
    quota, period = cpu.get("quota", 0), cpu.get("period", 0)
    if quota or period:
        text = str(quota) if quota > 0 else "max"
        if not quota:  # the file takes a period only behind a quota
            text = _quota_in_force(directory)
        key = "quota" if quota else "period"
        writes.append(("cpu.max", f"{text} {period}" if period else text, f"{PATH}.{key}", False))
    return writes + _burst_and_idle(cpu, "cpu.max.burst") + _lists(cpu)


def _quota_in_force(directory: str) -> str:
    try:
        return files.read(f"{directory}/cpu.max").partition(" ")[0]
    except OSError:
        return "max"  # the controller is missing: the write will say so


def _burst_and_idle(cpu: dict[str, Any], burst_file: str) -> list[Write]:
    """Both came with Linux 5.14 and 5.15; 0 is what a kernel without them does anyway."""
    return [
        (name, str(cpu[key]), f"{PATH}.{key}", cpu[key] == 0)
        for key, name in (("burst", burst_file), ("idle", "cpu.idle"))
        if key in cpu
    ]


def _lists(cpu: dict[str, Any]) -> list[Write]:
    """Lists of numbers such as "0-3,7", in files of one name in v1 and v2; an empty one is "not set"."""
    return [(f"cpuset.{key}", cpu[key], f"{PATH}.{key}", False) for key in ("cpus", "mems") if cpu.get(key)]


def weight(shares: int) -> int:
    """cpu.weight (1 to 10000, default 100) for cpu.shares (2 to 262144, default 1024).

    The curve 10^((L² + 125 L) / 612 - 7/34), L = log2(shares), rounded up, goes through both ends and the
    defaults. runc has it since 1.3.2, crun since 1.23, Kubernetes since 1.35; the linear formula before
    made 39 of 1024, less than half the weight of any process outside of containers. Shares beyond the ends
    count as the ends, as in v1.
    """
    if shares <= MIN_SHARES:
        return 1
    if shares >= MAX_SHARES:
        return MAX_WEIGHT
    power = _log2(shares)
    exact: float = 10.0 ** ((power * power + 125 * power - 126) / 612)
    return -int(-exact // 1)


def _log2(number: int) -> float:
    """The logarithm, digit by digit, without the module math: exact for powers of two."""
    digits = number.bit_length() - 1
    rest, result, step = number / (1 << digits), float(digits), 0.5
    for _ in range(30):
        rest *= rest
        if rest >= 2:
            rest /= 2
            result += step
        step /= 2
    return result


def stats(where: dict[str, str], unified: str) -> dict[str, Any]:
    """What was used, in nanoseconds; of the v1 cgroups, by controller, or else the v2 one."""
    return _stats_v1(where) if "cpuacct" in where else _stats_v2(unified)


def cpuset_stats(v1_directory: str, unified: str) -> dict[str, Any]:
    """The CPUs and memory nodes; of the v1 cgroup or else the v2 one, "" if there is none."""
    return _cpuset_v1(v1_directory) if v1_directory else _cpuset_v2(unified)


def _stats_v1(where: dict[str, str]) -> dict[str, Any]:
    account = where["cpuacct"]
    ticks = files.pairs(f"{account}/cpuacct.stat")
    table = [line.split() for line in files.text(f"{account}/cpuacct.usage_all").split("\n")[1:]]
    usage = {
        "total": files.number(f"{account}/cpuacct.usage"),
        "percpu": [int(word) for word in files.text(f"{account}/cpuacct.usage_percpu").split()],
        "percpu_kernel": [int(row[2]) for row in table],
        "percpu_user": [int(row[1]) for row in table],
        "kernel": ticks.get("system", 0) * TICK,
        "user": ticks.get("user", 0) * TICK,
    }
    throttled = files.pairs(f"{where['cpu']}/cpu.stat") if "cpu" in where else {}
    return {"usage": usage, "throttling": _throttling(throttled, throttled.get("throttled_time", 0))}


def _stats_v2(directory: str) -> dict[str, Any]:
    stat = files.pairs(f"{directory}/cpu.stat")
    usage = {
        "total": stat.get("usage_usec", 0) * 1000,
        "kernel": stat.get("system_usec", 0) * 1000,
        "user": stat.get("user_usec", 0) * 1000,
    }
    return {"usage": usage, "throttling": _throttling(stat, stat.get("throttled_usec", 0) * 1000)}


def _throttling(stat: dict[str, int], nanoseconds: int) -> dict[str, int]:
    return {
        "periods": stat.get("nr_periods", 0),
        "throttledPeriods": stat.get("nr_throttled", 0),
        "throttledTime": nanoseconds,
    }


def _cpuset_v1(directory: str) -> dict[str, Any]:
    found: dict[str, Any] = {key: files.number(f"{directory}/cpuset.{key}") for key in V1_CPUSET}
    for key in ("cpus", "mems"):
        found[key] = number_list(files.text(f"{directory}/cpuset.{key}"))
    return found


def _cpuset_v2(directory: str) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(V1_CPUSET, 0)
    for key in ("cpus", "mems"):
        numbers = number_list(files.text(f"{directory}/cpuset.{key}.effective"))
        if numbers:
            found[key] = numbers
    return found


def number_list(ranges: str) -> list[int]:
    """The numbers of "0-3,7"."""
    found: list[int] = []
    for part in ranges.split(",") if ranges else ():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
