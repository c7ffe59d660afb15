"""JSON to Python objects and back, without the json module (which imports re and enum). Hot module.

Reading is by the C scanner of simplejson, linked into the binary, or of the standard library when run unfrozen. It is
stricter than both: a name twice in one object, NaN, a lone surrogate, bytes that are not UTF-8 are errors
(runtime-spec glossary, JSON).
"""

from __future__ import annotations

try:
    from simplejson._speedups import encode_basestring_ascii as quote
    from simplejson._speedups import make_scanner
except ImportError:
    from _json import encode_basestring_ascii as quote
    from _json import make_scanner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["JSONError", "decode", "encode", "pretty", "quote"]

SPACE = " \t\n\r"
# The scanner calls itself, on a stack that a caller may have limited to a few pages; and what a number of many digits
# does depends on Python's version. A configuration needs ten levels and twenty digits.
DEEPEST = 100  # levels
LONGEST_NUMBER = 1000  # characters of an integer
NO_BRACKETS = bytes([byte for byte in range(256) if byte not in b"[]{}"])


class JSONError(ValueError):
    """The text is not JSON; says why, and where."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen = set()
        for name, _ in pairs:
            if name in seen:
                raise JSONError(f"the name {quote(name)} stands twice in one object")
            seen.add(name)
    return found


def _constant(name: str) -> None:
    raise JSONError(f"{name} is not a JSON value")


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise JSONError(f"a number of {len(text)} digits, where {LONGEST_NUMBER} are the most")
    return int(text)


class _Context:
    """What the C scanner reads its settings from."""

    strict = True
    encoding = "utf-8"
    object_hook = None
    object_pairs_hook = staticmethod(_object)
    array_hook = None
    parse_float = float
    parse_int = staticmethod(_integer)
    parse_constant = staticmethod(_constant)
    memo: dict[str, str] = {}  # noqa: RUF012


def is_text(value: str) -> bool:
    """Can UTF-8 encode this text, that is, does it hold no lone surrogate?

    A strict encode would look for an error handler, which a half-initialised interpreter hasn't got.
    """
    return value.isascii() or value.encode("utf-8", "replace").decode("utf-8", "replace") == value


def _check_surrogates(value: Any) -> None:
    if isinstance(value, str):
        if not is_text(value):
            raise JSONError("a string has half a surrogate pair")
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_surrogates(name)
            _check_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            _check_surrogates(item)


def is_deep(data: bytes) -> bool:
    """Is a JSON text nested too deeply? Valid JSON is never taken for it; text that isn't valid may be.

    Innermost pairs are taken away level by level. What is left can't be nested more than it has opening brackets.
    """
    if data.count(b"[") + data.count(b"{") <= DEEPEST:
        return False  # so it is with nearly all
    without_strings = data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    # Of one kind, so that a level is one kind of pair.
    brackets = b"".join(without_strings).translate(None, NO_BRACKETS).replace(b"{", b"[").replace(b"}", b"]")
    for level in range(DEEPEST + 1):
        if level + brackets.count(b"[") <= DEEPEST:
            return False
        brackets = brackets.replace(b"[]", b"")
    return True


def decode(data: bytes) -> Any:
    """Return the value that a JSON text stands for. Raises JSONError if it stands for none."""
    if is_deep(data):
        raise JSONError(f"nested too deeply: more than {DEEPEST} levels, or brackets that are not closed")
    text = data.decode("utf-8", "surrogateescape")
    if not is_text(text):
        good = text.encode("utf-8", "replace")
        raise JSONError(
            f"not UTF-8 at byte {[a == b for a, b in zip(good, data, strict=False)].index(False)}"
        )
    start = len(text) - len(text.lstrip(SPACE))
    try:
        value, end = make_scanner(_Context)(text, start)
        if b"\\ud" in data or b"\\uD" in data:
            _check_surrogates(value)
    except StopIteration as error:
        raise JSONError(f"a value is missing at {_place(text, error.value)}") from None
    except JSONError:
        raise
    except RecursionError:
        raise JSONError("nested too deeply") from None
    except ValueError as error:  # JSONDecodeError of either library
        at = getattr(error, "pos", None)
        raise JSONError(
            str(getattr(error, "msg", error)) + (f" at {_place(text, at)}" if at is not None else "")
        ) from None
    rest = text[end:].lstrip(SPACE)
    if rest:
        raise JSONError(f"more text after the value at {_place(text, len(text) - len(rest))}")
    return value


def _place(text: str, at: int | None) -> str:
    at = at or 0
    line = text.count("\n", 0, at)
    return f"line {line + 1} column {at - text.rfind(chr(10), 0, at)}"


def encode(value: Any) -> str:
    """Return the JSON text of dicts, lists, strings, numbers, booleans and None, without spaces."""
    if isinstance(value, str):
        text: str = quote(value)
        return text
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ",".join([f"{quote(k)}:{encode(v)}" for k, v in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([encode(v) for v in value]) + "]"
    return repr(value)


def pretty(value: Any, indent: str = "") -> str:
    """Return the JSON text indented by two spaces, for people."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        items = [f"{inner}{quote(k)}: {pretty(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join([inner + pretty(v, inner) for v in value]) + f"\n{indent}]"
    return encode(value)
