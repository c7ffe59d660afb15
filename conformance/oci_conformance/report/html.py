"""One run as a page that a person reads: scores, then sections and requirements, what broke first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from oci_conformance.core.records import BREAKING, LEVELS, SPEC, STATUSES, Status
from oci_conformance.report import evidence
from oci_conformance.report.common import Row, Section, command, failing_first, profile_sections, sections
from oci_conformance.report.element import Html, el, join, prose
from oci_conformance.report.page import badge, bar, filters, legend, page, tally
from oci_conformance.run.results import Run, counts, score, strength
from oci_spec.catalogue import Requirement


def render(
    run: Run, catalogue: Mapping[str, Requirement], profiles: Mapping[str, Requirement] | None = None
) -> str:
    """The page. `catalogue` is that of the run's version of the specification, `profiles` has the other profiles'."""
    own = failing_first(sections(run, catalogue))
    others = failing_first(profile_sections(run, profiles or {}))
    everything = [row for section in own + others for row in section.rows]
    statuses = {status: sum(row.status == status for row in everything) for status in STATUSES}
    verdicts = run.by_requirement(catalogue)
    must = score("MUST", verdicts, catalogue)
    name = run.header["runtime"]["name"]
    return page(
        f"{name}: {must} MUST of runtime-spec {run.header['spec']}",
        _top(run, catalogue),
        el(
            "main",
            filters(statuses, [SPEC, *run.profiles]),
            el("p", "Nothing matches these filters.", id="nothing", hidden=True),
            _broken(everything),
            *(_section(one) for one in own),
            *_others(others),
            id="results",
            tabindex="-1",
        ),
        legend(),
    )


def _top(run: Run, catalogue: Mapping[str, Requirement]) -> Html:
    runtime = run.header["runtime"]
    warnings = []
    if not run.complete:
        text = (
            f"This run was cut short: {len(run.tests)} tests had ended. What is missing counts as untested."
        )
        warnings.append(el("p", el("strong", text), role="alert", class_="banner"))
    if (version := run.header.get("bundle_version", run.header["spec"])) != run.header["spec"]:
        text = f"The runtime doesn't run bundles of {run.header['spec']}: it was given the same tests as {version}."
        warnings.append(el("p", text, class_="banner mild"))
    if strangers := run.strangers(catalogue):
        text = f"Not shown, since the catalogue doesn't have them: {', '.join(strangers)}"
        warnings.append(el("p", text, class_="banner"))
    verdicts = run.by_requirement(catalogue)
    table = counts(verdicts, catalogue)
    cards = []
    for level in LEVELS:
        result = score(level, verdicts, catalogue)
        cards.append(_card(level, str(result.passed), result.seen, result.total, table[level]))
    return el(
        "header",
        el(
            "p",
            " · ".join(
                [run.header["suite"], f"OCI runtime-spec {run.header['spec']}", _time(run.header["started"])]
            ),
            class_="kicker",
        ),
        el("h1", runtime["name"], " ", el("span", runtime["version"], class_="version")),
        *warnings,
        el("div", *cards, class_="cards"),
        _facts(run),
    )


def _card(level: str, passed: str, seen: int, total: int, row: dict[Status, int]) -> Html:
    """A score: what the runtime holds to, of what this run could see, of all there is."""
    links = [
        el("a", badge(status), " ", str(number), href=f"#level={level}&status={status}&profile={SPEC}")
        for status, number in row.items()
        if number
    ]
    return el(
        "section",
        el("h2", level),
        el(
            "p",
            el("span", passed, class_="passed"),
            f" of {seen} seen",
            el("span", f"{total} in all", class_="total"),
        ),
        bar(row),
        el("p", *links, class_="links"),
        class_="card",
        aria_label=f"{level}: {passed} of {seen} passed",
    )


def _facts(run: Run) -> Html:
    header, host, runtime = run.header, run.header["host"], run.header["runtime"]
    took = f", {run.footer['seconds']:.0f} s" if run.footer else ""
    rows: dict[str, list[str]] = {
        "Runtime": [el("code", runtime["path"]), f" sha256 {runtime['sha256'][:16]}…"],
        "Adapter": [runtime["adapter"]],
        "Host": [f"{host.get('distribution', '?')}, Linux {host.get('kernel', '?')}, {host.get('machine', '?')}"],
        "Control groups": [f"{host.get('cgroups', '?')}: {', '.join(host.get('controllers', [])) or 'none'}"],
        "Security modules": [", ".join(host.get("lsms", [])) or "none"],
        "User": [f"uid {host.get('uid', '?')}, {'with' if host.get('systemd') else 'without'} systemd"],
        "Started": [f"{_time(header['started'])}{took}"],
        "Bundles": [f"ociVersion {header.get('bundle_version', '?')}"],
        "Command": [el("code", command(run))],
    }  # fmt: skip
    pairs = [el("div", el("dt", name), el("dd", *value)) for name, value in rows.items()]
    return el(
        "details", el("summary", "Runtime, host and command of this run"), el("dl", *pairs), class_="facts"
    )


def _broken(rows: list[Row]) -> Html:
    """Links to everything that broke, so that it is a jump away."""
    broken = {
        status: [row for row in rows if row.status == status] for status in STATUSES if status in BREAKING
    }
    number = sum(map(len, broken.values()))
    if not number:
        return el("p", badge("pass"), " Nothing failed.", class_="broken")
    title = el("h2", f"{number} requirement{'s' * (number > 1)} to look at", id="broken-title")
    lists = [
        el(
            "ul",
            el("li", badge(status)),
            *(el("li", el("a", row.requirement.id, href=f"#{anchor(row)}")) for row in found),
        )
        for status, found in broken.items()
        if found
    ]
    return el("nav", title, *lists, class_="broken", aria_labelledby="broken-title")


def _others(found: list[Section]) -> list[Html]:
    if not found:
        return []
    text = "These ask more than the specification does, and never count in its score."
    return [el("h2", "Other profiles", class_="others"), el("p", text, class_="quiet"), *map(_section, found)]


def _section(section: Section) -> Html:
    row_counts = {status: sum(row.status == status for row in section.rows) for status in STATUSES}
    broken = any(row_counts[status] for status in BREAKING)
    summary = el(
        "summary",
        el("h3", section.title),
        bar(row_counts),
        el("span", tally(row_counts), class_="tally"),
    )
    rows = el("ul", *(requirement(row) for row in section.rows), class_="rows")
    return el("details", summary, rows, class_="section", open=broken)


def requirement(row: Row) -> Html:
    """A requirement of the list: a line that opens."""
    one = row.requirement
    level = el("span", one.level, class_="level") if one.level else Html()
    link = (
        el("a", f"{one.section} in the specification", href=one.url, rel="noreferrer") if one.url else Html()
    )
    here = el("a", "link to this", href=f"#{anchor(row)}")
    summary = el(
        "summary",
        badge(row.status),
        el("span", el("span", *prose(one.text)), " ", el("code", one.id), class_="what"),
        level,
    )
    return el(
        "li",
        el("details", summary, evidence.details(row), el("p", *_dotted([link, here]), class_="where"),
           open=row.status in BREAKING),
        id=anchor(row),
        class_=f"row b-{row.status}",
        data_status=row.status,
        data_level=strength(one.level),
        data_profile=row.profile,
    )  # fmt: skip


def anchor(row: Row) -> str:
    """An id for the element of a requirement, of letters that need no escape in an address."""
    name = row.requirement.id if row.profile == SPEC else f"{row.profile}:{row.requirement.id}"
    return "r-" + re.sub(r"[^A-Za-z0-9.-]", lambda match: f"_{ord(match[0]):x}", name)


def _dotted(parts: list[Html]) -> list[Html]:
    shown = [part for part in parts if part]
    return [join(*([" · "] if number else []), part) for number, part in enumerate(shown)]


def _time(text: str) -> str:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime("%-d %B %Y, %H:%M UTC")
    except ValueError:
        return text
