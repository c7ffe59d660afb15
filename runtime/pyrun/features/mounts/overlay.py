"""An overlay whose options are longer than mount(2) takes: each layer is handed over by itself.

Hot module, loaded only when needed. Engines with many layers make such mounts. Linux 6.7 has `lowerdir+` and
`datadir+`; a path of more than 255 bytes goes by descriptor, which Linux 6.13 takes.
Source: Documentation/filesystems/overlayfs.rst, Multiple lower layers.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError
from pyrun.features.mounts import filesystem
from pyrun.kernel import calls, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.features.mounts.options import Options

LONGEST_VALUE = 255


def new(source: str, options: Options, items: list[str], size: int) -> int:
    """Return a detached overlay with these options, `size` bytes of them. Raises PyrunError if the kernel can't."""
    context = mounts.fsopen("overlay")
    try:
        mounts.fsconfig(context, mounts.FSCONFIG_SET_STRING, "source", source)
        for key, value in options.superblock:
            mounts.fsconfig(context, mounts.FSCONFIG_SET_FLAG, key, value)
        for item in items:
            key, equals, value = item.partition("=")
            if key == "lowerdir":
                for name, path in layers(value):
                    _set(context, name, path, size)
            elif equals:
                _set(context, key, value.replace("\\\\", "\\") if "dir" in key else value, size)
            else:
                mounts.fsconfig(context, mounts.FSCONFIG_SET_FLAG, key)
        mounts.fsconfig(context, mounts.FSCONFIG_CMD_CREATE)
        return mounts.fsmount(context, 0)
    except OSError as error:
        raise filesystem.with_kernel_words(context, error) from None
    finally:
        posix.close(context)


def layers(text: str) -> list[tuple[str, str]]:
    """The layers of a lowerdir option: colons part them, two colons come before one of data alone, and a backslash
    takes its meaning from the next character."""
    found = []
    name, path, index = "lowerdir+", "", 0
    while index < len(text):
        if text[index] == "\\" and index + 1 < len(text):
            index += 1
            path += text[index]
        elif text[index] == ":":
            found.append((name, path))
            name, path = "lowerdir+", ""
            if text[index + 1 : index + 2] == ":":
                index += 1
                name = "datadir+"
        else:
            path += text[index]
        index += 1
    return [*found, (name, path)]


def _set(context: int, key: str, value: str, size: int) -> None:
    """Set one option; a path that is too long for that goes by descriptor."""
    try:
        if len(value.encode()) <= LONGEST_VALUE:
            mounts.fsconfig(context, mounts.FSCONFIG_SET_STRING, key, value)
            return
        # a path of the host, as all of an overlay's folders are: it is opened where the kernel would look it up
        fd = posix.open(value, calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)
        try:
            mounts.fsconfig_fd(context, key, fd)
        finally:
            posix.close(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        words = filesystem.with_kernel_words(context, error)
        raise PyrunError(
            f"its options have {size} bytes, mount(2) takes 4095, and this kernel doesn't take them one by one: "
            f"{words.filename or key}"
        ) from None
