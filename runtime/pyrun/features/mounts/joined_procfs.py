"""The procfs of a PID namespace that is joined, where the kernel doesn't mount it from outside (Linux before 6.17).

Hot module, loaded for such a namespace on such a kernel. Only fsopen(2) must be called in there; that is done by a
process that nothing can be taken from (kernel/stage2_procfs.h). All else is done with the context outside.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError
from pyrun.kernel import calls, mounts, process

DIED = "the process that is born in the joined PID namespace to open its procfs died, or was hindered"
KEY = "pyrun"  # no file system has such an option
CONTEXT = "anon_inode:[fscontext]"
WORDS = f"e proc: Unknown parameter '{KEY}'\n".encode()


def contexts(namespace: int, count: int, stage2_fd: int, json_path: str) -> list[int]:
    """Return `count` contexts of the namespace's procfs, [] if we can make nobody who may be seen in there.

    We can't without a user namespace, or with a root folder that can't be left. Raises PyrunError if we made somebody
    who was hindered: whoever is in there must not choose how we go on.
    """
    ours, theirs = calls.socketpair()
    pid = posix.fork()
    if pid == 0:
        try:
            _become_opener(namespace, count, stage2_fd, theirs)
        finally:
            posix._exit(1)
    posix.close(theirs)
    found: list[int] = []
    try:
        while len(found) < count:
            found.append(calls.receive_fd(ours))
    except OSError:
        pass  # no more of them
    finally:
        posix.close(ours)
    status = posix.waitpid(pid, 0)[1]
    if posix.WIFEXITED(status) and posix.WEXITSTATUS(status) and not found:
        return []
    if len(found) < count or [fd for fd in found if not is_procfs(fd)]:
        for fd in found:
            posix.close(fd)
        raise PyrunError(DIED, json_path)
    return found


def _become_opener(namespace: int, count: int, stage2_fd: int, sock: int) -> None:
    process.prctl(process.PR_SET_PDEATHSIG, process.SIGKILL)
    process.default_signals()
    calls.close_range_on_exec(0)
    posix.set_inheritable(namespace, True)
    posix.set_inheritable(sock, True)
    process.execveat(stage2_fd, "", ["pyrun-procfs"], ["p", str(namespace), str(sock), str(count)])


def is_procfs(context: int) -> bool:
    """Is this what it should be, and not what somebody in there has put in its place? The kernel says of which file
    system an unknown option is, and does so before anything is done with it."""
    said = b""
    try:
        mounts.fsconfig(context, mounts.FSCONFIG_SET_FLAG, KEY)
    except OSError as error:
        if error.errno != errno.EINVAL or posix.readlink(f"/proc/self/fd/{context}") != CONTEXT:
            return False
        try:
            for _ in range(16):  # it keeps eight
                said = posix.read(context, 1024)
        except OSError:
            pass  # ENODATA: nothing more
    return said == WORDS
