"""`run` and `exec` in the foreground: forward signals, pass the terminal through, wait for the program.

Hot module. Signals are blocked from the first moment and read from a signalfd, so that none is lost or hits at a bad
time; the terminal is put back on every way out.
"""

from __future__ import annotations

import errno
import posix
import sys

from pyrun.base import log
from pyrun.kernel import calls, process
from pyrun.story import create, destroy, handles, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrun.commandline.parse import Values
    from pyrun.container.store import Container
    from pyrun.story.pipes import Pipes

# Not passed on: SIGCHLD and SIGWINCH are ours; the rest tells about our own descriptors and job control.
NOT_FORWARDED = (
    process.SIGCHLD,
    process.SIGWINCH,
    process.SIGURG,
    process.SIGPIPE,
    process.SIGTTIN,
    process.SIGTTOU,
)


def run(root: str, container_id: str, values: Values) -> int:
    """Run a container to its end; returns the program's exit status, 128+N if signal N killed it."""
    made: list[Container] = []
    notified: list[int] = []
    pipes = _pipes(values)

    def begin(console_socket: int) -> int:
        if not values.get("no-subreaper"):
            process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
        if pipes:
            pipes.give()
        try:
            made.append(create.create(root, container_id, values, console_socket))
        finally:
            if pipes:
                pipes.take_back()
        return int(made[0].record["pid"])

    def go() -> None:
        if b"NOTIFY_SOCKET" in posix.environ:
            from pyrun.features import sdnotify

            notified.append(sdnotify.listen(made[0].dirfd))
        start.start(made[0], keep=bool(values.get("keep")))
        made[0].unlock()  # others may now signal, pause or delete it

    try:
        status = attend(begin, values, go, pipes, notified)
    except BaseException:
        if pipes:
            pipes.end()
        if made:
            _finish(made[0], values)
        raise
    if status == 128 + process.SIGKILL:
        from pyrun.cgroups import oom

        if why := oom.killed_for_memory(made[0].record["cgroup"]):
            log.warn(f"the program was {why}")
    _finish(made[0], values)
    return status


def _pipes(values: Values) -> Pipes | None:
    if not values.get("pipes"):
        return None
    from pyrun.story.pipes import Pipes

    return Pipes()


def attend(
    begin: Callable[[int], int],
    values: Values,
    go: Callable[[], None] | None = None,
    pipes: Pipes | None = None,
    notified: list[int] | None = None,
) -> int:
    """Stay with a process to its end, our terminal joined to its own: exit status, 128+N if signal N killed it.

    `begin` makes the process, given the socket to send its terminal's master to (-1 if --console-socket says another),
    and returns its pid; `go` is called when the terminal is joined. What goes through `pipes` is copied, and that the
    container is ready, by a socket in `notified`, is told our caller.
    """
    handles.preserved_fds(values)
    process.signal_mask(process.ALL_SIGNALS)
    signals = process.signalfd(process.ALL_SIGNALS)
    ours = theirs = -1
    if not values.get("console-socket"):
        ours, theirs = calls.socketpair()
    pid = begin(theirs)
    terminal = _Terminal()
    try:
        if _was_sent(ours):
            terminal.take(calls.receive_fd(ours))
        if go:
            go()
        return _wait(pid, signals, terminal, pipes, notified or [])
    finally:
        terminal.restore()


def _was_sent(sock: int) -> bool:
    return sock >= 0 and bool(calls.poll([sock], 0))


def _finish(container: Container, values: Values) -> None:
    if values.get("keep") or container.is_gone():
        return
    container.lock()
    if container.is_current():
        destroy.destroy(container, with_hooks=True)


def _wait(pid: int, signals: int, terminal: _Terminal, pipes: Pipes | None, notified: list[int]) -> int:
    """Until the container's process has ended: signals in, terminal or pipes both ways, orphans reaped."""
    while True:
        reading = [signals, *(pipes.readable() if pipes else terminal.readable()), *notified]
        ready = calls.poll(reading, -1, pipes.writable() if pipes else terminal.writable())
        if pipes:
            pipes.copy(ready)
        else:
            terminal.copy(ready)
        if notified and notified[0] in ready:
            _pass_on(notified)
        if signals not in ready:
            continue
        for number in _read_signals(signals):
            if number == process.SIGCHLD:
                status = _reap(pid)
                if status is not None:
                    terminal.drain()
                    if pipes:
                        pipes.end()
                    return status
            elif number == process.SIGWINCH:
                terminal.resize()
            elif number not in NOT_FORWARDED:
                try:
                    posix.kill(pid, number)  # our own child, not yet reaped: the pid can't be another's
                except (ProcessLookupError, PermissionError):
                    pass


def _pass_on(notified: list[int]) -> None:
    """Read a message of sd_notify(3), and tell our caller if the container is ready. We stay its main process."""
    from pyrun.features import sdnotify

    if sdnotify.is_ready(notified[0]):
        sdnotify.tell(0)
        posix.close(notified.pop())


def _read_signals(fd: int) -> list[int]:
    try:
        data = posix.read(fd, 128 * 16)
    except BlockingIOError:
        return []
    return [int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data), 128)]


def _reap(pid: int) -> int | None:
    """Reap whatever has ended; the exit status if the container's process is among it."""
    found = None
    while True:
        try:
            ended, status = posix.waitpid(-1, posix.WNOHANG)
        except ChildProcessError:
            return found
        if ended == 0:
            return found
        if ended == pid:
            found = 128 + posix.WTERMSIG(status) if posix.WIFSIGNALED(status) else posix.WEXITSTATUS(status)


class _Terminal:
    """The master of the container's terminal, joined to our stdin and stdout; does nothing until `take`."""

    __slots__ = ("master", "pending", "saved", "stdin_open")

    def __init__(self) -> None:
        self.master = -1
        self.saved: Any = None
        self.pending = b""
        self.stdin_open = True

    def take(self, master: int) -> None:
        from pyrun.kernel import tty

        self.master = master
        posix.set_blocking(master, False)
        tty.copy_size(0, master)
        self.saved = tty.raw(0)

    def restore(self) -> None:
        if self.saved is not None:
            from pyrun.kernel import tty

            tty.restore(0, self.saved)
            self.saved = None

    def resize(self) -> None:
        if self.master >= 0:
            from pyrun.kernel import tty

            tty.copy_size(0, self.master)

    def readable(self) -> list[int]:
        if self.master < 0:
            return []
        return [self.master, 0] if self.stdin_open and not self.pending else [self.master]

    def writable(self) -> list[int]:
        return [self.master] if self.pending else []

    def copy(self, ready: list[int]) -> None:
        """Move what there is. The master is written without blocking: a program that reads nothing must not keep us
        from reading what it writes."""
        if self.master < 0:
            return
        if self.master in ready:
            self._output()
        if 0 in ready and self.stdin_open:
            try:
                self.pending = posix.read(0, 65536)
            except OSError:
                self.pending = b""
            self.stdin_open = bool(self.pending)
        if self.pending and self.master >= 0:
            try:
                self.pending = self.pending[posix.write(self.master, self.pending) :]
            except BlockingIOError:
                pass

    def _output(self) -> bool:
        """Pass on one piece of output; False if there is none, or never will be."""
        try:
            data = posix.read(self.master, 65536)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""  # the last one that had the other side open is gone
        if not data:
            posix.close(self.master)
            self.master = -1
            self.pending = b""
            return False
        calls.write_all(1, data)
        return True

    def drain(self) -> None:
        """What the program wrote before it ended."""
        while self.master >= 0 and self._output():
            pass
