"""D-Bus, as much of it as talking to systemd takes: the wire format, and a connection that makes calls.

Hot module, loaded only with --systemd-cgroup. Values are Python's: int for y n q i u x t, bool for b, float for d, str
for s o g, list for arrays (bytes for "ay"), tuple for structs, a list of pairs for dictionaries, and for a variant
the pair (signature, value). Messages are little-endian when we send them, and of either order when we read them.
Source: the D-Bus specification, "Message Protocol" and "Authentication Protocol".
"""

from __future__ import annotations

import errno
import posix
import sys
import time

from _pyrun_kernel import ffi

from pyrun.kernel import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    Order = Literal["little", "big"]

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, SENDER, SIGNATURE = range(1, 9)
FIELDS = {
    PATH: "o",
    INTERFACE: "s",
    MEMBER: "s",
    ERROR_NAME: "s",
    REPLY_SERIAL: "u",
    DESTINATION: "s",
    SIGNATURE: "g",
}
NUMBERS = {"y": 1, "n": 2, "q": 2, "i": 4, "u": 4, "x": 8, "t": 8}  # code -> size, which is its alignment too
SIGNED = "nix"
ALIGNMENT = {**NUMBERS, "b": 4, "d": 8, "s": 4, "o": 4, "g": 1, "a": 4, "v": 1, "(": 8, "{": 8}
LARGEST = 1 << 26  # bytes of an array; a message may have twice as many
DEEPEST = 32  # arrays and structs in one another
BUS = "org.freedesktop.DBus"
PATIENCE = 30.0  # seconds that the other side may be silent


class Malformed(Exception):
    """The bytes are no D-Bus message."""


def first_type(signature: str) -> str:
    """The first complete type of a signature. Raises Malformed if there is none."""
    depth = 0
    for index, code in enumerate(signature):
        if code in "({":
            depth += 1
        elif code in ")}":
            depth -= 1
        elif code not in ALIGNMENT:
            raise Malformed(f"{code!r} is no type")
        if depth == 0 and code != "a":
            return signature[: index + 1]
    raise Malformed(f"the signature {signature!r} has no end")


def split(signature: str) -> list[str]:
    """The complete types of a signature. Raises Malformed if it is none."""
    types = []
    while signature:
        types.append(first_type(signature))
        signature = signature[len(types[-1]) :]
    return types


def encode(signature: str, values: tuple[Any, ...]) -> bytes:
    """The values of a message's body, or of anything that is aligned to 8. Raises ValueError or OverflowError if a
    value doesn't fit its type."""
    out = bytearray()
    for kind, value in zip(split(signature), values, strict=True):
        _encode(out, kind, value)
    return bytes(out)


def _pad(out: bytearray, alignment: int) -> None:
    out.extend(bytes(-len(out) % alignment))


def _encode(out: bytearray, kind: str, value: Any) -> None:
    code = kind[0]
    _pad(out, ALIGNMENT[code])
    if code in NUMBERS:
        out.extend(value.to_bytes(NUMBERS[code], "little", signed=code in SIGNED))
    elif code == "b":
        out.extend(int(bool(value)).to_bytes(4, "little"))
    elif code == "d":
        data = bytes(ffi.buffer(ffi.new("double *", value)))
        out.extend(data if sys.byteorder == "little" else data[::-1])
    elif code in "sog":
        data = value.encode("utf-8", "replace")
        out.extend(len(data).to_bytes(1 if code == "g" else 4, "little") + data + b"\0")
    elif code == "v":
        _encode(out, "g", value[0])
        _encode(out, value[0], value[1])
    elif code == "a":
        _encode_array(out, kind[1:], value)
    else:
        for inner, item in zip(split(kind[1:-1]), value, strict=True):
            _encode(out, inner, item)


