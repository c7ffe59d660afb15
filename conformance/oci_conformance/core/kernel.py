"""The few system calls that Python has no function for, and processes by /proc. Nothing here knows of containers."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Container, Iterator
from functools import cache
from pathlib import Path

# linux/sched.h, sys/mount.h, linux/prctl.h
CLONE_NEWNS = 0x00020000
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE, MS_SHARED = 0x1000, 0x4000, 1 << 18, 1 << 19, 1 << 20
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(flags), "unshare")


@cache
def can_unshare(flags: int) -> bool:
    """May a process like this one make such namespaces? Tried in a child, as reading doesn't tell: a chroot, a limit or
    a seccomp filter may forbid it."""
    pid = os.fork()
    if pid == 0:
        os._exit(_libc.unshare(flags) != 0)
    return os.waitpid(pid, 0)[1] == 0


def setns(descriptor: int, kind: int = 0) -> None:
    """setns(2), which Python has from 3.12 on."""
    _check(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    _check(
        _libc.mount(source.encode(), bytes(target), kind.encode(), ctypes.c_ulong(flags), data.encode()),
        f"mount {target}",
    )


def umount(target: Path, flags: int = MNT_DETACH) -> None:
    """umount2(2)."""
    _check(_libc.umount2(bytes(target), flags), f"umount2 {target}")


def become_subreaper() -> None:
    """Orphans among this process's descendants become its children (prctl(2)), so that it can wait for containers."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def die_with_parent(number: int) -> None:
    """Have a signal sent to this process when its parent ends, however that may be (prctl(2))."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0), "prctl")


def children(pid: int) -> list[int]:
    """The processes whose parent is a process."""
    found = []
    with contextlib.suppress(OSError):  # it may end meanwhile, and Python 3.11's glob doesn't hide that
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in path.read_text().split()]
    return found


def descendants(pid: int) -> Iterator[int]:
    """All processes below a process, deepest first."""
    for child in children(pid):
        yield from descendants(child)
        yield child


def born(pid: int) -> float | None:
    """When a process began, in seconds of CLOCK_BOOTTIME; None if there is no such process (proc_pid_stat(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def now() -> float:
    """The time as `born` has it, rounded down as the kernel does it there."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * 100 - 1) / 100


def is_below(pid: int, ancestor: int) -> bool:
    """Is a process a descendant of another one?"""
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
        if pid == ancestor:
            return True
    return False


def kill(pid: int, number: int) -> None:
    """kill(2), if the process still exists."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def stop_children(spared: Container[int | None] = ()) -> None:
    """Kill and await every process below this one, but for `spared` children with all that is below them.

    Orphans become ours while we look (see `become_subreaper`), and a process may start another just before it is
    killed: so we look again until nothing is there, or until 10 s have gone by, should one be stuck in the kernel.
    """
    until = time.monotonic() + 10
    while found := [pid for pid in children(os.getpid()) if pid not in spared]:
        for pid in found:
            for each in [*descendants(pid), pid]:
                kill(each, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > until:
            return
        time.sleep(0.002)


def mounts_below(folder: Path) -> list[Path]:
    """Mount points at or below a folder as this process sees them, deepest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(line.split(" ")[4].encode().decode("unicode_escape"))
        if point == folder or folder in point.parents:
            found.append(point)
    return found[::-1]
