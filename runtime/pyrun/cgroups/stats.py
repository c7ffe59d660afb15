"""What a container uses: the `data` of a statistics event, from the files of its cgroups, v1 and v2 alike.

Hot module. The names are runc's, which containerd's library reads (github.com/containerd/go-runc, events.go); times
are nanoseconds, sizes bytes, and "unlimited" is the largest number of 64 bits. A property of which this machine
knows nothing is left out. Each controller's part is in its file below controllers/.
kernel: Documentation/admin-guide/cgroup-v1/, cgroup-v2.rst, accounting/psi.rst.
"""

from __future__ import annotations

import posix

from pyrun.cgroups import files, hierarchies
from pyrun.cgroups.controllers import block_io, cpu, hugepage_limits, memory, pids, rdma

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.driver import Record

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
        "cpu": cpu.stats(where, unified),
        "cpuset": cpu.cpuset_stats(where.get("cpuset", ""), unified),
        "memory": memory.stats(where.get("memory", ""), unified),
        "pids": pids.stats(where.get("pids") or unified),
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


def _pressure(path: str) -> dict[str, Any]:
    """ "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and "full ...": percent of time, and microseconds."""
    found: dict[str, Any] = {}
    for line in files.text(path).split("\n"):
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
