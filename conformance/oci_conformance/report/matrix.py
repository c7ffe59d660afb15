"""Several runs side by side as a page: a row for each requirement, a column for each runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oci_conformance.core.records import BREAKING, LEVELS, SPEC, STATUSES
from oci_conformance.report import evidence
from oci_conformance.report.common import Row, profile_sections, sections
from oci_conformance.report.element import Html, el, join, prose
from oci_conformance.report.html import anchor
from oci_conformance.report.notes import FAULTS, Note
from oci_conformance.report.page import badge, bar, chips, filters, legend, page
from oci_conformance.run.results import Run, Verdict, counts, score, strength
from oci_spec.catalogue import Requirement

DEVIATING = BREAKING | {"xfail"}
SILENT = frozenset({"pass", "untested", "unseen"})  # nothing to show beside the status


@dataclass(frozen=True)
class Line:
    """One requirement with a row of each run."""

    rows: tuple[Row, ...]
    notes: tuple[Note, ...]

    @property
    def statuses(self) -> list[str]:
        return [row.status for row in self.rows]

    @property
    def kinds(self) -> str:
        """Words for the filters: whether runtimes differ, and whether each deviation is explained."""
        found = ["differs"] if len(set(self.statuses)) > 1 else []
        if DEVIATING.intersection(self.statuses):
            found.append("explained" if self.notes else "unexplained")
        return " ".join(found)


def render(
    runs: Sequence[Run],
    catalogue: Mapping[str, Requirement],
    profiles: Mapping[str, Requirement] | None = None,
    notes: Sequence[Note] = (),
) -> str:
    """The page. `catalogue` is that of the runs' version of the specification, `profiles` has the other profiles'."""
    names = labels(runs)
    groups = _groups(runs, catalogue, profiles or {}, notes)
    lines = [line for _, found in groups for line in found]
    statuses = {status: sum(status in line.statuses for line in lines) for status in STATUSES}
    kinds = {
        kind: sum(kind in line.kinds.split() for line in lines)
        for kind in ("differs", "explained", "unexplained")
    }
    others = list(dict.fromkeys(profile for run in runs for profile in run.profiles))
    return page(
        f"{', '.join(names)}: runtime-spec {runs[0].header['spec']} side by side",
        _top(runs, names, catalogue, kinds),
        el(
            "main",
            filters(statuses, [SPEC, *others], chips("Rows", "kind", kinds)),
            el("p", "Nothing matches these filters.", id="nothing", hidden=True),
            *(_section(title, found, names) for title, found in groups),
            id="results",
            tabindex="-1",
        ),
        legend(),
    )


def labels(runs: Sequence[Run]) -> list[str]:
    """A name for each column: the runtime's, numbered where several have the same."""
    names = [run.header["runtime"]["name"] for run in runs]
    used: Counter[str] = Counter()
    found = []
    for name in names:
        used[name] += 1
        found.append(f"{name} ({used[name]})" if names.count(name) > 1 else name)
    return found


def _groups(
    runs: Sequence[Run],
    catalogue: Mapping[str, Requirement],
    profiles: Mapping[str, Requirement],
    notes: Sequence[Note],
) -> list[tuple[str, list[Line]]]:
    """Titles of sections with their lines; what one run lacks is untested there."""
    keys: dict[str, dict[tuple[str, str], Row]] = {}  # title -> (profile, id) -> a row of any run
    found: list[dict[tuple[str, str], Row]] = []
    for run in runs:
        rows: dict[tuple[str, str], Row] = {}
        for section in sections(run, catalogue) + profile_sections(run, profiles):
            for row in section.rows:
                key = (row.profile, row.requirement.id)
                rows[key] = row
                keys.setdefault(section.title, {}).setdefault(key, row)
        found.append(rows)

    def line(key: tuple[str, str], any_row: Row) -> Line:
        absent = Row(any_row.requirement, Verdict("untested"), any_row.profile)
        own = tuple(rows.get(key, absent) for rows in found)
        deviating = {
            run.header["runtime"]["name"]
            for run, row in zip(runs, own, strict=True)
            if row.status not in SILENT
        }
        about = tuple(note for note in notes if any(note.about(key[1], runtime) for runtime in deviating))
        return Line(own, about)

    return [(title, [line(key, row) for key, row in members.items()]) for title, members in keys.items()]


