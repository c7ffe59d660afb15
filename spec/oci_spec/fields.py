"""Kinds of JSON values and the walker that checks a decoded document against a table of them.

A kind is a tuple whose first element is the function that checks a value of this kind; what follows are
that function's parameters. Checking happens in place and is fast: a path is put together only after a fault.

Two decisions that the specification leaves open, held by parser and schema alike:
- `null` for an optional property means that the property is absent (Go programs write empty lists and maps
  so), and the parser removes it. Elsewhere `null` is an error.
- A number with a fraction or an exponent is never an integer, 1.0 and 1e3 included (as in Go's encoding/json
  and JSON Schema draft 4).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Kind = tuple[Any, ...]
    Part = str | int

SHOWN = 60  # characters of a wrong value that an error shows


class ConfigError(Exception):
    """A fault in a document. `parts` is the path from its root, innermost part first while it unwinds.

    `found` and `wanted` are phrases ("a string", "an absolute path"); `section` names the text that says so.
    """

    __slots__ = ("found", "parts", "section", "wanted")

    def __init__(self, found: str, wanted: str, section: str = "", parts: tuple[Part, ...] = ()) -> None:
        self.found = found
        self.wanted = wanted
        self.section = section
        self.parts = parts

    @property
    def path(self) -> str:
        """The place in the document: `process.rlimits[2].type`, `annotations["a.b"]`; empty at the root."""
        return join(self.parts)

    def sentence(self) -> str:
        """What is wrong, without the path: `found "x", wanted an absolute path (config.md#process)`."""
        where = f" ({self.section})" if self.section else ""
        return f"found {self.found}, wanted {self.wanted}{where}"

    def __str__(self) -> str:
        path = self.path
        return f"{path}: {self.sentence()}" if path else self.sentence()


def join(parts: tuple[Part, ...]) -> str:
    """Write a path from the root, outermost part first, as text."""
    text = ""
    for part in parts:
        if type(part) is int:
            text += f"[{part}]"
        elif str(part).isidentifier():
            text += f".{part}" if text else str(part)
        else:
            text += "[" + show(part) + "]"
    return text


def show(value: object) -> str:
    """A wrong value in a few words."""
    if type(value) is str:
        short = value if len(value) <= SHOWN else value[:SHOWN] + "…"
        return '"' + "".join(map(visible, short)) + '"'
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if type(value) is dict:
        return "an object"
    if type(value) is list:
        return "an array" if value else "an empty array"
    if type(value) is int and not -(1 << 200) < value < 1 << 200:
        return "a huge number"
    return str(value)


def visible(character: str) -> str:
    """A character as a JSON string literal would have it, so that an error stays one clean line."""
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}"


def under(error: ConfigError, part: Part, section: str) -> ConfigError:
    """Put one more part in front of the path, and the section if none closer to the fault is known."""
    error.parts = (part, *error.parts)
    if not error.section:
        error.section = section
    return error


def encodable(text: str) -> bool:
    """False for text with half a surrogate pair (a JSON escape can make one), which has no UTF-8 form."""
    return text.isascii() or not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


def check_text(kind: Kind, value: object) -> None:
    """Any string that has a UTF-8 form; for what never goes to the kernel."""
    if type(value) is not str:
        raise ConfigError(show(value), "a string")
    if not encodable(value):
        raise ConfigError(show(value), "text that UTF-8 can hold")


def check_string(kind: Kind, value: object) -> None:
    """A string that may go to the kernel: no NUL, which would cut it short there."""
    if type(value) is not str:
        raise ConfigError(show(value), "a string")
    if "\0" in value:
        raise ConfigError(show(value), "a string without NUL")
    if not value.isascii():
        check_text(kind, value)


def check_name(kind: Kind, value: object) -> None:
    """A string of one character or more."""
    check_string(kind, value)
    if not value:
        raise ConfigError('""', "a string that is not empty")


def check_path(kind: Kind, value: object) -> None:
    """An absolute path."""
    check_string(kind, value)
    if str(value)[:1] != "/":
        raise ConfigError(show(value), "an absolute path")


def check_form(kind: Kind, value: object) -> None:
    """A string for which the predicate kind[1] holds. kind[2] says the same as a regular expression."""
    check_string(kind, value)
    if not kind[1](value):
        raise ConfigError(show(value), kind[3])


def check_boolean(kind: Kind, value: object) -> None:
    """`true` or `false`."""
    if value is not True and value is not False:
        raise ConfigError(show(value), "true or false")


def check_integer(kind: Kind, value: object) -> None:
    """An integer from kind[1] to kind[2]. `true` and 1.0 are none."""
    if type(value) is not int or not kind[1] <= value <= kind[2]:
        raise ConfigError(show(value), f"an integer from {kind[1]} to {kind[2]}")


def check_enum(kind: Kind, value: object) -> None:
    """One of the strings of kind[1]."""
    if value not in kind[1] or type(value) is not str:
        names = kind[1]
        few = ", ".join(names) if len(names) <= 9 else f"one of {len(names)} names, {names[0]} to {names[-1]}"
        raise ConfigError(show(value), few if len(names) != 1 else names[0])


def check_list(kind: Kind, value: object) -> None:
    """An array of kind[1] with at least kind[2] items."""
    if type(value) is not list:
        raise ConfigError(show(value), "an array")
    if len(value) < kind[2]:
        raise ConfigError(show(value), "at least one item")
    item_kind = kind[1]
    check = item_kind[0]
    index = 0
    try:
        if check is check_string and clean(value):
            return
        for item in value:
            check(item_kind, item)
            index += 1
    except ConfigError as error:
        raise under(error, index, "") from None


def check_map(kind: Kind, value: object) -> None:
    """An object with any names, whose values are of kind[1] (names are of kind[2])."""
    if type(value) is not dict:
        raise ConfigError(show(value), "an object")
    item_kind = kind[1]
    check = item_kind[0]
    key = ""
    try:
        for key, item in value.items():
            check(item_kind, item)
            kind[2][0](kind[2], key)
    except ConfigError as error:
        raise under(error, key, "") from None


def check_object(kind: Kind, value: object) -> None:
    """An object whose known properties are in the table kind[1]; those in kind[2] are required.

    kind[3] is its section; kind[4] names another one for some properties. Unknown properties are ignored
    (config.md#extensibility); optional ones that are null are removed.
    """
    if type(value) is not dict:
        raise ConfigError(show(value), "an object", kind[3])
    table = kind[1]
    nulls: tuple[str, ...] = ()
    key = ""
    try:
        for key, item in value.items():
            if key in table:
                if item is None:
                    nulls += (key,)
                else:
                    field = table[key]
                    field[0](field, item)
    except ConfigError as error:
        raise under(error, key, section_of(kind, key)) from None
    for key in kind[2]:
        if value.get(key) is None:
            found = "null" if key in value else "nothing"
            raise ConfigError(found, "a value: it is required", section_of(kind, key), (key,))
    for key in nulls:
        del value[key]


def section_of(kind: Kind, key: str) -> str:
    """The section of the specification that describes one property of an object."""
    section: str = kind[4].get(key, kind[3])
    return section


def clean(strings: list[object]) -> bool:
    """Whether a list holds only plain ASCII strings without NUL; found out in C, whatever its length."""
    try:
        joined = "\0".join(strings)  # type: ignore[arg-type]  # what isn't a string is the TypeError
    except TypeError:
        return False
    return joined.isascii() and joined.count("\0") == max(len(strings) - 1, 0)


def list_of(kind: Kind, least: int = 0) -> Kind:
    """An array of a kind, with at least so many items."""
    return (check_list, kind, least)


def map_of(kind: Kind, names: Kind | None = None) -> Kind:
    """An object from any names (of kind `names`: strings without NUL if not given) to values of a kind."""
    return (check_map, kind, names or STRING)


def table(
    properties: dict[str, Kind],
    required: tuple[str, ...],
    section: str,
    sections: dict[str, str] | None = None,
) -> Kind:
    """An object with known properties; `sections` names those described elsewhere than the object is."""
    return (check_object, properties, required, section, sections or {})


def form(predicate: Callable[[str], bool], pattern: str, wanted: str) -> Kind:
    """A string of a certain form. `pattern` (ECMA 262, anchored) must say the same as the predicate."""
    return (check_form, predicate, pattern, wanted)


TEXT: Kind = (check_text,)
STRING: Kind = (check_string,)
NAME: Kind = (check_name,)
PATH: Kind = (check_path,)
BOOLEAN: Kind = (check_boolean,)
UINT16: Kind = (check_integer, 0, 65535)
INT32: Kind = (check_integer, -(1 << 31), (1 << 31) - 1)
UINT32: Kind = (check_integer, 0, (1 << 32) - 1)
LARGEST_ID = (1 << 32) - 2  # 2**32 - 1 means "no change" to the kernel: setresuid(2), chown(2)
ID: Kind = (check_integer, 0, LARGEST_ID)
INT64: Kind = (check_integer, -(1 << 63), (1 << 63) - 1)
UINT64: Kind = (check_integer, 0, (1 << 64) - 1)
STRINGS: Kind = (check_list, STRING, 0)
STRING_MAP: Kind = (check_map, STRING, STRING)
