"""CONTRIBUTING.md's "Add a property": what stands there, done to a copy of the sources, makes a property."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import Bundle, Pyrun
from scratch_tree import REPOSITORY, Tree

pytestmark = pytest.mark.slow  # it builds

LINE = re.compile(r"^- `(\S+)`, before `(.+)`: `(.+)`$", re.MULTILINE)
FILE = re.compile(r"^- `(\S+)`, the file:\n\n((?:      .*\n|\n)+)", re.MULTILINE)


def section() -> str:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    return text[text.index("## Add a property") :].partition("\n## ")[0]


@pytest.fixture(scope="module")
def nice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A binary that knows process.nice."""
    tree = Tree(tmp_path_factory.mktemp("tree"))
    lines, files = LINE.findall(section()), FILE.findall(section())
    assert (len(lines), len(files)) == (5, 1)
    for path, before, line in lines:
        tree.insert(path, before, f"{line}\n")
    for path, text in files:
        tree.write(path, textwrap.dedent(text))
    tree.build()
    return tree.binary


@pytest.fixture
def runtime(nice: Path) -> Path:
    """What the fixture `pyrun` calls, here."""
    return nice


def test_a_new_property_has_its_effect(pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    words = ("cut", "-d ", "-f19", "/proc/self/stat")
    assert pyrun.output(bundle({"process": {"nice": 7}}).args(*words)) == "7\n"
    assert pyrun.output(bundle().args(*words)) == f"{os.getpriority(os.PRIO_PROCESS, 0)}\n"


def test_a_wrong_value_of_a_new_property_is_refused_by_its_path(
    pyrun: Pyrun, bundle: Callable[..., Bundle]
) -> None:
    for value in (20, "7"):
        one = bundle({"process": {"nice": value}})
        assert pyrun.refused(one).startswith("process.nice: ")
        assert "process.nice" in pyrun("validate", str(one.path)).out


def test_a_new_property_is_a_step_of_create(pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    """--debug names it, and the property that asked for it."""
    one = bundle({"process": {"nice": 7}})
    assert (
        "setting niceness, for process.nice" in pyrun("--debug", "run", "-b", str(one.path), pyrun.id()).err
    )
