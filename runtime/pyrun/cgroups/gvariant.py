"""GVariant's text format, as much of it as annotations use: strings, numbers, booleans, arrays.

Hot module, loaded only for annotations org.systemd.property.*. Source: GLib's "GVariant Text Format".
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEYWORDS = {
    "boolean": "b",
    "byte": "y",
    "int16": "n",
    "uint16": "q",
    "int32": "i",
    "uint32": "u",
    "int64": "x",
    "uint64": "t",
    "double": "d",
    "string": "s",
    "objectpath": "o",
}
RANGES = {
    "y": (0, 255),
    "n": (-(1 << 15), (1 << 15) - 1),
    "q": (0, (1 << 16) - 1),
    "i": (-(1 << 31), (1 << 31) - 1),
    "u": (0, (1 << 32) - 1),
    "x": (-(1 << 63), (1 << 63) - 1),
    "t": (0, (1 << 64) - 1),
}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
SPACE = " \t\n\r"


def parse(text: str) -> tuple[str, Any]:
    """The D-Bus type and the value of a text. Raises ValueError that says why it is none."""
    parser = _Parser(text)
    kind, value = parser.value("")
    parser.skip()
    if parser.at != len(text):
        raise ValueError(f"there is more after the value: {text[parser.at :]!r}")
    return kind, value


class _Parser:
    __slots__ = ("at", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def skip(self) -> None:
        while self.text[self.at : self.at + 1] and self.text[self.at] in SPACE:
            self.at += 1

    def value(self, wanted: str) -> tuple[str, Any]:
        """The next value, which is of the type `wanted` if that is not ""."""
        self.skip()
        first = self.text[self.at : self.at + 1]
        if first == "@":
            self.at += 1
            return self.value(self._word())
        if first == "[":
            return self._array(wanted)
        if first and first in "'\"":
            if wanted not in ("", "s", "o", "g"):
                raise ValueError(f"a string stands where {wanted!r} is wanted")
            return wanted or "s", self._string(first)
        word = self._word()
        if word in KEYWORDS and (wanted in ("", KEYWORDS[word])):
            return self.value(KEYWORDS[word])
        if word in ("true", "false") and wanted in ("", "b"):
            return "b", word == "true"
        return self._number(word, wanted)

    def _word(self) -> str:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in SPACE + ",]":
            self.at += 1
        return self.text[start : self.at]

    def _string(self, quote: str) -> str:
        out: list[str] = []
        self.at += 1
        while self.at < len(self.text):
            character = self.text[self.at]
            self.at += 1
            if character == quote:
                return "".join(out)
            if character == "\\" and self.at < len(self.text):
                character = self.text[self.at]
                self.at += 1
                character = ESCAPES.get(character, character)
            out.append(character)
        raise ValueError("the string has no end")

    def _number(self, word: str, wanted: str) -> tuple[str, Any]:
        digits = word.lstrip("+-")
        try:
            if digits.lower().startswith("0x"):
                number: Any = int(word, 16)
            elif "." in digits or ("e" in digits.lower()) or wanted == "d":
                return self._double(word, wanted)
            else:
                number = int(word, 8 if len(digits) > 1 and digits[0] == "0" else 10)
        except ValueError:
            raise ValueError(f"{word!r} is no value") from None
        kind = wanted or "i"
        if kind not in RANGES or not RANGES[kind][0] <= number <= RANGES[kind][1]:
            raise ValueError(f"{word!r} is no value of the type {kind!r}")
        return kind, number

    def _double(self, word: str, wanted: str) -> tuple[str, float]:
        if wanted not in ("", "d"):
            raise ValueError(f"{word!r} is no value of the type {wanted!r}")
        return "d", float(word)

    def _array(self, wanted: str) -> tuple[str, list[Any]]:
        if wanted and wanted[0] != "a":
            raise ValueError(f"an array stands where {wanted!r} is wanted")
        inner, items = wanted[1:], []
        self.at += 1
        while True:
            self.skip()
            if self.text[self.at : self.at + 1] == "]":
                self.at += 1
                break
            inner, item = self.value(inner)
            items.append(item)
            self.skip()
            after = self.text[self.at : self.at + 1]
            if after not in (",", "]"):
                raise ValueError("the array has no end")
            self.at += after == ","
        if not inner:
            raise ValueError("an empty array needs its type, such as @as []")
        if inner == "y":
            return "ay", items
        return "a" + inner, items
