"""Modules of the hot path import nothing but each other: they run in a half-initialised interpreter."""

from __future__ import annotations

import ast
from pathlib import Path

import oci_spec

PACKAGE = Path(oci_spec.__file__).parent
HOT = {
    "config",
    "fields",
    "linux",
    "linux_rules",
    "mount_options",
    "names",
    "process",
    "resources",
    "rules",
    "version",
}


def imported(name: str) -> set[str]:
    """What a module imports when it runs: statements at its top, without those for type checkers."""
    found: set[str] = set()
    for node in ast.parse((PACKAGE / f"{name}.py").read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = {alias.name for alias in node.names} if node.module == "oci_spec" else {node.module}
            found |= {str(module).removeprefix("oci_spec.") for module in modules}
    return found - {"__future__"}


def test_hot_modules_import_only_hot_modules_of_the_package() -> None:
    for name in HOT:
        assert imported(name) <= HOT, name


def test_hot_modules_import_nothing_inside_functions() -> None:
    for name in HOT:
        for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text())):
            if isinstance(node, ast.FunctionDef):
                inner = [sub for sub in ast.walk(node) if isinstance(sub, (ast.Import, ast.ImportFrom))]
                assert not inner, name


def test_types_are_never_imported_at_run_time() -> None:
    for file in PACKAGE.glob("*.py"):
        assert "types" not in imported(file.stem), file
