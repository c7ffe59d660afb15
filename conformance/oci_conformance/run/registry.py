"""Which tests there are: `@test` names the requirements that a function shows, and what a host needs for it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from oci_conformance.run.requirements import PROFILES

if TYPE_CHECKING:
    from oci_conformance.run.case import Case

Function = Callable[["Case"], None]
PACKAGE = "oci_conformance.profiles"  # found by name: tests import us, not we them


@dataclass(frozen=True)
class Test:
    """One test: a function, and what is said about it."""

    name: str  # module.function, unique
    title: str  # first line of the docstring
    ids: tuple[str, ...]  # requirements that it gives verdicts on
    function: Function
    needs: tuple[str, ...]  # see host.py
    may_refuse: bool  # the text permits a runtime to lack this: a refusal is `unsupported`
    profile: str
    slow: bool  # started first, so that it doesn't run alone at the end


_tests: dict[str, Test] = {}


def test(
    *ids: str, needs: tuple[str, ...] = (), may_refuse: bool = False, slow: bool = False
) -> Callable[[Function], Function]:
    """Register a test function. Its profile is that of the package which its module is in."""

    def register(function: Function) -> Function:
        profile, _, module = function.__module__.removeprefix(f"{PACKAGE}.").partition(".")
        name = f"{module}.{function.__name__}"
        assert name not in _tests, f"two tests are called {name}"
        assert ids, f"{name} names no requirement"
        title = (function.__doc__ or "").strip().split("\n")[0]
        assert title, f"{name} has no docstring"
        assert profile in PROFILES, f"{name} isn't in the package of a profile"
        _tests[name] = Test(name, title, ids, function, needs, may_refuse, profile, slow)
        return function

    return register


@cache
def tests() -> dict[str, Test]:
    """All tests, by name, in the order of packages, modules and lines."""
    for profile in PROFILES:
        package = importlib.import_module(f"{PACKAGE}.{profile}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    return _tests


def select(profiles: tuple[str, ...], ids: frozenset[str], expression: str = "") -> list[Test]:
    """Tests of the profiles that show one of `ids` and match `-k`'s expression (see `matches`), slow ones first."""
    chosen = [
        test
        for test in tests().values()
        if test.profile in profiles and ids.intersection(test.ids) and matches(expression, test)
    ]
    return sorted(chosen, key=lambda test: not test.slow)


def matches(expression: str, test: Test) -> bool:
    """Does a test match an expression: words that stand in its name or requirements, with `not`, `and`, `or`.

    `not` binds closest, then `and`, then `or`, as with pytest's -k. A word with `=` in front is the whole name.
    """
    names = (test.name, *test.ids)

    def word(text: str) -> bool:
        if text.startswith("="):
            return text[1:] in names
        return any(text.lower() in name.lower() for name in names)

    def term(words: list[str]) -> bool:
        wanted = True
        while words[:1] == ["not"]:
            wanted, words = not wanted, words[1:]
        return all(word(each) for each in words) is wanted

    tokens = expression.split()
    if not tokens:
        return True
    return any(all(term(part) for part in _split(alternative, "and")) for alternative in _split(tokens, "or"))


def _split(tokens: list[str], separator: str) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == separator:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts
