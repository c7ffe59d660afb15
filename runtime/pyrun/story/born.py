"""Where stage 2 is born, and what it does first: a process of exec, or a container's init in a joined PID namespace.

Hot module. Its orders are rows of story/last.py. What it is that is born, and why, is told in kernel/stage2_birth.h.
"""

from __future__ import annotations

import errno

from pyrun.kernel import stage2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.last import Last

NO_REAL_TIME = "a real-time policy of process.scheduler needs linux.resources.cpu.realtimeRuntime there"


def be_born(last: Last) -> None:
    """A child goes on. The runtime is told its pid, and says when."""
    last.orders.add(stage2.BIRTH)


def lead_session(last: Last) -> None:
    """A session of its own; who leads one already may fail."""
    last.orders.try_call(stage2.NR_SETSID)


def take_terminal(last: Last) -> None:
    """Make the terminal that stdin is the session's."""
    if last.unborn:  # else the init has done it
        last.orders.call(stage2.NR_IOCTL, 0, stage2.TIOCSCTTY, 0)


def enter_cgroups(last: Last) -> None:
    """Those of version 1, by their files `tasks`."""
    special = [(errno.EINVAL, "", NO_REAL_TIME)] if "process.scheduler" in last.plan.asked else []
    for index, fd in enumerate(last.cgroups):
        last.label("linux.cgroupsPath", f"entering the container's cgroup v1 number {index}", *special)
        last.orders.write_to(fd, b"0")


def set_listen_pid(last: Last) -> None:
    """Write the pid over what stands for it in $LISTEN_PID."""
    if last.plan.listen_fds:
        last.orders.add(stage2.LISTEN_PID)
