"""Parse argv by the command table in a few lines. Hot module.

What engines send is understood here. Everything else (help, abbreviations, a usage error to be explained) makes
`parse` return None, and click parses the same argv by the same table in a full interpreter.
"""

from __future__ import annotations

from pyrun.commandline.table import BOOLEANS, COLD_FLAG, COMMANDS, FLAG, GLOBAL, MANY, NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Values = dict[str, str | int | bool | list[str]]
    Option = tuple[tuple[str, ...], str, str, str]


def take_options(
    args: list[str], table: Iterable[Option], intermixed: bool
) -> tuple[Values, list[str]] | None:
    """Split `args` into option values by key and the rest; None if they don't fit the table.

    The rest starts at the first word that is no option, unless options may be `intermixed`.
    """
    known = {name: (names[0][2:], kind) for names, kind, _, _ in table if kind != COLD_FLAG for name in names}
    values: Values = {}
    rest: list[str] = []
    at = 0
    while at < len(args):
        word = args[at]
        at += 1
        if word == "--":
            return values, rest + args[at:]
        if word[:1] != "-" or word == "-":
            if not intermixed:
                return values, args[at - 1 :]
            rest.append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in known:
            name = "-" + name  # -root, as Go programs write it
            if name not in known:
                return None
        key, kind = known[name]
        if kind == FLAG:
            if equals and value not in BOOLEANS:
                return None
            values[key] = True
            if equals and not BOOLEANS[value]:
                del values[key]
            continue
        if not equals:
            if at == len(args):
                return None
            value = args[at]
            at += 1
        if kind == NUMBER:
            if not (value.isascii() and value.isdigit() and len(value) < 10):
                return None
            values[key] = int(value)
        elif kind == MANY:
            given = values.setdefault(key, [])
            assert isinstance(given, list)
            given.append(value)
        else:
            values[key] = value
    return values, rest


def takes_all_that_remain(arguments: tuple[str, ...]) -> bool:
    """Does the last argument of a command stand for all words that remain, whatever they look like?"""
    return bool(arguments) and arguments[-1][-3:] == "..."


def parse(args: list[str]) -> tuple[Values, str, Values, list[str]] | None:
    """Return global options, command, its options and its arguments; None if click has to look at it."""
    taken = take_options(args, GLOBAL, intermixed=False)
    if taken is None:
        return None
    global_values, rest = taken
    if not rest:
        return (global_values, "--version", {}, []) if global_values.get("version") else None
    command = rest[0]
    if command not in COMMANDS or global_values.get("version"):
        return None
    arguments, table, _, _ = COMMANDS[command]
    all_that_remain = takes_all_that_remain(arguments)
    taken = take_options(rest[1:], table, intermixed=not all_that_remain)
    if taken is None:
        return None
    needed = len([name for name in arguments if name[0] != "["])
    if len(taken[1]) < needed or (len(taken[1]) > len(arguments) and not all_that_remain):
        return None
    return global_values, command, taken[0], taken[1]
