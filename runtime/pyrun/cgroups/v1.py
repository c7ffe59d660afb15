"""What only cgroup v1 hierarchies need: the cpuset of a new cgroup, and the freezer.

Hot module. kernel: Documentation/admin-guide/cgroup-v1/{cpusets,freezer-subsystem}.rst.
"""

from __future__ import annotations

import posix
import time

from pyrun.base.errors import PyrunError
from pyrun.cgroups import files

_FREEZE_TRIES = 500
_FREEZE_PAUSE = 0.002


def inherit_cpuset(directory: str, mount: str, new: bool) -> None:
    """Give a cgroup of the cpuset hierarchy its parent's CPUs and memory nodes where it has none.

    A `new` cpuset is empty, and no process can enter it (ENOSPC). Parents that are empty are filled first.
    PyrunError.
    """
    for name in ("cpuset.cpus", "cpuset.mems"):
        if new or not files.fetch(directory, name):
            _inherit(directory, mount, name)


def _inherit(directory: str, mount: str, name: str) -> str:
    parent = directory[: directory.rindex("/")]
    value = files.fetch(parent, name)
    if not value and parent != mount:
        value = _inherit(parent, mount, name)
    files.write(directory, name, value, "linux.cgroupsPath")
    return value


def frozen(directory: str) -> bool:
    """Whether the cgroup of the freezer hierarchy, or one above it, is frozen or about to be; False if it
    is gone.
    """
    try:
        return files.read(f"{directory}/freezer.state") != "THAWED"
    except OSError:
        return False


def freeze(directory: str) -> None:
    """Freeze all processes of a cgroup and those below, and wait until they are.

    A process that is forking meanwhile keeps the state at FREEZING until it is told again; 1 s is plenty.
    On failure all are thawed. PyrunError.
    """
    for attempt in range(_FREEZE_TRIES):
        files.write(directory, "freezer.state", "FROZEN", "")
        if files.fetch(directory, "freezer.state") == "FROZEN":
            return
        time.sleep(_FREEZE_PAUSE)
        if attempt % 50 == 49:  # a task that waits for a frozen one can't be frozen itself
            files.write(directory, "freezer.state", "THAWED", "")
    thaw(directory)
    raise PyrunError(f"freezing {directory}: a process can't be frozen, it waits in the kernel")


def thaw(directory: str) -> None:
    """Let all processes of a cgroup run again; fine if it is gone. PyrunError."""
    files.write(directory, "freezer.state", "THAWED", "", optional=True)


def enter(fd: int) -> None:
    """Move the calling process into the cgroup whose `tasks` file `fd` is, and close it.

    The process must have one thread. Moving oneself takes no global lock; moving another pid waits for a
    grace period of the kernel, 14 ms (cgroup_threadgroup_rwsem).
    """
    try:
        posix.write(fd, b"0")
    except OSError as error:
        path = posix.readlink(f"/proc/self/fd/{fd}")
        raise PyrunError(f"entering the cgroup of {path}: {files.reason(error)}") from None
    finally:
        posix.close(fd)
