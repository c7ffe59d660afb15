"""Imports point one way, and hot modules hold nothing that a half-initialised interpreter can't do.

All by the syntax tree: nothing is imported or run. What stands under `if TYPE_CHECKING:` doesn't count, as it is never
executed.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
if str(REPOSITORY / "runtime") not in sys.path:
    sys.path.insert(0, str(REPOSITORY / "runtime"))

from pyrun.commandline import table  # noqa: E402

ROOTS = [REPOSITORY / name for name in ("runtime", "spec", "conformance")]
PACKAGES = ("pyrun", "oci_spec", "oci_conformance")

# Layer -> what belongs to it: packages, or modules by name. Earlier lines win.
LAYERS = {
    "spec": "oci_spec",
    "suite.core": "oci_conformance.core",
    "suite.run": "oci_conformance.run",
    "suite.support": "oci_conformance.profiles.support",
    "suite.profiles": "oci_conformance.profiles",
    "suite.report": "oci_conformance.report",
    "suite.mutants": "oci_conformance.mutants",
    "suite": "oci_conformance",
    "kernel": "pyrun.kernel",
    "base": "pyrun.base",  # how an error reads, JSON, facts of the build, the log, what parent and child say
    "paths": "pyrun.paths",
    "cgroups": "pyrun.cgroups",
    "features": "pyrun.features",
    "container": "pyrun.container",
    "story": "pyrun.story",
    "commands": "pyrun.commands",
    "commandline": "pyrun.commandline",  # finds commands by their names, and so imports none
    "main": "pyrun",
}

# Who may import whom besides its own layer, and why. What isn't a layer is that module alone.
ARROWS = (
    # The conformance suite never imports the runtime, whose judge it is.
    ("suite.core", "oci_spec.types", "what a configuration is made of"),
    ("suite.support", "oci_spec.types", "what a configuration is made of"),
    ("suite.run", "suite.core", "workers call the runtime, results have their types there"),
    ("suite.run", "spec", "the catalogue of requirements"),
    ("suite.run", "oci_conformance", "the suite's version"),
    ("suite.support", "suite.core", "what tests share is made of bundles and containers"),
    ("suite.support", "suite.run", "the case that a test is given"),
    ("suite.profiles", "suite.core", "tests are made of bundles and containers"),
    ("suite.profiles", "suite.run", "@test, and the case that a test is given"),
    ("suite.profiles", "suite.support", "what they share"),
    ("suite.profiles", "spec", "names and tables of the specification"),
    ("suite.report", "suite.core", "the types of results"),
    ("suite.report", "suite.run", "the run that is shown"),
    ("suite.report", "spec", "the catalogue of requirements"),
    ("suite.mutants", "suite.core", "the types of results"),
    ("suite.mutants", "suite.run", "the suite is run against them"),
    ("suite.mutants", "spec", "they are made of the tables"),
    ("suite", "suite.core", "the command line: the host, the runtime's file"),
    ("suite", "suite.run", "the command line: what is run"),
    ("suite", "suite.report", "the command line: what is shown"),
    ("suite", "suite.mutants", "the command line: the command mutants"),
    ("base", "kernel", "writing the log, messages"),
    ("paths", "kernel", "system calls"),
    ("cgroups", "base", "errors"),
    ("cgroups", "kernel", "system calls"),
    ("cgroups", "spec", "what a limit of 0 means depends on the version of the specification"),
    ("features", "base", "errors, JSON, and seccomp's way to the compiler"),
    ("features", "kernel", "system calls"),
    ("features", "spec", "names and their numbers"),
    ("features", "paths", "the one way from a container's path to a file, and to /proc"),
    ("container", "base", "errors, JSON, the log"),
    ("container", "kernel", "files and locks"),
    ("container", "cgroups", "paused is what the freezer says"),
    ("story", "base", "errors, JSON, the log, the protocol"),
    ("story", "kernel", "system calls"),
    ("story", "cgroups", "made, limited and removed by the parent, entered by the child"),
    ("story", "features", "what is done; the story says when"),
    ("story", "paths", "where the program and its working directory are"),
    ("story", "container", "the record, its locks and the status"),
    ("story", "spec", "parsing and checking config.json"),
    ("commands", "base", "errors and JSON"),
    ("commands", "kernel", "signals, and writing to standard output"),
    ("commands", "story", "what they are for"),
    ("commands", "container", "finding it, and its status"),
    ("commands", "spec", "spec, features and validate"),
    ("commands", "cgroups", "processes, limits and statistics are the cgroup's affair, not the life cycle's"),
    ("commands", "features", "what this runtime can do, and what of a configuration it can't"),
    ("commands", "commandline", "help and completion are made from the command table"),
    ("commandline", "base", "errors and the log"),
    ("commandline", "container", "ids for --regex"),
    ("main", "base", "errors, the log, the way to the full interpreter"),
    ("main", "commandline", "parsing argv, and running what it says"),
)

# What a hot module may import that isn't ours: linked into the binary (runtime/launcher/freeze.py).
LINKED_IN = {"posix", "errno", "time", "sys", "_pyrun_kernel", "_pyrun_build", "__future__"}
SCANNERS = {"simplejson._speedups", "_json"}  # of pyrun.base.jsontext alone: linked in, or the unfrozen way's
# What imports something, or needs io, which isn't there.
FORBIDDEN_CALLS = {"print", "open", "input", "eval", "exec", "compile", "__import__"}
# Only what the command table names, which the build asks, too.
ALLOWED_CALLS = {("pyrun.commandline.dispatch", "__import__(table.module(command), None, None, ('run',))")}
# Codecs, and error handlers per direction, that the interpreter's core has in C without a look-up.
CODECS = {"utf-8", "ascii", "latin-1"}
HANDLERS = {
    "decode": {"replace", "ignore", "surrogateescape"},
    "encode": {"replace", "ignore", "surrogateescape", "surrogatepass", "backslashreplace"},
}


@cache
def modules() -> dict[str, Path]:
    """Every module of ours under the roots, by dotted name."""
    found = {}
    for root in ROOTS:
        for package in PACKAGES:
            for path in (root / package).rglob("*.py"):
                name = ".".join(path.relative_to(root).with_suffix("").parts)
                found[name.removesuffix(".__init__")] = path
    return found


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(modules()[name].read_text(), str(modules()[name]))


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below one, but for what only type checkers see: TYPE_CHECKING blocks and annotations."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST):
                continue
            yield child
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                for other in child.orelse:
                    yield from executed(other)
            else:
                yield from executed(child)


@cache
def imports(name: str) -> dict[str, int]:
    """What a module imports when it runs, at its top or in functions: module -> line."""
    found: dict[str, int] = {}
    for node in executed(tree(name)):
        if isinstance(node, ast.Import):
            found.update({alias.name: node.lineno for alias in node.names})
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{name}:{node.lineno}: write the full name"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found[whole if whole in modules() else node.module] = node.lineno
    return found


def layer(name: str) -> str:
    for one, members in LAYERS.items():
        for member in members.split():
            if name == member or name.startswith(member + "."):
                return one
    raise AssertionError(f"{name} belongs to no layer")


def arrows() -> Iterator[tuple[str, str, int]]:
    """Every import of ours by ours that crosses layers."""
    for name in modules():
        for target, line in imports(name).items():
            if target.partition(".")[0] in PACKAGES and layer(target) != layer(name):
                yield name, target, line


def allows(row: tuple[str, str, str], name: str, target: str) -> bool:
    return row[0] in (name, layer(name)) and row[1] in (target, layer(target))


def test_every_arrow_is_in_the_table() -> None:
    wrong = [
        f"{modules()[name].relative_to(REPOSITORY)}:{line}: {name} ({layer(name)}) must not import "
        f"{target} ({layer(target)})"
        for name, target, line in arrows()
        if not any(allows(row, name, target) for row in ARROWS)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("row", ARROWS, ids=lambda row: f"{row[0]} to {row[1]}")
def test_the_table_has_no_arrow_that_nobody_needs(row: tuple[str, str, str]) -> None:
    assert any(allows(row, name, target) for name, target, _ in arrows())
    assert row[2]


def test_the_table_has_no_way_up() -> None:
    """Between layers there is no circle (arrows of single modules aside, which are exceptions with a reason)."""
    edges: dict[str, set[str]] = {}
    for source, target, _ in ARROWS:
        if source in LAYERS and target in LAYERS:
            edges.setdefault(source, set()).add(target)
    done: set[str] = set()
    while edges.keys() - done:
        free = [
            one for one, targets in edges.items() if one not in done and not (targets & edges.keys()) - done
        ]
        assert free, f"a circle among {sorted(edges.keys() - done)}"
        done.update(free)


def test_modules_import_in_no_circle() -> None:
    """Not at their tops, nor later in functions."""
    waiting = {name: set(imports(name)) & modules().keys() - {name} for name in modules()}
    while waiting:
        free = [name for name, targets in waiting.items() if not targets & waiting.keys()]
        assert free, f"a circle among {sorted(waiting)}"
        for name in free:
            del waiting[name]


@cache
def hot() -> frozenset[str]:
    """What pyrun.main or a hot command imports, directly or not: what is frozen into the binary."""
    found, waiting = set(), ["pyrun.main", *table.hot_modules()]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            parents = [name.rpartition(".")[0]] if "." in name else []
            waiting += [target for target in [*imports(name), *parents] if target in modules()]
    return frozenset(found)


def place(name: str, node: ast.AST | int) -> str:
    line = node if isinstance(node, int) else getattr(node, "lineno", 0)
    return f"{modules()[name].relative_to(REPOSITORY)}:{line}"


def test_hot_modules_import_only_what_is_linked_in() -> None:
    for name in hot():
        for target, line in imports(name).items():
            allowed = LINKED_IN | (SCANNERS if name == "pyrun.base.jsontext" else set())
            assert target in allowed or target in hot(), f"{place(name, line)}: {target}"


def test_kernel_and_spec_import_nothing_else_of_ours() -> None:
    for name in modules():
        if layer(name) in ("kernel", "spec"):
            ours = {target for target in imports(name) if target in modules()}
            assert {layer(target) for target in ours} <= {layer(name)}, name


@pytest.mark.parametrize("name", [name for name in modules() if name.startswith("pyrun.")])
def test_each_module_says_whether_it_is_hot(name: str) -> None:
    text = " ".join((ast.get_docstring(tree(name)) or "").split()).lower()
    if modules()[name].name in ("__init__.py", "__main__.py", "build.py"):
        return
    assert ("hot module" in text) == (name in hot()), f"{name} is {'hot' if name in hot() else 'cold'}"
    assert ("cold module" in text) == (name not in hot()), f"{name} is {'hot' if name in hot() else 'cold'}"


def test_hot_modules_hold_no_lone_surrogate() -> None:
    """marshal writes such a text with surrogatepass, for which the frozen module would want an error handler."""
    for name in hot():
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value.encode("utf-8", "replace").decode() == node.value, place(name, node)


def test_hot_modules_look_up_no_codec_and_no_error_handler() -> None:
    for name in hot():
        for node in executed(tree(name)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr not in HANDLERS:
                continue
            words = [*node.args, *(keyword.value for keyword in node.keywords)]
            if any(not isinstance(word, ast.Constant) for word in words):
                # a function of ours with that name, such as jsontext.encode(value)
                assert ast.unparse(node.func.value) == "jsontext", place(name, node)
                continue
            values = [word.value for word in words if isinstance(word, ast.Constant)]
            assert not values[:1] or values[0] in CODECS, place(name, node)
            assert not values[1:] or values[1] in HANDLERS[node.func.attr], place(name, node)


def test_hot_modules_call_nothing_that_needs_io_or_compiles() -> None:
    for name in hot():
        for node in executed(tree(name)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                allowed = (name, ast.unparse(node)) in ALLOWED_CALLS
                assert allowed or node.func.id not in FORBIDDEN_CALLS, place(name, node)


def test_all_tests_can_be_collected_in_one_run() -> None:
    """No test imports conftest (which one that is depends on what else is run), no two modules have one name."""
    folders: dict[str, Path] = {}
    for path in sorted((REPOSITORY / "tests").rglob("*.py")):
        text = path.read_text()
        assert not re.search(r"^\s*(from|import) conftest\b", text, re.MULTILINE), path
        if path.name not in ("conftest.py", "__init__.py") and not (path.parent / "__init__.py").exists():
            assert folders.setdefault(path.name, path.parent) == path.parent, path


def test_what_tests_import_from_each_other_is_there() -> None:
    """A name that goes from a module of tests may be another's, which then can't be collected."""
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("test_")):
                continue
            source = path.with_name(f"{node.module}.py")
            missing = {alias.name for alias in node.names} - names_in(source)
            assert not missing, f"{path}:{node.lineno}: {source.name} has no {missing}"


@cache
def names_in(path: Path) -> frozenset[str]:
    """Every name that a module gives to something."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    return frozenset(found)
