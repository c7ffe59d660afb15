"""Stage 2's orders as bytes, and its reports as errors; kernel/stage2_orders.h has the form of both.

Hot module. An order carries a label: what config.json asked for, what the order does in words, and perhaps more about
certain errors. Stage 2 doesn't look into it. It sends the label of an order that failed back, and `understand` makes
the sentence of it.
"""

from __future__ import annotations

import errno
import posix
import sys

from pyrun.base.errors import PyrunError
from pyrun.features.hooks import describe_status, last_words, why_not_executed
from pyrun.kernel import stage2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

UNSET = (1 << 64) - 1

# kinds of labels, beside "": the number of the report is part of the words; a hook; the program can't be executed
EACH, HOOK, PROGRAM = "each", "hook", "program"


def label(path: str, words: str, kind: str = "", special: Iterable[tuple[int, str, str]] = ()) -> bytes:
    """A label: JSON path, words, kind, and for certain errors (errno, the whole sentence or "", a hint)."""
    fields = [path, words, kind]
    for number, sentence, hint in special:
        fields += [str(number), sentence, hint]
    return "\0".join(fields).encode("utf-8", "surrogateescape")[: stage2.LONGEST_LABEL]


class Orders:
    """A growing list of orders. Each gets the `label` that is set at the time, unless its method says otherwise."""

    __slots__ = ("_parts", "label")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.label = b""

    def add(
        self, kind: int, numbers: Sequence[int] = (), data: bytes = b"", label: bytes | None = None
    ) -> None:
        """One order; a negative number becomes its two's complement."""
        if label is None:
            label = self.label
        heads = (kind << 32 | len(numbers), len(label) << 32 | len(data), *numbers)
        self._parts += [(number & UNSET).to_bytes(8, sys.byteorder) for number in heads]
        self._parts += (_padded(label), _padded(data))

    def call(self, number: int, *arguments: int | bytes, label: bytes | None = None) -> None:
        """A system call; where an argument is bytes, it is called with their address."""
        pointers, values, data = 0, [], b""
        for index, argument in enumerate(arguments):
            if isinstance(argument, int):
                values.append(argument)
            else:
                pointers |= 1 << index
                values.append(len(data))
                data += _padded(argument)
        self.add(stage2.CALL, (number, pointers, *values), data, label)

    def try_call(self, number: int, *arguments: int) -> None:
        """A system call that may fail."""
        self.call(number, *arguments, label=b"")

    def call_each(self, bits: int, number: int, place: int, *arguments: int) -> None:
        """A system call for each bit, whose number is the argument at this place. EINVAL means that the kernel doesn't
        know so many, and ends it."""
        if bits:
            self.add(stage2.CALL_EACH, (bits, number, place, *arguments))

    def write(self, folder: int, path: str, text: bytes) -> None:
        """Write a text to a file below a descriptor, in one piece."""
        name = path.encode() + b"\0"
        self.add(stage2.WRITE, (folder, len(name)), name + text)

    def write_to(self, fd: int, text: bytes) -> None:
        """Write a text to a descriptor in one piece, and close it."""
        self.add(stage2.WRITE, (fd, 0), text)

    def finish(self, sync: int) -> bytes:
        """The whole file; reports go to the descriptor `sync`."""
        body = b"".join(self._parts)
        return (len(body) + 16).to_bytes(8, sys.byteorder) + sync.to_bytes(8, sys.byteorder) + body


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 8)


def texts(values: Iterable[str]) -> bytes:
    """Texts as an order has them, each with a NUL."""
    return b"".join([value.encode("utf-8", "surrogateescape") + b"\0" for value in values])


def size_of(data: bytes) -> int:
    """How many bytes the report has that stands first in `data`."""
    return stage2.REPORT_HEAD + (_int(data, 12) if len(data) >= stage2.REPORT_HEAD else 0)


def understand(report: bytes) -> tuple[int, PyrunError | None]:
    """What a report is about, one of READY, BORN, WILL_EXECUTE, LISTENER and FAILED of kernel.stage2; and the error if
    it is FAILED."""
    kind, number, error = _int(report, 0), _int(report, 4), _int(report, 8)
    if kind in (stage2.READY, stage2.BORN, stage2.WILL_EXECUTE, stage2.LISTENER):
        return kind, None
    end = size_of(report)
    said = last_words(report[end - _int(report, 16) : end])
    fields = report[stage2.REPORT_HEAD : end - _int(report, 16)].decode("utf-8", "replace").split("\0")
    if kind not in (stage2.FAILED, stage2.ENDED) or len(fields) < 3:
        return stage2.FAILED, PyrunError(
            f"stage 2 doesn't understand its order {number}: {posix.strerror(error)}"
        )
    path, words, label_kind, *special = fields
    if label_kind == HOOK:
        why = describe_status(number) if kind == stage2.ENDED else _why_no_hook(error)
        return stage2.FAILED, PyrunError(f"{words} {why}{said}", path, kind="hook")
    if label_kind == PROGRAM:
        return stage2.FAILED, PyrunError("", path, kind=f"program {error}")
    if label_kind == EACH:
        words = words.replace("{number}", str(number))
    sentence, hint = f"{words}: {posix.strerror(error)}", ""
    for at in range(0, len(special) - 2, 3):
        if special[at] == str(error):
            sentence, hint = special[at + 1] or sentence, special[at + 2]
    return stage2.FAILED, PyrunError(sentence, path, hint)


def born(report: bytes) -> int:
    """The pid in a report about BORN."""
    return _int(report, 4)


def _why_no_hook(error: int) -> str:
    if error == errno.ETIMEDOUT:
        return "did not end within its timeout and was killed"
    return f"can't be executed: {why_not_executed(error)}"


def _int(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], sys.byteorder)
