"""Reading and writing the files of a cgroup, and the one sentence for a write that fails.

Hot module. A `Write` is (file, value, JSON path, may be missing): the controllers make lists of them from the
configuration, without touching the kernel, and `write_all` puts them into effect.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError, words
from pyrun.kernel.calls import O_CLOEXEC, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Write = tuple[str, str, str, bool]
    Before = tuple[
        str, str, str, str
    ]  # directory, file, what will be written to it, what it holds until then

UNLIMITED = (1 << 64) - 1  # what statistics say for "max"
RIGHTS = "rights"  # the kind of a PyrunError: the kernel says EPERM
WEIGHTS = ("cpu.shares", "cpu.weight")  # a change of cpu.idle changes these as well


def read(path: str) -> str:
    """Return the text of a cgroup file without its last newline. Raises OSError."""
    return read_file(path).decode().rstrip("\n")


def fetch(directory: str, name: str) -> str:
    """Return the text of a file that every cgroup of its kind has. Raises PyrunError if it can't be read."""
    try:
        return read(f"{directory}/{name}")
    except OSError as error:
        raise PyrunError(f"reading {name} of {directory}: {reason(error)}") from None


def text(path: str) -> str:
    """A file's text; "" if it isn't there or can't be read (pressure files can be switched off)."""
    try:
        return read(path)
    except OSError:
        return ""


def number(path: str) -> int:
    """The number in a file, "max" being UNLIMITED; 0 if it isn't there."""
    found = text(path)
    return UNLIMITED if found == "max" else int(found or 0)


def pairs(path: str) -> dict[str, int]:
    """A flat-keyed file: a name and a number a line."""
    return {
        name: int(value)
        for name, _, value in [line.partition(" ") for line in text(path).split("\n")]
        if value
    }


def write(directory: str, name: str, value: str, json_path: str, optional: bool = False) -> None:
    """Write `value` to one file of a cgroup. A file that isn't there is no error if `optional`.

    Raises PyrunError if the kernel refuses it, with value, file, cgroup and reason.
    """
    try:
        put(directory, name, value)
    except OSError as error:
        if not (optional and error.errno == errno.ENOENT):
            raise refused(directory, name, value, json_path, error) from None


def put(directory: str, name: str, value: str) -> None:
    """Call open(2), write(2), close(2), and nothing else. Raises OSError."""
    fd = posix.open(f"{directory}/{name}", posix.O_WRONLY | O_CLOEXEC)
    try:
        posix.write(fd, value.encode())
    finally:
        posix.close(fd)


def write_all(directory: str, writes: Sequence[Write], before: list[Before] | None = None) -> None:
    """Write all; in the given order where the kernel agrees with it. What the files hold until then is added to
    `before`.

    Some limits are checked against each other (memory with memory+swap, quota with period and burst, shares
    with idle), and which must come first depends on the values in force. So what is refused as invalid is
    tried again after the rest, as long as anything moves.
    """
    if before is not None:
        before += _contents(directory, writes)
    pending = writes
    while pending:
        again = []
        reason = OSError()
        for entry in pending:
            name, value, json_path, optional = entry
            try:
                put(directory, name, value)
            except OSError as error:
                if error.errno == errno.EINVAL and len(pending) > 1:
                    again.append(entry)
                    reason = error
                elif not (optional and error.errno == errno.ENOENT):
                    raise refused(directory, name, value, json_path, error) from None
        if len(again) == len(pending):
            name, value, json_path, _ = again[-1]
            raise refused(directory, name, value, json_path, reason)
        pending = again


def _contents(directory: str, writes: Sequence[Write]) -> list[Before]:
    found = []
    for name, value, _, _ in writes:
        for each in WEIGHTS if name == "cpu.idle" else ():
            try:
                found.append((directory, each, "", read(f"{directory}/{each}")))
            except OSError:
                pass  # the other version's file
        try:
            found.append((directory, name, value, read(f"{directory}/{name}")))
        except OSError:
            pass  # the write will say what is the matter, or it is a file that only takes orders
    return found


def refused(directory: str, name: str, value: str, json_path: str, error: OSError) -> PyrunError:
    """The sentence for a write that failed."""
    from pyrun.cgroups import causes

    hint = causes.cause(directory, name, value, error.errno or 0)
    kind = RIGHTS if error.errno == errno.EPERM else ""
    return PyrunError(f"writing {value} to {name} of {directory}: {reason(error)}", json_path, hint, kind)


def reason(error: OSError) -> str:
    """The errno alone, in words."""
    return words(OSError(error.errno, ""))
