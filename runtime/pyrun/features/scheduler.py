"""process.scheduler: by which policy the kernel gives the program its turns on a CPU. Hot module.

Sources: config.md, Linux Process; sched(7), sched_setattr(2). Set from outside, by the parent, who has the right to
real-time policies where the program hasn't, and nobody in a user namespace has; and last of all, since a process with
a deadline may not fork, and what a process with SCHED_FLAG_RESET_ON_FORK forks has another policy.
"""

from __future__ import annotations

import errno
import sys

from oci_spec.names import SCHEDULER_FLAGS, SCHEDULER_POLICIES
from pyrun.base.errors import failed
from pyrun.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci_spec import types
    from pyrun.story.making import Making

CAUSES = {
    errno.EPERM: "real-time policies, deadlines and a lower nice value need CAP_SYS_NICE; deadlines also every CPU;"
    " and where cgroups of version 1 limit real-time scheduling, it needs linux.resources.cpu.realtimeRuntime",
    errno.EBUSY: "the CPUs have promised too much of their time to other deadlines",
    errno.EINVAL: "this kernel doesn't know the policy, or a flag",
    errno.EOPNOTSUPP: "this kernel has no utilization clamps: CONFIG_UCLAMP_TASK",
}


def set_(making: Making) -> None:
    """Set the policy of the process that becomes the program. Raises PyrunError if the kernel refuses it."""
    wanted = making.plan.program["scheduler"]
    try:
        process.sched_setattr(making.pid, attributes(wanted))
    except OSError as error:
        hint = CAUSES.get(error.errno or 0, "")
        raise failed(f"setting {wanted['policy']}", error, "process.scheduler", hint) from None


def attributes(wanted: types.Scheduler) -> bytes:
    """struct sched_attr of linux/sched/types.h. What isn't configured is 0, whatever our caller's values are."""
    flags = 0
    for name in wanted.get("flags") or ():
        flags |= SCHEDULER_FLAGS[name]
    fields = (
        (SCHEDULER_POLICIES[wanted["policy"]], 4),
        (flags, 8),
        (wanted.get("nice", 0) & 0xFFFFFFFF, 4),
        (wanted.get("priority", 0), 4),
        (wanted.get("runtime", 0), 8),
        (wanted.get("deadline", 0), 8),
        (wanted.get("period", 0), 8),
        (0, 8),  # utilization clamps, of which the configuration knows the flags alone
    )
    body = b"".join([value.to_bytes(size, sys.byteorder) for value, size in fields])
    return (len(body) + 4).to_bytes(4, sys.byteorder) + body
