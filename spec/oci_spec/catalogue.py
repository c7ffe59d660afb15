"""What the specification asks of a runtime on Linux: one record per requirement, in our own words.

The records stand in requirements/*.toml; `load` reads them all, `at` those that hold in one version.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from oci_spec.version import parse

FOLDER = Path(__file__).parent / "requirements"
SITE = "https://github.com/opencontainers/runtime-spec/blob"

# Every release, oldest first, with its tag.
RELEASES = ("1.0.0", "1.0.1", "1.0.2", "1.1.0", "1.2.0", "1.2.1", "1.3.0")
NEWEST = RELEASES[-1]


@dataclass(frozen=True)
class Requirement:
    """One thing that the specification asks of a runtime.

    level: MUST, SHOULD, MAY, MUST NOT or SHOULD NOT (RFC 2119).
    kind: R binds the runtime by name; V binds config.json, and so the runtime has to refuse what breaks it
        (config.md#valid-values; a SHOULD asks for no refusal); I is an effect that is described without a keyword,
        and must be had because every property must be applied (runtime.md#create).
    section: document and anchor, such as "runtime.md#state".
    text: the requirement in our words.
    since, until: the first release where it holds, and the first where it no longer does ("" if it holds today).
    sentence: 16 hexadecimal digits that stand for the sentence of the specification; oci_spec.drift compares it.
    unseen: why a black box can't show it on any host; "" where it can.
    reading: why it is a matter of reading that a runtime is held to it, so that it counts in no score; "" where it
        isn't.
    """

    id: str
    level: str
    kind: str
    section: str
    text: str
    since: str
    until: str = ""
    sentence: str = ""
    unseen: str = ""
    reading: str = ""

    @property
    def release(self) -> str:
        """The newest release that has this requirement; `sentence` is of its text."""
        return NEWEST if not self.until else RELEASES[RELEASES.index(self.until) - 1]

    @property
    def url(self) -> str:
        """The section, in the newest release that has this requirement; "" for what isn't the specification's."""
        return f"{SITE}/v{self.release}/{self.section}" if "#" in self.section else ""


@cache
def load(folder: Path = FOLDER) -> dict[str, Requirement]:
    """Every requirement of every version by its id, in the order of the files of a folder: ours, or one like it.

    Raises ValueError for an id that stands twice, TypeError for an unknown or missing field.
    """
    found: dict[str, Requirement] = {}
    for record in records(folder, "requirement"):
        requirement = Requirement(**record)
        if requirement.id in found:
            raise ValueError(f"{requirement.id} stands in the catalogue twice")
        found[requirement.id] = requirement
    return found


@cache
def asides(folder: Path = FOLDER) -> dict[tuple[str, str], str]:
    """Sentences that have a keyword and ask nothing of their own of a runtime on Linux.

    Section and fingerprint -> why no requirement stands for it.
    """
    return {(each["section"], each["sentence"]): each["why"] for each in records(folder, "aside")}


def records(folder: Path, kind: str) -> list[dict[str, str]]:
    """All tables of one kind, in the order of the files."""
    found = []
    for path in sorted(folder.glob("*.toml")):
        found += tomllib.loads(path.read_text("utf-8")).get(kind, [])
    return found


def at(version: str) -> dict[str, Requirement]:
    """The requirements that hold in this version: since <= version < until.

    Raises ValueError if version isn't Semantic Versioning 2.0.0.
    """
    wanted = key(version)
    return {
        name: each
        for name, each in load().items()
        if key(each.since) <= wanted and (not each.until or wanted < key(each.until))
    }


def key(version: str) -> tuple[int, int, int]:
    """A version as numbers that sort. Raises ValueError if it isn't one."""
    parts = parse(version)
    if parts is None:
        raise ValueError(
            f"{version!r} is no version in the form of Semantic Versioning 2.0.0, such as {NEWEST}"
        )
    return parts[:3]