def _top(
    runs: Sequence[Run], names: list[str], catalogue: Mapping[str, Requirement], kinds: Mapping[str, int]
) -> Html:
    banners = []
    versions = sorted({run.header["spec"] for run in runs})
    if len(versions) > 1:
        text = f"These runs are of different versions of the specification: {', '.join(versions)}."
        banners.append(el("p", text, class_="banner"))
    if short := [name for name, run in zip(names, runs, strict=True) if not run.complete]:
        text = f"Cut short, so that results are missing: {', '.join(short)}."
        banners.append(el("p", el("strong", text), class_="banner", role="alert"))
    head = el("thead", el("tr", *(el("th", name, scope="col") for name in ("Runtime", *LEVELS, "Where"))))
    rows = [_scores(name, run, catalogue) for name, run in zip(names, runs, strict=True)]
    text = f"Runtimes differ in {kinds['differs']} requirements."
    if kinds["explained"]:
        text += f" Of {kinds['explained'] + kinds['unexplained']} with a deviation, {kinds['explained']} are explained."
    return el(
        "header",
        el("p", f"{runs[0].header['suite']} · OCI runtime-spec {', '.join(versions)}", class_="kicker"),
        el("h1", " · ".join(names)),
        *banners,
        el("div", el("table", head, el("tbody", *rows), class_="scores"), class_="scroll"),
        el("p", text),
    )


def _scores(name: str, run: Run, catalogue: Mapping[str, Requirement]) -> Html:
    verdicts = run.by_requirement(catalogue)
    table = counts(verdicts, catalogue)
    host, runtime = run.header["host"], run.header["runtime"]
    cells = []
    for level in LEVELS:
        result = score(level, verdicts, catalogue)
        number = el("p", el("span", str(result.passed), class_="passed"), f" of {result.seen} seen")
        cells.append(el("td", number, bar(table[level])))
    where = f"{host.get('distribution', '?')}, Linux {host.get('kernel', '?')}, cgroups {host.get('cgroups', '?')}"
    if (version := run.header.get("bundle_version", run.header["spec"])) != run.header["spec"]:
        where += f", bundles of {version}"
    heading = el("th", name, el("span", runtime["version"], class_="version"), scope="row")
    return el("tr", heading, *cells, el("td", where, class_="quiet"))


def _section(title: str, lines: list[Line], names: list[str]) -> Html:
    differing = sum("differs" in line.kinds for line in lines)
    deviating = sum(bool(DEVIATING.intersection(line.statuses)) for line in lines)
    parts = [f"{len(lines)} in all"] + [
        f"{number} {word}"
        for number, word in ((differing, "differ"), (deviating, "with a deviation"))
        if number
    ]
    summary = el("summary", el("h3", title), el("span", ", ".join(parts), class_="tally"))
    columns = el("colgroup", el("col", class_="wide"), *(el("col") for _ in names))
    head = el("thead", el("tr", *(el("th", name, scope="col") for name in ("Requirement", *names))))
    table = el("table", columns, head, *(_line(line, names) for line in lines), class_="matrix")
    return el("details", summary, table, class_="section", open=bool(differing or deviating))


def _line(line: Line, names: list[str]) -> Html:
    row = line.rows[0]
    one = row.requirement
    what = el("th", el("span", *prose(one.text)), " ", el("code", one.id), " ", el("span", one.level, class_="level"),
              scope="row", class_="what")  # fmt: skip
    cells = [
        el("td", el("span", f"{name}: ", class_="column"), badge(status))
        for name, status in zip(names, line.statuses, strict=True)
    ]
    rows = [el("tr", what, *cells)]
    shown = line.kinds and any(status not in SILENT for status in line.statuses)
    if shown or line.notes:
        rows.append(
            el("tr", el("td", *map(_note, line.notes), _evidence(line, names), colspan=str(len(names) + 1)))
        )
    return el(
        "tbody",
        *rows,
        id=anchor(row),
        class_="row",
        tabindex="-1",
        data_status=" ".join(dict.fromkeys(line.statuses)),
        data_level=strength(one.level),
        data_profile=row.profile,
        data_kind=line.kinds,
    )


def _note(note: Note) -> Html:
    about = el("strong", ", ".join(part for part in (note.runtime, FAULTS.get(note.fault, "")) if part))
    link = join(" ", el("a", "more", href=note.link, rel="noreferrer")) if note.link else Html()
    return el("p", about, ": " if note.runtime or note.fault else "", *prose(note.text), link, class_="note")


def _evidence(line: Line, names: list[str]) -> Html:
    shown = [(name, row) for name, row in zip(names, line.rows, strict=True) if row.status not in SILENT]
    url = line.rows[0].requirement.url
    link = (
        el("p", el("a", "in the specification", href=url, rel="noreferrer"), class_="where")
        if url
        else Html()
    )
    parts = [join(el("h4", name), evidence.details(row)) for name, row in shown]
    return el("details", el("summary", f"Evidence: {', '.join(name for name, _ in shown)}"), *parts, link)
