"""The state of a container, worked out from its record, its locks and its process. Hot module.

creating, created, running and stopped are the spec's (runtime.md, State); paused is ours.
"""

from __future__ import annotations

import posix
import time

from pyrun.base.errors import PyrunError
from pyrun.cgroups import driver
from pyrun.container.store import is_locked
from pyrun.kernel import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.container.store import Container

OCI_VERSION = "1.3.0"
CREATING, CREATED, RUNNING, STOPPED = "creating", "created", "running", "stopped"
PAUSED = "paused"  # created or running, and frozen: the specification allows a runtime states of its own
ALIVE = (CREATED, RUNNING, PAUSED)


def process_state(pid: int) -> tuple[str, int]:
    """Return state letter and start time (clock ticks since boot) of a process: proc_pid_stat(5). None has ("", 0)."""
    try:
        text = calls.read_file(f"/proc/{pid}/stat").decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return "", 0
    fields = text[text.rindex(")") + 2 :].split(" ")
    return fields[0], int(fields[19])


def is_alive(record: dict[str, Any]) -> bool:
    """Does the container's process exist, and is it still the same process? A zombie has exited."""
    pid = record.get("pid", 0)
    if not pid:
        return False
    letter, start = process_state(pid)
    return letter not in ("", "Z", "X") and start == record["pidStart"]


def status(container: Container) -> str:
    """Return creating, created, running, paused or stopped: runtime.md, State."""
    record = container.record
    if record.get("status") != CREATED:
        # creating, if somebody is at it; else create was killed, and its half-made container can only be deleted
        if not container.locked and is_locked(container.dirfd):
            return CREATING
        _check_dead(container)
        return STOPPED
    if not is_alive(record):
        return STOPPED
    fd = container.open_state()
    if fd < 0:
        return STOPPED  # deleted meanwhile
    waiting = is_locked(fd)
    posix.close(fd)
    if driver.of(record["cgroup"]).frozen(record["cgroup"]):
        return PAUSED
    return CREATED if waiting else RUNNING


def _check_dead(container: Container) -> None:
    """Raise PyrunError of kind "damaged" if processes outlive a killed create.

    Those of a killed create die with it. If some live on, the last line has been lost.
    """
    cgroup = container.record.get("cgroup")
    if not cgroup or not cgroup["hierarchies"]:
        return
    end = time.monotonic() + 1.0
    while left := driver.of(cgroup).pids(cgroup):
        if time.monotonic() > end:
            raise PyrunError(
                f'state.json of container "{container.id}" is damaged: it says nothing of process {left[0]}, which '
                "lives in its cgroup",
                hint=f"pyrun delete --force {container.id}",
                kind="damaged",
            )
        time.sleep(0.01)


def not_running(container: Container, status_now: str) -> PyrunError:
    """Return the error for a command that needs the container's process; engines know its first three words."""
    seen = status_now if status_now != RUNNING else STOPPED  # it has ended meanwhile
    return PyrunError(f'container not running: "{container.id}" is {seen}')


def oci_state(record: dict[str, Any], status_now: str, pid: int | None = None) -> dict[str, Any]:
    """Return the spec's state document: what `state` prints and hooks read (runtime.md, State)."""
    if pid is None:
        pid = 0 if status_now == STOPPED else record.get("pid", 0)
    state = {
        "ociVersion": OCI_VERSION,
        "id": record["id"],
        "status": status_now,
        "pid": pid,
        "bundle": record["bundle"],
    }
    if record.get("annotations"):
        state["annotations"] = record["annotations"]
    return state


def timestamp() -> str:
    """Return the time, as RFC 3339 with nanoseconds, which engines parse."""
    now = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09d}Z"
