"""What happens in start: tell stage 2 to go on, learn whether the program was executed, run poststart hooks.

Hot module. Source: runtime.md, Start; config.md, Poststart.
"""

from __future__ import annotations

import posix
import time

from pyrun.base import jsontext, log, protocol
from pyrun.base.errors import PyrunError, failed, render
from pyrun.container import states
from pyrun.container.store import Container
from pyrun.features import hooks
from pyrun.features.seccomp import notify
from pyrun.kernel import calls, process, stage2
from pyrun.story import diagnose, orders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


MEMORY_TIMEOUT = 0.2  # seconds that a program with very little memory is looked after
REAP_TIMEOUT = 2.0  # seconds that the init's parent has to reap it


def start_and_wait(container: Container, alone: bool = False) -> None:
    """`start`; and if our caller waits for sd_notify(3), wait until the container says that it is ready, or has ended.
    Others may do with it what they like meanwhile. Raises PyrunError as `start` does."""
    if b"NOTIFY_SOCKET" not in posix.environ:
        start(container, alone)
        return
    from pyrun.features import sdnotify

    sock = pidfd = -1
    try:
        sock = sdnotify.listen(container.dirfd)
        pidfd = process.pidfd_open(container.record["pid"])
    except OSError as error:
        failure = failed("listening to the container's sd_notify", error)
        _settle(container, failure, alone, keep=False)
        raise failure from None
    start(container, alone)
    container.unlock()
    if sock >= 0 and pidfd >= 0:
        sdnotify.wait(sock, pidfd, container.record["pid"])


def start(container: Container, alone: bool = False, keep: bool = False) -> None:
    """Start a created, locked container. Raises PyrunError if its program can't be executed or a hook fails; the
    container is destroyed then if a hook did, or if it is our own and not to be kept.

    `alone` is the command start: the container's owner is another process, and whoever looks at the program sees its
    streams. Then a program that can't be executed is no error here: stage 2 repeats the sentence on the program's
    stderr, and the container has ended with status 255, as under runc. An engine cleans that up, but not what a
    failing start leaves: it asks its shim at once, which may not know yet that the init is dead.
    """
    try:
        _start(container, alone)
    except BaseException as error:
        _settle(container, error, alone, keep)
        raise


def _settle(container: Container, error: BaseException, alone: bool, keep: bool) -> None:
    """Decide what becomes of a container whose start has failed. A failing hook ends it, and the life cycle goes on at
    its last steps (runtime.md, Lifecycle)."""
    kind = error.kind if isinstance(error, PyrunError) else ""
    if kind == "agent":  # without it the program must not run; execve itself may wait for it
        from pyrun.story import destroy

        destroy.kill_init(container.record)
    if kind == "hook" or not (alone or keep):
        from pyrun.story import destroy

        destroy.destroy(container, with_hooks=True)
    if alone:
        _until_reaped(container.record)


def _start(container: Container, alone: bool) -> None:
    status = states.status(container)
    if status != states.CREATED:
        from pyrun.cgroups import oom

        why = oom.killed_for_memory(container.record["cgroup"]) if status == states.STOPPED else ""
        raise PyrunError(
            f'container "{container.id}" is {status}, and only a created one can be started', hint=why
        )
    if not container.record["hasProcess"]:
        raise PyrunError("not set in config.json, so there is nothing to start", "process")
    if not _go(container, alone):
        return
    log.debug("the program is executed")
    if container.record.get("smallMemory"):
        _check_memory(container)
    state = states.oci_state(container.record, states.RUNNING)
    for index, hook in enumerate(container.record["hooks"].get("poststart") or ()):
        hooks.run_later("poststart", index, hook, state)


def _go(container: Container, alone: bool) -> bool:
    """Connect to stage 2; that is the word to start. It says GOING, then is closed by execve, which is True; or it
    fails aloud, and then waits for what we answer: False if that was the sentence for the program's stderr."""
    try:
        connection = calls.connect(f"/proc/self/fd/{container.dirfd}/start.sock")
    except OSError as error:
        raise failed(f'waking the init of container "{container.id}"', error) from None
    try:
        fault = _fault(container, connection)
        if fault is None:
            return True
        if not alone or fault.kind == "hook":
            raise fault
        log.write("info", render(fault))
        protocol.tell(connection, f"pyrun: {render(fault)}\n".encode("utf-8", "backslashreplace"))
        return False
    finally:
        posix.close(connection)


def _fault(container: Container, connection: int) -> PyrunError | None:
    """Wait until the program is executed, and return None, or what stage 2 failed at.

    Raises PyrunError if the init died without a word.
    """
    going = False
    data = b""
    agent = notify.of_record(container.record)
    while part := agent.receive(connection) if agent else protocol.receive(connection):
        data += part
        while len(data) >= (size := orders.size_of(data)):
            about, fault = orders.understand(data[:size])
            data = data[size:]
            if fault is not None:
                return diagnose.explain(fault, container.record["program"], _places(container))
            going = going or about == stage2.WILL_EXECUTE
            if about == stage2.LISTENER and agent:
                state = states.oci_state(container.record, states.CREATED)
                agent.give(connection, container.record["pid"], state, going)
    if not going:
        from pyrun.cgroups import oom

        raise PyrunError(
            f'the init of container "{container.id}" died before it could execute the program',
            hint=oom.killed_for_memory(container.record["cgroup"])
            or "or a start that was killed had woken it, which state tells",
        )
    return None


def _check_memory(container: Container) -> None:
    """Raise PyrunError if the kernel kills the program at once for want of memory: it may not even begin."""
    from pyrun.cgroups import oom

    end = time.monotonic() + MEMORY_TIMEOUT
    while time.monotonic() < end:
        why = oom.killed_for_memory(container.record["cgroup"])
        if why and not states.is_alive(container.record):
            raise PyrunError(
                f'the program of container "{container.id}" was {why}', "linux.resources.memory.limit"
            )
        time.sleep(0.005)


def _until_reaped(record: dict[str, Any]) -> None:
    """Wait until the init's parent has noticed its end: an engine deletes it as soon as we have failed, and its shim
    refuses while it takes it for alive. A parent that reaps nothing is not waited for for ever."""
    end = time.monotonic() + REAP_TIMEOUT
    while states.process_state(record["pid"])[1] == record["pidStart"] and time.monotonic() < end:
        time.sleep(0.002)


def _places(container: Container) -> diagnose.Places:
    mounts = jsontext.decode(container.config).get("mounts") if container.config else None
    return diagnose.Places(container.record["rootfs"], container.record["bundle"], mounts or [])
