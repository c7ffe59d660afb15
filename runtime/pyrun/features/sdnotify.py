"""sd_notify(3) passed on: the container gets a socket of its own, and its READY=1 goes to our caller's.

Hot module, loaded only if the caller has NOTIFY_SOCKET. As runc has it: a folder of the container's state is mounted on
/run/notify, read-only, so that nobody in there can fill it; `create` makes it, and `start` or `run` listens in it.
podman's --sdnotify=container relies on this, and units that call a runtime themselves.

What comes out of the container is believed in one point, the line READY=1. All else is dropped.
"""

from __future__ import annotations

import posix
import time

from pyrun.base import log
from pyrun.base.errors import words
from pyrun.kernel import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci_spec import types
    from pyrun.story.making import Making

FOLDER, NAME = "notify", "notify.sock"
INSIDE = "/run/notify"
LONGEST = 4096  # bytes of one message that are looked at
BARRIER = 30_000  # milliseconds that the caller's side has to read what we said
LAST = 16  # messages that are read after the container's end
PAUSE = 0.001  # seconds after each message that says nothing: a container may send as fast as it can


def caller() -> str:
    """The caller's NOTIFY_SOCKET, "" without one."""
    return posix.environ.get(b"NOTIFY_SOCKET", b"").decode("utf-8", "surrogateescape")


def add_to(config: types.Config, state_folder: str) -> None:
    """Let a checked configuration have the mount and the variable; the folder is in the container's state."""
    mount: types.Mount = {
        "destination": INSIDE,
        "type": "bind",
        "source": f"{state_folder}/{FOLDER}",
        "options": ["bind", "nosuid", "nodev", "noexec", "ro"],
    }
    config["mounts"] = [*(config.get("mounts") or []), mount]
    program = config["process"]
    program["env"] = [*(program.get("env") or []), f"NOTIFY_SOCKET={INSIDE}/{NAME}"]


def prepare(making: Making) -> None:
    """Make the folder, in the container's state; every user of the container may look into it."""
    dirfd = making.container.dirfd
    posix.mkdir(FOLDER, 0o700, dir_fd=dirfd)
    fd = _open_folder(dirfd)
    try:
        posix.fchmod(fd, 0o755)
    finally:
        posix.close(fd)


def listen(dirfd: int) -> int:
    """Return a socket in the folder, that everybody in the container may send to. Raises OSError.

    Returns -1 if `create` had no NOTIFY_SOCKET, and so made no folder.
    """
    try:
        folder = _open_folder(dirfd)
    except FileNotFoundError:
        return -1
    umask = posix.umask(0)
    try:
        try:
            posix.unlink(NAME, dir_fd=folder)  # of a start that was killed
        except FileNotFoundError:
            pass
        return calls.datagram_listen(f"/proc/self/fd/{folder}/{NAME}")
    finally:
        posix.umask(umask)
        posix.close(folder)


def _open_folder(dirfd: int) -> int:
    flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | calls.O_CLOEXEC
    return posix.open(FOLDER, flags, dir_fd=dirfd)


def is_ready(sock: int) -> bool:
    """Read one message; is it that the program is ready?"""
    try:
        lines = posix.read(sock, LONGEST).split(b"\n")
    except BlockingIOError:
        return False
    if b"READY=1" in lines:
        return True
    time.sleep(PAUSE)
    return False


def wait(sock: int, pidfd: int, pid: int) -> None:
    """Until the program is ready, which is told, or the container has ended; `sock` is closed."""
    rest = LAST
    while rest:
        ready = calls.poll([sock, pidfd], -1)
        if sock in ready and is_ready(sock):
            tell(pid)
            break
        if pidfd in ready:  # ended, and there may be messages that it sent before
            rest = rest - 1 if sock in ready else 0
    posix.close(sock)


def tell(pid: int) -> None:
    """Say READY=1 to our caller, after MAINPID if `pid` isn't 0, which is for the caller who has us as main process.
    With MAINPID we are about to end: so we wait until what we said has been read."""
    path = caller()
    try:
        sock = calls.datagram_connect(path)
        try:
            if pid:
                posix.write(sock, f"MAINPID={pid}".encode())
            posix.write(sock, b"READY=1")
            if pid:
                _wait_until_read(sock)
        finally:
            posix.close(sock)
    except OSError as error:
        log.warn(f"telling NOTIFY_SOCKET {path} that the container is ready: {words(error)}")


def _wait_until_read(sock: int) -> None:
    """A barrier: the other side closes the descriptor that comes with it (sd_notify_barrier(3))."""
    ours, theirs = posix.pipe()
    try:
        calls.send_fd(sock, b"BARRIER=1", theirs)
        posix.close(theirs)
        theirs = -1
        calls.poll([ours], BARRIER)
    finally:
        posix.close(ours)
        if theirs >= 0:
            posix.close(theirs)
