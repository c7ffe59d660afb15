"""Compiled seccomp programs, in files below the runtime's root: so a profile is compiled once, and then costs one read.

Hot module. A file holds everything that its program was made from, and is compared whole: nothing but exactly this
profile, compiled by this version with this libseccomp, can ever be taken for it.
"""

from __future__ import annotations

import posix

from pyrun.kernel import calls

#: Raise it when compiler.py comes to make something else of the same profile, or the file's format changes.
FORMAT = 1
MAX_ENTRIES = 64
MAX_FILE = 1 << 24
MAX_BYTES = 1 << 25  # of all files together


class Entry:
    """The file for a program that is made from `key`."""

    __slots__ = ("folder", "name", "start")

    def __init__(self, folder: str, key: bytes) -> None:
        self.folder = folder
        self.name = f"{_digest(key):016x}"
        self.start = b"pyrun seccomp %d %d\n%s" % (FORMAT, len(key), key)

    def load(self) -> bytes | None:
        """The program, or None if there is no file that can be trusted."""
        return load(f"{self.folder}/{self.name}", self.start)

    def unsaved(self, library: bytes, program: bytes) -> tuple[str, str, bytes]:
        """What `store` takes to keep the program, which this library has made."""
        body = _stamp(library) + b"\n" + program
        return self.folder, self.name, self.start + _seal(body) + body


def _digest(data: bytes) -> int:
    """A number of 61 bits for some bytes, the same in every process: their value modulo 2**61 - 1.

    Quick (30 KB in 30 µs), and only a name or a check against damage: nothing trusts that it is unique.
    """
    return hash(int.from_bytes(data, "little"))


def _seal(body: bytes) -> bytes:
    return b"%d %016x\n" % (len(body), _digest(body))


def _stamp(library: bytes) -> bytes:
    """Which libseccomp: after an upgrade, which knows more system calls, we compile anew."""
    try:
        status = posix.stat(library)
    except OSError:
        return b""
    return b"%s %d %d" % (library, status.st_size, status.st_mtime_ns)


def load(path: str, start: bytes) -> bytes | None:
    """The program in a cache file, if the file is ours, whole, and made from what `start` says."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = posix.fstat(fd)
        if status.st_uid != posix.geteuid() or status.st_mode & 0o170022 != 0o100000:
            return None
        data = calls.read_all(fd, MAX_FILE)
    except OSError:
        return None
    finally:
        posix.close(fd)
    if not data.startswith(start):
        return None
    seal, _, body = data[len(start) :].partition(b"\n")
    if seal + b"\n" != _seal(body):
        return None
    stamp, _, found = body.partition(b"\n")
    return found if stamp and stamp == _stamp(stamp.rsplit(b" ", 2)[0]) else None


def store(cache_dir: str, name: str, data: bytes) -> None:
    """Write a cache file, whole or not at all; quietly not where the directory isn't safely ours, or has no room."""
    if len(data) > MAX_BYTES // 2:
        return
    try:
        posix.mkdir(cache_dir, 0o700)
    except OSError:
        pass  # it is there already, or can't be: open tells
    try:
        dirfd = posix.open(cache_dir, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
    except OSError:
        return
    try:
        status = posix.fstat(dirfd)
        if status.st_uid == posix.geteuid() and not status.st_mode & 0o022:
            _make_room(dirfd, len(data))
            _write(dirfd, name, data)
    except OSError:
        pass
    finally:
        posix.close(dirfd)


def _write(dirfd: int, name: str, data: bytes) -> None:
    temporary = f"{name}.{posix.getpid()}"
    create = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
    try:
        fd = posix.open(temporary, create, 0o600, dir_fd=dirfd)
    except FileExistsError:  # left by a killed process of the same number; the next one finds it gone
        posix.unlink(temporary, dir_fd=dirfd)
        return
    try:
        try:
            calls.write_all(fd, data)
        finally:
            posix.close(fd)
        posix.rename(temporary, name, src_dir_fd=dirfd, dst_dir_fd=dirfd)
    except OSError:
        posix.unlink(temporary, dir_fd=dirfd)
        raise


def _make_room(dirfd: int, size: int) -> None:
    """Keep the cache bounded: what killed processes left goes, of too many files the older half, and of too many bytes
    the oldest files."""
    ages = []
    total = size
    for name in posix.listdir(dirfd):
        if _is_stale(name):
            posix.unlink(name, dir_fd=dirfd)
            continue
        status = posix.stat(name, dir_fd=dirfd, follow_symlinks=False)
        ages.append((status.st_mtime_ns, name, status.st_size))
        total += status.st_size
    ages.sort()
    least = len(ages) // 2 if len(ages) >= MAX_ENTRIES else 0
    for count, (_, name, length) in enumerate(ages):
        if count >= least and total <= MAX_BYTES:
            break
        posix.unlink(name, dir_fd=dirfd)
        total -= length


def _is_stale(name: str) -> bool:
    """Is this the unfinished file of a process that is no more?"""
    _, dot, pid = name.partition(".")
    if not (dot and pid.isascii() and pid.isdigit() and len(pid) < 10):
        return False
    try:
        posix.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return int(pid) == posix.getpid()
