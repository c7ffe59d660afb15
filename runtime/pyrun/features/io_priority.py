"""process.ioPriority: how soon the program's input and output have their turn at a disk. Hot module.

Sources: config.md, Linux Process; ioprio_set(2). Set from outside, by the parent, who may give real-time priority to a
process in a user namespace too. It is inherited by stage 2 and all that it makes.
"""

from __future__ import annotations

import errno

from oci_spec.names import IO_PRIORITY_CLASSES
from pyrun.base.errors import failed
from pyrun.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.making import Making

CLASS_SHIFT = 13  # IOPRIO_CLASS_SHIFT of linux/ioprio.h
CAUSES = {
    errno.EPERM: "real-time priority needs CAP_SYS_NICE or CAP_SYS_ADMIN, and another user's process CAP_SYS_NICE",
    errno.ENOSYS: "this kernel has no block devices",
}


def write(making: Making) -> None:
    """Set the child's class and priority. Raises PyrunError if the caller may not."""
    wanted = making.plan.program["ioPriority"]
    name, level = wanted["class"], wanted["priority"]
    try:
        process.ioprio_set(making.pid, IO_PRIORITY_CLASSES[name] << CLASS_SHIFT | level)
    except OSError as error:
        hint = CAUSES.get(error.errno or 0, "")
        raise failed(f"setting {name} with priority {level}", error, "process.ioPriority", hint) from None
