"""process.oomScoreAdj: how soon the kernel kills it when memory is short. Hot module.

Source: config.md, Linux Process; proc_pid_oom_score_adj(5). The parent writes that of an init, while both have the same
rights. A process of exec writes its own: nobody else may, as soon as it is closed to those inside.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import failed
from pyrun.kernel import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.making import Inside, Making


def write(making: Making) -> None:
    """Set the init's score. Raises PyrunError if the caller may not."""
    _write(making.pid, making.plan.program["oomScoreAdj"])


def write_own(inside: Inside) -> None:
    """Set the score of this process. Raises PyrunError if the caller may not."""
    _write(posix.getpid(), inside.plan.program["oomScoreAdj"])


def _write(pid: int, score: int) -> None:
    try:
        calls.write_file(f"/proc/{pid}/oom_score_adj", str(score))
    except OSError as error:
        hint = "lowering it needs CAP_SYS_RESOURCE" if error.errno == errno.EACCES else ""
        raise failed(f"writing {score}", error, "process.oomScoreAdj", hint) from None


def inherit(inside: Inside) -> None:
    """Where none is configured, exec's score is that of the container's process, not our caller's: sshd has -1000."""
    own = f"/proc/{posix.getpid()}/oom_score_adj"
    try:
        theirs = calls.read_file(f"/proc/{inside.state['pid']}/oom_score_adj")
        if theirs != calls.read_file(own):
            calls.write_file(own, theirs)
    except OSError:
        pass  # it would be lower than ours, and we may not lower it
