"""One run in TAP, version 14: a test point for each requirement that each test speaks about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oci_conformance.core.records import BREAKING, Result, TestRecord
from oci_conformance.report import yaml_
from oci_conformance.report.common import change, one_line
from oci_conformance.run.results import Run
from oci_spec.catalogue import Requirement


def render(
    run: Run, catalogue: Mapping[str, Requirement], profiles: Mapping[str, Requirement] | None = None
) -> str:
    """The text; a run that was cut short bails out at its end."""
    runtime = run.header["runtime"]
    known = {**catalogue, **(profiles or {})}
    points = [(test, result) for test in run.tests for result in test["results"]]
    lines = [
        "TAP version 14",
        f"1..{len(points)}" + ("" if points else " # SKIP nothing was run"),
        f"# {one_line(run.header['suite'])}, runtime-spec {one_line(run.header['spec'])}",
        f"# {one_line(runtime['path'])}: {one_line(runtime['version'])}",
    ]
    for number, (test, result) in enumerate(points, 1):
        lines += _point(number, test, result, known.get(result["id"]))
    if not run.complete:
        lines.append("Bail out! The run was cut short.")
    return "\n".join(lines) + "\n"


def _point(number: int, test: TestRecord, result: Result, requirement: Requirement | None) -> list[str]:
    status = result["status"]
    text = requirement.text if requirement else test["title"]
    description = _escape(f"{test['test']} {result['id']}: {text}")
    reason = one_line(result.get("reason", ""))
    if status in BREAKING:
        if status == "xpass":
            description += " (passed, although it is listed as a known deviation)"
        return [f"not ok {number} - {description}", *_diagnostic(test, result)]
    if status == "xfail":
        return [f"not ok {number} - {description} # TODO {reason}"]
    if status in ("skip", "unsupported"):
        return [f"ok {number} - {description} # SKIP {'unsupported: ' * (status == 'unsupported')}{reason}"]
    return [f"ok {number} - {description}"]


def _diagnostic(test: TestRecord, result: Result) -> list[str]:
    block: dict[str, Any] = {"severity": result["status"], "test": test["test"], "title": test["title"]}
    block |= {key: result[key] for key in ("reason", "expected", "seen") if key in result}
    if changes := test.get("config_diff"):
        block["config_diff"] = [change(one) for one in changes]
    if calls := test.get("calls"):
        block["calls"] = list(calls)
    if repeat := test.get("repeat"):
        block["repeat"] = list(repeat)
    return [f"  {line}" for line in ("---", *yaml_.lines(block), "...")]


def _escape(text: str) -> str:
    return one_line(text).replace("\\", "\\\\").replace("#", "\\#")
