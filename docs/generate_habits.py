"""Write habits.md: `PYTHONPATH=conformance:spec build/venv/bin/python docs/generate_habits.py [RESULTS.jsonl…]`.

The results are those of runs of `oci-conformance run --profile habits`, of one runtime on several hosts or of several.
What the page says of a runtime that none of them is about stays as it is.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from oci_conformance.run import habits as records
from oci_conformance.run.results import Run

PAGE = Path(__file__).with_name("habits.md")
RUNTIMES = ("runc", "crun", "pyrun")
UNSEEN = "-"
# What is said of a result, worst first: one host that shows a failure is enough.
MARKS = {
    "fail": "no", "xfail": "no", "error": "?", "xpass": "yes", "pass": "yes", "unsupported": "refused",
    "skip": UNSEEN,
}  # fmt: skip
WEIGHTS = {
    "A": "An engine breaks without it, or its users notice at once",
    "B": "Some users rely on it",
    "C": "Few do",
}
HEAD = """# Habits: what runtimes do that no text asks for

<!-- Made by docs/generate_habits.py from conformance/oci_conformance/profiles/habits: change that. -->

Engines and images rely on much that the specification doesn't have, because runc has always done it. Each line below is
a test of the [conformance suite's](../conformance/README.md) profile `habits`, which never counts in the score:

    oci-conformance run --runtime PATH --profile habits --level should

A host shows what it can: *no* is a failure that was seen, *refused* an error instead of the habit, and - what no host
of ours could show. `oci-conformance explain ID` shows one.

| runtime | seen with |
|---|---|
"""
VERSION = re.compile(r"^\| (\w+) \| (.*) \|$", re.MULTILINE)
ROW = re.compile(r"^\| `([\w.-]+)`: .* \| (\S+) \| (\S+) \| (\S+) \|$", re.MULTILINE)

Cells = dict[str, dict[str, str]]


def earlier() -> tuple[dict[str, str], Cells]:
    """What the page says: runtime -> what it was seen with, and habit -> runtime -> mark."""
    text = PAGE.read_text("utf-8") if PAGE.exists() else ""
    versions = {name: what for name, what in VERSION.findall(text) if name in RUNTIMES}
    return versions, {id: dict(zip(RUNTIMES, marks, strict=True)) for id, *marks in ROW.findall(text)}


def seen(runs: Iterable[Run]) -> tuple[dict[str, str], Cells]:
    """The same, of results."""
    versions: dict[str, list[str]] = {}
    cells: Cells = {}
    order = list(MARKS)
    best: dict[tuple[str, str], str] = {}
    for run in runs:
        name = next(each for each in RUNTIMES if each in run.header["runtime"]["version"])
        hosts = versions.setdefault(name, [run.header["runtime"]["version"].split()[-1]])
        host = run.header["host"]
        hosts.append(f"cgroups {host['cgroups']}{' with systemd' if host['systemd'] else ''}")
        for test in run.tests:
            for result in test["results"]:
                key = result["id"], name
                best[key] = min(best.get(key, "skip"), result["status"], key=order.index)
    for (id, name), status in best.items():
        cells.setdefault(id, {})[name] = MARKS[status]
    return {name: ", ".join(dict.fromkeys(words)) for name, words in versions.items()}, cells


def markdown(
    versions: Mapping[str, str] | None = None, cells: Mapping[str, Mapping[str, str]] | None = None
) -> str:
    """The whole page, from what is known: the page's own words if nothing is given."""
    if versions is None or cells is None:
        versions, cells = earlier()
    parts = [HEAD, *(f"| {name} | {versions.get(name, UNSEEN)} |\n" for name in RUNTIMES)]
    for weight, meaning in WEIGHTS.items():
        habits = [each for each in records.load().values() if each.weight == weight]
        if habits:
            columns = " | ".join(RUNTIMES)
            parts.append(f"\n## {weight}: {meaning.lower()}\n\n| habit | who relies on it | {columns} |\n")
            parts.append("|---|---|" + "---|" * len(RUNTIMES) + "\n")
        for each in habits:
            marks = " | ".join(cells.get(each.id, {}).get(name, UNSEEN) for name in RUNTIMES)
            parts.append(f"| `{each.id}`: {each.text} | {each.who} | {marks} |\n")
    return "".join(parts)


def main(streams: list[str]) -> None:
    """Write the page anew."""
    versions, cells = earlier()
    newer, results = seen(Run.load(Path(stream)) for stream in streams)
    versions |= newer
    for id, marks in results.items():
        cells.setdefault(id, {}).update(marks)
    PAGE.write_text(markdown(versions, cells), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
