"""New file systems and the attributes of mounts, by the new mount calls: fsopen(2), mount_setattr(2).

Hot module. What they can't do is left to old_kernel.py, which is imported before the root file system can be seen.
"""

from __future__ import annotations

import errno
import posix
import time

from pyrun.base.errors import PyrunError
from pyrun.kernel import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.features.mounts.options import Options


ATTEMPTS, PAUSE = 6, 0.1  # seconds


def new(kind: str, source: str, settings: list[tuple[str, str | None]], attributes: int) -> int:
    """A detached mount of a new file system: its type, source, and settings (a value of None is a flag)."""
    try:
        context = mounts.fsopen(kind)
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise PyrunError(f'the kernel knows no file system "{kind}"') from None
        raise
    try:
        mounts.fsconfig(context, mounts.FSCONFIG_SET_STRING, "source", source)
        for key, value in settings:
            mounts.fsconfig(
                context, mounts.FSCONFIG_SET_FLAG if value is None else mounts.FSCONFIG_SET_STRING, key, value
            )
        mounts.fsconfig(context, mounts.FSCONFIG_CMD_CREATE)
        return mounts.fsmount(context, attributes)
    except OSError as error:
        raise with_kernel_words(context, error) from None
    finally:
        posix.close(context)


def with_kernel_words(context: int, error: OSError) -> OSError:
    """The error, with what the file system itself says about it (fsopen(2), message retrieval)."""
    said: list[str] = []
    try:
        while len(said) < 8:
            said.append(posix.read(context, 1024).decode("utf-8", "replace")[2:].strip())
    except OSError:
        pass  # ENODATA: nothing more
    text = "; ".join(said)
    if not text:
        return error
    return OSError(error.errno, f"{error.strerror}", f"{error.filename or ''} ({text})".strip())


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
    from pyrun.features.mounts import old_kernel

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


def settings(items: list[str]) -> list[tuple[str, str | None]]:
    """The options of a file system, one by one: a name and its value, None if it has none."""
    found: list[tuple[str, str | None]] = []
    for item in items:
        for part in item.split(","):
            key, equals, value = part.partition("=")
            if key:
                found.append((key, value if equals else None))
    return found
