"""process.execCPUAffinity: on which CPUs a process of exec runs, before and after it is in the container's cgroups.

Hot module. The container's own process has nothing of it. Without an affinity a process of exec has every CPU of the
cpuset (kernel/process.py, all_cpus); with an initial one it keeps what the kernel makes of that. Sources: config.md,
Linux Process; sched_setaffinity(2).
"""

from __future__ import annotations

import errno
import posix
import sys

from pyrun.base.errors import PyrunError, failed
from pyrun.kernel import stage2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.last import Last
    from pyrun.story.making import Making

MOST_CPUS = 1 << 13  # of any kernel: CONFIG_NR_CPUS
CAUSES = {errno.EINVAL: "none of these CPUs is online and in the cpuset"}


def begin(making: Making) -> None:
    """Run on the initial CPUs, and have the child born so. Raises PyrunError if there are no such CPUs."""
    json_path = "process.execCPUAffinity.initial"
    assert making.plan.process is not None
    text = making.plan.process["execCPUAffinity"].get("initial") or ""
    if cpus := cpus_of(text, json_path):
        making.inside.keeps_affinity = True
        try:
            posix.sched_setaffinity(0, [cpu for cpu in range(cpus.bit_length()) if cpus >> cpu & 1])
        except OSError as error:
            raise failed(
                f"running on the CPUs {text}", error, json_path, CAUSES.get(error.errno or 0, "")
            ) from None


def end(last: Last) -> None:
    """Have stage 2 run on the final CPUs, when it is in the container's cgroups."""
    if last.listen_fd >= 0:  # the container's own process
        return
    json_path = "process.execCPUAffinity.final"
    text = last.program["execCPUAffinity"].get("final") or ""
    if cpus := cpus_of(text, json_path):
        special = [(number, "", hint) for number, hint in CAUSES.items()]
        last.label(json_path, f"running on the CPUs {text}", *special)
        size = (cpus.bit_length() + 63) // 64 * 8
        last.orders.call(stage2.NR_SCHED_SETAFFINITY, 0, size, cpus.to_bytes(size, sys.byteorder))


def cpus_of(text: str, json_path: str) -> int:
    """A list of CPUs, "0-3,8", as a bit mask. Raises PyrunError for one that no machine has."""
    mask = 0
    for part in text.split(",") if text.strip() else ():
        low, _, high = part.strip().partition("-")
        first, last = int(low), int(high or low)
        if last >= MOST_CPUS:
            raise PyrunError(f"no machine has a CPU {last}", json_path)
        mask |= (1 << last + 1) - (1 << first)
    return mask
