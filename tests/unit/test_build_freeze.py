"""What is frozen into the binary: the closure of hot imports, stripped; and that it stays small in what it imports."""

from __future__ import annotations

import ast
import marshal
import sys
import types
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "runtime/launcher"))

import build  # noqa: E402
import freeze  # noqa: E402

# What must never be loaded on the successful path of a hot command.
SLOW = set(
    "argparse click ctypes dataclasses enum importlib.metadata json jsonschema logging os pathlib pyseccomp re"
    " subprocess typing".split()
)


def _closure(tmp_path: Path, files: dict[str, str]) -> dict[str, freeze.Module]:
    for name, text in files.items():
        path = (tmp_path / name).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return {module.name: module for module in freeze.closure(["start"], [tmp_path])}


def test_imports_are_followed_everywhere(tmp_path: Path) -> None:
    files = {
        "start": "import a\ndef later():\n    from package import b\n    import package.c\n",
        "a": "import posix, sys\n",
        "package/__init__": "",
        "package/b": "",
        "package/c": "",
    }
    found = _closure(tmp_path, files)
    assert sorted(found) == ["a", "package", "package.b", "package.c", "start"]
    assert [name for name, module in found.items() if module.is_package] == ["package"]


def test_a_name_imported_from_a_module_is_no_module(tmp_path: Path) -> None:
    assert sorted(_closure(tmp_path, {"start": "from a import number\n", "a": "number = 1\n"})) == [
        "a",
        "start",
    ]


@pytest.mark.parametrize("statement", ["import json", "from os import path", "def f():\n    import re"])
def test_a_forbidden_import_is_named(tmp_path: Path, statement: str) -> None:
    with pytest.raises(SystemExit, match=r"start\.py:\d+: a hot module may not import (json|os|re)"):
        _closure(tmp_path, {"start": f"import posix\n{statement}\n"})


def test_type_checking_and_fallbacks_are_left_out(tmp_path: Path) -> None:
    text = """
from __future__ import annotations
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
try:
    import posix
except ImportError:
    import json
class A:
    "words"
    x: Any
    def f(self, a: Any = 1, *b: Any, **c: Any) -> Any:
        "words"
        y: Any = a
        return y
"""
    code = marshal.loads(_closure(tmp_path, {"start": text})["start"].code)
    namespace: dict[str, object] = {"__name__": "start"}
    exec(code, namespace)
    found = namespace["A"]
    assert isinstance(found, type)
    assert found().f() == 1  # type: ignore[attr-defined]
    assert "__annotations__" not in vars(found)
    assert not found.__dict__["f"].__annotations__
    assert found.__doc__ is None
    assert found.__dict__["f"].__doc__ is None


def _constants(code: types.CodeType) -> list[object]:
    inner = [
        each
        for constant in code.co_consts
        if isinstance(constant, types.CodeType)
        for each in _constants(constant)
    ]
    return [*code.co_consts, *inner, code.co_filename]


@pytest.fixture(scope="module")
def hot() -> list[freeze.Module]:
    return freeze.closure(build.FROZEN_FROM, [*build.ROOTS, build.STANDINS])


def test_the_hot_modules_import_nothing_slow(hot: list[freeze.Module]) -> None:
    names = {module.name for module in hot}
    assert {"pyrun.main", "pyrun.commands.create", "pyrun.story.inside", "oci_spec.config"} <= names
    assert not names & SLOW
    assert not {name for name in names if name.split(".")[0] in SLOW}
    assert {name.split(".")[0] for name in names} == {"pyrun", "oci_spec", "simplejson", "operator"}


def test_no_path_of_the_build_machine_is_frozen(hot: list[freeze.Module]) -> None:
    for module in hot:
        for constant in _constants(marshal.loads(module.code)):
            assert not (isinstance(constant, str) and str(REPOSITORY) in constant), module.name


# The binary's memory is a snapshot taken at build time (snapshot.c), so a module's top level runs on the machine that
# builds, once. What depends on the process or the host must be asked in a function.
ASKS = set(
    "access environ getcwd getegid geteuid getgid getpid getppid getuid listdir lstat monotonic monotonic_ns open"
    " readlink sched_getaffinity stat time time_ns umask uname urandom".split()
)


@pytest.mark.parametrize(
    "name", [module.name for module in freeze.closure(build.FROZEN_FROM, [*build.ROOTS, build.STANDINS])]
)
def test_no_hot_module_asks_the_host_when_it_is_imported(name: str) -> None:
    path = freeze.find(name, [*build.ROOTS, build.STANDINS])
    assert path
    waiting: list[ast.AST] = list(freeze.strip(path.read_text(), str(path)).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in ASKS, f"{path}:{node.lineno}: this runs at build time"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "posix":
            assert node.attr != "environ", f"{path}:{node.lineno}: this is the builder's environment"
        waiting += ast.iter_child_nodes(node)