def _encode_array(out: bytearray, kind: str, items: Any) -> None:
    at = len(out)
    out.extend(bytes(4))
    _pad(out, ALIGNMENT[kind[0]])
    start = len(out)
    if kind == "y":
        out.extend(items)
    else:
        for item in items:
            _encode(out, kind, item)
    out[at : at + 4] = (len(out) - start).to_bytes(4, "little")


class Reader:
    """Reads values off the bytes of a message or body, of which the first is aligned to 8."""

    __slots__ = ("at", "data", "order")

    def __init__(self, data: bytes, order: Order, at: int = 0) -> None:
        self.data = data
        self.order = order
        self.at = at

    def values(self, signature: str) -> list[Any]:
        """The values of these types, one after the other. Raises Malformed if the bytes hold none."""
        return [self._value(kind, 0) for kind in split(signature)]

    def align(self, alignment: int) -> None:
        """Skip the padding."""
        self.at += -self.at % alignment

    def _take(self, size: int) -> bytes:
        taken = self.data[self.at : self.at + size]
        if len(taken) != size:
            raise Malformed("a value goes beyond the end")
        self.at += size
        return taken

    def _number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self._take(size), self.order, signed=signed)

    def _value(self, kind: str, depth: int) -> Any:
        if depth > DEEPEST * 2:
            raise Malformed("values are nested too deeply")
        code = kind[0]
        self.align(ALIGNMENT[code])
        if code in NUMBERS:
            return self._number(NUMBERS[code], code in SIGNED)
        if code == "b":
            return self._number(4) == 1
        if code == "d":
            data = self._take(8)
            return float(ffi.from_buffer("double *", data if self.order == sys.byteorder else data[::-1])[0])
        if code in "sog":
            size = self._number(1 if code == "g" else 4)
            return self._take(size + 1)[:-1].decode("utf-8", "replace")
        if code == "v":
            inner = self._value("g", depth)
            if not inner or first_type(inner) != inner:
                raise Malformed("a variant has no single type")
            return inner, self._value(inner, depth + 1)
        if code == "a":
            return self._array(kind[1:], depth)
        return tuple([self._value(inner, depth + 1) for inner in split(kind[1:-1])])

    def _array(self, kind: str, depth: int) -> Any:
        size = self._number(4)
        if size > LARGEST:
            raise Malformed("an array is too long")
        self.align(ALIGNMENT[kind[0]])
        if kind == "y":
            return self._take(size)
        end = self.at + size
        items = []
        while self.at < end:
            items.append(self._value(kind, depth + 1))
        if self.at != end:
            raise Malformed("an array's items go beyond its end")
        return items


class Message:
    """A message that was read: its kind, header fields by number, and body."""

    __slots__ = ("body", "fields", "kind", "serial")

    def __init__(self, kind: int, serial: int, fields: dict[int, Any], body: list[Any]) -> None:
        self.kind = kind
        self.serial = serial
        self.fields = fields
        self.body = body


def message(kind: int, serial: int, fields: dict[int, Any], signature: str, values: tuple[Any, ...]) -> bytes:
    """The bytes of a message."""
    body = encode(signature, values)
    if signature:
        fields = {**fields, SIGNATURE: signature}
    header = encode(
        "yyyyuua(yv)",
        (
            ord("l"),
            kind,
            0,
            1,
            len(body),
            serial,
            [(number, (FIELDS[number], value)) for number, value in fields.items()],
        ),
    )
    return header + bytes(-len(header) % 8) + body


def size_of(head: bytes) -> int:
    """How many bytes the message has that begins with these 16. Raises Malformed if none does."""
    order = _order(head)
    fields = int.from_bytes(head[12:16], order)
    body = int.from_bytes(head[4:8], order)
    if fields > LARGEST or body > LARGEST:
        raise Malformed("a message is too long")
    return 16 + fields + -fields % 8 + body


def _order(head: bytes) -> Order:
    if head[:1] == b"l":
        return "little"
    if head[:1] == b"B":
        return "big"
    raise Malformed("a message begins with neither l nor B")


