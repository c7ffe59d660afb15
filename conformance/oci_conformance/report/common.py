"""What all reports share: the order of things, words for statuses, and texts made harmless."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from oci_conformance.core.records import BREAKING, SPEC, STATUSES, Change, Status
from oci_conformance.run.results import Run, Verdict
from oci_spec.catalogue import RELEASES, Requirement

GLYPHS: dict[Status, str] = {
    "error": "!",
    "fail": "✗",
    "xpass": "‼",
    "xfail": "≈",
    "unsupported": "∅",
    "pass": "✓",
    "skip": "»",
    "untested": "·",
    "unseen": "◌",
}
MEANINGS: dict[Status, str] = {
    "error": "the suite's own fault: says nothing about the runtime",
    "fail": "the runtime does something else than the specification asks",
    "xpass": "listed as a known deviation, but it passed: the list is out of date",
    "xfail": "a known deviation of this runtime",
    "unsupported": "the runtime refuses it with an error, where the specification permits that",
    "pass": "the runtime does what the specification asks",
    "skip": "this host lacks what the test needs",
    "untested": "no test spoke about it in this run",
    "unseen": "can't be shown by a black box",
}
_WORDS = {
    "cpu": "CPU",
    "io": "I/O",
    "json": "JSON",
    "linux": "Linux",
    "posix": "POSIX",
    "rdma": "RDMA",
    "intelrdt": "Intel RDT",
    "pids": "PIDs",
    "unix": "Unix",
    "createcontainer": "createContainer",
    "createruntime": "createRuntime",
    "startcontainer": "startContainer",
    "mountextensions": "mountExtensions",
    "memorypolicy": "memoryPolicy",
}
LONGEST = 4000  # characters of one piece of evidence
_DOCUMENTS = {
    "spec.md": "Specification",
    "glossary.md": "Glossary",
    "bundle.md": "Bundle",
    "runtime.md": "Runtime",
    "runtime-linux.md": "Runtime on Linux",
    "config.md": "Configuration",
    "config-linux.md": "Configuration for Linux",
    "features.md": "Features",
    "features-linux.md": "Features on Linux",
}
# Characters that do something to a terminal, to XML or to the order of letters, instead of being seen
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)


@dataclass(frozen=True)
class Row:
    """A requirement and what the run says about it."""

    requirement: Requirement
    verdict: Verdict
    profile: str = SPEC

    @property
    def status(self) -> Status:
        return self.verdict.status


@dataclass(frozen=True)
class Section:
    """A section of the specification, or a group of tests of another profile."""

    key: str
    title: str
    profile: str
    rows: tuple[Row, ...]

    @property
    def document(self) -> str:
        return self.key.partition("#")[0]


def sections(run: Run, catalogue: Mapping[str, Requirement]) -> list[Section]:
    """The specification's requirements by section: the documents in order, then as the catalogue has them."""
    groups: dict[str, list[Row]] = {}
    for key, verdict in run.by_requirement(catalogue).items():
        groups.setdefault(catalogue[key].section, []).append(Row(catalogue[key], verdict))
    documents = list(_DOCUMENTS)
    found = [Section(key, heading(key), SPEC, tuple(rows)) for key, rows in groups.items()]
    return sorted(found, key=lambda one: documents.index(one.document) if one.document in documents else -1)


def profile_sections(run: Run, known: Mapping[str, Requirement]) -> list[Section]:
    """Results of the other profiles by area; they are no part of the specification's score.

    `known` are their requirements: not the specification's, so they link nowhere.
    """
    found = []
    for profile in run.profiles:
        groups: dict[str, list[Row]] = {}
        for key, verdict in run.by_profile(profile).items():
            test = verdict.results[0][0]
            requirement = known.get(key) or Requirement(key, "", "R", profile, test["title"], RELEASES[0])
            groups.setdefault(area(test["test"]), []).append(Row(requirement, verdict, profile))
        found += [
            Section(f"{profile}:{name}", f"{profile.capitalize()}: {words(name)}", profile, tuple(rows))
            for name, rows in groups.items()
        ]
    return found


def failing_first(found: list[Section]) -> list[Section]:
    """The same with what broke in front: sections, and rows of each."""

    def urgency(row: Row) -> int:
        return STATUSES.index(row.status) if row.status in BREAKING else len(STATUSES)

    ordered = [
        Section(one.key, one.title, one.profile, tuple(sorted(one.rows, key=urgency))) for one in found
    ]
    return sorted(ordered, key=lambda one: all(row.status not in BREAKING for row in one.rows))


def heading(section: str) -> str:
    """A title for a section: `config-linux.md#default-devices` is "Configuration for Linux: Default devices"."""
    document, _, anchor = section.partition("#")
    title = _DOCUMENTS.get(document, document)
    return f"{title}: {words(anchor)}" if anchor else title


def words(name: str) -> str:
    """An anchor or the name of a module as words: `posix-process` is "POSIX process"."""
    found = re.split("[-_]+", name.strip("-_"))
    return " ".join(
        _WORDS.get(word) or (word if number else word.capitalize()) for number, word in enumerate(found)
    )


def area(test: str) -> str:
    """The module of a test, from its name."""
    return test.partition(".")[0]


def clean(text: str) -> str:
    """The text with each character shown that would otherwise act: runtimes print what they like."""
    return _HIDDEN.sub(_shown, text.replace("\r\n", "\n"))


def clip(text: str, longest: int = LONGEST) -> str:
    """The beginning of a text, and how much was left away."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text) - longest} more characters)"


def one_line(text: str) -> str:
    return " ".join(clean(text).split())


def command(run: Run) -> str:
    """The command that made a run."""
    return shlex.join(["oci-conformance", *run.header.get("argv", [])])


def change(one: Change) -> str:
    """A change of the configuration as a line: `+ hostname = "x"`, `- hostname`, `~ hostname: "y" → "x"`."""
    path, to = one["path"] or "(everything)", json.dumps(one.get("to"), ensure_ascii=False)
    if one["op"] == "remove":
        line = f"- {path}"
    elif one["op"] == "add":
        line = f"+ {path} = {to}"
    else:
        line = f"~ {path}: {json.dumps(one.get('from'), ensure_ascii=False)} → {to}"
    return clip(one_line(line))


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"^{chr(code ^ 0x40)}" if code < 0x80 else f"⟨U+{code:04X}⟩"
