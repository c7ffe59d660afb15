"""A create that has just begun, or went no further than its folder: what the others say of it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundles import Pyrun

CUTS = {"nothing": None, "an empty file": "", "half a line": '{"id":"'}


@pytest.fixture(params=CUTS)
def folder(request: pytest.FixtureRequest, pyrun: Pyrun) -> Iterator[Path]:
    """The state folder of a create that was killed before its first line was whole: nothing else was made yet."""
    path = pyrun.root / pyrun.id()
    path.mkdir(parents=True, mode=0o700)
    if (text := CUTS[request.param]) is not None:
        (path / "state.json").write_text(text)
    yield path
    pyrun.ok("delete", "--force", path.name)
    assert not path.exists()


def test_killed(pyrun: Pyrun, folder: Path) -> None:
    """It was never completed, which state says, and list as a warning; it can be deleted."""
    assert "was never completed, because its create was interrupted" in pyrun.error("state", folder.name)
    assert "container not running" in pyrun.error("kill", folder.name)
    result = pyrun("list")
    assert (result.code, len(result.out.splitlines())) == (0, 1)
    assert f'warning: container "{folder.name}" was never completed' in result.err
    assert pyrun.ok("list", "-q").out == f"{folder.name}\n"


def test_under_way(pyrun: Pyrun, folder: Path) -> None:
    """While its create holds the lock it is creating; list says nothing of it yet."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert f'container "{folder.name}" is creating' in pyrun.error("state", folder.name)
        assert "is creating" in pyrun.error("kill", folder.name)
        result = pyrun.ok("list")
        assert folder.name not in result.out
    finally:
        os.close(lock)
