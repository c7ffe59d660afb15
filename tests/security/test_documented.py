"""docs/security.md names, for each known hole, a test that is there; and no test of this folder is left out."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs/security.md").read_text()


def test_names_exist():
    """Every file and function that the page names."""
    named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", PAGE)
    assert named
    for file, function in named:
        path = HERE / file if (HERE / file).exists() else HERE.parent / file
        assert f"def {function or 'test_'}" in path.read_text(), (file, function)


def test_every_file_is_named():
    """A class of holes with a test, but without a line on the page, would be forgotten."""
    missing = [path.name for path in HERE.glob("test_*.py") if path.name not in PAGE]
    assert missing == [Path(__file__).name]
