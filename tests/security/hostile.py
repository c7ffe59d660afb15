"""Attackers, and what they must not get at. None of them writes: a hole is seen, never used."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Swaps two names without end (renameat2, RENAME_EXCHANGE): between any two system calls of the runtime if it can.
SWAPPER = """
import ctypes, sys
rename = ctypes.CDLL(None, use_errno=True).renameat2
first, second = (name.encode() for name in sys.argv[1:])
if rename(-100, first, -100, second, 2):
    sys.exit("renameat2: errno %d" % ctypes.get_errno())
print("swapping", flush=True)
while True:
    rename(-100, first, -100, second, 2)
"""


class Outside:
    """A folder of the host beside a bundle that symbolic links point to. It must stay as it is: no file made, none
    changed, nothing mounted on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("folder", "dev/pts", "proc", "sys"):
            (path / name).mkdir(parents=True)
        for name in ("file", "dev/null", "dev/console", "dev/ptmx", "proc/version"):
            (path / name).write_text("of the host")
        self.before = self._look()

    def _look(self) -> list[tuple[str, int, int, int, int, int]]:
        found = []
        for each in sorted([self.path, *self.path.rglob("*")]):
            status = each.lstat()
            found.append(
                (str(each), status.st_ino, status.st_mode, status.st_uid, status.st_size, status.st_ctime_ns)
            )
        return found

    def assert_untouched(self) -> None:
        """Nothing was made, changed or covered."""
        assert self._look() == self.before
        assert str(self.path) not in Path("/proc/self/mountinfo").read_text()


@contextlib.contextmanager
def swapping(first: Path, second: Path) -> Iterator[None]:
    """A process that swaps two paths as fast as it can."""
    process = subprocess.Popen(
        [sys.executable, "-c", SWAPPER, str(first), str(second)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "swapping\n"
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@contextlib.contextmanager
def open_folders(first: int, last: int, folder: str = "/") -> Iterator[list[int]]:
    """Every descriptor from `first` to `last` that is free, open on a folder of the host; the odd ones without
    close-on-exec, as careless callers have them."""
    mine = []
    source = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    dup3 = ctypes.CDLL(None).dup3
    try:
        for number in range(first, last + 1):
            try:
                os.fstat(number)
            except OSError:
                assert dup3(source, number, 0 if number % 2 else os.O_CLOEXEC) == number
                mine.append(number)
        yield mine
    finally:
        for number in {*mine, source}:
            os.close(number)


def mount_points(mountinfo: str) -> list[str]:
    """The mount points in the text of a mountinfo file."""
    return [line.split()[4] for line in mountinfo.splitlines()]
