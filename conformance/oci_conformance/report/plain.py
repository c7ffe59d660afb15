"""Evidence as plain lines, for reports that have no more than text."""

from __future__ import annotations

import shlex

from oci_conformance.core.records import CallRecord, Result, TestRecord
from oci_conformance.report.common import change, clean, clip


def sentence(result: Result) -> str:
    """What is wrong, as short as can be."""
    if reason := result.get("reason"):
        return reason
    if "expected" in result or "seen" in result:
        return f"expected {result.get('expected', 'something else')}, seen {result.get('seen', 'nothing')}"
    return result["status"]


def evidence(test: TestRecord, result: Result) -> str:
    """Everything that the stream has about a result that broke."""
    parts = [test["title"]]
    for title, value in (
        ("reason", result.get("reason")),
        ("expected", result.get("expected")),
        ("seen", result.get("seen")),
        ("where the suite stumbled", test.get("traceback")),
    ):
        if value:
            parts.append(f"{title}: {clip(value)}")
    for title, lines in (
        ("changes to the plain config.json", [change(one) for one in test.get("config_diff", [])]),
        ("calls", [call(one) for one in test.get("calls", [])]),
        ("repeat it by hand", test.get("repeat", [])),
    ):
        if lines:
            parts.append("\n".join([f"{title}:", *(f"  {line}" for line in lines)]))
    return clean("\n".join(parts))


def call(one: CallRecord) -> str:
    """A call, how it ended, and what it said."""
    outcome = "stopped, no answer in time" if one["code"] is None else f"exit code {one['code']}"
    said = "".join(f"\n    {line}" for line in clip(one["stderr"]).splitlines())
    return f"{shlex.join(one['argv'])}  ({outcome}, {one['seconds']:.3f} s){said}"
