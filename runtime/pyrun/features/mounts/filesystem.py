"""New file systems, by the new mount calls: fsopen(2). Hot module."""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError
from pyrun.kernel import mounts


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


def settings(items: list[str]) -> list[tuple[str, str | None]]:
    """The options of a file system, one by one: a name and its value, None if it has none."""
    found: list[tuple[str, str | None]] = []
    for item in items:
        for part in item.split(","):
            key, equals, value = part.partition("=")
            if key:
                found.append((key, value if equals else None))
    return found
