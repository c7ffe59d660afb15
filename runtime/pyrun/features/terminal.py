"""process.terminal: a pty out of the container's own devpts, bound to /dev/console.

Hot module, loaded if there is a terminal. The other side is opened by ioctl from the master's descriptor, and bound
to /dev/console as a descriptor: no path is trusted (CVE-2025-52565). Source: config.md, Process.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError, failed
from pyrun.kernel import calls, mounts, tty
from pyrun.paths import under_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEVPTS_SUPER_MAGIC = 0x1CD1
MOUNT_ONE = "mount a devpts at /dev/pts"


def make(root: int, console_socket: int, size: dict[str, Any] | None, bind: bool, plain: bool) -> int:
    """Make the pty, send its master over `console_socket` and return the other side, bound to /dev/console if that
    is to be this one; `plain`: without carriage returns, since its output goes to no terminal."""
    try:
        pts = under_root.lookup(root, "/dev/pts", posix.O_DIRECTORY)
    except OSError as error:
        raise failed("opening /dev/pts", error, "process.terminal", MOUNT_ONE) from None
    try:
        if calls.statfs_type(pts) != DEVPTS_SUPER_MAGIC:
            raise PyrunError("/dev/pts is not a devpts", "process.terminal", MOUNT_ONE)
        master = under_root.open_in(pts, "ptmx", posix.O_RDWR | posix.O_NOCTTY)
        tty.unlock(master)
        slave = tty.peer(master)
        if size:
            tty.set_size(master, size["height"], size["width"])
        if plain:
            tty.plain(master)
        calls.send_fd(console_socket, b"pyrun pty master", master)
        posix.close(master)
        posix.close(console_socket)
        if bind:
            _bind(root, slave)
    except OSError as error:
        raise failed("making the terminal", error, "process.terminal") from None
    finally:
        posix.close(pts)
    return slave


def _bind(root: int, slave: int) -> None:
    parent, name = under_root.make_parent(root, "/dev/console")
    try:
        try:
            flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | calls.O_CLOEXEC
            posix.close(posix.open(name, flags, 0o620, dir_fd=parent))
        except FileExistsError:
            pass
        target = under_root.open_in(parent, name, calls.O_PATH)
        if under_root.is_directory(target):
            raise calls.failure("open", errno.EISDIR, "/dev/console")
        tree = mounts.clone_tree(slave, recursive=False)
        mounts.move_mount(tree, target)
        posix.close(tree)
        posix.close(target)
    finally:
        posix.close(parent)


def take(slave: int, uid: int) -> None:
    """Make the terminal this session's and put it on stdin, stdout and stderr; it belongs to the program's user."""
    try:
        tty.set_controlling(slave)
    except OSError as error:
        raise failed("taking the terminal", error, "process.terminal") from None
    put_on_stdio(slave, uid)


def put_on_stdio(slave: int, uid: int) -> None:
    """Have the terminal as stdin, stdout and stderr, and give it to the program's user."""
    try:
        for fd in (0, 1, 2):
            posix.dup2(slave, fd)
        if uid:
            posix.fchown(slave, uid, -1)
        posix.close(slave)
    except OSError as error:
        raise failed("taking the terminal", error, "process.terminal") from None
