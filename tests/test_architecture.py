"""The documents are held to the tree: roles of files, commands and options, promises and their tests, links."""

from __future__ import annotations

import ast
import itertools
import re
import sys
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
for _folder in ("runtime", "spec", "docs"):
    if str(REPOSITORY / _folder) not in sys.path:
        sys.path.insert(0, str(REPOSITORY / _folder))

from pages import cli, files  # noqa: E402

from pyrun.commandline.table import COMMANDS, GLOBAL, HIDDEN  # noqa: E402

LONGEST = 400  # lines of a source file
# The suite's probe is one file, so that it can be copied and compiled by itself; a third of it are tables of names.
LONG = {"conformance/oci_conformance/core/probe/probe.c"}
WIDEST = 120  # characters of a line of prose
DOCUMENTS = sorted(
    path
    for folder in (".", "docs", "conformance", "spec/oci_spec")
    for path in (REPOSITORY / folder).glob("*.md")
)


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("path", files.sources(), ids=name)
def test_each_source_file_says_its_role(path: Path) -> None:
    """In the first words of its docstring, or of the comment that it begins with."""
    assert files.role(path), f"{name(path)} begins without saying what it is for"


def test_the_page_of_files_has_each_file_once() -> None:
    folder, found = "", []
    for line in files.markdown().splitlines():
        if line.startswith("## "):
            folder = line[3:]
        elif row := re.match(r"\| `(.+?)` \| .", line):
            found.append(folder + row[1])
    assert found == [name(path) for path in files.sources()]


def test_the_architecture_has_a_line_for_each_folder() -> None:
    """For the suite's rooms, which have a section of their own, one for all; likewise for folders in a folder."""
    text = (REPOSITORY / "docs/architecture.md").read_text()
    rows = tuple(re.findall(r"^\| `(\S+/)` \| .", text[text.index("## The tree") :], re.MULTILINE))
    assert {folder for folder in rows if not (REPOSITORY / folder).is_dir()} == set()
    places = {f"{name(path.parent)}/" for path in files.sources()}
    assert {place for place in places if not place.startswith(rows)} == set()
    below = {place for place in places if re.fullmatch(r"runtime/pyrun/\w+/", place)}
    assert not below - set(rows)


def test_docstrings_say_who_raises_what() -> None:
    """ "Raises PyrunError if …", and not the bare name of an exception as a sentence of its own."""
    for path in (REPOSITORY / "runtime/pyrun").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = " ".join((ast.get_docstring(node) or "").split())
                assert not re.search(r"[.;)] (PyrunError|OSError)(, \w+Error)*(\.|$)", text), (
                    f"{name(path)}: {text}"
                )


def test_no_source_file_is_long() -> None:
    long = {
        name(path): lines
        for path in files.sources()
        if name(path) not in LONG and (lines := path.read_bytes().count(b"\n")) > LONGEST
    }
    assert not long, f"split these, more than {LONGEST} lines: {long}"


def test_each_file_named_in_the_architecture_exists() -> None:
    text = (REPOSITORY / "docs/architecture.md").read_text()
    for path in re.findall(r"`((?:runtime|spec|tests|docs)/[^`]+?)`", text):
        assert (REPOSITORY / path).exists(), path


def shown_commands() -> list[str]:
    return [command for command in COMMANDS if command not in HIDDEN]


@cache
def sections() -> dict[str, str]:
    """The page cli.md: title of a section -> its text."""
    parts = re.split(r"^## (.+)$", cli.markdown(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("command", shown_commands())
def test_each_command_and_option_is_documented(command: str) -> None:
    assert command in sections(), f"cli.md has no section {command}"
    for names, _, _, text in COMMANDS[command][1]:
        for option in names:
            assert f"`{option}`" in sections()[command], f"{command} {option}"
        assert text.replace("|", "\\|") in sections()[command], f"{command} {names[0]}"


def test_each_global_option_is_documented() -> None:
    for names, _, _, _ in GLOBAL:
        for option in names:
            assert f"`{option}`" in sections()["Global options"], option


def test_the_readme_names_every_command() -> None:
    text = (REPOSITORY / "README.md").read_text()
    assert [command for command in shown_commands() if f"`{command}`" not in text] == []


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_each_make_target_named_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z]+):(?!=)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    named = set(
        re.findall(
            r"(?:^    |`)(?:\w+=\S+ )*make ([a-z]+)\b", (REPOSITORY / document).read_text(), re.MULTILINE
        )
    )
    assert named, f"{document} names no target"
    assert named <= targets, f"{document}: make {named - targets}"


def promises() -> list[tuple[str, str, list[str]]]:
    """SPECIFICATION.md's table rows: number, sentence, tests."""
    found = []
    for line in (REPOSITORY / "SPECIFICATION.md").read_text().splitlines():
        if row := re.fullmatch(r"\| (\d+\.\d+) \| (.+) \| (.+) \|", line):
            found.append((row[1], row[2], re.findall(r"`(\S+?)`", row[3])))
    return found


@cache
def functions_in(path: Path) -> frozenset[str]:
    functions = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def test_promises_are_numbered_in_order() -> None:
    numbers = [tuple(map(int, number.split("."))) for number, _, _ in promises()]
    assert len(numbers) > 20
    for before, after in itertools.pairwise(numbers):
        assert after in ((before[0], before[1] + 1), (before[0] + 1, 1)), after


@pytest.mark.parametrize("promise", promises(), ids=lambda promise: promise[0])
def test_each_promise_names_tests_that_exist(promise: tuple[str, str, list[str]]) -> None:
    number, _, tests = promise
    assert tests, f"promise {number} names no test"
    for test in tests:
        file, _, function = test.partition("::")
        path = REPOSITORY / "tests" / file
        assert path.is_file(), f"promise {number}: no tests/{file}"
        assert not function or function in functions_in(path), (
            f"promise {number}: no {function} in tests/{file}"
        )


def anchor(heading: str) -> str:
    """The anchor that Git hosts give to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def anchors(path: Path) -> set[str]:
    return {anchor(line.lstrip("#")) for line in path.read_text().splitlines() if line.startswith("#")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_resolve(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        file, _, fragment = target.partition("#")
        path = (document.parent / file).resolve() if file else document
        assert path.exists(), f"{name(document)}: {target}"
        assert not fragment or fragment in anchors(path), f"{name(document)}: {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_prose_fits_the_width(document: Path) -> None:
    code = False
    for number, line in enumerate(document.read_text().splitlines(), 1):
        code ^= line.startswith("```")
        if not code and not line.startswith(("|", "    ")):  # tables and examples are as wide as they are
            assert len(line) <= WIDEST, f"{name(document)}:{number}"
