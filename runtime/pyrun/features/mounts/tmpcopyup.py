"""The mount option tmpcopyup: a tmpfs that starts with a copy of what it covers.

Hot module, loaded only for that option. Works on descriptors from folder to folder, never through a link.
Source: config.md, Linux mount options.
"""

from __future__ import annotations

import errno
import posix

from pyrun.kernel.calls import O_CLOEXEC, O_PATH, failure
from pyrun.paths import under_root

KIND = 0o170000
DIRECTORY, FILE, LINK = 0o040000, 0o100000, 0o120000


def copy_up(covered: int, new: int, settings: list[tuple[str, str | None]]) -> None:
    """Fill the tmpfs `new` with a copy of the folder `covered` (both O_PATH); the mode and owner of its root are the
    covered folder's, except for what the mount's own settings say."""
    given = [key for key, _ in settings]
    status = posix.fstat(covered)
    writing = under_root.open_in(new, ".", posix.O_RDONLY | posix.O_DIRECTORY)
    try:
        posix.fchown(
            writing, -1 if "uid" in given else status.st_uid, -1 if "gid" in given else status.st_gid
        )
        if "mode" not in given:
            posix.fchmod(writing, status.st_mode & 0o7777)
        _copy(covered, writing)
    finally:
        posix.close(writing)


def _copy(source: int, target: int) -> None:
    reading = under_root.open_in(source, ".", posix.O_RDONLY | posix.O_DIRECTORY)
    try:
        for name in posix.listdir(reading):
            _copy_one(reading, target, name)
    finally:
        posix.close(reading)


def _copy_one(source: int, target: int, name: str) -> None:
    status = posix.stat(name, dir_fd=source, follow_symlinks=False)
    kind = status.st_mode & KIND
    if kind == LINK:
        posix.symlink(posix.readlink(name, dir_fd=source), name, dir_fd=target)
        posix.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        return
    if kind == DIRECTORY:
        posix.mkdir(name, 0o700, dir_fd=target)
        inner = posix.open(
            name, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | O_CLOEXEC, dir_fd=target
        )
        below = under_root.open_in(source, name, posix.O_RDONLY | posix.O_DIRECTORY)
        _like(posix.fstat(below), inner)
        _copy(below, inner)
        posix.close(below)
    elif kind == FILE:
        inner = posix.open(
            name, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | O_CLOEXEC, 0o600, dir_fd=target
        )
        reading = _open_file(source, name)
        while posix.sendfile(inner, reading, None, 1 << 30):
            pass
        posix.close(reading)
        _like(status, inner)
    else:
        posix.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        posix.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        return
    posix.close(inner)


def _open_file(source: int, name: str) -> int:
    """Open what is found to be a regular file only after it is pinned: another container may put a device there."""
    pinned = under_root.open_in(source, name, O_PATH)
    try:
        if posix.fstat(pinned).st_mode & KIND != FILE:
            raise failure("open", errno.ESTALE, name)
        return posix.open(f"/proc/self/fd/{pinned}", posix.O_RDONLY | posix.O_NONBLOCK | O_CLOEXEC)
    finally:
        posix.close(pinned)


def _like(status: posix.stat_result, fd: int) -> None:
    posix.fchown(fd, status.st_uid, status.st_gid)
    posix.fchmod(fd, status.st_mode & 0o7777)
