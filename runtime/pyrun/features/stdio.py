"""stdin, stdout and stderr of a container's process: none is the host's null device, and all belong to its user.

Hot module. Engines hand over the host's /dev/null where nobody listens, and who has a file open may change its mode and
owner: root of the container would change the host's inode. Pipes and files are the caller's, so that a program of
another user couldn't open /dev/stdout or /proc/self/fd/2 again, which images do that log there.
"""

from __future__ import annotations

import posix

from pyrun.base.errors import failed
from pyrun.features.mounts import filesystem
from pyrun.paths import under_root

NULL = posix.makedev(1, 3)
TYPE = 0o170000
CHARACTER, SOCKET, REGULAR, FIFO = 0o020000, 0o140000, 0o100000, 0o010000


def settle(slash: int, uid: int) -> None:
    """Replace the host's null device by the container's, whose root is `slash`, and give the rest to `uid`.

    Devices keep their owner: a terminal that isn't the container's is still its user's on the host.
    """
    null = -1
    for fd in (0, 1, 2):
        found = posix.fstat(fd)
        kind = found.st_mode & TYPE
        if kind == CHARACTER and found.st_rdev == NULL:
            if null < 0:
                null = _null(slash, found.st_uid)
            if null >= 0:
                posix.dup2(null, fd)
        elif found.st_uid != uid and kind in (FIFO, SOCKET, REGULAR):
            try:
                posix.fchown(fd, uid, -1)
            except OSError:
                pass  # it is read-only, on a file system of others, or of a user whom our namespace doesn't have
    if null >= 0:
        posix.close(null)


def _null(slash: int, owner: int) -> int:
    """The container's /dev/null; if that is missing or something else, a null device that nobody else has. -1 where
    that can't be made and needn't be: in a user namespace that doesn't have the `owner` of the host's."""
    try:
        return under_root.open_character_device(slash, "/dev/null", NULL)
    except OSError:
        pass
    folder = -1
    try:
        folder = filesystem.new("tmpfs", "tmpfs", [("mode", "755")], 0)
        name = "null"
        posix.mknod(name, CHARACTER | 0o666, NULL, dir_fd=folder)
        return under_root.open_in(folder, name, posix.O_RDWR)
    except OSError as error:
        if isinstance(error, PermissionError) and owner != 0:
            return -1
        hint = "the container has no /dev/null, and the caller's is the host's"
        raise failed("making a null device for stdin, stdout and stderr", error, "", hint) from None
    finally:
        if folder >= 0:
            posix.close(folder)
