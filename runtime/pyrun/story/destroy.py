"""Destroy a container: everything that state.json names goes, whoever made it and however far it got.

Hot module. One way for delete, `delete --force`, a failed create, and `run` at its end.
"""

from __future__ import annotations

import errno
import posix
import time

from pyrun.base import log
from pyrun.base.errors import PyrunError, failed, render, words
from pyrun.cgroups import driver, groups
from pyrun.container import states
from pyrun.container.store import Container
from pyrun.features import hooks, intel_rdt
from pyrun.kernel import calls, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.driver import Record
    from pyrun.commandline.parse import Values

KILL_TIMEOUT = 10.0  # seconds to wait for a killed process to be gone
FIRST_PAUSE = 100  # milliseconds until it is looked after


def destroy(container: Container, with_hooks: bool, force: bool = False) -> None:
    """Kill what is left, remove the cgroups and the state, then run the poststop hooks (if `with_hooks`).

    With `force`, cgroups that nobody can remove aren't in the way. Raises PyrunError if something else stays.
    """
    record = container.record
    kill_init(record)
    if record.get("cgroup"):
        _remove_cgroups(record["cgroup"], force)
    if record.get("rdt"):
        intel_rdt.remove(record["rdt"])
    try:
        container.remove()
    except OSError as error:
        raise failed("removing the state folder", error) from None
    container.close()
    log.debug("its processes, cgroups and state are gone")
    if with_hooks and record:
        run_poststop(record)


def _remove_cgroups(cgroup: Record, force: bool) -> None:
    cgroups = driver.of(cgroup)
    try:
        cgroups.remove(cgroup)
    except PyrunError as error:
        if not force or error.errno != errno.EROFS:
            raise
        end = time.monotonic() + KILL_TIMEOUT
        while (left := cgroups.pids(cgroup)) and time.monotonic() < end:
            groups.kill_all(left)
            time.sleep(0.01)
        log.warn(f"{error.sentence}; the container is deleted all the same, and its cgroups stay")


def undo(container: Container, options: Values, ran_hooks: bool) -> None:
    """Take back a create that failed. After a failed hook the life cycle goes on at its last steps, so that poststop
    hooks run; otherwise there never was a container."""
    # Nothing of it is needed any more, but perhaps we had run out of descriptors.
    if not options.get("pipes"):  # run has put its own stdin, stdout and stderr aside
        posix.closerange(3, container.dirfd)
    posix.closerange(container.dirfd + 1, 1024)
    try:
        destroy(container, with_hooks=ran_hooks)
    except (PyrunError, OSError) as error:
        text = error.sentence if isinstance(error, PyrunError) else words(error)
        log.warn(f"cleaning up after the failure: {text}; delete --force {container.id} tries again")


def kill_init(record: dict[str, Any]) -> None:
    """SIGKILL the container's process and wait until it is gone; a recycled pid is never touched."""
    pid = record.get("pid", 0)
    if not pid:
        return
    pidfd = process.pidfd_open(pid)
    if pidfd < 0:
        return
    try:
        # Only now that the pidfd pins the process is its start time worth comparing.
        letter, start = states.process_state(pid)
        if start != record["pidStart"]:
            return
        if letter not in ("Z", "X"):
            process.pidfd_send_signal(pidfd, process.SIGKILL)
            _wait_for_end(pid, pidfd, record)
        try:
            posix.waitpid(pid, posix.WNOHANG)  # our own child, if we are create or run
        except ChildProcessError:
            pass
    finally:
        posix.close(pidfd)


def _wait_for_end(pid: int, pidfd: int, record: dict[str, Any]) -> None:
    """Until a killed process is gone. Whatever is frozen meanwhile, in cgroup v1, is thawed again."""
    end = time.monotonic() + KILL_TIMEOUT
    pause = FIRST_PAUSE
    cgroups = driver.of(record["cgroup"])
    if cgroups.frozen(record["cgroup"]):
        cgroups.let_die(record["cgroup"])
    while not calls.poll([pidfd], pause):
        if time.monotonic() > end:
            raise PyrunError(f"process {pid} does not die", hint=_reason(pid, record["cgroup"]["path"]))
        cgroups.let_die(record["cgroup"])
        pause = min(pause * 2, 500)


def _reason(pid: int, path: str) -> str:
    """Why a killed process doesn't die: it waits in the kernel, or, as init of a PID namespace, for a zombie there."""
    letter, _ = states.process_state(pid)
    if letter == "D":
        return "it is in an uninterruptible wait"
    for name in posix.listdir("/proc"):
        if not name.isdigit() or states.process_state(int(name))[0] != "Z":
            continue
        try:
            cgroups = calls.read_file(f"/proc/{name}/cgroup").decode("utf-8", "replace").split("\n")
            parent = (
                calls.read_file(f"/proc/{name}/stat").decode("utf-8", "replace").rpartition(")")[2].split()[1]
            )
        except OSError:
            continue
        if int(name) != pid and [
            line for line in cgroups if f"{line}/".partition(":/")[2].startswith(path[1:] + "/")
        ]:
            return (
                f"it waits until process {parent}, outside of the container, takes note of the end of its child "
                f"{name}, which was in the PID namespace"
            )
    return "it waits for another process of its PID namespace"


def run_poststop(record: dict[str, Any]) -> None:
    """Run the poststop hooks; one that fails is a warning, and the rest still run (runtime.md, Lifecycle)."""
    state = states.oci_state(record, states.STOPPED, 0)
    stop_hooks = record.get("hooks", {}).get("poststop") or []
    for index in range(len(stop_hooks)):
        try:
            hooks.run_later("poststop", index, stop_hooks[index], state)
        except PyrunError as error:
            log.warn(render(error))
