"""What a container uses: the `data` of a statistics event, from the files of its cgroups, v1 and v2 alike.

Hot module. The names are runc's, which containerd's library reads (github.com/containerd/go-runc, events.go); times
are nanoseconds, sizes bytes, and "unlimited" is the largest number of 64 bits. A property of which this machine
knows nothing is left out.
kernel: Documentation/admin-guide/cgroup-v1/, cgroup-v2.rst, accounting/psi.rst.
"""

from __future__ import annotations

import posix

from pyrun.cgroups import files, groups, hierarchies
from pyrun.cgroups.controllers import block_io, hugepage_limits, rdma
from pyrun.cgroups.files import UNLIMITED, number, pairs, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.driver import Record

TICK = 10_000_000  # ns of the unit in cpuacct.stat: USER_HZ is 100 on every architecture with these files

V1_MEMORY = (
    ("usage", "memory"),
    ("swap", "memory.memsw"),
    ("kernel", "memory.kmem"),
    ("kernelTCP", "memory.kmem.tcp"),
)
V1_CPUSET = (
    "cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page", "memory_spread_slab",
    "memory_pressure", "sched_load_balance", "sched_relax_domain_level",
)  # fmt: skip
# columns of /proc/PID/net/dev: proc_pid_net(5)
NET_COLUMNS = (
    ("RxBytes", 0), ("RxPackets", 1), ("RxErrors", 2), ("RxDropped", 3),
    ("TxBytes", 8), ("TxPackets", 9), ("TxErrors", 10), ("TxDropped", 11),
)  # fmt: skip


def collect(record: Record, pid: int) -> dict[str, Any]:
    """The statistics of a container whose first process is `pid`; of one that is ending, what can still be read."""
    hierarchies.main_of(record)  # raises PyrunError if there are none to be read
    where = hierarchies.by_controller(record["hierarchies"], record["path"])
    unified = hierarchies.v2_directory(record["hierarchies"], record["path"])
    data: dict[str, Any] = {
        "cpu": _cpu_v1(where) if "cpuacct" in where else _cpu_v2(unified),
        "cpuset": _cpuset_v1(where["cpuset"]) if "cpuset" in where else _cpuset_v2(unified),
        "memory": _memory_v1(where["memory"]) if "memory" in where else _memory_v2(unified),
        "pids": _pids(where.get("pids") or unified),
        "blkio": block_io.stats(where.get("blkio", ""), unified),
        "hugetlb": hugepage_limits.stats(where.get("hugetlb", ""), unified),
        "intel_rdt": {},
        "network_interfaces": _network(pid),
    }
    for part, name in (("cpu", "cpu"), ("memory", "memory"), ("blkio", "io")):
        psi = _pressure(f"{unified}/{name}.pressure") if unified else {}
        if psi:
            data[part]["psi"] = psi
    if found := rdma.stats(where.get("rdma") or unified):
        data["rdma_stats"] = found
    return data


def number_list(ranges: str) -> list[int]:
    """The numbers of "0-3,7"."""
    found: list[int] = []
    for part in ranges.split(",") if ranges else ():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _cpu_v1(where: dict[str, str]) -> dict[str, Any]:
    account = where["cpuacct"]
    ticks = pairs(f"{account}/cpuacct.stat")
    table = [line.split() for line in text(f"{account}/cpuacct.usage_all").split("\n")[1:]]
    usage = {
        "total": number(f"{account}/cpuacct.usage"),
        "percpu": [int(word) for word in text(f"{account}/cpuacct.usage_percpu").split()],
        "percpu_kernel": [int(row[2]) for row in table],
        "percpu_user": [int(row[1]) for row in table],
        "kernel": ticks.get("system", 0) * TICK,
        "user": ticks.get("user", 0) * TICK,
    }
    throttled = pairs(f"{where['cpu']}/cpu.stat") if "cpu" in where else {}
    return {"usage": usage, "throttling": _throttling(throttled, throttled.get("throttled_time", 0))}


