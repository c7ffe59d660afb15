"""What the caller of create, run and exec asked to be given: the terminal's master, the pid, a pidfd. Hot module."""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError, failed
from pyrun.kernel import calls, process
from pyrun.story import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values

PATIENCE = 5  # seconds that a listener may take until it accepts
# Why a socket of the caller's can't be had: errno -> a remedy.
SOCKETS = {
    errno.ENOENT: "who is to get the descriptor must make the socket, and listen, before pyrun is called",
    errno.ECONNREFUSED: "nobody listens: it must be a listening socket when pyrun is called",
    errno.EAGAIN: f"who listens hasn't accepted anybody for {PATIENCE} s, and its queue is full",
    errno.EPROTOTYPE: "it must be a stream socket",
    errno.EPIPE: "who listened has closed the connection",
    errno.ECONNRESET: "who listened has closed the connection",
}


def console_of(planned: plan.Plan, options: Values, console_socket: int) -> int:
    """The connected socket that the terminal's master is sent over, or -1 if there is no terminal."""
    path = str(options.get("console-socket", ""))
    if not planned.terminal:
        if path:
            raise PyrunError("--console-socket is given, but process.terminal is not true")
        return -1
    if options.get("pipes"):
        raise PyrunError("--pipes is for a program without a terminal", "process.terminal", "set it to false")
    if not path:
        if console_socket < 0:
            raise PyrunError("a terminal needs --console-socket", "process.terminal")
        if not any(posix.isatty(fd) for fd in (0, 1, 2)):
            hint = "call it from one, set process.terminal to false, or give --console-socket"
            raise PyrunError(
                "stdin, stdout and stderr are no terminal to join to it", "process.terminal", hint
            )
        planned.plain_terminal = not posix.isatty(1)
        return console_socket
    try:
        return calls.connect(path, PATIENCE)
    except OSError as error:
        raise failed(
            "connecting to the console socket", error, "", SOCKETS.get(error.errno or 0, "")
        ) from None


def write_pid_file(path: str, pid: int) -> None:
    """--pid-file: whole or not at all. PyrunError."""
    if not path:
        return
    path = plan.absolute(path)
    folder, _, name = path.rpartition("/")
    try:
        fd = posix.open(folder or "/", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            calls.replace_file(fd, name, str(pid).encode(), 0o644)
        finally:
            posix.close(fd)
    except OSError as error:
        hint = "its folder must be there before" if error.errno in (errno.ENOENT, errno.ENOTDIR) else ""
        if error.errno == errno.EISDIR:
            hint = "a folder is in its place"
        raise failed(f"writing the pid file {path}", error, "", hint) from None


def send_pidfd(path: str, pid: int) -> None:
    """--pidfd-socket. PyrunError."""
    if not path:
        return
    try:
        sock = calls.connect(path, PATIENCE)
        pidfd = process.pidfd_open(pid)
        calls.send_fd(sock, b"pidfd", pidfd)
        posix.close(pidfd)
        posix.close(sock)
    except OSError as error:
        raise failed(f"sending a pidfd to {path}", error, "", SOCKETS.get(error.errno or 0, "")) from None
