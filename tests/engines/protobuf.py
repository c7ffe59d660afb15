"""Protocol buffers, as far as the CRI client needs them: messages as dictionaries, by a table of fields.

The encoding: https://protobuf.dev/programming-guides/encoding/.  Only varints and length-delimited fields are
written; the table says what a field is, and what the table doesn't have is skipped when read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Message name -> field name -> number and type: "int", "bool", "string", "bytes", the name of a message,
# or "map" for map<string, string>.  "*" before the type: repeated.
Schema = Mapping[str, Mapping[str, tuple[int, str]]]
Message = dict[str, Any]


class Codec:
    """Encodes and decodes the messages of one schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = {**schema, "map": {"key": (1, "string"), "value": (2, "string")}}

    def encode(self, kind: str, message: Mapping[str, Any]) -> bytes:
        """A message of type `kind`; a field that the schema doesn't have is a KeyError."""
        data = b""
        for name, value in message.items():
            number, field = self.schema[kind][name]
            for one in _values(field, value):
                data += self._encode_field(number, field.lstrip("*"), one)
        return data

    def _encode_field(self, number: int, field: str, value: Any) -> bytes:
        if field in ("int", "bool"):
            return varint(number << 3 | VARINT) + varint(int(value))
        data: bytes
        if field == "string":
            data = value.encode()
        elif field == "bytes":
            data = value
        else:
            data = self.encode(field, value)
        return varint(number << 3 | BYTES) + varint(len(data)) + data

    def decode(self, kind: str, data: bytes) -> Message:
        """A message of type `kind`; fields that aren't in `data` have their default value."""
        fields = {number: (name, field) for name, (number, field) in self.schema[kind].items()}
        message = {name: _default(field) for name, field in fields.values()}
        for number, raw in _fields(data):
            if number not in fields:
                continue
            name, field = fields[number]
            value = self._decode_field(field.lstrip("*"), raw)
            if field.startswith("*"):
                message[name].append(value)
            elif field == "map":
                message[name][value["key"]] = value["value"]
            else:
                message[name] = value
        return message

    def _decode_field(self, field: str, raw: int | bytes) -> Any:
        if isinstance(raw, int):
            return bool(raw) if field == "bool" else raw - (1 << 64) if raw >> 63 else raw
        if field == "string":
            return raw.decode()
        return raw if field == "bytes" else self.decode(field, raw)


def varint(value: int) -> bytes:
    """A number in base 128, lowest digits first; negative ones as 64-bit two's complement."""
    value &= (1 << 64) - 1
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def _values(field: str, value: Any) -> list[Any]:
    """The values to write one after another for one field."""
    if field.startswith("*"):
        return list(value)
    if field == "map":
        return [{"key": key, "value": one} for key, one in value.items()]
    return [value]


def _default(field: str) -> Any:
    """What a field is that hasn't been sent."""
    if field.startswith("*"):
        return []
    return {"int": 0, "bool": False, "string": "", "bytes": b""}.get(field, {})


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and raw value of each field of an encoded message."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        if key & 7 == VARINT:
            value, at = _read_varint(data, at)
            yield key >> 3, value
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(key & 7)
        if size is None:
            size, at = _read_varint(data, at)
        yield key >> 3, data[at : at + size]
        at += size
