"""One run for a terminal: a block for each requirement that broke, then a table of the levels."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import TextIO

import click

from oci_conformance.core.records import BREAKING, LEVELS, STATUSES, Result, Status, TestRecord
from oci_conformance.report import plain
from oci_conformance.report.common import GLYPHS, change, clean, clip, one_line, profile_sections, sections
from oci_conformance.run.results import Run, counts, score
from oci_spec.catalogue import Requirement

WIDEST = 120  # columns that are read with ease
_COLOURS: dict[Status, str] = {
    "error": "magenta",
    "fail": "red",
    "xpass": "yellow",
    "xfail": "yellow",
    "unsupported": "blue",
    "pass": "green",
}


def wants_colour(stream: TextIO) -> bool:
    """Colours are for terminals of people who haven't set NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def render(
    run: Run,
    catalogue: Mapping[str, Requirement],
    profiles: Mapping[str, Requirement] | None = None,
    *,
    width: int = 80,
    colour: bool = False,
) -> str:
    """The whole report, the worst last, where a person looks first."""
    rows = [
        row for one in sections(run, catalogue) + profile_sections(run, profiles or {}) for row in one.rows
    ]
    broken = sorted(
        (row for row in rows if row.status in BREAKING), key=lambda row: -STATUSES.index(row.status)
    )
    blocks = [
        failure(test, result, row.requirement, width=width, colour=colour)
        for row in broken
        for test, result in row.verdict.results
        if result["status"] in BREAKING
    ]
    return "\n".join([*blocks, summary(run, catalogue, width=width, colour=colour)])


def failure(
    test: TestRecord,
    result: Result,
    requirement: Requirement | None,
    *,
    width: int = 80,
    colour: bool = False,
) -> str:
    """What broke: the requirement, expected and seen, the configuration's change, how to repeat it."""
    width = min(width, WIDEST)
    status = result["status"]
    head = f"{_status(status, colour)} {_style(clean(result['id']), colour, bold=True)}"
    if requirement and requirement.level:
        level = f"{requirement.level} (a reading)" if requirement.reading else requirement.level
        head += f"  {level}  {_style(requirement.section, colour, dim=True)}"
    text = requirement.text if requirement else test["title"]
    lines = [head, *_wrap(text, width)]
    lines += _field(
        "test", test["test"] if text == test["title"] else f"{test['test']}: {test['title']}", width
    )
    for name, value in (
        ("reason", result.get("reason", "")),
        ("expected", result.get("expected", "")),
        ("seen", result.get("seen", "")),
    ):
        lines += _field(name, value, width) if value else []
    for one in test.get("config_diff", []):
        text = change(one)
        tint = {"+": "green", "-": "red"}.get(text[0], "yellow")
        lines += [_style(line, colour, fg=tint) for line in _wrap(text, width, "  config    ")]
    for call in test.get("calls", []):
        if call["code"] != 0:
            first, *said = clean(plain.call(call)).split("\n")
            lines += [f"  call      {first}", *(f"          {line}" for line in said)]
    lines += [f"  repeat    {clean(command)}" for command in test.get("repeat", [])]
    return "\n".join(lines) + "\n"


def summary(run: Run, catalogue: Mapping[str, Requirement], *, width: int = 80, colour: bool = False) -> str:
    """The table of levels and statuses, the other profiles, and whether the run was whole."""
    verdicts = run.by_requirement(catalogue)
    table = counts(verdicts, catalogue)
    # Of a selection, what wasn't asked for says nothing.
    selected = any(word.startswith("-k") for word in run.header["argv"])
    told = [status for status in STATUSES if not (selected and status in ("untested", "unseen"))]
    used = [status for status in told if any(table[level][status] for level in LEVELS)]
    runtime = run.header["runtime"]
    lines = [
        _style(
            one_line(f"{runtime['version']} · runtime-spec {run.header['spec']}")[:width], colour, bold=True
        )
    ]
    for level in LEVELS:
        result = score(level, verdicts, catalogue)
        shown = [
            _style(f"{table[level][status]} {status}", colour, fg=_COLOURS.get(status))
            for status in used
            if table[level][status]
        ]
        lines += _columns(f"{level:<7} {result!s:>9}  ", shown, width)
    for profile in run.profiles:
        found = [verdict.status for verdict in run.by_profile(profile).values()]
        shown = [
            _style(f"{found.count(status)} {status}", colour, fg=_COLOURS.get(status))
            for status in STATUSES
            if status in found
        ]
        lines += _columns(f"{clean(profile)} (not in the score)  ", shown, width)
    if not run.complete:
        lines.append(_style("The run was cut short: results are missing.", colour, fg="red", bold=True))
    return "\n".join(lines) + "\n"


def _columns(head: str, parts: Sequence[str], width: int) -> list[str]:
    """Parts after a head, on as many lines as they need."""
    lines, line = [], head
    for part in parts:
        if len(click.unstyle(line)) + len(click.unstyle(part)) > width and line.strip() and line != head:
            lines.append(line.rstrip())
            line = " " * len(head)
        line += f"{part}  "
    return [*lines, line.rstrip()]


def _field(name: str, value: str, width: int) -> list[str]:
    first, *rest = clean(clip(value)).split("\n")
    return [
        *_wrap(first, width, f"  {name:<9} "),
        *(line for one in rest for line in _wrap(one, width, " " * 12)),
    ]


def _wrap(text: str, width: int, head: str = "  ") -> list[str]:
    return textwrap.wrap(
        clean(text), max(width, len(head) + 20), initial_indent=head, subsequent_indent=" " * len(head),
        break_on_hyphens=False, replace_whitespace=False,
    ) or [head.rstrip()]  # fmt: skip


def _status(status: Status, colour: bool) -> str:
    return _style(f"{GLYPHS[status]} {status}", colour, fg=_COLOURS.get(status), bold=True)


def _style(text: str, colour: bool, fg: str | None = None, bold: bool = False, dim: bool = False) -> str:
    return click.style(text, fg=fg, bold=bold or None, dim=dim or None) if colour else text
