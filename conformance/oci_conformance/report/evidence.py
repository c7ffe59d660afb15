"""What a page shows of a test: expected and seen, the change of the configuration, the calls, how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from oci_conformance.core.records import BREAKING, CallRecord, Result, TestRecord
from oci_conformance.report.common import Row, change, clip
from oci_conformance.report.element import Html, el, prose
from oci_conformance.report.page import badge

FEW = 4  # calls that are shown at once


def details(row: Row) -> Html:
    """All that a run knows about one requirement, worst first."""
    parts = [el("p", f"Why not: {row.requirement.unseen}")] if row.requirement.unseen else []
    if row.requirement.reading:
        parts.append(el("p", f"A reading, which counts in no score: {row.requirement.reading}"))
    parts += [one(test, result) for test, result in row.verdict.results]
    return el("div", *parts, class_="evidence")


def one(test: TestRecord, result: Result) -> Html:
    """One test's result for one requirement."""
    title = el(
        "p",
        badge(result["status"]),
        " ",
        el("code", test["test"]),
        " ",
        *prose(test["title"]),
        " ",
        el("span", f"{test['seconds']:.2f} s", class_="quiet"),
        class_="test",
    )
    parts = [title]
    if reason := result.get("reason"):
        parts.append(el("p", clip(reason), class_="reason"))
    if result["status"] in BREAKING or "expected" in result:
        parts.append(_comparison(result))
    if result["status"] in BREAKING:
        if "traceback" in test:
            parts.append(_block("Where the suite stumbled", el("pre", clip(test["traceback"]))))
        if changes := test.get("config_diff"):
            lines = [_line(change(each)) for each in changes]
            parts.append(_block("Changes to the plain config.json", el("pre", *lines, class_="diff")))
        if calls := test.get("calls"):
            parts.append(_calls(calls))
        if commands := test.get("repeat"):
            copy = el("button", "Copy", type="button", class_="copy needs-script", hidden=True)
            code = el("pre", "\n".join(commands), tabindex="0")
            parts.append(_block("Repeat it by hand", copy, code))
    return el("div", *parts, class_=f"one b-{result['status']}")


def _comparison(result: Result) -> Html:
    sides = [
        el("div", el("dt", name), el("dd", el("pre", clip(value))), class_=kind)
        for name, kind, value in (
            ("Expected", "expected", result.get("expected", "")),
            ("Seen", "seen", result.get("seen", "")),
        )
        if value
    ]
    return el("dl", *sides, class_="comparison") if sides else Html()


def _calls(calls: Sequence[CallRecord]) -> Html:
    failed = sum(call["code"] != 0 for call in calls)
    number = f"{len(calls)} call{'s' * (len(calls) > 1)}"
    title = f"{number}, {failed} with an exit code other than 0" if failed else number
    rows = el("ol", *(_call(call) for call in calls), class_="calls")
    return el("details", el("summary", title), rows, class_="block", open=len(calls) <= FEW)


def _call(call: CallRecord) -> Html:
    code = call["code"]
    outcome = "stopped: no answer in time" if code is None else f"exit code {code}"
    facts = el("span", f"{outcome}, {call['seconds']:.3f} s", class_="quiet" if code == 0 else "bad")
    stderr = el("pre", clip(call["stderr"].rstrip("\n"))) if call["stderr"].strip() else Html()
    return el("li", el("code", shlex.join(call["argv"])), " ", facts, stderr)


def _line(text: str) -> Html:
    kind = {"+": "add", "-": "remove"}.get(text[0], "replace")
    return el("span", f"{text}\n", class_=kind)


def _block(title: str, *content: str) -> Html:
    return el("div", el("h4", title), *content, class_="block")
