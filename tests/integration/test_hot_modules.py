"""Exactly which modules each hot command loads, by a binary that starts afresh and tells (build/test/pyrun-traced).

The real binary holds all of them in its snapshot; this budget keeps each command's code small, and the way without a
snapshot (another linker, Python 3.14) fast. After a wanted change: PYRUN_UPDATE=1 pytest on this file writes the list.

The same binary tells which functions were called. Their objects lie together in the real one (runtime/launcher/rows.c),
if they are in its list, which is written anew with the other.
"""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import NamedTuple

import needs
import pytest
from bundles import Bundle, new_id

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "runtime/launcher"))

import build  # noqa: E402
import freeze  # noqa: E402

TRACED = REPOSITORY / "build/test/pyrun-traced"
LIST = Path(__file__).with_name("hot_modules.txt")
FUNCTIONS = REPOSITORY / "runtime/launcher/functions.txt"
COMMANDS = tuple(
    "--version list create state start exec ps pause resume update events kill delete run".split()
)
HEAVY = {
    "create",
    "run",
    "exec",
}  # as runtime/launcher/pyrun.c has it; the commands of neither set may be slower
HOT = {
    "state",
    "start",
    "kill",
    "delete",
    "list",
}  # those that should be fast; what only others call counts as heavy
# The interpreter's own in the core phase; they differ between versions.
INTERPRETER = set(
    "sys builtins _frozen_importlib _imp _thread _warnings _weakref _io marshal posix"
    " _frozen_importlib_external time errno _operator operator _signal _abc".split()
)


@pytest.fixture(scope="module")
def expected() -> dict[str, set[str]]:
    lines = [line.split(":") for line in LIST.read_text().splitlines() if line and line[0] != "#"]
    return {each: {module for module, commands in lines if each in commands.split()} for each in COMMANDS}


class Trace(NamedTuple):
    """What a command loaded and called: modules by name, functions as "file name"."""

    modules: set[str]
    functions: set[str]


def _trace(root: Path, *arguments: str) -> Trace:
    """What a command loads and calls; it must succeed."""
    script = 'exec 9>"$1"; shift; exec "$@"'
    names = root.with_suffix(".names")
    argv = ["sh", "-c", script, "sh", str(names), str(TRACED), "--root", str(root), *arguments]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    assert subprocess.run(argv, check=False, timeout=30, **quiet).returncode == 0, arguments
    lines = names.read_text().splitlines()
    called = {line for line in lines if line.startswith(("pyrun/", "oci_spec/")) and "<module>" not in line}
    return Trace({line for line in lines if " " not in line} - INTERPRETER, called)


@pytest.fixture
def traces(busybox: str, bundle: Callable[..., Bundle], tmp_path: Path) -> dict[str, Trace]:
    """Each command run once."""
    needs.root()
    if not TRACED.is_file():
        pytest.skip(f"needs {TRACED}, which make test builds")
    root, where, name = tmp_path / "root", ["--bundle", str(bundle(sh="sleep 100").path)], new_id()
    ran = {"--version": _trace(root, "--version"), "list": _trace(root, "list")}
    try:
        ran["create"] = _trace(root, "create", *where, name)
        ran["state"] = _trace(root, "state", name)
        ran["start"] = _trace(root, "start", name)
        ran["exec"] = _trace(root, "exec", name, "true")
        ran["ps"] = _trace(root, "ps", "--format", "json", name)
        ran["pause"] = _trace(root, "pause", name)
        ran["resume"] = _trace(root, "resume", name)
        ran["update"] = _trace(root, "update", "--pids-limit", "100", name)
        ran["events"] = _trace(root, "events", "--stats", name)
        ran["kill"] = _trace(root, "kill", name, "KILL")
        while '"stopped"' not in subprocess.check_output([TRACED, "--root", root, "state", name], text=True):
            pass
        ran["delete"] = _trace(root, "delete", name)
    finally:
        subprocess.run([TRACED, "--root", root, "delete", "--force", name], check=False)
    ran["run"] = _trace(root, "run", "--bundle", str(bundle().path), new_id())
    assert tuple(ran) == COMMANDS
    return ran


def test_each_command_loads_exactly_its_modules(
    traces: dict[str, Trace], expected: dict[str, set[str]]
) -> None:
    loaded = {each: trace.modules for each, trace in traces.items()}
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


def _outermost(function: str) -> str:
    """The function that a function of a list belongs to: whether a comprehension is one depends on Python's version."""
    return function.partition(".<locals>.<")[0]


def _existing() -> set[str]:
    """All functions that are frozen into the binary."""
    frozen = freeze.closure(build.FROZEN_FROM, [*build.ROOTS, build.STANDINS])
    found, waiting = set(), [marshal.loads(module.code) for module in frozen]
    while waiting:
        code = waiting.pop()
        found.add(f"{code.co_filename} {code.co_qualname}")
        waiting += [each for each in code.co_consts if isinstance(each, CodeType)]
    return found


def _write_functions(traces: dict[str, Trace]) -> None:
    """Add what is new to the list, and take away what exists no longer: one machine can't call everything."""
    rows = {
        name: row for row, _, name in (line.partition(" ") for line in FUNCTIONS.read_text().splitlines())
    }
    for command in (*HEAVY, *HOT):
        for name in traces[command].functions:
            rows[name] = "hot" if command in HOT else rows.get(name, "heavy")
    existing = _existing()
    lines = [f"{rows[name]} {name}\n" for name in sorted(rows) if _outermost(name) in existing]
    FUNCTIONS.write_text("".join(lines))


def test_functions_that_commands_call_are_known_to_the_build(traces: dict[str, Trace]) -> None:
    """Nearly all that a command calls is in the list of functions.txt, in the row of hot ones if it should be fast."""
    if os.environ.get("PYRUN_UPDATE"):
        _write_functions(traces)
    lines = [line.partition(" ") for line in FUNCTIONS.read_text().splitlines()]
    known = {row: {name for other, _, name in lines if other == row} for row in ("hot", "heavy")}
    for command in (*HOT, *HEAVY):
        listed = known["hot"] if command in HOT else known["hot"] | known["heavy"]
        missing = traces[command].functions - listed
        assert len(missing) <= len(traces[command].functions) / 10, (command, sorted(missing))


def test_functions_that_are_known_to_the_build_exist() -> None:
    """A name of the list that is no function's costs nothing, but its function has probably another one now."""
    names = [line.partition(" ")[2] for line in FUNCTIONS.read_text().splitlines()]
    existing = _existing()
    gone = [name for name in names if _outermost(name) not in existing]
    assert len(gone) <= len(names) / 10, gone