def parse(data: bytes) -> Message:
    """The message of these bytes. Raises Malformed if it is none."""
    reader = Reader(data, _order(data))
    _, kind, _, _, _, serial, pairs = reader.values("yyyyuua(yv)")
    fields = {number: value for number, (_, value) in pairs}
    reader.align(8)
    return Message(kind, serial, fields, reader.values(str(fields.get(SIGNATURE, ""))))


class CallFailed(Exception):
    """The other side answered a call with an error: its name and its text."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name
        self.text = text


class Connection:
    """A connection over which calls are made, one at a time. Signals that arrive meanwhile are kept as they came:
    systemd tells whoever is connected of all that happens, and to read a thousand of them takes longer than a call."""

    __slots__ = ("_received", "_serial", "_signals", "destination", "fd")

    def __init__(self, path: str, destination: str) -> None:
        """Connect to the socket at `path`. `destination` is the name on the bus, or "" where the socket is the
        service's own. The other side learns from the kernel who we are: in a user namespace we don't know our number
        there, so that we say none. Raises OSError, Malformed."""
        self.destination = destination
        self._signals: list[bytes] = []
        self._received = b""
        self._serial = 0
        self.fd = calls.connect(path)
        try:
            calls.write_all(self.fd, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
            while self._received.count(b"\r\n") < 2 and self._received[:8] != b"REJECTED":
                self._receive()
        except BaseException:
            self.close()
            raise
        asked, _, rest = self._received.partition(b"\r\n")
        line, _, self._received = rest.partition(b"\r\n")
        if asked != b"DATA" or line[:3] != b"OK ":
            self.close()
            raise OSError(errno.EACCES, f"D-Bus: {posix.strerror(errno.EACCES)}", path)
        if destination:
            self.call(BUS, "/org/freedesktop/DBus", BUS, "Hello")

    def close(self) -> None:
        """End the connection."""
        posix.close(self.fd)

    def call(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", *values: Any
    ) -> list[Any]:
        """Call a method and return the values of its answer. Raises CallFailed, OSError, Malformed."""
        self._serial += 1
        serial = self._serial
        fields = {PATH: path, INTERFACE: interface, MEMBER: member}
        if self.destination:
            fields[DESTINATION] = destination
        calls.write_all(self.fd, message(CALL, serial, fields, signature, values))
        while True:
            data = self._next()
            if data[1] == SIGNAL:
                self._signals.append(data)
                continue
            answer = parse(data)
            if answer.fields.get(REPLY_SERIAL) == serial:
                if answer.kind == ERROR:
                    text = answer.body[0] if answer.body and isinstance(answer.body[0], str) else ""
                    raise CallFailed(str(answer.fields.get(ERROR_NAME, "")), text)
                return answer.body

    def signal_about(self, *texts: str) -> Message:
        """The oldest signal in which all these texts are, those that came while a call was made first; waits for one,
        and drops the others unread. Raises OSError, Malformed."""
        wanted = [text.encode() for text in texts]
        while True:
            data = self._signals.pop(0) if self._signals else self._next()
            if data[1] == SIGNAL and all([text in data for text in wanted]):
                return parse(data)

    def _next(self) -> bytes:
        """The next message, unread."""
        while len(self._received) < 16 or len(self._received) < size_of(self._received):
            self._receive()
        size = size_of(self._received)
        data, self._received = self._received[:size], self._received[size:]
        return data

    def _receive(self) -> None:
        end = time.monotonic() + PATIENCE
        while not calls.poll([self.fd], 1000):  # a signal may end the wait
            if time.monotonic() > end:
                raise OSError(errno.ETIMEDOUT, f"D-Bus: {posix.strerror(errno.ETIMEDOUT)}")
        data = posix.read(self.fd, 1 << 16)
        if not data:
            raise OSError(errno.ECONNRESET, f"D-Bus: {posix.strerror(errno.ECONNRESET)}")
        self._received += data
