"""The D-Bus codec against an independent one (jeepney), and against bytes that are no message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jeepney.low_level import Endianness, Message, parse_signature

from pyrun.kernel import dbus

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)
BASIC: dict[str, st.SearchStrategy[Any]] = {
    "y": st.integers(0, 255),
    "n": st.integers(-(1 << 15), (1 << 15) - 1),
    "q": st.integers(0, (1 << 16) - 1),
    "i": st.integers(-(1 << 31), (1 << 31) - 1),
    "u": st.integers(0, (1 << 32) - 1),
    "x": st.integers(-(1 << 63), (1 << 63) - 1),
    "t": st.integers(0, (1 << 64) - 1),
    "b": st.booleans(),
    "d": st.floats(allow_nan=False),
    "s": TEXT,
}


@st.composite
def typed(draw: st.DrawFn, depth: int = 3) -> tuple[str, Any]:
    """A type and a value of it."""
    form = draw(st.sampled_from(["basic"] * 3 + ["bytes", "array", "struct", "variant", "dictionary"]))
    if form == "basic" or depth == 0:
        kind = draw(st.sampled_from(sorted(BASIC)))
        return kind, draw(BASIC[kind])
    if form == "bytes":
        return "ay", draw(st.binary(max_size=9))
    if form == "array":
        kind, value = draw(typed(depth - 1))
        return "a" + kind, [value] * draw(st.integers(0, 3)) if kind != "y" else bytes([value])
    if form == "struct":
        parts = draw(st.lists(typed(depth - 1), min_size=1, max_size=3))
        return f"({''.join(kind for kind, _ in parts)})", tuple(value for _, value in parts)
    if form == "variant":
        return "v", draw(typed(depth - 1))
    kind, value = draw(typed(depth - 1))
    keys = draw(st.lists(TEXT, max_size=3, unique=True))
    return f"a{{s{kind}}}", [(key, value) for key in keys]


def model_value(kind: str, value: Any) -> Any:
    if kind.startswith("a{"):
        inner = kind[3:-1]
        return {key: model_value(inner, item) for key, item in value}
    if kind == "ay":
        return value
    if kind[0] == "a":
        return [model_value(kind[1:], item) for item in value]
    if kind[0] == "(":
        kinds = dbus.split(kind[1:-1])
        return tuple(model_value(each, item) for each, item in zip(kinds, value, strict=True))
    if kind == "v":
        return value[0], model_value(value[0], value[1])
    return value


@given(st.lists(typed(), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_bodies_are_those_of_the_model(parts: list[tuple[str, Any]]) -> None:
    """Values of any types have the same bytes as the other codec's, and are read back from them, in both orders."""
    signature = "".join(kind for kind, _ in parts)
    values = tuple(value for _, value in parts)
    model = parse_signature(list(f"({signature})"))
    plain = tuple(model_value(kind, value) for kind, value in parts)
    expected = model.serialise(plain, 0, Endianness.little)
    assert dbus.encode(signature, values) == expected
    assert dbus.Reader(expected, "little").values(signature) == list(values)
    other = model.serialise(plain, 0, Endianness.big)
    assert dbus.Reader(other, "big").values(signature) == list(values)


@given(typed(), st.integers(1, (1 << 32) - 1))
@settings(max_examples=100, deadline=None)
def test_messages_are_those_of_the_model(part: tuple[str, Any], serial: int) -> None:
    """The other codec reads our messages, and we read what it writes."""
    kind, value = part
    fields = {dbus.PATH: "/a/b", dbus.INTERFACE: "a.b", dbus.MEMBER: "C", dbus.DESTINATION: "d.e"}
    data = dbus.message(dbus.CALL, serial, fields, kind, (value,))
    read = Message.from_buffer(data)
    assert read.header.serial == serial
    assert {int(number): text for number, text in read.header.fields.items()} == {
        **fields,
        dbus.SIGNATURE: kind,
    }
    assert read.body == (model_value(kind, value),)
    assert dbus.size_of(data[:16]) == len(data)
    again = dbus.parse(read.serialise())
    assert (again.kind, again.serial, again.body) == (dbus.CALL, serial, [value])


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    """Whatever arrives is a message or Malformed, and nothing else."""
    for head in (b"l", b"B", b""):
        try:
            dbus.parse(head + data)
        except dbus.Malformed:
            pass


@given(typed(), st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_messages_are_read_or_refused(part: tuple[str, Any], data: st.DataObject) -> None:
    """A message with one byte changed is a message or Malformed."""
    whole = bytearray(dbus.message(dbus.RETURN, 1, {dbus.REPLY_SERIAL: 1}, part[0], (part[1],)))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        dbus.parse(bytes(whole))
    except dbus.Malformed:
        pass


@pytest.mark.parametrize("signature", ["(", "a", "z", "(s", "a{s", "ss)"], ids=lambda text: text)
def test_signatures_without_a_meaning_are_refused(signature: str) -> None:
    """A signature that is none is Malformed."""
    with pytest.raises(dbus.Malformed):
        dbus.split(signature)
