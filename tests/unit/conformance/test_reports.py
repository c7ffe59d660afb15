"""Reports of a run with every status and hostile texts: each is read back by a parser of its format."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import report_samples as samples

from oci_conformance.core.records import RESULT_STATUSES
from oci_conformance.report import badge, formats, junit, notes, tap, terminal, yaml_
from oci_conformance.report.common import clean, clip, heading
from oci_conformance.run.results import Run

CATALOGUE = samples.catalogue()


@pytest.mark.parametrize("render", [render for _, render in formats.FORMATS.values()], ids=[*formats.FORMATS])
def test_no_text_of_a_runtime_acts(render: Callable[..., str]) -> None:
    text = render(samples.run(), CATALOGUE, {})
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]", text)
    assert text.endswith("\n") and text.encode()


def test_every_format_is_written(tmp_path: Path) -> None:
    found = formats.write(tmp_path, samples.run(), CATALOGUE, {})
    assert {path.name for path in found} == {path.name for path in tmp_path.iterdir()}
    assert all(path.stat().st_size for path in found)


def test_texts_are_shown_not_obeyed() -> None:
    assert clean("a\x1b[1m\r\nb\x7f\u202e\t") == "a^[[1m\nb^?⟨U+202E⟩\t"
    assert clip("abcdef", 4) == "abcd… (2 more characters)"


def test_sections_have_titles() -> None:
    assert heading("config-linux.md#default-devices") == "Configuration for Linux: Default devices"
    assert heading("config.md#posix-platform-hooks") == "Configuration: POSIX platform hooks"
    assert heading("other.md") == "other.md"


def points(text: str) -> list[tuple[bool, str, str, list[str]]]:
    """The test points of a TAP document: ok, description, directive, diagnostic lines."""
    found: list[tuple[bool, str, str, list[str]]] = []
    version, plan, *lines = text.splitlines()
    assert version == "TAP version 14"
    inside = False
    for line in lines:
        if inside:
            assert line.startswith("  ")
            inside = line != "  ..."
            if inside:
                found[-1][3].append(line[2:])
        elif line == "  ---":
            inside = True
        elif not line.startswith(("#", "Bail out!")):
            match = re.fullmatch(r"(not )?ok (\d+) - ((?:[^\\#]|\\[\\#])*?)(?: # ((?:SKIP|TODO).*))?", line)
            assert match, line
            assert int(match[2]) == len(found) + 1
            found.append((not match[1], match[3], match[4] or "", []))
    assert plan == f"1..{len(found)}" and not inside
    return found


def test_tap() -> None:
    found = points(tap.render(samples.run(), CATALOGUE))
    by_id = {description.split()[1].rstrip(":"): (ok, directive) for ok, description, directive, _ in found}
    assert by_id["pass.id"] == (False, ""), "the profile's own result comes last"
    assert [ok for ok, description, _, _ in found if " pass.id:" in description] == [True, True, False]
    assert by_id["fail.id"] == by_id["error.id"] == by_id["xpass.id"] == (False, "")
    assert by_id["xfail.id"][0] is False and by_id["xfail.id"][1].startswith("TODO because")
    assert by_id["skip.id"][0] and by_id["skip.id"][1].startswith("SKIP because")
    assert by_id["unsupported.id"][0] and by_id["unsupported.id"][1].startswith("SKIP unsupported: because")


def test_tap_has_a_diagnostic_for_what_broke() -> None:
    for ok, description, directive, lines in points(tap.render(samples.run(), CATALOGUE)):
        assert bool(lines) == (not ok and not directive), description
        if " fail.id:" in description:
            block = load("\n".join(lines) + "\n")
            assert block["severity"] == "fail"
            assert block["seen"] == "bad " + samples.EVIL.replace("\ud800", "\ufffd")
            assert [call["code"] for call in block["calls"]] == [0, 1, None]


def test_tap_of_a_run_that_was_cut_short_bails_out() -> None:
    assert tap.render(samples.run(footer=False), CATALOGUE).endswith("\nBail out! The run was cut short.\n")
    empty = Run(samples.run().header)
    assert tap.render(empty, {}).splitlines()[1] == "1..0 # SKIP nothing was run"


def test_junit() -> None:
    root = ET.fromstring(junit.render(samples.run(), CATALOGUE))
    assert [suite.get("name") for suite in root] == ["area", "kill", "hardening.files"]
    for suite in root:
        cases = suite.findall("testcase")
        assert suite[0].tag == "properties", "where the readers expect them"
        assert suite.get("timestamp") == "2026-01-02T03:04:05"
        for kind, child in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert suite.get(kind) == str(len([case for case in cases if case.find(child) is not None]))
        assert suite.get("tests") == str(len(cases))
    for kind in ("tests", "failures", "errors"):
        assert int(root.get(kind, "")) == sum(int(suite.get(kind, "")) for suite in root)
    seconds = [float(case.get("time", "")) for case in root.iter("testcase")]
    assert sum(seconds) == pytest.approx(float(root.get("time", "")), abs=0.01)
    outcome = {case.get("name"): [child.tag for child in case] for case in root[0].iter("testcase")}
    assert outcome == {
        "pass.id": [],
        "fail.id": ["failure"],
        "xpass.id": ["failure"],
        "error.id": ["error"],
        "xfail.id": ["skipped"],
        "skip.id": ["skipped"],
        "unsupported.id": ["skipped"],
    }
    text = root.find("testsuite/testcase[@name='fail.id']/failure").text or ""  # type: ignore[union-attr]
    for part in ("</script>", "~ process.cwd", "(exit code 1", "no answer in time", "repeat it by hand:"):
        assert part in text


def test_junit_of_a_run_that_was_cut_short_has_an_error() -> None:
    root = ET.fromstring(junit.render(samples.run(footer=False), CATALOGUE))
    assert [case.get("name") for case in root.iter("testcase") if case.find("error") is not None] == [
        "error.id",
        "complete",
    ]


def load(text: str) -> Any:
    """What a YAML document of ours holds: block style, JSON scalars, two spaces for each level."""
    lines = [line for line in text.splitlines() if line != "---"]

    def block(depth: int) -> Any:
        pad = " " * depth
        if lines and lines[0].startswith(f"{pad}- "):
            items = []
            while lines and lines[0].startswith(f"{pad}- "):
                lines[0] = f"{pad}  {lines[0][depth + 2 :]}"
                items.append(block(depth + 2))
            return items
        if not re.match(r'[A-Za-z]\w*:|"(\\.|[^"\\])*":', lines[0][depth:]):
            return json.loads(lines.pop(0))
        members: dict[str, Any] = {}
        while lines and lines[0].startswith(pad) and lines[0][depth : depth + 1] not in ("", " ", "-"):
            match = re.fullmatch(r'([A-Za-z]\w*|"(?:\\.|[^"\\])*"):(?: (.*))?', lines.pop(0)[depth:])
            assert match
            key = json.loads(match[1]) if match[1].startswith('"') else match[1]
            assert key not in members
            members[key] = block(depth + 2) if match[2] is None else json.loads(match[2])
        return members

    found = block(0)
    assert not lines, lines[0]
    return found


def test_yaml() -> None:
    run = samples.run()
    document = load(yaml_.render(run, CATALOGUE))
    assert document["runtime"]["version"] == run.header["runtime"]["version"]
    assert document["complete"] is True and document["seconds"] == 61.2 and document["host"]["lsms"] == []
    statuses = {row["id"]: row["status"] for one in document["sections"] for row in one["requirements"]}
    assert statuses == {key: verdict.status for key, verdict in run.by_requirement(CATALOGUE).items()}
    assert document["score"]["MUST"] == {"passed": 0, "seen": 2, "total": 5}
    (profile,) = document["profile_sections"]
    assert (profile["profile"], profile["title"]) == ("hardening", "Hardening: Files")


def test_yaml_quotes_what_a_reader_could_take_for_something_else() -> None:
    value = {
        "yes": "no",
        "a b": {"x": []},
        "list": [[1, [2]], {"a": {"b": None}}],
        "text": "\x85\u2028\ufeff: #",
    }
    text = yaml_.dump(value)
    assert text.startswith('---\n"yes": "no"\n"a b":\n  x: []\nlist:\n  - - 1\n    - - 2\n')
    assert text.endswith('text: "\\u0085\\u2028\\ufeff: #"\n')


def test_badge() -> None:
    root = ET.fromstring(badge.render(samples.run(), CATALOGUE, "MUST"))
    assert root.get("aria-label") == "runtime-spec 1.3.0 MUST: 0/2"
    assert "cut short" in badge.render(samples.run(footer=False), CATALOGUE)


@pytest.mark.parametrize("width", [50, 80, 200])
def test_terminal_without_colour(width: int) -> None:
    text = terminal.render(samples.run(), CATALOGUE, width=width)
    assert "\x1b" not in text and "\x07" not in text
    assert "✗ fail fail.id" in text and "expected  good" in text
    assert text.index("! error error.id") > text.index("✗ fail two.tests") > text.index("‼ xpass xpass.id")
    summary = terminal.summary(samples.run(), CATALOGUE, width=width)
    assert max(map(len, summary.splitlines())) <= max(width, 45)
    assert re.search(r"MUST +0/2  1 error  1 fail", summary) and "hardening (not in the score)" in summary


def test_terminal_with_colour_says_the_same() -> None:
    plain = terminal.render(samples.run(footer=False), CATALOGUE)
    colourful = terminal.render(samples.run(footer=False), CATALOGUE, colour=True)
    assert re.sub(r"\x1b\[\d+m", "", colourful) == plain != colourful
    assert plain.endswith("The run was cut short: results are missing.\n")


def test_colour_is_for_terminals_whose_owner_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.wants_colour(Terminal())  # type: ignore[arg-type]
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.wants_colour(Terminal())  # type: ignore[arg-type]
    monkeypatch.delenv("NO_COLOR")
    with open("/dev/null") as file:
        assert not terminal.wants_colour(file)


def test_notes(tmp_path: Path) -> None:
    path = tmp_path / "notes.toml"
    path.write_text(
        '[[note]]\nid = "a"\nruntime = "x"\nfault = "text"\ntext = "why"\nlink = "https://x.org"\n'
    )
    (note,) = notes.load(path)
    assert note.about("a", "x") and not note.about("a", "y") and not note.about("b", "x")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[note", "notes "),
        ('[[note]]\nid = "a"\n', "note 1: it needs an id and a text"),
        ('[[note]]\nid = "a"\ntext = "x"\nwhy = "x"\n', "note 1: 'why' isn't known, or not a text"),
        ('[[note]]\nid = "a"\ntext = 1\n', "note 1: 'text' isn't known, or not a text"),
        (
            '[[note]]\nid = "a"\ntext = "x"\nfault = "me"\n',
            "note 1: fault must be one of runtime, text, host, suite",
        ),
        (
            '[[note]]\nid = "a"\ntext = "x"\nlink = "javascript:1"\n',
            "note 1: its link must begin with https://",
        ),
    ],
)
def test_notes_that_are_wrong(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "notes.toml").write_text(text)
    with pytest.raises(notes.NotesError, match=re.escape(sentence)):
        notes.load(tmp_path / "notes.toml")


def test_every_status_has_words() -> None:
    from oci_conformance.report.common import GLYPHS, MEANINGS
    from oci_conformance.run.results import STATUSES

    assert [*GLYPHS] == [*MEANINGS] == [*STATUSES] and set(RESULT_STATUSES) < {*STATUSES}
    assert len(set(GLYPHS.values())) == len(STATUSES), "they differ without colour"