def _cpu_v2(directory: str) -> dict[str, Any]:
    stat = pairs(f"{directory}/cpu.stat")
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
    found: dict[str, Any] = {key: number(f"{directory}/cpuset.{key}") for key in V1_CPUSET}
    for key in ("cpus", "mems"):
        found[key] = number_list(text(f"{directory}/cpuset.{key}"))
    return found


def _cpuset_v2(directory: str) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(V1_CPUSET, 0)
    for key in ("cpus", "mems"):
        numbers = number_list(text(f"{directory}/cpuset.{key}.effective"))
        if numbers:
            found[key] = numbers
    return found


def _memory_v1(directory: str) -> dict[str, Any]:
    raw = pairs(f"{directory}/memory.stat")
    found: dict[str, Any] = {"cache": raw.get("cache", 0)}
    for key, name in V1_MEMORY:
        found[key] = {
            "limit": number(f"{directory}/{name}.limit_in_bytes"),
            "usage": number(f"{directory}/{name}.usage_in_bytes"),
            "max": number(f"{directory}/{name}.max_usage_in_bytes"),
            "failcnt": number(f"{directory}/{name}.failcnt"),
        }
    return {**found, "raw": raw}


def _memory_v2(directory: str) -> dict[str, Any]:
    """runc's shape is v1's, where swap is counted together with memory."""
    raw = pairs(f"{directory}/memory.stat")
    limit, usage = number(f"{directory}/memory.max"), number(f"{directory}/memory.current")
    swap_limit, swap = number(f"{directory}/memory.swap.max"), number(f"{directory}/memory.swap.current")
    events = pairs(f"{directory}/memory.events")
    peak = number(f"{directory}/memory.peak")  # since Linux 5.19
    found: dict[str, Any] = {
        "cache": raw.get("file", 0),
        "usage": {"limit": limit, "usage": usage, "failcnt": events.get("max", 0)},
        "swap": {
            "limit": min(limit + swap_limit, UNLIMITED),
            "usage": usage + swap,
            "failcnt": pairs(f"{directory}/memory.swap.events").get("max", 0),
        },
        "kernel": {"limit": 0, "failcnt": 0},
        "kernelTCP": {"limit": 0, "failcnt": 0},
    }
    if peak:
        found["usage"]["max"] = peak
    if raw:
        found["raw"] = raw
    return found


def _pids(directory: str) -> dict[str, int]:
    """A limit of 0 is none: runc's shape has no other word for it."""
    if not directory:
        return {"current": 0, "limit": 0}
    current = text(f"{directory}/pids.current")
    limit = number(f"{directory}/pids.max")
    return {
        "current": int(current) if current else len(groups.processes(directory)),
        "limit": 0 if limit == UNLIMITED else limit,
    }


def _pressure(path: str) -> dict[str, Any]:
    """ "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and "full ...": percent of time, and microseconds."""
    found: dict[str, Any] = {}
    for line in text(path).split("\n"):
        kind, *words = line.split() or [""]
        values = [word.partition("=") for word in words]
        if kind:
            found[kind] = {key: int(value) if key == "total" else float(value) for key, _, value in values}
    return found


def _network(pid: int) -> list[dict[str, Any]] | None:
    """The interfaces of the container but loopback; None if its network is the runtime's own."""
    try:
        own, its = posix.stat("/proc/self/ns/net"), posix.stat(f"/proc/{pid}/ns/net")
        if own.st_ino == its.st_ino:
            return None
        lines = files.read(f"/proc/{pid}/net/dev").split("\n")[2:]
    except OSError:
        return None
    found = []
    for line in lines:
        name, _, rest = line.partition(":")
        if name.strip() != "lo":
            words = rest.split()
            counts = {key: int(words[column]) for key, column in NET_COLUMNS}
            found.append({"Name": name.strip(), **counts})
    return found or None
