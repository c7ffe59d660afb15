"""A command is one line of the command table and one file in commands/, hot or cold: nothing else knows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from scratch_tree import Tree

pytestmark = pytest.mark.slow  # it builds

TABLE = "runtime/pyrun/commandline/table.py"
HOT = '''"""pyrun greet. Hot module."""

from pyrun.kernel import calls


def run(root, values, arguments):
    calls.write_all(1, f"{root} {values} {arguments}\\n".encode())
    return 0
'''
COLD = '''"""pyrun measure-words. Cold module."""

import textwrap  # which no hot module could import


def run(root, values, arguments):
    print(textwrap.fill(f"{root} {values} {arguments}", 1000))
    return 0
'''


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The sources with two more commands, built."""
    tree = Tree(tmp_path_factory.mktemp("tree"))
    option = '((("--word", "-w"), TEXT, "WORD", "what to say"),)'
    tree.insert(TABLE, '"spec": (', f'"greet": (("NAME",), {option}, "greet somebody", HOT),\n')
    tree.insert(TABLE, '"spec": (', '"measure-words": (("WORD",), (), "measure a word", COLD),\n')
    tree.write("runtime/pyrun/commands/greet.py", HOT)
    tree.write("runtime/pyrun/commands/measure_words.py", COLD)
    tree.build()
    return tree


def test_a_hot_command_runs_in_the_binary(tree: Tree) -> None:
    """Without the library there is no full interpreter, so it must be frozen."""
    library = Path(tree.path / "build/lib/pyrun")
    library.rename(library.with_name("away"))
    try:
        assert tree.run("--root", "/r", "greet", "--word", "hi", "x") == "/r {'word': 'hi'} ['x']\n"
    finally:
        library.with_name("away").rename(library)


def test_a_hot_command_that_click_parses_goes_back_to_the_binary(tree: Tree) -> None:
    assert tree.run("greet", "-whi", "x") == " {'word': 'hi'} ['x']\n"


def test_a_cold_command_runs_in_the_full_interpreter(tree: Tree) -> None:
    assert tree.run("--root=/r", "measure-words", "x") == "/r {} ['x']\n"


@pytest.mark.parametrize("name", ["greet", "measure-words"])
def test_a_new_command_is_in_help_and_completion(tree: Tree, name: str) -> None:
    assert f"  {name} " in tree.run("--help")
    assert f"Usage: pyrun {name}" in tree.run("help", name)
    assert name in tree.run("completion", "bash")
