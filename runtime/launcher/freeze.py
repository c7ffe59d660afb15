"""Which modules belong into the binary, and their code: compiled, stripped and marshalled.

A hot module is pyrun.main, the module of a hot command, or what one of them imports, directly or not. Every import
that stands in one is followed, inside functions too, so that "frozen" never depends on which command was tried. What
a hot module may import besides other hot ones is a short list; a forbidden import stops the build and names the line.
"""

from __future__ import annotations

import _imp
import ast
import marshal
from pathlib import Path
from typing import NamedTuple

#: What the interpreter and the binary bring along, linked in.
BUILTIN = frozenset("sys posix errno time builtins _operator _pyrun_kernel _pyrun_build _pyrun_json".split())


class Module(NamedTuple):
    """A frozen module: dotted name, marshalled code, whether it is a package."""

    name: str
    code: bytes
    is_package: bool


def find(name: str, roots: list[Path]) -> Path | None:
    """The source of a module or package under one of the roots."""
    for root in roots:
        base = root.joinpath(*name.split("."))
        for path in (base / "__init__.py", base.with_suffix(".py")):
            if path.is_file():
                return path
    return None


class _Strip(ast.NodeTransformer):
    """Take away what running code has no use for: annotations and what only type checkers execute."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == "__future__" else node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return self.generic_visit(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt] | None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return [self.visit(statement) for statement in node.orelse]
        return self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> ast.AST | list[ast.stmt]:
        """`try: import linked_in / except ImportError: the unfrozen way`: the first always succeeds here."""
        handlers = [h.type.id for h in node.handlers if isinstance(h.type, ast.Name)]
        if handlers == ["ImportError"] and all(
            isinstance(s, (ast.Import, ast.ImportFrom)) for s in node.body
        ):
            return node.body + node.orelse
        return self.generic_visit(node)


def _filled(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            if field == "body" and isinstance(
                node, (ast.ClassDef, ast.FunctionDef, ast.If, ast.For, ast.With, ast.Try)
            ):
                node.body = node.body or [ast.copy_location(ast.Pass(), node)]
    return ast.fix_missing_locations(tree)


def strip(source: str, filename: str) -> ast.Module:
    """The syntax tree of a module without annotations, type-checking blocks and fallbacks for the unfrozen way."""
    return _filled(_Strip().visit(ast.parse(source, filename)))


def imports(tree: ast.Module, package: str) -> list[tuple[str, str, int]]:
    """Every import in a tree: (module, name imported from it or "", line)."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, "", node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise SystemExit(
                    f"{package}: line {node.lineno}: relative imports aren't followed; write the full name"
                )
            found += [(node.module or "", alias.name, node.lineno) for alias in node.names]
    return found


def interpreters_own() -> list[Module]:
    """The import system, which the interpreter has frozen, too; of the interpreter that runs this."""
    names = ("_frozen_importlib", "_frozen_importlib_external")
    return [Module(name, marshal.dumps(_imp.get_frozen_object(name)), False) for name in names]


def closure(start: list[str], roots: list[Path]) -> list[Module]:
    """The modules named in `start` and all that they import, sorted by name; SystemExit names a forbidden import."""
    waiting, done = list(start), dict[str, Module]()
    while waiting:
        name = waiting.pop()
        if name in done or name in BUILTIN:
            continue
        path = find(name, roots)
        if path is None:
            raise SystemExit(f"{name}: not found under {', '.join(map(str, roots))}")
        root = next(root for root in roots if path.is_relative_to(root))
        filename = str(path.relative_to(root))
        tree = strip(path.read_text(), filename)
        code = compile(tree, filename, "exec", dont_inherit=True, optimize=2)
        done[name] = Module(name, marshal.dumps(code), path.name == "__init__.py")
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        for module, attribute, line in imports(tree, name):
            if attribute and find(f"{module}.{attribute}", roots):
                waiting.append(f"{module}.{attribute}")
            if module not in BUILTIN and find(module, roots) is None:
                raise SystemExit(
                    f"{path}:{line}: a hot module may not import {module}: it isn't linked into the binary"
                )
            waiting.append(module)
    return [done[name] for name in sorted(done)]
