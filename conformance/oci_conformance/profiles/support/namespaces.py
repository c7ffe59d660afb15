"""Namespaces that tests need beside a container's: one to join, and one that plays the runtime's own."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from oci_conformance.core import kernel

# Type in a configuration -> name in /proc/PID/ns, flag of unshare(2) (linux/sched.h).
KINDS = {
    "cgroup": ("cgroup", 0x02000000),
    "ipc": ("ipc", 0x08000000),
    "mount": ("mnt", 0x00020000),
    "network": ("net", 0x40000000),
    "pid": ("pid", 0x20000000),
    "time": ("time", 0x00000080),
    "user": ("user", 0x10000000),
    "uts": ("uts", 0x04000000),
}


def path(kind: str, pid: int | str = "self") -> Path:
    """The file of a process's namespace."""
    return Path(f"/proc/{pid}/ns/{KINDS[kind][0]}")


def link(kind: str, pid: int | str = "self") -> str:
    """Which namespace a process is in, as `uts:[4026531838]`."""
    return os.readlink(path(kind, pid))


def _flags(kinds: tuple[str, ...]) -> int:
    return sum(KINDS[kind][1] for kind in kinds)


def borders() -> bool:
    """Are cgroup namespaces borders here (cgroup2 mounted with nsdelegate, cgroups(7)), so that a runtime which is in
    one can't bring a container into a cgroup outside of it?"""
    return any("nsdelegate" in line for line in Path("/proc/self/mountinfo").read_text().splitlines())


@contextlib.contextmanager
def apart(*kinds: str) -> Iterator[None]:
    """This process, and so the runtime that it calls, is in new namespaces for a while. Not for pid, time and user."""
    before = [os.open(path(kind), os.O_RDONLY | os.O_CLOEXEC) for kind in kinds]
    try:
        kernel.unshare(_flags(kinds))
        try:
            yield
        finally:
            for descriptor in before:
                kernel.setns(descriptor)
    finally:
        for descriptor in before:
            os.close(descriptor)


@contextlib.contextmanager
def inside(pid: int, *kinds: str) -> Iterator[None]:
    """This process is in another process's namespaces for a while. Not for pid, time and user."""
    before = [os.open(path(kind), os.O_RDONLY | os.O_CLOEXEC) for kind in kinds]
    try:
        for kind in kinds:
            with path(kind, pid).open() as file:
                kernel.setns(file.fileno())
        yield
    finally:
        for descriptor in before:
            kernel.setns(descriptor)
            os.close(descriptor)


@contextlib.contextmanager
def held(*kinds: str) -> Iterator[int]:
    """New namespaces, and the PID of a process that is in all of them and does nothing else.

    A user namespace maps user and group 0 to 99 to the same ones on the host, so it is one of root's.
    """
    reading, writing = os.pipe()
    outer = os.fork()
    if outer == 0:
        _hold(_flags(kinds), writing)
    try:
        os.close(writing)
        inner = int(os.read(reading, 32) or 0)
        if not inner:
            raise OSError(f"no {' and '.join(kinds)} namespace could be made")
        if "user" in kinds:
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{outer}/{name}").write_text("0 0 100\n")
        yield inner
    finally:
        os.close(reading)
        kernel.kill(outer, signal.SIGKILL)  # and the inner one with it
        os.waitpid(outer, 0)


def _hold(flags: int, writing: int) -> None:
    """In the forked process: make the namespaces, then a child, which is in the PID and time namespaces as well."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        kernel.die_with_parent(signal.SIGKILL)
        kernel.unshare(flags)
        inner = os.fork()
        if inner == 0:
            kernel.die_with_parent(signal.SIGKILL)
            os.close(writing)
        else:
            os.write(writing, str(inner).encode())
            os.close(writing)
        while True:
            signal.pause()
    finally:
        os._exit(1)
