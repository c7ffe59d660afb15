"""Learning that a container ran out of memory, at the moment when it happens. Hot module.

cgroup v1 (cgroup-v1/memory.rst § OOM Control): an eventfd registered in cgroup.event_control. cgroup v2
(cgroup-v2.rst § memory.events): inotify on a file that counts the processes killed.
"""

from __future__ import annotations

import posix

from pyrun.base.errors import PyrunError
from pyrun.cgroups import files
from pyrun.cgroups.hierarchies import is_v2
from pyrun.kernel import notify
from pyrun.kernel.calls import O_CLOEXEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.cgroups.driver import Record


class Watch:
    """`fd` can be read when something may have happened, and `happened` says what; fd is -1 where no memory
    controller is."""

    __slots__ = ("_counter", "_known", "fd")

    def __init__(self, record: Record) -> None:
        self.fd = -1
        self._counter = ""
        self._known = 0
        for hierarchy in record["hierarchies"]:
            directory = hierarchy["mount"] + record["path"]
            try:
                if "memory" in hierarchy["controllers"]:
                    self._counter = f"{directory}/memory.oom_control"
                    self.fd = _eventfd(directory)
                elif is_v2(hierarchy) and self.fd < 0:
                    self._counter = f"{directory}/memory.events"
                    self.fd = notify.inotify(self._counter, notify.IN_MODIFY)
            except FileNotFoundError:
                self._counter = ""  # the other hierarchies have no memory controller
                continue
            except OSError as error:
                raise PyrunError(f"watching the memory of {directory}: {files.reason(error)}") from None
            if self.fd >= 0:
                self._known = self._killed()
                return

    def happened(self) -> bool:
        """Did the container run out of memory since the last call? Takes what can be read from `fd`."""
        if self.fd < 0:
            return False
        try:
            told = bool(posix.read(self.fd, 4096))
        except BlockingIOError:
            told = False
        known, self._known = self._known, self._killed()
        if self._counter.endswith("memory.events"):
            return self._known > known  # told of other changes as well
        return told and self._known >= 0  # told as well when the cgroup goes

    def _killed(self) -> int:
        """How many processes the OOM killer has killed; -1 if the cgroup is gone."""
        try:
            for line in files.read(self._counter).split("\n"):
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
        except OSError:
            return -1
        return 0


def _eventfd(directory: str) -> int:
    control = posix.open(f"{directory}/memory.oom_control", posix.O_RDONLY | O_CLOEXEC)
    try:
        fd = notify.eventfd()
        files.put(directory, "cgroup.event_control", f"{fd} {control}")
        return fd
    finally:
        posix.close(control)


def killed_for_memory(record: Record) -> str:
    """What to say of a process of the container that was killed: "" if none was for want of memory."""
    for hierarchy in record["hierarchies"]:
        directory = hierarchy["mount"] + record["path"]
        if "memory" in hierarchy["controllers"]:
            events, limit, peak = "memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes"
        elif is_v2(hierarchy):
            events, limit, peak = "memory.events", "memory.max", "memory.peak"
        else:
            continue
        if "oom_kill 0" not in (lines := _lines(f"{directory}/{events}")) and len(lines) > 1:
            most = "".join(_lines(f"{directory}/{peak}"))
            used = f", and {most} were used" if most else ""
            allowed = "".join(_lines(f"{directory}/{limit}"))
            return f"killed for want of memory: {allowed} bytes are allowed{used}; memory limit too low?"
    return ""


def _lines(path: str) -> list[str]:
    try:
        return files.read(path).split("\n")
    except OSError:
        return []
