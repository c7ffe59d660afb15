"""Why the kernel refuses a write to a cgroup's file: an errno alone tells nobody what to do.

Hot module, loaded only when something was refused. kernel: Documentation/admin-guide/cgroup-v1/{cpusets,memory}.rst,
cgroup-v2.rst, scheduler/{sched-bwc,sched-rt-group}.rst.
"""

from __future__ import annotations

import errno
import posix

from pyrun.kernel.calls import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Cause = Callable[[str, str, str], str]


def cause(directory: str, name: str, value: str, number: int) -> str:
    """What is the matter, and what to do, for the end of the sentence; "" if the errno says all that is known."""
    if number == errno.ENOENT:
        return _missing(directory, name)
    for begin, expected, explain in _CAUSES:
        if number == expected and name.startswith(begin):
            return explain(directory, name, value)
    return {
        errno.EROFS: "the cgroup file system is mounted read-only",
        errno.EACCES: "only the owner of the cgroup may, which is mostly root of the machine",
        errno.EPERM: "only root of the machine may",
        errno.ENODEV: "this machine, or this cgroup's process, has no such thing",
        errno.ERANGE: "the number is too large or too small",
        errno.EINVAL: "the kernel takes no such value there",
    }.get(number, "")


def _missing(directory: str, name: str) -> str:
    try:
        posix.stat(directory)
    except OSError:
        return "the cgroup is gone: another program has removed it"
    if name.startswith(("memory.memsw", "memory.swap")):
        why = "it doesn't account for swap; boot with swapaccount=1, or set no limit of swap"
        return f"this kernel has no {name}: {why}"
    if name.startswith("blkio.leaf_weight"):
        return "Linux has no such weights since version 5.0"
    if name.startswith(("io.weight", "blkio.weight")):
        return (
            f"this kernel has no {name}: none of its schedulers has weights "
            "(CONFIG_BFQ_GROUP_IOSCHED, CONFIG_BLK_CGROUP_IOCOST)"
        )
    return f"this kernel has no {name}"


def _content(path: str) -> str:
    try:
        return read_file(path).decode().rstrip("\n")
    except OSError:
        return ""


def _used_memory(directory: str, name: str, value: str) -> str:
    part = "memory.memsw." if "memsw" in name else "memory.kmem." if "kmem" in name else "memory."
    used = _content(f"{directory}/{part}usage_in_bytes")
    peak = _content(f"{directory}/{part}max_usage_in_bytes")
    return f"the limit is too low: {used} bytes are in use, at most it were {peak}, and no more can be given back"


def _memory_order(directory: str, name: str, value: str) -> str:
    return "memory may not be above memory and swap together"


def _hierarchical(directory: str, name: str, value: str) -> str:
    return "since Linux 5.11 a cgroup's memory includes that of those below"


def _used_cpuset(directory: str, name: str, value: str) -> str:
    """v1: the CPUs or nodes of a cgroup below must be among its own."""
    wanted = _numbers(value)
    try:
        with posix.scandir(directory) as entries:
            below = sorted([entry.name for entry in entries if entry.is_dir(follow_symlinks=False)])
    except OSError:
        below = []
    for child in below:
        used = _content(f"{directory}/{child}/{name}")
        if not _numbers(used) <= wanted:
            return f"the cgroup {child} below it uses {used}: that one has to be changed first"
    return "a cgroup below it uses others"


def _cpuset_above(directory: str, name: str, value: str) -> str:
    above = directory[: directory.rindex("/")]
    given = _content(f"{above}/{name}")
    if not _numbers(value) <= _numbers(given):
        return f"the cgroup above, {above}, has no more than {given}"
    return _no_such_number(directory, name, value)


def _no_such_number(directory: str, name: str, value: str) -> str:
    what, path = ("CPUs", "cpu") if name == "cpuset.cpus" else ("memory nodes", "node")
    online = _content(f"/sys/devices/system/{path}/online")
    if _numbers(value) - _numbers(online):
        return f"this machine has the {what} {online}"
    return "another cgroup has some of them to itself" if _numbers(value) else "a list is such as 0-3,7"


def _empty_cpuset(directory: str, name: str, value: str) -> str:
    return "a cgroup with processes needs at least one that is there"


