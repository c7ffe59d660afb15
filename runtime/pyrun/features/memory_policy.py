"""linux.memoryPolicy: on which NUMA nodes the program's memory is allocated. Hot module.

Sources: config-linux.md, Memory Policy; set_mempolicy(2). It is inherited over fork and execve. What goes together is
oci_spec's rules' affair; whether the machine has it, the kernel's.
"""

from __future__ import annotations

import errno
import sys

from oci_spec.names import MEMORY_POLICY_FLAGS, MEMORY_POLICY_MODES
from pyrun.base.errors import PyrunError
from pyrun.kernel import stage2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.last import Last

MOST_NODES = 1 << 10  # of any kernel: MAX_NUMNODES, CONFIG_NODES_SHIFT
NODES_PATH = "linux.memoryPolicy.nodes"


def set_(last: Last) -> None:
    """Have stage 2 set its policy. Raises PyrunError for a node that no machine has."""
    policy = last.plan.linux["memoryPolicy"]
    mode: str = policy["mode"]
    value = MEMORY_POLICY_MODES[mode]
    for flag in policy.get("flags") or ():
        value |= MEMORY_POLICY_FLAGS[flag]
    mask = nodes_of(policy.get("nodes") or "")
    hint = "the nodes must be the machine's and the cpuset's, and the kernel must know the mode and the flags"
    no_numa = "this kernel has no memory policies: CONFIG_NUMA"
    last.label("linux.memoryPolicy", f"setting {mode}", (errno.EINVAL, "", hint), (errno.ENOSYS, "", no_numa))
    size = (mask.bit_length() + 63) // 64 * 8
    # The kernel reads one bit less than it is told.
    last.orders.call(
        stage2.NR_SET_MEMPOLICY, value, mask.to_bytes(size, sys.byteorder) or 0, size * 8 + 1 if size else 0
    )


def nodes_of(text: str) -> int:
    """A list of nodes, "0-3,7", as a bit mask. Raises PyrunError for a node that no machine has."""
    mask = 0
    for part in text.split(",") if text else ():
        low, _, high = part.strip().partition("-")
        first, last = int(low), int(high or low)
        if last >= MOST_NODES:
            raise PyrunError(
                f"no machine has a node {last}: they are numbered from 0 to {MOST_NODES - 1}", NODES_PATH
            )
        mask |= (1 << last + 1) - (1 << first)
    return mask
