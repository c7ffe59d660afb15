"""The tables of the stories hold together: who asks, what is said, and what each row may know."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import pytest

from oci_spec import schema
from pyrun.commandline.table import COMMANDS
from pyrun.story import carried, create, exec_, facts, inside, inside_exec, last, making

# The rows of a story in the order of the work: the parent's until the child is born, the child's, and so on.
PARENTS = {"create": (*create.PREPARE, *create.PARENT), "exec": exec_.PARENT}
CHILDREN = {"create": inside.INSIDE, "exec": inside_exec.INSIDE}
TABLES = {
    "create": PARENTS["create"],
    "exec": PARENTS["exec"],
    "inside": CHILDREN["create"],
    "inside_exec": CHILDREN["exec"],
    "last": last.LAST,
}
ROWS = [(table, row) for table, rows in TABLES.items() for row in rows]


def properties() -> set[str]:
    """The JSON paths of the spec's properties, without places in lists."""

    def walk(node: dict[str, Any], path: str) -> Iterator[str]:
        for name, child in node.get("properties", {}).items():
            yield f"{path}{name}"
            yield from walk(child, f"{path}{name}.")

    return set(walk(schema.schema("config"), ""))


def named() -> set[str]:
    return {value for name, value in vars(facts).items() if name.isupper() and isinstance(value, str)}


def options() -> set[str]:
    return {names[0] for command in ("create", "run", "exec") for names, *_ in COMMANDS[command][1]}


@pytest.mark.parametrize(("table", "row"), ROWS, ids=[f"{table}: {row[1]}" for table, row in ROWS])
def test_a_row_is_asked_for_by_something_that_there_is(table: str, row: tuple[str, str, object]) -> None:
    """Who asks is a property of the spec, an option of the command, or a fact that has a name; and the words are a
    gerund phrase, as errors and --debug show them."""
    by, words, _ = row
    assert by in properties() | named() | options(), f"{table}: {by}"
    assert words.split()[0].endswith("ing"), words
    assert words[0].islower() and words[-1] != ".", words


def function_tree(function: FunctionType) -> ast.FunctionDef:
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


def uses(function: FunctionType, seen: set[FunctionType]) -> Iterator[tuple[str, bool]]:
    """The fields of its first parameter that a function reads or sets, in order, and those of functions of the same
    module that it hands the object to: name, is it set?"""
    if function in seen:
        return
    seen.add(function)
    tree = function_tree(function)
    name = tree.args.args[0].arg
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name:
            yield node.attr, isinstance(node.ctx, ast.Store)
        if isinstance(node, ast.Call) and any(isinstance(a, ast.Name) and a.id == name for a in node.args):
            called = resolve(function, node.func)
            if called is not None:
                yield from uses(called, seen)


def resolve(function: FunctionType, node: ast.expr) -> FunctionType | None:
    found: object = None
    if isinstance(node, ast.Name):
        found = function.__globals__.get(node.id)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        found = getattr(function.__globals__.get(node.value.id), node.attr, None)
    return found if isinstance(found, FunctionType) and found.__module__.startswith("pyrun.") else None


def initial(kind: type) -> set[str]:
    """The fields that an object has from its birth on, and its methods."""
    tree = function_tree(kind.__init__)  # type: ignore[misc]
    fields = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    return fields | {name for name, value in vars(kind).items() if isinstance(value, FunctionType)}


@pytest.mark.parametrize("story", PARENTS)
def test_no_row_reads_a_field_that_only_a_later_row_sets(story: str) -> None:
    """By the source of the rows' functions, and of what they hand the object to."""
    check(PARENTS[story], initial(making.Making) | {"container"})
    check(CHILDREN[story], initial(making.Inside) | {"sync"})
    check(last.LAST, initial(last.Last))


def check(rows: tuple[tuple[str, str, Callable[..., None]], ...], known: set[str]) -> None:
    for by, words, function in rows:
        assert isinstance(function, FunctionType)
        found = list(uses(function, set()))
        known |= {field for field, is_set in found if is_set}
        unknown = {field for field, is_set in found if not is_set} - known
        assert not unknown, f"{words} (for {by}) reads {sorted(unknown)}, which no row before has set"


@pytest.mark.parametrize("kind", [making.Making, making.Inside, last.Last])
def test_each_field_is_used(kind: type) -> None:
    """No field of the objects is left over from a row that is gone."""
    tables: dict[type, dict[str, Any]] = {
        making.Making: PARENTS,
        making.Inside: CHILDREN,
        last.Last: {"": last.LAST},
    }
    rows = [row for rows in tables[kind].values() for row in rows]
    fields = {field for _, _, function in rows for field, _ in uses(function, set())}
    texts = "".join(inspect.getsource(module) for module in (create, exec_, last))
    left = {name for name in kind.__slots__ if name not in fields and f".{name}" not in texts}  # type: ignore[attr-defined]
    assert not left


def test_each_property_of_the_spec_is_carried_out_by_what_is_named() -> None:
    """Those that ride along name a row that there is, or a command; and no row makes that superfluous."""
    rows = [*TABLES.values(), last.LAST]
    words = {row[1] for table in rows for row in table}
    asking = {row[0] for table in rows for row in table}
    for path, where in carried.ALONG.items():
        assert path in carried.SPEC, path
        assert path not in asking, path
        assert where in words | {
            "reading the configuration",
            "becoming stage 2",
            "start",
            "delete",
            "exec",
        }, path


def test_what_has_no_row_is_refused_by_its_name() -> None:
    """A spec of one more property refuses it."""
    left = carried.left(inside.INSIDE)
    assert "process.oomScoreAdj" in left
    assert "linux.sysctl" not in left
    refused = carried.refusals({"process": {"oomScoreAdj": 0}, "linux": {"seccomp": {}}}, left)
    assert [error.json_path for error in refused] == ["process.oomScoreAdj"]