def _cpu_time(directory: str, name: str, value: str) -> str:
    """A quota or a period: each has bounds, and v1's may not have more than the cgroup above."""
    numbers = [int(word) for word in value.split() if word.lstrip("-").isdigit()]
    has_period = name == "cpu.cfs_period_us" or (name == "cpu.max" and len(value.split()) > 1)
    if has_period and not 1000 <= numbers[-1] <= 1_000_000:
        return "a period is from 1000 to 1000000 microseconds"
    if name != "cpu.cfs_period_us" and numbers and 0 <= numbers[0] < 1000:
        return "a quota is at least 1000 microseconds"
    if name.startswith("cpu.cfs_"):
        above = directory[: directory.rindex("/")]
        quota, period = _content(f"{above}/cpu.cfs_quota_us"), _content(f"{above}/cpu.cfs_period_us")
        if quota and not quota.startswith("-"):
            return (
                f"the cgroup above, {above}, has {quota} of {period} microseconds, and no part may have more"
            )
    return "quota, period and burst don't go together"


def _real_time(directory: str, name: str, value: str) -> str:
    above = directory[: directory.rindex("/")]
    given, period = _content(f"{above}/cpu.rt_runtime_us"), _content(f"{above}/cpu.rt_period_us")
    return f"the cgroup above, {above}, has {given} of {period} microseconds for all below it"


def _device_above(directory: str, name: str, value: str) -> str:
    return f"the cgroup above, {directory[: directory.rindex('/')]}, does not allow it"


def _no_disk(directory: str, name: str, value: str) -> str:
    return f"this machine has no disk {value.split(' ')[0]}; a partition has no limits of its own"


def _no_interface(directory: str, name: str, value: str) -> str:
    return f"there is no network device {value.split(' ')[0]} in the runtime's network namespace"


def _no_rdma(directory: str, name: str, value: str) -> str:
    return f"this machine has no RDMA device {value.split(' ')[0]}"


def _no_bfq(directory: str, name: str, value: str) -> str:
    return "the scheduler of this disk is not bfq: see /sys/block/*/queue/scheduler"


def _no_cost(directory: str, name: str, value: str) -> str:
    return "weights are not enabled for this disk: see io.cost.qos of the root cgroup"


def _numbers(text: str) -> set[int]:
    """The numbers of a list such as "0-3,7"; none if it isn't one."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit() and (last or first).isdigit() and len(last or first) < 7:
            found.update(range(int(first), int(last or first) + 1))
    return found


# (how the file's name begins, errno, what explains it)
_CAUSES: tuple[tuple[str, int, Cause], ...] = (
    ("memory.limit_in_bytes", errno.EBUSY, _used_memory),
    ("memory.memsw.limit_in_bytes", errno.EBUSY, _used_memory),
    ("memory.kmem.limit_in_bytes", errno.EBUSY, _used_memory),
    ("memory.limit_in_bytes", errno.EINVAL, _memory_order),
    ("memory.memsw.limit_in_bytes", errno.EINVAL, _memory_order),
    ("memory.use_hierarchy", errno.EINVAL, _hierarchical),
    ("cpuset.", errno.EBUSY, _used_cpuset),
    ("cpuset.", errno.EACCES, _cpuset_above),
    ("cpuset.", errno.ERANGE, _no_such_number),
    ("cpuset.", errno.EINVAL, _no_such_number),
    ("cpuset.", errno.ENOSPC, _empty_cpuset),
    ("cpu.cfs_", errno.EINVAL, _cpu_time),
    ("cpu.max", errno.EINVAL, _cpu_time),
    ("cpu.max", errno.ERANGE, _cpu_time),
    ("cpu.rt_", errno.EINVAL, _real_time),
    ("devices.allow", errno.EPERM, _device_above),
    ("blkio.", errno.ENODEV, _no_disk),
    ("blkio.bfq.weight_device", errno.EOPNOTSUPP, _no_bfq),
    ("io.", errno.ENODEV, _no_disk),
    ("net_prio.", errno.ENODEV, _no_interface),
    ("rdma.", errno.ENODEV, _no_rdma),
    ("io.bfq.weight", errno.EOPNOTSUPP, _no_bfq),
    ("io.weight", errno.EOPNOTSUPP, _no_cost),
)
