"""One run as JUnit's XML, in the form that Jenkins, GitLab and GitHub's actions read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as ET

from oci_conformance.core.records import SPEC, Result, TestRecord
from oci_conformance.report import plain
from oci_conformance.report.common import area, clean, command, one_line
from oci_conformance.run.results import Run
from oci_spec.catalogue import Requirement

PACKAGE = "oci-conformance"


def render(
    run: Run, catalogue: Mapping[str, Requirement], profiles: Mapping[str, Requirement] | None = None
) -> str:
    """The file: a suite for each group of tests, a case for each requirement that each test speaks about."""
    known = {**catalogue, **(profiles or {})}
    groups: dict[str, list[TestRecord]] = {}
    for test in run.tests:
        profile = "" if test["profile"] == SPEC else f"{test['profile']}."
        groups.setdefault(profile + area(test["test"]), []).append(test)
    suites = [_suite(name, tests, run, known) for name, tests in groups.items()]
    if not run.complete:
        suites.append(_cut_short(run))
    root = ET.Element("testsuites", name=f"{PACKAGE} {_value(run.header['runtime']['name'])}")
    for kind in ("tests", "failures", "errors"):  # the usual schema has no skipped here
        root.set(kind, str(sum(int(suite.get(kind, "0")) for suite in suites)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in suites):.3f}")
    root.extend(suites)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(name: str, tests: list[TestRecord], run: Run, known: Mapping[str, Requirement]) -> ET.Element:
    cases = [
        _case(name, test, result, known.get(result["id"])) for test in tests for result in test["results"]
    ]
    suite = _frame(name, cases, run)
    suite.set("time", f"{sum(test['seconds'] for test in tests):.3f}")
    return suite


def _frame(name: str, cases: list[ET.Element], run: Run) -> ET.Element:
    suite = ET.Element("testsuite", name=_value(name), tests=str(len(cases)))
    for kind, child in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(kind, str(sum(case.find(child) is not None for case in cases)))
    suite.set("timestamp", _value(run.header["started"][:19]))  # this form has no time zone
    properties = ET.SubElement(suite, "properties")
    for key, value in _facts(run):
        ET.SubElement(properties, "property", name=key, value=_value(value))
    suite.extend(cases)
    return suite


def _case(suite: str, test: TestRecord, result: Result, requirement: Requirement | None) -> ET.Element:
    function = test["test"].partition(".")[2] or test["test"]
    case = ET.Element(
        "testcase", classname=_value(f"{PACKAGE}.{suite}.{function}"), name=_value(result["id"])
    )
    case.set("time", f"{test['seconds'] / len(test['results']):.3f}")  # so that the sum is right
    status, message = result["status"], _value(plain.sentence(result))
    if status in ("fail", "xpass", "error"):
        element = ET.SubElement(
            case, "error" if status == "error" else "failure", message=message, type=status
        )
        words = f"{requirement.level}: {requirement.text} {requirement.url}\n" if requirement else ""
        element.text = clean(words) + plain.evidence(test, result)
    elif status in ("skip", "unsupported", "xfail"):
        ET.SubElement(case, "skipped", message=message if status == "skip" else f"{status}: {message}")
    return case


def _cut_short(run: Run) -> ET.Element:
    case = ET.Element("testcase", classname=f"{PACKAGE}.run", name="complete", time="0")
    ET.SubElement(case, "error", message="the run was cut short: results are missing", type="error")
    suite = _frame("run", [case], run)
    suite.set("time", "0")
    return suite


def _facts(run: Run) -> Iterable[tuple[str, str]]:
    header = run.header
    yield from (("suite", header["suite"]), ("spec", header["spec"]), ("level", header["level"]))
    yield "command", command(run)
    for group, values in (("runtime", header["runtime"]), ("host", header["host"])):
        for key, value in values.items():
            text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield f"{group}.{key}", text


def _value(text: str) -> str:
    """A text for an attribute: one line of characters that XML can have."""
    return one_line(text)
