"""The catalogue of requirements, and the checker that compares it with the specification's text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oci_spec import catalogue, drift
from oci_spec.catalogue import RELEASES, Requirement

EVERY = list(catalogue.load().values())

DOCUMENT = """# <a name="title" />Mounts

The runtime MUST mount
entries in the [listed order](#order), e.g. First to last.
It says more. **It** MAY log, [as it likes][log].

## Options of `mounts`

 Name   | Level | Words
--------|-------|------
 `ro`   | MUST  | [^1]
 `slow` | MAY   | Slow. It SHOULD be fast.

* **`path`** (string, REQUIRED) the path.
    This value MUST be [absolute](b.md#c).
* **`size`** (int, OPTIONAL)

  > Note: `0` SHOULD be taken as it is.

### Example

```json
"this": "MUST NOT count"
```

After an example one MUST go on.

[log]: https://example.com/MUST
[^1]: As in mount(8).

## Mounts
1. Again.
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "config.md").write_text(DOCUMENT)
    (folder / "style.md").write_text("Authors MUST write well.\n")
    return folder


def described(folder: Path, *rows: tuple[str, str, str], aside: tuple[str, str] = ("", "")) -> Path:
    """A catalogue with these ids, sections and sentences, and one aside, beside a checkout."""
    found = folder.parent / "requirements"
    found.mkdir(exist_ok=True)
    text = f'[[aside]]\nsection = "{aside[0]}"\nsentence = "{drift.fingerprint(aside[1])}"\nwhy = "So."\n'
    for name, section, sentence in rows:
        text += f'[[requirement]]\nid = "{name}"\nlevel = "MUST"\nkind = "R"\nsection = "{section}"\n'
        text += f'text = "words"\nsince = "1.0.0"\nsentence = "{drift.fingerprint(sentence)}"\n'
    (found / "some.toml").write_text(text)
    return found


@pytest.mark.parametrize("each", EVERY, ids=lambda each: each.id)
def test_each_requirement_is_whole(each: Requirement) -> None:
    assert re.fullmatch(r"[a-zA-Z-]+(\.[\w-]+)*", each.id)
    assert each.level in ("MUST", "SHOULD", "MAY", "MUST NOT", "SHOULD NOT")
    assert each.kind in ("R", "V", "I")
    assert re.fullmatch(r"[a-z-]+\.md#[a-z0-9-]+", each.section)
    assert 10 < len(each.text) < 120
    assert not each.text.endswith(".")
    assert each.since in RELEASES
    assert not each.until or RELEASES.index(each.since) < RELEASES.index(each.until)
    assert re.fullmatch(r"[0-9a-f]{16}", each.sentence)
    assert not each.unseen or re.fullmatch(r"[A-Z].+\.", each.unseen)


def test_no_two_requirements_say_the_same() -> None:
    """A report shows the words, so they have to tell one requirement from the other."""
    texts = [(each.text, each.until) for each in EVERY]
    assert sorted(texts) == sorted(set(texts))


def test_few_requirements_are_out_of_sight() -> None:
    assert sum(bool(each.unseen) for each in EVERY) <= 20


def test_each_aside_says_why_and_is_no_requirement() -> None:
    rows = {(each.section, each.sentence) for each in EVERY}
    for place, why in catalogue.asides().items():
        assert place not in rows
        assert re.fullmatch(r"[A-Z].+\.", why)


def test_1_3_0_has_496_requirements() -> None:
    assert len(catalogue.at("1.3.0")) == 496


@pytest.mark.parametrize(
    ("version", "has", "lacks"),
    [
        ("1.0.0", "caps.unmappable-error", "lifecycle.createRuntime-invoked"),
        ("1.0.2", "hooks.prestart.timing-start", "hooks.prestart.timing"),
        ("1.0.2", "lifecycle.createRuntime-invoked", "caps.no-fail"),
        ("1.1.0", "hooks.prestart.timing", "hooks.prestart.timing-start"),
        ("1.1.0", "mounts.dest-absolute-only", "mounts.dest-relative"),
        ("1.1.3", "caps.no-fail", "caps.unmappable-error"),
        ("1.2.0", "mounts.dest-relative", "mounts.dest-absolute-only"),
        ("1.2.1", "lifecycle.poststart-fail-warn", "lifecycle.poststart-fail"),
        ("1.2.1", "pids.limit-zero-open", "pids.limit-zero"),
        ("1.3.0", "lifecycle.poststart-fail", "lifecycle.poststart-fail-warn"),
        ("1.3.0", "rdt.closid-root", "rdt.cmt"),
        ("1.4.0", "pids.limit-zero", "pids.limit-required"),
    ],
)
def test_a_version_has_what_held_in_it(version: str, has: str, lacks: str) -> None:
    found = catalogue.at(version)
    assert has in found
    assert lacks not in found
    assert lacks in catalogue.load()


def test_no_version_is_an_error() -> None:
    with pytest.raises(ValueError, match="is no version in the form of"):
        catalogue.at("1.3")


def test_a_link_leads_to_the_newest_release_that_has_it() -> None:
    site = "https://github.com/opencontainers/runtime-spec/blob"
    assert catalogue.load()["mounts.order"].url == f"{site}/v1.3.0/config.md#mounts"
    assert catalogue.load()["caps.unmappable-error"].url == f"{site}/v1.0.2/config.md#linux-process"
    assert catalogue.load()["mounts.dest-absolute-only"].url == f"{site}/v1.1.0/config.md#mounts"


def test_an_id_that_stands_twice_is_an_error(checkout: Path) -> None:
    row = ("twice", "config.md#mounts", "A sentence.")
    with pytest.raises(ValueError, match="twice stands in the catalogue twice"):
        catalogue.load(described(checkout, row, row))


def test_a_document_falls_into_sentences_by_section() -> None:
    first, options = "config.md#mounts", "config.md#options-of-mounts"
    assert list(drift.sentences("config.md", DOCUMENT)) == [
        (first, "The runtime MUST mount entries in the listed order, e.g. First to last."),
        (first, "It says more."),
        (first, "It MAY log, as it likes."),
        (options, "Name | Level | Words --------|-------|------"),
        (options, "ro | MUST | [^1]"),
        (options, "slow | MAY | Slow. It SHOULD be fast."),
        (options, "path (string, REQUIRED) the path."),
        (options, "This value MUST be absolute."),
        (options, "size (int, OPTIONAL)"),
        (options, "Note: 0 SHOULD be taken as it is."),
        (options, "After an example one MUST go on."),
        (options, "[^1]: As in mount(8)."),
        ("config.md#mounts-1", "Again."),
    ]


def test_marks_links_and_line_breaks_make_no_other_sentence() -> None:
    plain = "The runtime MUST use config.json of x_y (see mounts[].type)."
    marked = "The **runtime** MUST\n  use [`config.json`](a.md#b) of x_y (see [`mounts[].type`][ref])."
    assert drift.fingerprint(plain) == drift.fingerprint(marked)
    assert drift.fingerprint(plain) != drift.fingerprint(plain.replace("MUST", "MAY"))


def test_changes_tells_what_is_gone_moved_and_new(checkout: Path) -> None:
    options = "config.md#options-of-mounts"
    folder = described(
        checkout,
        (
            "order",
            "config.md#mounts",
            "The runtime MUST mount entries in the listed order, e.g. First to last.",
        ),
        ("log", options, "It MAY log, as it likes."),
        ("ro", options, "ro | MUST | [^1]"),
        ("absolute", options, "This value SHOULD be absolute."),
        ("relative", options, "This value SHOULD be absolute."),
        aside=(options, "slow | MAY | Slow. It SHOULD be fast."),
    )
    assert [str(change) for change in drift.changes(checkout, folder)] == [
        f"gone   {options}: absolute, relative",
        f"moved  {options} to config.md#mounts: log",
        f"new    {options}: {(one := 'This value MUST be absolute.')} [{drift.fingerprint(one)}]",
        f"new    {options}: {(two := 'Note: 0 SHOULD be taken as it is.')} [{drift.fingerprint(two)}]",
        f"new    {options}: {(three := 'After an example one MUST go on.')} [{drift.fingerprint(three)}]",
    ]


def test_a_new_document_is_noticed(checkout: Path) -> None:
    (checkout / "exec.md").write_text("# Exec\n\nA runtime MUST support exec.\n")
    found = [change for change in drift.changes(checkout) if change.section == "exec.md#exec"]
    assert [(change.what, change.sentence) for change in found] == [("new", "A runtime MUST support exec.")]


def test_the_checker_prints_what_changed(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert drift.main([str(checkout)]) == 1
    assert "gone   config.md#mounts: mounts.order\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"), [([], "usage: "), (["."], "no document of the specification")]
)
def test_the_checker_refuses_what_is_no_checkout(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert drift.main(arguments) == 2
    assert says in capsys.readouterr().err
