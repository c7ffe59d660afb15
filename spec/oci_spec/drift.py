"""Whether the catalogue still fits the text of the specification: `python -m oci_spec.drift CHECKOUT`.

No sentence of the specification stands in this project. Each requirement has a fingerprint of its sentence instead,
and is compared with a checkout of opencontainers/runtime-spec, whose Markdown is taken apart the same way.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oci_spec import catalogue

# Not about a runtime on Linux: other platforms, and how the specification itself is made. Any other document counts,
# so that a new one is noticed.
ELSEWHERE = frozenset(
    """CONTRIBUTING EMERITUS GOVERNANCE README RELEASES ROADMAP config-freebsd config-solaris config-vm config-windows
    config-zos implementations principles spec style""".split()
)

KEYWORD = re.compile(r"\b(MUST|SHALL|SHOULD|MAY|REQUIRED|RECOMMENDED)\b")
# The type in front of a property's description, "(string, REQUIRED)": what is missing is the JSON Schema's affair.
TYPE = re.compile(r"\([^()]*\b(REQUIRED|OPTIONAL)\b[^()]*\)")

# [words](target), [words][reference] or [words][]; the words may hold brackets of their own.
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\](?:\([^()]*\)|\[[^\[\]^]*\])")
HEADING = re.compile(r"#{1,6}\s+(.*)")
ITEM = re.compile(r"\s*(?:[-*+]|\d+\.)\s+(.*)")
ROW = re.compile(r"\s*(?:\||`[^`]*`\s*\|)")
TARGET = re.compile(r"\[[^\]^]+\]:\s*\S")
END_OF_SENTENCE = re.compile(r"(?<!e\.g\.)(?<!i\.e\.)(?<=[.!?])\s+(?=[^a-z\s])")


@dataclass(frozen=True)
class Change:
    """What no longer fits: requirements whose text changed, or a text that no requirement stands for.

    what: "gone" (no such sentence in the document), "moved" (it stands in `where`), "new" (a sentence with a keyword
        of RFC 2119 that has no requirement).
    section: where the catalogue has it; for "new", where it stands.
    ids: the requirements concerned; none for "new".
    where: the section where it stands now, for "moved".
    sentence: the words, for "new".
    """

    what: str
    section: str
    ids: tuple[str, ...] = ()
    where: str = ""
    sentence: str = ""

    def __str__(self) -> str:
        if self.what == "new":
            return f"new    {self.section}: {self.sentence} [{fingerprint(self.sentence)}]"
        moved = f" to {self.where}" if self.where else ""
        return f"{self.what:<6} {self.section}{moved}: {', '.join(self.ids)}"


def changes(checkout: Path, folder: Path = catalogue.FOLDER) -> list[Change]:
    """What in the checkout's documents no longer fits the newest requirements of a catalogue, by section.

    Raises OSError if a document can't be read, ValueError if none is there.
    """
    places: dict[str, list[str]] = {}  # fingerprint -> sections
    normative: dict[tuple[str, str], None] = {}  # in order, each once
    for path in sorted(checkout.glob("*.md")):
        if path.stem in ELSEWHERE:
            continue
        for section, sentence in sentences(path.name, path.read_text("utf-8")):
            places.setdefault(fingerprint(sentence), []).append(section)
            if KEYWORD.search(TYPE.sub("", sentence)):
                normative[section, sentence] = None
    if not places:
        raise ValueError(f"{checkout} holds no document of the specification")

    rows: dict[tuple[str, str], list[str]] = {}
    for each in catalogue.load(folder).values():
        if not each.until:
            rows.setdefault((each.section, each.sentence), []).append(each.id)
    found = []
    moved = set()
    for (section, sentence), ids in rows.items():
        now = places.get(sentence, [])
        if not now:
            found.append(Change("gone", section, tuple(ids)))
        elif section not in now:
            found.append(Change("moved", section, tuple(ids), where=now[0]))
            moved.add(sentence)
    known = rows.keys() | catalogue.asides(folder).keys()
    for section, words in normative:
        sentence = fingerprint(words)
        if (section, sentence) not in known and sentence not in moved:
            found.append(Change("new", section, sentence=words))
    return sorted(found, key=lambda change: (change.section, change.what, change.ids))


def fingerprint(sentence: str) -> str:
    """16 hexadecimal digits for a sentence, whatever its mark-up, links and line breaks."""
    return hashlib.sha256(plain(sentence).encode()).hexdigest()[:16]


def plain(text: str) -> str:
    """Markdown without links, anchors and emphasis, in one line."""
    text = re.sub(r"<a name=[^>]*>", "", text)
    text = LINK.sub(r"\1", text)
    text = re.sub(r"[`*]|(?<!\w)_|_(?!\w)", "", text)
    return " ".join(text.split())


def sentences(document: str, text: str) -> Iterator[tuple[str, str]]:
    """Each sentence, and each row of a table, with its section ("config.md#mounts"); no code, no link targets.

    An example belongs to the section that it is an example of.
    """
    section, seen = document, dict[str, int]()
    for block in blocks(text):
        if heading := HEADING.fullmatch(block):
            anchor = slug(heading[1])
            count = seen.get(anchor, 0)
            seen[anchor] = count + 1
            if not anchor.startswith("example"):
                section = f"{document}#{anchor}-{count}" if count else f"{document}#{anchor}"
        elif "|" in block:
            yield section, plain(block)
        else:
            for sentence in END_OF_SENTENCE.split(plain(block)):
                if sentence:
                    yield section, sentence


def blocks(text: str) -> Iterator[str]:
    """Headings, paragraphs, list items without their markers, and table rows, each in one line."""
    lines: list[str] = []
    fenced = False
    for line in [*text.splitlines(), ""]:
        bare = line.strip().removeprefix(">").strip()
        fence = bare.startswith("```")
        item = ITEM.fullmatch(line)
        alone = HEADING.match(line) or ROW.match(line)
        if lines and (fence or not bare or item or alone or bare.startswith("[^")):
            yield " ".join(lines)
            lines = []
        if fence:
            fenced = not fenced
        elif fenced or not bare or TARGET.match(bare):
            continue
        elif alone:
            yield bare
        else:
            lines.append(item[1] if item else bare)


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    words = re.sub(r"[^\w\- ]", "", plain(heading).lower())
    return words.replace(" ", "-")


def main(arguments: list[str]) -> int:
    """Print what changed; 1 if anything did, 2 if the arguments are no use."""
    if len(arguments) != 1:
        print("usage: python -m oci_spec.drift CHECKOUT", file=sys.stderr)
        return 2
    try:
        found = changes(Path(arguments[0]))
    except (OSError, ValueError) as error:
        print(f"oci_spec.drift: {error}", file=sys.stderr)
        return 2
    for change in found:
        print(change)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
