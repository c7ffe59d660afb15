"""The frame of a page: one file without outside resources, whose policy lets only our own script and styles act."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files

from oci_conformance.core.records import LEVELS, STATUSES, Status
from oci_conformance.report.common import GLYPHS, MEANINGS
from oci_conformance.report.element import Html, el, join

_KEYS = (
    ("/", "search"),
    ("j, k", "next, previous requirement that is shown"),
    ("n, p", "next, previous one that broke"),
    ("f", "only what broke, and back"),
    ("e, c", "open, close everything shown"),
    ("Enter, Space", "open or close the one in focus"),
    ("Escape", "clear the filters"),
)


def page(title: str, *body: str) -> str:
    """A whole document with the style sheet and the script of these reports."""
    style, script = _read("page.css"), _read("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}';"
        " base-uri 'none'; form-action 'none'"
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", title),
        el("style", Html(style)),
    )
    skip = el("a", "Skip to the results", href="#results", class_="skip")
    content = el("body", skip, *body, el("script", Html(script)))
    return f"<!DOCTYPE html>\n{el('html', head, content, lang='en')}\n"


def filters(statuses: Mapping[Status, int], profiles: Sequence[str], *groups: str) -> Html:
    """The bar that narrows the list: it needs the script, which shows it. `statuses` has counts for the chips."""
    search = el(
        "label",
        el("span", "Search", class_="label"),
        el("input", type="search", id="q", placeholder="words, id, output …", autocomplete="off"),
        class_="search",
    )
    tail = el(
        "div",
        el("output", id="shown", aria_live="polite"),
        el("button", "Clear", type="button", id="clear", hidden=True),
        class_="tail",
    )
    return el(
        "form",
        search,
        chips("Status", "status", statuses),
        chips("Level", "level", LEVELS),
        chips("Profile", "profile", profiles) if len(profiles) > 1 else "",
        *groups,
        tail,
        id="filters",
        hidden=True,
        role="search",
        aria_label="Filters",
    )


def chips(title: str, name: str, values: Mapping[str, int] | Sequence[str]) -> Html:
    """A group of boxes, of which any number can be chosen: rows have their values in data-NAME."""
    numbers = values if isinstance(values, Mapping) else dict.fromkeys(values, -1)
    return el(
        "fieldset",
        el("legend", title),
        *(_chip(name, value, number) for value, number in numbers.items() if number),
    )


def badge(status: Status) -> Html:
    """A status as a sign and a word: never by colour alone."""
    glyph = el("span", GLYPHS[status], aria_hidden="true", class_="glyph")
    return el("span", glyph, " ", el("span", status, class_="word"), class_=f"badge s-{status}")


def legend() -> Html:
    """What the statuses mean, and the keys."""
    statuses = [part for one in STATUSES for part in (el("dt", badge(one)), el("dd", MEANINGS[one]))]
    keys = [
        part
        for names, meaning in _KEYS
        for part in (el("dt", *_spaced([el("kbd", name) for name in names.split(", ")])), el("dd", meaning))
    ]
    return el(
        "footer",
        el("section", el("h2", "What the statuses mean"), el("dl", *statuses)),
        el("section", el("h2", "Keys"), el("dl", *keys), class_="needs-script", hidden=True, id="keys"),
        class_="legend",
    )


def bar(counts: Mapping[Status, int]) -> Html:
    """A bar of the statuses' shares, good ones first; its numbers stand beside it."""
    total = sum(counts.values()) or 1
    left, parts = 0.0, []
    for status in ("pass", "unsupported", "xfail", "xpass", "fail", "error", "skip", "untested", "unseen"):
        width = 100 * counts.get(status, 0) / total
        if width:
            parts.append(el("rect", x=f"{left:.3f}", width=f"{width:.3f}", height="1", class_=f"f-{status}"))
            left += width
    return el(
        "svg", *parts, viewBox="0 0 100 1", preserveAspectRatio="none", class_="bar", aria_hidden="true",
        focusable="false",
    )  # fmt: skip


def tally(counts: Mapping[Status, int]) -> str:
    return ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts.get(status))


def _chip(name: str, value: str, number: int) -> Html:
    glyph = [el("span", GLYPHS[value], aria_hidden="true"), " "] if name == "status" else []
    count = [" ", el("span", str(number), class_="count")] if number >= 0 else []
    box = el("input", type="checkbox", name=name, value=value)
    return el("label", box, el("span", *glyph, value, *count), class_=f"chip c-{value}" if glyph else "chip")


def _spaced(parts: list[Html]) -> list[Html]:
    return [join(*([" "] if number else []), part) for number, part in enumerate(parts)]


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
