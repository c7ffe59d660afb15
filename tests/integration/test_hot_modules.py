"""Exactly which modules each hot command loads, by a binary that starts afresh and tells (build/test/pyrun-traced).

The real binary holds all of them in its snapshot; this budget keeps each command's code small, and the way without a
snapshot (another linker, Python 3.14) fast. After a wanted change: PYRUN_UPDATE=1 pytest on this file writes the list.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import needs
import pytest
from bundles import Bundle, new_id

REPOSITORY = Path(__file__).resolve().parents[2]
TRACED = REPOSITORY / "build/test/pyrun-traced"
LIST = Path(__file__).with_name("hot_modules.txt")
COMMANDS = tuple(
    "--version list create state start exec ps pause resume update events kill delete run".split()
)
# The interpreter's own in the core phase; they differ between versions.
INTERPRETER = set(
    "sys builtins _frozen_importlib _imp _thread _warnings _weakref _io marshal posix"
    " _frozen_importlib_external time errno _operator operator _signal _abc".split()
)


@pytest.fixture(scope="module")
def expected() -> dict[str, set[str]]:
    lines = [line.split(":") for line in LIST.read_text().splitlines() if line and line[0] != "#"]
    return {each: {module for module, commands in lines if each in commands.split()} for each in COMMANDS}


def _loaded(root: Path, *arguments: str) -> set[str]:
    """The modules that a command loads; it must succeed."""
    script = 'exec 9>"$1"; shift; exec "$@"'
    names = root.with_suffix(".modules")
    argv = ["sh", "-c", script, "sh", str(names), str(TRACED), "--root", str(root), *arguments]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert subprocess.run(argv, check=False, timeout=30, **quiet).returncode == 0, arguments
    return set(names.read_text().split()) - INTERPRETER


def test_each_command_loads_exactly_its_modules(
    busybox: str, bundle: Callable[..., Bundle], tmp_path: Path, expected: dict[str, set[str]]
) -> None:
    needs.root()
    if not TRACED.is_file():
        pytest.skip(f"needs {TRACED}, which make test builds")
    root, where, name = tmp_path / "root", ["--bundle", str(bundle(sh="sleep 100").path)], new_id()
    loaded = {"--version": _loaded(root, "--version"), "list": _loaded(root, "list")}
    try:
        loaded["create"] = _loaded(root, "create", *where, name)
        loaded["state"] = _loaded(root, "state", name)
        loaded["start"] = _loaded(root, "start", name)
        loaded["exec"] = _loaded(root, "exec", name, "true")
        loaded["ps"] = _loaded(root, "ps", "--format", "json", name)
        loaded["pause"] = _loaded(root, "pause", name)
        loaded["resume"] = _loaded(root, "resume", name)
        loaded["update"] = _loaded(root, "update", "--pids-limit", "100", name)
        loaded["events"] = _loaded(root, "events", "--stats", name)
        loaded["kill"] = _loaded(root, "kill", name, "KILL")
        while '"stopped"' not in subprocess.check_output([TRACED, "--root", root, "state", name], text=True):
            pass
        loaded["delete"] = _loaded(root, "delete", name)
    finally:
        subprocess.run([TRACED, "--root", root, "delete", "--force", name], check=False)
    loaded["run"] = _loaded(root, "run", "--bundle", str(bundle().path), new_id())
    assert tuple(loaded) == COMMANDS
    if os.environ.get("PYRUN_UPDATE"):
        head = "# Which commands load each module, a module a line; see test_hot_modules.py.\n"
        by_module = {
            module: [each for each in COMMANDS if module in loaded[each]]
            for module in sorted(set().union(*loaded.values()))
        }
        LIST.write_text(head + "".join(f"{one}: {' '.join(each)}\n" for one, each in by_module.items()))
        return
    for each in COMMANDS:
        new, gone = loaded[each] - expected[each], expected[each] - loaded[each]
        assert not new, f"{each} loads more than it did: {sorted(new)}"
        assert not gone, f"{each} no longer loads {sorted(gone)}"
