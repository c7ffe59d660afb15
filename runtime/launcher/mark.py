"""Which objects commands write to: run by the program itself while it is built, on all that it has loaded (layout.py).

Who calls a function counts references to it, to its code, constants and default values, and to all that its names lead
to. A line is printed for each of these: the row and the address.
"""

from __future__ import annotations

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any

FUNCTION, MODULE, CODE = type(lambda: 0), type(sys), type((lambda: 0).__code__)
WRAPPED = (staticmethod, classmethod)
SEQUENCES = (tuple, list, frozenset, set)
BUILTIN = {str, bytes, bytearray, list, tuple, dict, set, frozenset, int, bool, type, object, memoryview}
ALWAYS = ("__class__", "__dict__", "__len__", "__bool__", "stat_result")  # looked up without being named
MODULES = ("posix", "builtins")  # used without being named

rows: dict[str, int] = {}  # of the functions that commands call: "file name"
marked: dict[int, tuple[int, object]] = {}  # by id: the row, and the object, which is so kept
attributes: dict[str, list[Any]] = {}  # all values of an attribute of this name


def row_of(code: CodeType) -> int:
    """The row of a function's code, 0 if no command calls it."""
    return rows.get(f"{code.co_filename} {code.co_qualname}", 0)


def mark(thing: object, row: int) -> bool:
    """Note that an object is written to; False if that was known."""
    if marked.get(id(thing), (0, None))[0] >= row:
        return False
    marked[id(thing)] = row, thing
    return True


def mark_if_no_function(thing: object, row: int) -> None:
    """A function counts when it's called, and not where it is named."""
    if not isinstance(thing, FUNCTION):
        mark(thing, row)


def mark_value(thing: Any, row: int, depth: int = 2) -> None:
    """A constant, or what a name leads to; of tables and classes, also what lies in them."""
    if not mark(thing, row) or not depth:
        return
    if isinstance(thing, (*SEQUENCES, dict)):
        for each in thing.values() if isinstance(thing, dict) else thing:
            mark_value(each, row, depth - 1)
    elif isinstance(thing, type) and thing not in BUILTIN:
        for each in vars(thing).values():
            mark_if_no_function(each, row)


def mark_module(module: ModuleType, row: int) -> None:
    """What an import statement counts, and a look at a module's names."""
    spec = vars(module).get("__spec__")
    for each in (module, vars(module), spec):
        mark(each, row)
    if spec:
        mark(vars(spec), row)


def mark_name(name: str, row: int, spaces: list[dict[str, Any]]) -> None:
    """What a name in a function leads to: in its dictionaries, as an attribute, or in an import statement."""
    mark(name, row)
    found = [space[name] for space in spaces if name in space]
    for value in found:
        if not isinstance(value, FUNCTION):
            mark_value(value, row)
    for value in attributes.get(name, ()):
        mark_if_no_function(value, row)
    for module in [*found, sys.modules.get(name)]:
        if isinstance(module, MODULE):
            mark_module(module, row)


def mark_code(code: CodeType, spaces: list[dict[str, Any]]) -> None:
    """A code object and all code in it; `spaces` are the dictionaries that its names are looked up in."""
    row = row_of(code)
    for each in code.co_consts:
        if row:
            mark_value(each, row)
        if isinstance(each, CODE):
            mark_code(each, spaces)
            if row:
                mark(each.co_name, row)
                mark(each.co_qualname, row)
    if row:
        mark(code, row)
        for name in code.co_names:
            mark_name(name, row, spaces)


def mark_function(function: Any) -> None:
    """A function with what it holds."""
    row = row_of(function.__code__)
    if row:
        mark(function, row)
        mark_module(sys.modules[function.__module__], row)
        mark_value(function.__defaults__, row)
        mark_value(function.__kwdefaults__, row)
        for cell in function.__closure__ or ():
            mark(cell, row)
            mark_value(cell.cell_contents, row)
    mark_code(function.__code__, [function.__globals__, vars(sys.modules["builtins"])])


def functions_in(thing: Any, found: dict[int, Any]) -> None:
    """All functions that an object leads to, by their id."""
    if isinstance(thing, WRAPPED):
        functions_in(thing.__func__, found)
    elif isinstance(thing, property):
        functions_in(thing.fget, found)
    elif isinstance(thing, FUNCTION) and id(thing) not in found:
        found[id(thing)] = thing
        for cell in thing.__closure__ or ():
            functions_in(cell.cell_contents, found)
    elif isinstance(thing, SEQUENCES):
        for each in thing:
            functions_in(each, found)
    elif type(thing) is dict:
        for each in thing.values():
            functions_in(each, found)


def main() -> None:
    """Mark and print."""
    modules = [module for module in sys.modules.values() if isinstance(module, MODULE)]
    classes = {t for module in modules for t in vars(module).values() if isinstance(t, type)}
    functions: dict[int, Any] = {}
    for space in [vars(each) for each in (*BUILTIN, *classes, *modules)]:
        for name, value in list(space.items()):
            attributes.setdefault(name, []).append(value)
            if name not in ("modules", "__builtins__"):
                functions_in(value, functions)
    hot = max(rows.values())
    for each in BUILTIN | classes:
        mark(each.__mro__, hot)
    for name in ALWAYS:
        for value in attributes.get(name, ()):
            mark(value, hot)
    for name in MODULES:
        mark_module(sys.modules[name], hot)
    for function in functions.values():
        mark_function(function)
    for address, (row, _) in marked.items():
        posix.write(1, f"{row} {address}\n".encode())
