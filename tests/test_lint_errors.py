"""Errors are made once, with all that is known: nobody edits one that was raised, and errno values have names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

RUNTIME = Path(__file__).resolve().parents[1] / "runtime/pyrun"
FILES = sorted(RUNTIME.rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(RUNTIME))


def edited(tree: ast.Module) -> Iterator[str]:
    """Assignments to an attribute of what an except clause has caught, but for click's errors, which are made so."""
    for handler in ast.walk(tree):
        if isinstance(handler, ast.ExceptHandler) and handler.name and "click" not in ast.unparse(handler):
            for node in ast.walk(handler):
                if isinstance(node, ast.Assign):
                    for target in node.targets:
                        if (
                            isinstance(target, ast.Attribute)
                            and isinstance(target.value, ast.Name)
                            and target.value.id == handler.name
                        ):
                            yield ast.unparse(node)


def numbered(tree: ast.Module) -> Iterator[str]:
    """Comparisons of an errno with a number that isn't 0."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and ast.unparse(node.left).endswith("errno"):
            for other in node.comparators:
                values = other.elts if isinstance(other, (ast.Tuple, ast.Set, ast.List)) else [other]
                if any(isinstance(value, ast.Constant) and value.value for value in values):
                    yield ast.unparse(node)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_exception_is_edited_after_it_was_raised(path: Path) -> None:
    assert not list(edited(ast.parse(path.read_text())))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_errno_values_are_compared_by_name(path: Path) -> None:
    assert not list(numbered(ast.parse(path.read_text())))


def test_the_lints_see_what_they_are_to_see() -> None:
    bad = "try:\n  pass\nexcept OSError as e:\n  e.filename = 'x'\n  if e.errno in (2, 13): pass\n"
    assert list(edited(ast.parse(bad))) == ["e.filename = 'x'"]
    assert list(numbered(ast.parse(bad))) == ["e.errno in (2, 13)"]
