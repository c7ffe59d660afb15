"""What else may lie in a container's state folder: that of sd_notify, whose mount a privileged container may write to.

Hot module, loaded only if there is something.
"""

from __future__ import annotations

import posix

from pyrun.kernel import calls


def empty(folder: int) -> None:
    """Remove everything in a folder, which is a descriptor. Raises OSError.

    We follow no link. We move a folder in a folder up before we empty it, so that no depth is too deep.
    """
    count = 0
    while names := posix.listdir(folder):
        for name in names:
            try:
                posix.unlink(name, dir_fd=folder)
            except IsADirectoryError:
                flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | calls.O_CLOEXEC
                fd = posix.open(name, flags, dir_fd=folder)
                try:
                    for inner in posix.listdir(fd):
                        count += 1
                        posix.rename(inner, f".removed-{count}", src_dir_fd=fd, dst_dir_fd=folder)
                finally:
                    posix.close(fd)
                posix.rmdir(name, dir_fd=folder)
