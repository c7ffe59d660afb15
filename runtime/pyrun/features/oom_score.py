"""process.oomScoreAdj: how soon the kernel kills it when memory is short. Hot module.

Source: config.md, Linux Process; proc_pid_oom_score_adj(5). Written from outside, by the parent, who may lower it.
"""

from __future__ import annotations

import errno

from pyrun.base.errors import failed
from pyrun.kernel import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.making import Making


def write(making: Making) -> None:
    """Set the child's score. Raises PyrunError if the caller may not."""
    score = making.plan.program["oomScoreAdj"]
    try:
        calls.write_file(f"/proc/{making.pid}/oom_score_adj", str(score))
    except OSError as error:
        hint = "lowering it needs CAP_SYS_RESOURCE" if error.errno == errno.EACCES else ""
        raise failed(f"writing {score}", error, "process.oomScoreAdj", hint) from None


def inherit(making: Making) -> None:
    """Where none is configured, exec's score is that of the container's process, not our caller's: sshd has -1000."""
    try:
        theirs = calls.read_file(f"/proc/{making.target}/oom_score_adj")
        if theirs != calls.read_file("/proc/self/oom_score_adj"):
            calls.write_file(f"/proc/{making.pid}/oom_score_adj", theirs)
    except OSError:
        pass  # it would be lower than ours, and we may not lower it
