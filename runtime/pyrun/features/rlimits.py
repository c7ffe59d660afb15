"""process.rlimits: hard ones are raised from outside, and all are set by stage 2, directly before the program: then
neither we nor hooks are short of anything. Hot module. Source: config.md, POSIX process; prlimit(2).
"""

from __future__ import annotations

import errno
import sys

from oci_spec.names import RLIMITS
from pyrun.base.errors import failed
from pyrun.kernel import process, stage2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.last import Last
    from pyrun.story.making import Making


def raise_hard(making: Making) -> None:
    """Raise hard limits from outside, while the child is still ours. Stage 2 sets the limits, as the program's user
    and just before it is the program; it has no right to raise hard ones, which in a user namespace nobody has. Raises
    PyrunError if the caller hasn't, either."""
    for index, limit in enumerate(making.plan.program["rlimits"]):
        try:
            process.raise_hard_limit(making.pid, RLIMITS.index(limit["type"]), limit["hard"])
        except OSError as error:
            hint = "raising a hard limit needs CAP_SYS_RESOURCE" if error.errno == errno.EPERM else ""
            if limit["type"] == "RLIMIT_NOFILE":
                hint += ", and more than /proc/sys/fs/nr_open can't be had" if hint else ""
            raise failed(f"setting {limit['type']}", error, f"process.rlimits[{index}]", hint) from None


def set_all(last: Last) -> None:
    """Each of process.rlimits."""
    for index, limit in enumerate(last.program["rlimits"]):
        values = [limit[name].to_bytes(8, sys.byteorder) for name in ("soft", "hard")]
        number = RLIMITS.index(limit["type"])
        last.label(f"process.rlimits[{index}]", "setting this limit")
        last.orders.call(stage2.NR_PRLIMIT64, 0, number, b"".join(values), 0)
