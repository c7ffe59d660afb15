"""The stream of a run: JSON lines with a header, a line per test and a footer; and what they say by requirement.

A stream without a footer, or with one that says so, belongs to a run that was cut short. What runtimes print ends up
in here, so every text in a stream is untrusted: whoever shows it escapes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

from oci_conformance.core.records import (
    LEVELS,
    PASSED,
    RESULT_STATUSES,
    SEEN,
    SPEC,
    STATUSES,
    Footer,
    Header,
    Record,
    Result,
    Status,
    TestRecord,
)
from oci_spec.catalogue import Requirement


class StreamError(Exception):
    """A stream can't be read; the text is one sentence with the file and line."""


class Writer:
    """Appends records to a stream, each as one line that is in the file when `write` returns."""

    def __init__(self, target: str | Path | BinaryIO) -> None:
        self._own = isinstance(target, str | Path)
        if isinstance(target, str | Path):
            target = Path(target).open("wb")  # noqa: SIM115 - see close
        self._file = target

    def write(self, record: Record) -> None:
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        self._file.write(_LONE.sub("\ufffd", line).encode())
        self._file.flush()

    def close(self) -> None:
        """Closes the file if the writer opened it."""
        if self._own:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Verdict:
    """What a run says about one requirement."""

    status: Status
    results: Sequence[tuple[TestRecord, Result]] = ()  # worst first


@dataclass
class Run:
    """One run of the suite against one runtime."""

    header: Header
    tests: list[TestRecord] = field(default_factory=list)
    footer: Footer | None = None

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Reads a stream; raises StreamError unless it is whole, but for the footer."""
        try:
            text = Path(path).read_bytes().decode()
        except OSError as error:
            raise StreamError(f"{path} can't be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise StreamError(f"{path} isn't UTF-8 at byte {error.start}") from error
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, name: str = "the stream") -> Run:
        """Like `load`, from the text of a stream; errors call it by this name."""
        if not text:
            raise StreamError(f"{name} is empty")
        *lines, rest = text.split("\n")
        if rest:
            raise StreamError(f"{name} was cut off in line {len(lines) + 1}: it has no end")
        run: Run | None = None
        for number, line in enumerate(lines, 1):
            where = f"line {number} of {name}"
            record = _record(line, where)
            if run is None:
                if record["type"] != "header":
                    raise StreamError(f"{name} doesn't begin with a header")
                run = cls(record)
            elif run.footer:
                raise StreamError(f"{where} comes after the footer")
            elif record["type"] == "header":
                raise StreamError(f"{where} is a second header")
            elif record["type"] == "test":
                run.tests.append(record)
            else:
                run.footer = record
        assert run is not None  # a text that isn't empty has a first line
        return run

    @property
    def complete(self) -> bool:
        """Whether every test that was asked for has run."""
        return self.footer is not None and self.footer["complete"]

    @property
    def profiles(self) -> list[str]:
        """The profiles beside the spec's own that have results, in their order."""
        return list(dict.fromkeys(test["profile"] for test in self.tests if test["profile"] != SPEC))

    def by_requirement(self, catalogue: Mapping[str, Requirement]) -> dict[str, Verdict]:
        """A verdict for each requirement of the catalogue, in its order; tests of other profiles don't count."""
        found = self._results(SPEC)
        return {
            key: _verdict(found[key])
            if key in found
            else Verdict("unseen" if requirement.unseen else "untested")
            for key, requirement in catalogue.items()
        }

    def by_profile(self, profile: str) -> dict[str, Verdict]:
        """A verdict for each id that tests of this profile have spoken about, in the order of the stream."""
        return {key: _verdict(results) for key, results in self._results(profile).items()}

    def strangers(self, catalogue: Mapping[str, Requirement]) -> list[str]:
        """Ids with results that the catalogue doesn't have: the run was made with another one."""
        return sorted(self._results(SPEC).keys() - catalogue.keys())

    def _results(self, profile: str) -> dict[str, list[tuple[TestRecord, Result]]]:
        found: dict[str, list[tuple[TestRecord, Result]]] = {}
        for test in self.tests:
            if test["profile"] == profile:
                for result in test["results"]:
                    found.setdefault(result["id"], []).append((test, result))
        return found


@dataclass(frozen=True)
class Score:
    """Requirements of one level: held to, of those where the run could see it; and all there are."""

    passed: int
    seen: int
    total: int

    def __str__(self) -> str:
        return f"{self.passed}/{self.seen}"


def strength(level: str) -> str:
    """MUST for MUST and MUST NOT, and so on: the levels that are counted."""
    return level.removesuffix(" NOT")


def counts(
    verdicts: Mapping[str, Verdict], catalogue: Mapping[str, Requirement]
) -> dict[str, dict[Status, int]]:
    """How many requirements of each level have each status; every level and status is there. Readings don't count."""
    table = {level: dict.fromkeys(STATUSES, 0) for level in LEVELS}
    for key, verdict in verdicts.items():
        if not catalogue[key].reading:
            table[strength(catalogue[key].level)][verdict.status] += 1
    return table


def score(level: str, verdicts: Mapping[str, Verdict], catalogue: Mapping[str, Requirement]) -> Score:
    """The score at one of LEVELS. What was skipped, refused with leave or broken by the suite isn't seen."""
    row = counts(verdicts, catalogue)[level]
    passed = sum(row[status] for status in PASSED)
    return Score(passed, sum(row[status] for status in SEEN), sum(row.values()))


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of them; untested if there are none."""
    return min(statuses, key=STATUSES.index, default="untested")


def _verdict(results: Sequence[tuple[TestRecord, Result]]) -> Verdict:
    ordered = sorted(results, key=lambda pair: STATUSES.index(pair[1]["status"]))
    return Verdict(ordered[0][1]["status"], tuple(ordered))


_LONE = re.compile("[\ud800-\udfff]")  # halves of surrogate pairs: undecodable bytes of a runtime's output
_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "header": {
        "suite": str,
        "started": str,
        "spec": str,
        "level": str,
        "profiles": list,
        "runtime": dict,
        "host": dict,
    },
    "test": {"test": str, "title": str, "profile": str, "seconds": (int, float), "results": list},
    "footer": {"finished": str, "seconds": (int, float), "complete": bool},
}


def _record(line: str, where: str) -> Record:
    """The record in a line, with the fields that reports can't do without."""
    try:
        record = json.loads(line)
        if "\\ud" in line.lower():
            record = json.loads(_LONE.sub("\ufffd", json.dumps(record, ensure_ascii=False)))
    except (ValueError, RecursionError) as error:
        raise StreamError(f"{where} isn't JSON") from error
    if not isinstance(record, dict) or record.get("type") not in _FIELDS:
        raise StreamError(f"{where} is neither a header nor a test nor a footer")
    _check(record, _FIELDS[record["type"]], where)
    for result in record["results"] if record["type"] == "test" else ():
        if not isinstance(result, dict):
            raise StreamError(f"{where} has a result that isn't an object")
        _check(result, {"id": str, "status": str}, where)
        if result["status"] not in RESULT_STATUSES:
            raise StreamError(f"{where} has the unknown status {result['status']!r}")
    return cast(Record, record)


def _check(record: Mapping[str, Any], fields: Mapping[str, type | tuple[type, ...]], where: str) -> None:
    for name, kind in fields.items():
        if not isinstance(record.get(name), kind):
            raise StreamError(f"{where} has no {name}, or one that isn't as it should be")
