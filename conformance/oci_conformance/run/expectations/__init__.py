"""Known deviations of a runtime: results that are expected to fail, each with its reason and a link.

A file has `[[deviation]]` tables: `id` of the requirement (or `ids` of several), `reason`, and optionally `test` (only
that test's result), `link`, `cgroups` ("v1", "v2", …: only on such hosts), `version` (only if the runtime's version
line contains it), `sometimes` (true: it depends on the moment, and may pass).
An expected failure is reported as `xfail`. A pass where a failure was expected is `xpass`, and breaks the run, so that
the file stays true: where several tests show one requirement, only for deviations that name their test.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from oci_conformance.core.records import Header, Result, TestRecord
from oci_conformance.run.results import Run

HEAD = re.compile(r"\[\[\s*deviation\s*\]\]\s*(#.*)?")
LONGEST = 300  # characters of a reason that we write ourselves
KEYS = {"id", "ids", "test", "reason", "link", "cgroups", "version", "sometimes"}


class ExpectationsError(Exception):
    """A file of expectations that can't be used, in one sentence."""


@dataclass(frozen=True)
class Deviation:
    """One known deviation."""

    id: str
    reason: str
    test: str = ""
    link: str = ""
    cgroups: str = ""
    version: str = ""
    sometimes: bool = False


def load(name: str, known: Collection[str]) -> list[Deviation]:
    """Read a file given by path, or one of ours by the runtime's name. `known` are the ids that exist."""
    own = resources.files(__name__) / f"{name}.toml"
    try:
        text = own.read_text() if own.is_file() and "/" not in name else Path(name).read_text()
        entries = tomllib.loads(text).get("deviation", [])
    except (OSError, ValueError) as error:
        raise ExpectationsError(f"expectations {name}: {error}") from None
    if not isinstance(entries, list):
        raise ExpectationsError(
            f"expectations {name}: `deviation` isn't an array of tables: write [[deviation]]"
        )
    lines = [number for number, line in enumerate(text.splitlines(), 1) if HEAD.fullmatch(line.strip())]
    found: list[Deviation] = []
    for number, entry in enumerate(entries):
        # Tables can be written in other ways too; then their number has to do.
        line = f"line {lines[number]}" if len(lines) == len(entries) else f"deviation {number + 1}"
        found += _entry(entry, known, f"expectations {name}, {line}")
    return found


def _entry(entry: dict[str, object], known: Collection[str], where: str) -> list[Deviation]:
    """The deviations of one table, one for each id."""
    if unknown := set(entry) - KEYS:
        raise ExpectationsError(f"{where}: unknown key {sorted(unknown)[0]!r}")
    for key, value in entry.items():
        if type(value) is not {"sometimes": bool, "ids": list}.get(key, str):
            raise ExpectationsError(f"{where}: {key} is {value!r}")
    ids = entry.pop("ids", [])
    assert isinstance(ids, list)
    ids += [entry.pop("id")] if "id" in entry else []
    if not ids:
        raise ExpectationsError(f"{where}: it has no id")
    for id in ids:
        if id not in known:
            close = difflib.get_close_matches(str(id), known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ExpectationsError(f"{where}: there is no requirement {id!r}{hint}")
    if not entry.get("reason"):
        raise ExpectationsError(f"{where} ({ids[0]}): it has no reason")
    return [Deviation(id, **entry) for id in ids]  # type: ignore[arg-type]  # looked at above


def apply(deviations: list[Deviation], record: TestRecord, header: Header, alone: Collection[str]) -> None:
    """Turn the results of one test into xfail and xpass. `alone` are ids that only one selected test shows."""
    for result in record["results"]:
        for deviation in deviations:
            if (
                deviation.id != result["id"]
                or deviation.test not in ("", record["test"])
                or deviation.cgroups not in ("", header["host"]["cgroups"])
                or deviation.version not in header["runtime"]["version"]
            ):
                continue
            reason = f"{deviation.reason} {deviation.link}".strip()
            if result["status"] == "fail":
                result["status"], result["reason"] = "xfail", reason
            elif deviation.sometimes:
                continue
            elif result["status"] == "pass" and (deviation.test or deviation.id in alone):
                result["status"], result["reason"] = "xpass", f"expected to fail: {reason}"


def written(run: Run) -> str:
    """The text of a file in which every failure of a run is expected, those that were so already with their reason.

    Each entry's reason is what was seen: a first version, for people to put better.
    """
    shown = Counter(result["id"] for test in run.tests for result in test["results"])
    runtime, host = run.header["runtime"], run.header["host"]
    lines = [
        f"# What {one_line(runtime['version'] or runtime['name'])} is known not to do,",
        f"# as seen on {run.header['started'][:10]} with cgroups {host['cgroups']}. Say the reasons in your own words.",
    ]
    for test in run.tests:
        for result in test["results"]:
            if result["status"] not in ("fail", "xfail"):
                continue
            lines += ["", "[[deviation]]", f"id = {_toml(result['id'])}"]
            if shown[result["id"]] > 1:
                lines.append(f"test = {_toml(test['test'])}")
            lines.append(f"reason = {_toml(_reason(result))}")
    return "\n".join(lines) + "\n"


def _reason(result: Result) -> str:
    if result["status"] == "xfail" and result.get("reason"):
        return one_line(result["reason"])
    said = f"expected {one_line(result.get('expected', ''))}; seen {one_line(result.get('seen', ''))}"
    return said if len(said) <= LONGEST else f"{said[:LONGEST]}…"


def one_line(text: str) -> str:
    """A text without line breaks and other control characters."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def _toml(text: str) -> str:
    return json.dumps(
        text, ensure_ascii=False
    )  # a basic string of TOML, as nothing in it needs another escape
