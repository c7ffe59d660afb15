"""Have a seccomp profile compiled: compiler.py does it in a full interpreter, our child.

Hot module.
"""

from __future__ import annotations

import posix
import time

from pyrun.base import cold, jsontext
from pyrun.base.errors import PyrunError, failed
from pyrun.kernel import calls, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

COMPILE_LIMIT = 60.0  # seconds; an engine's profile takes 30 ms
LONGEST = 1 << 24  # bytes of what it answers
NOT_STARTED = 127


def compile_(profile: dict[str, object]) -> tuple[bytes, bytes]:
    """Run the compiler: libseccomp's path, and the program.

    Files of memory instead of pipes: nothing can block, and no SIGPIPE is possible. It dies with us.
    """
    argv, environment = cold.command(["seccomp-compile"])
    fds = [calls.memfd("seccomp-profile", jsontext.encode(profile).encode())]
    caller = posix.getpid()
    try:
        fds += [calls.memfd("seccomp-program", b""), calls.memfd("seccomp-error", b"")]
        pid = posix.fork()
        if pid == 0:
            _become_compiler(argv, environment, fds, caller)
        status = _wait(pid)
        output, errors = (_content(fd) for fd in fds[1:])
    except OSError as error:
        raise failed(f"starting the seccomp compiler {argv[0]}", error, "linux.seccomp") from None
    finally:
        for fd in fds:
            posix.close(fd)
    if status == NOT_STARTED and errors.isdigit():
        reason = OSError(int(errors), "")
        raise failed(f"starting the seccomp compiler {argv[0]}", reason, "linux.seccomp")
    library, _, found = output.partition(b"\n")
    if status or not found or len(found) % 8:
        words = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        path, colon, sentence = words.partition(": ")
        if not colon or not path.startswith("linux.seccomp"):
            path, sentence = "linux.seccomp", f"the seccomp compiler failed: {words or f'status {status}'}"
        raise PyrunError(sentence, path)
    return library, found


def _become_compiler(
    argv: list[str], environment: dict[bytes, bytes], fds: list[int], caller: int
) -> NoReturn:
    try:
        process.prctl(process.PR_SET_PDEATHSIG, process.SIGKILL)
        if posix.getppid() not in (caller, 0):  # we came too late for that
            posix._exit(NOT_STARTED)
        process.default_signals()
        for number, fd in enumerate([posix.dup(fd) for fd in fds]):  # none of them is 0, 1 or 2
            posix.dup2(fd, number)
        calls.close_range_on_exec(3)
        posix.execve(argv[0], argv, environment)
    except OSError as error:
        posix.write(2, str(error.errno).encode())
    finally:
        posix._exit(NOT_STARTED)


def _wait(pid: int) -> int:
    """Return the compiler's exit status, minus N if signal N killed it. Raises PyrunError if it takes too long."""
    end = time.monotonic() + COMPILE_LIMIT
    pidfd = process.pidfd_open(pid)
    try:
        while pidfd >= 0 and not calls.poll([pidfd], 1000):
            if time.monotonic() > end:
                process.pidfd_send_signal(pidfd, process.SIGKILL)
                posix.waitpid(pid, 0)
                raise PyrunError(
                    f"the seccomp compiler was not done within {int(COMPILE_LIMIT)} s, and was stopped",
                    "linux.seccomp",
                    "does the profile have very many rules?",
                )
        return posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])
    except ChildProcessError:  # SIGCHLD is ignored, as our caller left it: the output tells
        return 0
    finally:
        if pidfd >= 0:
            posix.close(pidfd)


def _content(fd: int) -> bytes:
    posix.lseek(fd, 0, 0)
    return calls.read_all(fd, LONGEST)
