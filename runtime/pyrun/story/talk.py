"""What the parent and the child of a story say to each other: base/protocol.py has the messages and their order.

Hot module.
"""

from __future__ import annotations

import posix

from pyrun.base import log, protocol
from pyrun.base.errors import PyrunError, failed
from pyrun.features import hooks
from pyrun.features.mounts import idmap, sources
from pyrun.kernel import calls, process, stage2
from pyrun.story import diagnose, orders, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrun.features.seccomp.notify import Agent
    from pyrun.story.making import Inside, Making
    from pyrun.story.step import Row


def be_the_child(rows: tuple[Row[Inside], ...], inside: Inside, sync: int) -> NoReturn:
    """Walk the child's rows, of which the last becomes stage 2; should one fail, tell the parent why and exit."""
    inside.sync = sync
    if log.level == 3:
        step.watch = lambda words, by: protocol.send(sync, protocol.STEP + step.line(words, by).encode())
    try:
        step.walk(rows, inside.plan.asked, inside)
    except PyrunError as error:
        _give_up(sync, error)
    except OSError as error:
        _give_up(sync, failed("setting up the process", error))
    except BaseException as error:  # a bug of ours must still be one sentence
        _give_up(sync, PyrunError(f"internal error in the container: {type(error).__name__}: {error}"))
    posix._exit(1)


def _give_up(sync: int, error: PyrunError) -> NoReturn:
    try:
        protocol.send(sync, protocol.pack_error(error))
    finally:
        posix._exit(1)


def let_go_on(making: Making) -> None:
    """Tell the child that all is done which only its parent can do."""
    protocol.tell(making.sync, protocol.GO)


def resume(making: Making) -> None:
    """Tell the init that the runtime's hooks have run."""
    protocol.tell(making.sync, protocol.RESUME)


def wait_for_mounts(making: Making) -> None:
    """Listen until the init has made its mounts, and waits for the runtime's hooks."""
    message = _hear(making)
    if message[:1] != protocol.MOUNTED:
        _stage2(making, message)
        raise _died(making)


def wait_for_stage2(making: Making) -> None:
    """Listen until stage 2 waits for start. Its pid is another than the init's if a PID namespace is joined."""
    while message := _hear(making):
        about = _stage2(making, message)
        if about == stage2.BORN:
            let_go_on(making)
        elif about == stage2.READY:
            posix.close(making.sync)
            return
    raise _died(making)


def let_be_born(making: Making) -> None:
    """Where exec's process is born in the container's PID namespace: let it come to that. Its parent says its pid and
    ends, and it waits for our word."""
    if making.unborn < 0:
        return
    let_go_on(making)
    try:
        while message := _hear(making):
            if _stage2(making, message) == stage2.BORN:
                return
    except PyrunError:
        posix.waitpid(making.pid, 0)
        raise
    raise _ended(making)


def wait_for_program(making: Making) -> None:
    """Listen until exec's program is executed: stage 2 says that it is going to, and execve closes the connection."""
    going = False
    try:
        while message := _hear(making):
            about = _stage2(making, message)
            going = going or about == stage2.WILL_EXECUTE
            if about == stage2.LISTENER and making.agent:
                making.agent.give(making.sync, making.pid, making.inside.state, going)
    except PyrunError as error:
        if error.kind == "agent":  # without it the program must not run; execve itself may wait for it
            posix.kill(making.pid, process.SIGKILL)
        posix.waitpid(making.pid, 0)
        raise
    posix.close(making.sync)
    if not going:
        raise _ended(making)


def _hear(making: Making) -> bytes:
    """The next message that changes what we do, or b"" if the child is gone. Raises PyrunError if it has failed."""
    while message := receive_while_alive(making.sync, making.unborn, making.agent):
        kind = message[:1]
        if kind == protocol.WARNING:
            log.warn(message[1:].decode("utf-8", "replace"))
        elif kind == protocol.STEP:
            log.debug(message[1:].decode("utf-8", "replace"))
        elif kind == protocol.ERROR:
            raise protocol.unpack_error(message)
        elif kind == protocol.SOURCE:
            sources.lend(making.sync, making.pid, making.plan.mounts[int(message[1:])].source)
        elif kind == protocol.IDMAP:
            idmap.answer(making.sync, making.pid, making.plan.mounts[int(message[1:])])
        else:
            return message
    return b""


def receive_while_alive(sock: int, pidfd: int, agent: Agent | None = None) -> bytes:
    """The next message, or b"" if there is none and the process has ended: its child may hold the other end, too, and
    wait for us. Without a pidfd (-1), just the next message. A seccomp agent keeps the listener that comes along."""
    ready: list[int] = []
    while pidfd >= 0 and not ready:
        ready = calls.poll([sock, pidfd], -1)
    if pidfd >= 0 and sock not in ready:
        return b""
    return agent.receive(sock) if agent else protocol.receive(sock)


def _stage2(making: Making, message: bytes) -> int:
    """What a report of stage 2 is about; if it was born in a PID namespace, that one is the child from now on. Raises
    PyrunError if it has failed."""
    about, error = orders.understand(message)
    if error is not None:
        planned = making.plan
        places = diagnose.Places(planned.rootfs, planned.bundle, planned.config.get("mounts") or [])
        raise diagnose.explain(error, planned.program, places)
    if about == stage2.BORN:
        posix.waitpid(making.pid, 0)
        making.pid, making.unborn = orders.born(message), -1
    return about


def _died(making: Making) -> PyrunError:
    from pyrun.cgroups import oom

    status = posix.waitpid(making.pid, 0)[1]
    text = f"the container's init {hooks.describe_status(status)} before it was ready"
    return PyrunError(text, hint=oom.killed_for_memory(making.cgroup))


def _ended(making: Making) -> PyrunError:
    status = posix.waitpid(making.pid, 0)[1]
    return PyrunError(f"the process {hooks.describe_status(status)} before its program could be executed")
