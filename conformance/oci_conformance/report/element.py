"""Elements of HTML as text. Whatever isn't known to be HTML is escaped, so forgetting it can't open a hole."""

from __future__ import annotations

from html import escape

from oci_conformance.report.common import clean

_VOID = frozenset({"input", "meta", "br"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: str) -> Html:
    return Html(value if isinstance(value, Html) else escape(clean(value)))


def join(*children: str) -> Html:
    return Html("".join(text(child) for child in children))


def el(name: str, /, *children: str, **attributes: str | bool | None) -> Html:
    """An element. `class_` is class, `data_x` is data-x; True is an attribute without value, None and False none."""
    opening = name
    for key, value in attributes.items():
        if value is True:
            opening += f" {_attribute(key)}"
        elif value is not None and value is not False:
            opening += f' {_attribute(key)}="{escape(clean(value))}"'
    if name in _VOID:
        return Html(f"<{opening}>")
    return Html(f"<{opening}>{join(*children)}</{name}>")


def prose(words: str) -> list[str]:
    """A sentence of ours, in which `names` stand between backticks, as children of an element."""
    parts = words.split("`")
    return [el("code", part) if number % 2 else part for number, part in enumerate(parts)]


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
