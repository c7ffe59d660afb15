"""One run as `results.yaml`: YAML 1.2 with every text quoted as in JSON, so that nothing is taken for anything else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from oci_conformance.core.records import LEVELS
from oci_conformance.report.common import Row, Section, profile_sections, sections
from oci_conformance.run.results import Run, score
from oci_spec.catalogue import Requirement

# What YAML wants escaped although JSON doesn't, and what changes the order of letters
_ESCAPED = re.compile(
    "[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)

_PLAIN = re.compile("[A-Za-z][A-Za-z0-9_]*")
_WORDS = frozenset("true false null yes no on off y n".split())  # that one or other reader takes for a value


def render(
    run: Run, catalogue: Mapping[str, Requirement], profiles: Mapping[str, Requirement] | None = None
) -> str:
    """The file: header, scores, and a status for each requirement."""
    verdicts = run.by_requirement(catalogue)
    scores = {level: score(level, verdicts, catalogue) for level in LEVELS}
    header: dict[str, Any] = {key: value for key, value in run.header.items() if key != "type"}
    return dump(
        {
            **header,
            "seconds": run.footer["seconds"] if run.footer else None,
            "complete": run.complete,
            "score": {
                level: {"passed": one.passed, "seen": one.seen, "total": one.total}
                for level, one in scores.items()
            },
            "sections": [_section(one) for one in sections(run, catalogue)],
            "profile_sections": [
                {"profile": one.profile, **_section(one)} for one in profile_sections(run, profiles or {})
            ],
        }
    )


def dump(value: Mapping[str, Any]) -> str:
    """A mapping as a YAML document."""
    return "---\n" + "".join(f"{line}\n" for line in lines(value))


def lines(value: Any) -> list[str]:
    """Block style for what has members, JSON for everything else."""
    if isinstance(value, Mapping) and value:
        return [line for key, member in value.items() for line in _under(f"{_key(str(key))}:", member)]
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        return [line for member in value for line in _item(lines(member))]
    return [scalar(value)]


def scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _key(key: str) -> str:
    return key if _PLAIN.fullmatch(key) and key.lower() not in _WORDS else scalar(key)


def _under(key: str, member: Any) -> list[str]:
    below = lines(member)
    if isinstance(member, Mapping | list | tuple) and member:
        return [key, *(f"  {line}" for line in below)]
    return [f"{key} {below[0]}"]


def _item(below: list[str]) -> list[str]:
    return [f"- {below[0]}", *(f"  {line}" for line in below[1:])]


def _section(section: Section) -> dict[str, Any]:
    return {
        "section": section.key,
        "title": section.title,
        "requirements": [_row(row) for row in section.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {"id": row.requirement.id, "level": row.requirement.level, "status": row.status}
    for test, result in row.verdict.results[:1]:
        found |= {key: result[key] for key in ("reason", "expected", "seen") if key in result}
        found["tests"] = [test["test"] for test, _ in row.verdict.results]
    if row.requirement.reading:
        found["reading"] = row.requirement.reading
    if row.requirement.unseen:
        found["reason"] = row.requirement.unseen
    return found
