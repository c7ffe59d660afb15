"""Wait for a container's lock, but not for ever, and not for somebody who waits for us.

Hot module, loaded only where another holds the lock. A command holds the lock for as long as it runs, hooks included.
Whoever waits for it too long is told who holds it. A hook that calls pyrun on its own container would wait for the
command that waits for the hook.
"""

from __future__ import annotations

import posix
import time

from pyrun.base import log
from pyrun.base.errors import PyrunError
from pyrun.kernel import calls, process
from pyrun.kernel.calls import LOCK_EX, LOCK_NB

LIMIT = 30.0  # seconds that a command waits for another
FORCED_LIMIT = 10.0  # seconds until `delete --force` ends the other
FIRST_LOOK = 0.02  # seconds until it is worth asking who holds the lock
LONGEST_COMMAND = 200  # characters of a command line that an error quotes


def wait(dirfd: int, container_id: str, force: bool) -> None:
    """Take the lock of a state folder. With `force` we kill a holder that doesn't let go within the limit.

    Raises PyrunError of kind "hook" if the holder waits for us, of kind "busy" if it doesn't let go within the limit.
    """
    begin = time.monotonic()
    limit = FORCED_LIMIT if force else LIMIT
    pause = 0.0005
    asked = False
    while not calls.flock(dirfd, LOCK_EX | LOCK_NB):
        waited = time.monotonic() - begin
        if waited > FIRST_LOOK and not asked:
            asked = True
            _refuse_own_caller(dirfd, container_id)
        if waited > limit:
            pid = holder(dirfd)
            if not (force and _end(dirfd, pid)):
                raise PyrunError(
                    f'container "{container_id}" is in use by {_described(pid)}, which did not let go of it within '
                    f"{int(limit)} s",
                    hint="a hook may hang; end that process",
                    kind="busy",
                )
            limit += FORCED_LIMIT
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)


def _refuse_own_caller(dirfd: int, container_id: str) -> None:
    pid = holder(dirfd)
    if pid in _ancestors():
        raise PyrunError(
            f'container "{container_id}" is in use by {_described(pid)}, which called this command and waits for it: '
            "a hook can't change its own container so",
            hint="let it ask for the state, and change the container when the hooks are done",
            kind="hook",
        )


def holder(dirfd: int) -> int:
    """Return the pid of the lock's holder, by /proc/locks (proc_locks(5)); 0 if we can't see it from here."""
    status = posix.fstat(dirfd)
    device = f"{posix.major(status.st_dev):02x}:{posix.minor(status.st_dev):02x}"
    found = 0
    try:
        lines = calls.read_file("/proc/locks").decode("ascii", "replace").split("\n")
    except OSError:
        return 0
    for line in lines:
        words = line.split()
        if len(words) < 6 or words[1:4:2] != ["FLOCK", "WRITE"]:
            continue
        where, _, inode = words[5].rpartition(":")
        if inode == str(status.st_ino) and words[4].isdigit():
            if where == device:
                return int(words[4])
            found = int(words[4])  # btrfs and overlayfs show files another device than stat(2)
    return found


def _ancestors() -> list[int]:
    """Return our parent, its parent and so on, as /proc numbers them."""
    found: list[int] = []
    name = "self"
    while len(found) < 1000:
        try:
            text = calls.read_file(f"/proc/{name}/stat").decode("utf-8", "replace")
        except OSError:
            break
        parent = int(text[text.rindex(")") + 2 :].split(" ")[1])
        if parent <= 0:
            break
        found.append(parent)
        name = str(parent)
    return found


def _described(pid: int) -> str:
    if not pid:
        return "a process that can't be seen from here"
    return f"process {pid} ({_command(pid)})"


def _command(pid: int) -> str:
    try:
        data = calls.read_file(f"/proc/{pid}/cmdline")
    except OSError:
        return "it has ended"
    return data.decode("utf-8", "replace").replace("\0", " ").strip()[:LONGEST_COMMAND]


def _end(dirfd: int, pid: int) -> bool:
    """Send SIGKILL to the pyrun that holds the lock; False if the holder isn't a pyrun.

    Its hooks die with it, and so does an init that isn't ready.
    """
    pidfd = process.pidfd_open(pid) if pid else -1
    if pidfd < 0:
        return False
    try:
        # Only now that the pidfd pins the process is it worth asking whether it is the one.
        if holder(dirfd) != pid or _program(str(pid)) != _program("self"):
            return False
        log.warn(
            f"ending {_described(pid)}, which did not let go of the container within {int(FORCED_LIMIT)} s"
        )
        return process.pidfd_send_signal(pidfd, process.SIGKILL)
    finally:
        posix.close(pidfd)


def _program(name: str) -> str:
    """Return the name of a process's executable, which may have been replaced since."""
    try:
        return posix.readlink(f"/proc/{name}/exe").removesuffix(" (deleted)").rpartition("/")[2]
    except OSError:
        return ""
