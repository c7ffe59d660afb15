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
    from pyrun.story.making import Inside

DEVPTS_SUPER_MAGIC = 0x1CD1
MOUNT_ONE = "mount a devpts at /dev/pts"


def make(inside: Inside) -> None:
    """Make the container's pty, send its master to who asked for it, and bind the other side to /dev/console."""
    inside.slave = _make(inside, inside.root, bind=True)


def make_for_exec(inside: Inside) -> None:
    """Make another pty in the container, and have it on stdin, stdout and stderr. /dev/console stays as it is."""
    inside.slave = _make(inside, inside.slash, bind=False)
    put_on_stdio(inside)


def _make(inside: Inside, root: int, bind: bool) -> int:
    console_socket = inside.console_socket
    size = inside.plan.program.get("consoleSize")
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
        if inside.plan.plain_terminal:  # its output goes to no terminal: without carriage returns
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


def take(inside: Inside) -> None:
    """Make the terminal this session's, unless that is stage 2's in a PID namespace that is joined, and have it on
    stdin, stdout and stderr."""
    if not inside.joins_pid:
        try:
            tty.set_controlling(inside.slave)
        except OSError as error:
            raise failed("taking the terminal", error, "process.terminal") from None
    put_on_stdio(inside)


def put_on_stdio(inside: Inside) -> None:
    """Have the terminal as stdin, stdout and stderr, and give it to the program's user."""
    slave = inside.slave
    uid = inside.plan.user()["uid"]
    try:
        for fd in (0, 1, 2):
            posix.dup2(slave, fd)
        if uid:
            posix.fchown(slave, uid, -1)
        posix.close(slave)
    except OSError as error:
        raise failed("taking the terminal", error, "process.terminal") from None
