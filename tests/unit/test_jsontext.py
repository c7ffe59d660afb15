"""pyrun.base.jsontext: the same JSON as the standard library's, and stricter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oci_spec import validate
from pyrun.base import jsontext

TEXT = st.text()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)


@settings(deadline=None)
@given(VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    for text in (jsontext.encode(value), jsontext.pretty(value)):
        assert jsontext.decode(text.encode()) == value
        assert json.loads(text) == value
    assert jsontext.decode(json.dumps(value, ensure_ascii=False).encode()) == value


def test_pretty_is_as_people_know_it() -> None:
    value = {"a": [1, {"b": []}], "c": {}}
    assert jsontext.pretty(value) == json.dumps(value, indent=2)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _model(data: bytes) -> Any:
    """The value by the standard library, strict as jsontext is; ValueError if it is none."""
    value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    json.dumps(value, ensure_ascii=False).encode()  # UnicodeEncodeError, a ValueError, for half a pair
    return value


@settings(deadline=None, max_examples=1000)
@given(VALUES, st.data())
def test_damaged(value: Any, data: st.DataObject) -> None:
    """One byte of a good text replaced or removed: both take it, to the same value, or neither does."""
    text = bytearray(json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode())
    place = data.draw(st.integers(0, len(text) - 1))
    text[place : place + 1] = data.draw(
        st.binary(max_size=1) | st.sampled_from([b'"', b"\\", b"{", b",", b"\\ud800"])
    )
    try:
        wanted = _model(bytes(text))
    except (ValueError, RecursionError):
        with pytest.raises(jsontext.JSONError):
            jsontext.decode(bytes(text))
    else:
        assert jsontext.decode(bytes(text)) == wanted


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a": 1, "a": 2}', 'the name "a" stands twice'),
        (b'{"a": NaN}', "NaN is not a JSON value"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON value"),
        (b'"\\ud800"', "half a surrogate pair"),
        (b'{"\\udc00": 1}', "half a surrogate pair"),
        (b'["\xff"]', "not UTF-8 at byte 2"),
        (b'["\xed\xa0\x80"]', "not UTF-8 at byte 2"),
        (b"[" * 100000, "nested too deeply"),
        (b"", "at line 1 column 1"),
        (b"\n\n [1,\n,]", "line 4 column 1"),
        (b"{} {}", "more text after the value at line 1 column 4"),
        (b"1\0", "more text after the value at line 1 column 2"),
        (b"1" * 5000, "a number of 5000 digits"),
        (b"[" + b"-" + b"1" * 1000 + b"]", "a number of 1001 digits"),
    ],
)
def test_errors(data: bytes, words: str) -> None:
    with pytest.raises(jsontext.JSONError) as caught:
        jsontext.decode(data)
    assert words in str(caught.value)


def test_surrogate_pair_is_a_character() -> None:
    assert jsontext.decode(b'"\\ud83d\\udc1a"') == "🐚"


NESTED = st.recursive(
    st.sampled_from(["1", '"]"', '"\\\\"', '"\\""', '"{["', '"\\\\\\"["']),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda some: f"[{','.join(some)}]")
        | inner.map(lambda one: f'{{"a]":{one}}}')
    ),
    max_leaves=60,
)


@settings(deadline=None)
@example('{"a]":{"a]":[]}}', 98)
@example('{"a]":{"a]":[]}}', 97)
@given(NESTED, st.integers(0, 120))
def test_depth_is_that_of_the_document(text: str, more: int) -> None:
    """Strings with brackets, quotes and backslashes in them count for nothing."""
    text = "[" * more + text + "]" * more

    def depth(value: object) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    assert jsontext.is_deep(text.encode()) == (depth(json.loads(text)) > jsontext.DEEPEST)


def test_the_suite_of_rules_has_the_same_limit() -> None:
    assert validate.LONGEST_NUMBER == jsontext.LONGEST_NUMBER
