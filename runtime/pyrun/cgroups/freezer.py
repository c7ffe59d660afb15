"""Pausing a cgroup, and killing all in it: the freezer of cgroup v1, cgroup.freeze and cgroup.kill of v2.

Hot module. kernel: Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst, cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import posix
import time

from pyrun.base.errors import PyrunError
from pyrun.cgroups import files, groups
from pyrun.cgroups.hierarchies import is_v2
from pyrun.kernel.calls import O_CLOEXEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrun.cgroups.hierarchies import Hierarchy

_TRIES_V1, _PAUSE_V1 = 500, 0.002
_TRIES_V2, _PAUSE_V2 = 1000, 0.001


def frozen(hierarchy: Hierarchy, directory: str) -> bool:
    """Is a cgroup frozen, by itself or by one above, or about to be? False if it is gone, or nothing freezes there."""
    try:
        if is_v2(hierarchy):
            return "frozen 1" in files.read(f"{directory}/cgroup.events").split("\n")
        if "freezer" in hierarchy["controllers"]:
            return files.read(f"{directory}/freezer.state") != "THAWED"
    except OSError:
        pass
    return False


def freeze(hierarchy: Hierarchy, directory: str) -> None:
    """Freeze all processes of a cgroup and those below, and wait until they are. Raises PyrunError if that takes more
    than a second, and then all are thawed."""
    done = _freeze_v2(hierarchy, directory) if is_v2(hierarchy) else _freeze_v1(directory)
    if not done:
        thaw(hierarchy, directory)
        raise PyrunError(f"freezing {directory}: a process can't be frozen, it waits in the kernel")


def _freeze_v1(directory: str) -> bool:
    """A process that is forking meanwhile keeps the state at FREEZING until it is told again."""
    for attempt in range(_TRIES_V1):
        files.write(directory, "freezer.state", "FROZEN", "")
        if files.fetch(directory, "freezer.state") == "FROZEN":
            return True
        time.sleep(_PAUSE_V1)
        if attempt % 50 == 49:  # a task that waits for a frozen one can't be frozen itself
            files.write(directory, "freezer.state", "THAWED", "")
    return False


def _freeze_v2(hierarchy: Hierarchy, directory: str) -> bool:
    files.write(directory, "cgroup.freeze", "1", "")
    for _ in range(_TRIES_V2):
        if frozen(hierarchy, directory):
            return True
        time.sleep(_PAUSE_V2)
    return False


def thaw(hierarchy: Hierarchy, directory: str) -> None:
    """Let all processes of a cgroup run again; fine if it is gone. Raises PyrunError if the kernel refuses."""
    name, value = ("cgroup.freeze", "0") if is_v2(hierarchy) else ("freezer.state", "THAWED")
    files.write(directory, name, value, "", optional=True)


def kill(hierarchy: Hierarchy, directory: str, pids: Sequence[int]) -> None:
    """SIGKILL to all of a cgroup that can be frozen, and of those below; `pids` are known to be there.

    At once by cgroup.kill where the kernel has it (cgroup v2, Linux 5.14). Else they are frozen meanwhile, so
    that they can't fork faster than they die, unless the caller is among them.
    Raises PyrunError if they can't be frozen.
    """
    own = posix.getpid() in pids
    unified = is_v2(hierarchy)
    if unified and not own:
        try:
            files.put(directory, "cgroup.kill", "1")
            return
        except OSError:
            pass
    name, frozen, thawed = ("cgroup.freeze", "1", "0") if unified else ("freezer.state", "FROZEN", "THAWED")
    try:
        if not own:
            files.put(directory, name, frozen)
            pids = groups.processes(directory)
        groups.kill_all(pids)
        files.put(directory, name, thawed)  # nothing dies frozen in v1
        if not unified:
            thaw_below(directory)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise PyrunError(f"freezing {directory}: {files.reason(error)}") from None
        groups.kill_all(pids)  # gone, or a machine without a freezer: killing goes on, by rounds


def thaw_below(directory: str) -> None:
    """Thaw the cgroups of the freezer hierarchy below one: the container may have frozen some itself. Raises
    OSError."""
    if not groups.has_children(directory):
        return
    for parent, name in groups.below(directory):
        try:
            fd = posix.open(f"{name}/freezer.state", posix.O_WRONLY | O_CLOEXEC, dir_fd=parent)
        except OSError:
            continue  # gone meanwhile
        try:
            posix.write(fd, b"THAWED")
        except OSError:
            pass
        finally:
            posix.close(fd)
