"""What the caller of create, run and exec hands over and asks to be given. Hot module.

Descriptors to be passed on; the terminal's master, the pid, a pidfd.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError, failed
from pyrun.features import crun_annotations
from pyrun.kernel import calls, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values
    from pyrun.story.making import Making
    from pyrun.story.plan import Plan

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


def absolute(path: str) -> str:
    """The absolute form of a path, without "." and "..": what `state` shows as bundle."""
    if path[:1] != "/":
        path = f"{posix.getcwd()}/{path}"
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def preserved_fds(options: Values) -> tuple[int, int]:
    """How many of the caller's descriptors after stderr are passed on, and how many of them are $LISTEN_FDS. Call it
    first, before anything of ours can have the number of one that isn't open. Raises PyrunError if one isn't."""
    wanted = int(str(options.get("preserve-fds", 0)))
    listening = 0
    listen_fds = posix.environ.get(b"LISTEN_FDS", b"")
    own = str(posix.getpid()).encode()
    if listen_fds.isdigit() and posix.environ.get(b"LISTEN_PID", own) == own:
        listening = int(listen_fds)
    for fd in range(3, 3 + wanted + listening):
        try:
            posix.fstat(fd)
        except OSError:
            raise PyrunError(f"--preserve-fds: file descriptor {fd} is not open") from None
    return wanted + listening, listening


def find_console(making: Making) -> None:
    """Connect the socket that the terminal's master is sent over. Raises PyrunError if there is a terminal and no way
    to give it, or a way and no terminal."""
    making.inside.console_socket = _console(making.plan, making.options, making.console_socket)


def _console(planned: Plan, options: Values, console_socket: int) -> int:
    """The connected socket, or -1 if there is no terminal."""
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


def write_pid_file(making: Making) -> None:
    """--pid-file: write it whole or not at all. Raises PyrunError if it can't be."""
    if not making.options["pid-file"]:
        return
    path = absolute(str(making.options["pid-file"]))
    folder, _, name = path.rpartition("/")
    try:
        fd = posix.open(folder or "/", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            calls.replace_file(fd, name, str(making.pid).encode(), 0o644)
        finally:
            posix.close(fd)
    except OSError as error:
        hint = "its folder must be there before" if error.errno in (errno.ENOENT, errno.ENOTDIR) else ""
        if error.errno == errno.EISDIR:
            hint = "a folder is in its place"
        raise failed(f"writing the pid file {path}", error, "", hint) from None


def send_pidfd(making: Making) -> None:
    """--pidfd-socket: send a pidfd of the init, or of exec's process. Raises PyrunError if nobody takes it."""
    _send_pidfd(str(making.options["pidfd-socket"]), making.pid, "")


def send_pidfd_to_receiver(making: Making) -> None:
    """crun's annotation run.oci.pidfd_receiver: the same. Raises PyrunError if nobody takes it."""
    name = crun_annotations.PIDFD_RECEIVER
    _send_pidfd(making.plan.config["annotations"][name], making.pid, crun_annotations.json_path(name))


def _send_pidfd(path: str, pid: int, json_path: str) -> None:
    if not path:
        return
    try:
        sock = calls.connect(path, PATIENCE)
        pidfd = process.pidfd_open(pid)
        calls.send_fd(sock, b"pidfd", pidfd)
        posix.close(pidfd)
        posix.close(sock)
    except OSError as error:
        raise failed(
            f"sending a pidfd to {path}", error, json_path, SOCKETS.get(error.errno or 0, "")
        ) from None
