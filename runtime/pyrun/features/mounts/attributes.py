"""The attributes of mounts, by mount_setattr(2), or by mount(2) on an old kernel. Hot module."""

from __future__ import annotations

import errno
import time

from pyrun.features.mounts import old_kernel
from pyrun.kernel import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.features.mounts.options import Options

ATTEMPTS, PAUSE = 6, 0.1  # seconds


def change(fd: int, recursive: bool, set_: int, clear: int, propagation: int = 0) -> None:
    """mount_setattr(2) of an attached mount, or what mount(2) can do of it where the kernel lacks it. Somebody who
    writes there at this moment keeps it from becoming read-only, but not for long: it is tried for half a second."""
    for _ in range(ATTEMPTS):
        try:
            mounts.mount_setattr(fd, recursive, set_, clear, propagation)
            return
        except OSError as error:
            if error.errno == errno.ENOSYS:
                break
            if error.errno != errno.EBUSY:
                raise
            busy = error
        time.sleep(PAUSE)
    else:
        raise busy
    old_kernel.change(fd, recursive, set_, clear, propagation)


def give(fd: int, options: Options, set_: int, recursive_set: int, clear: int = 0) -> None:
    """Give an attached mount its attributes, those of `options` but for the ones to set, and its propagation."""
    clear |= options.clear
    if set_ or clear:
        change(fd, False, set_, clear)
    if recursive_set or options.recursive_clear:
        change(fd, True, recursive_set, options.recursive_clear)
    for flag, recursive in options.propagation:
        change(fd, recursive, 0, 0, flag)
