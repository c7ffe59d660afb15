"""pyrun.commandline.parse: what it understands means the same as what the full parser of the same table reads;
everything else it leaves to that one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrun.commandline import parse
from pyrun.commandline.table import BOOLEANS, COMMANDS, FLAG, GLOBAL, NUMBER, TEXT

Values = dict[str, str | int | bool]
Words = tuple[list[str], Values]


def test_as_engines_write() -> None:
    line = "--root /r --log /l --log-format=json create --bundle /b --pid-file /p --preserve-fds=2 id"
    assert parse.parse(line.split()) == (
        {"root": "/r", "log": "/l", "log-format": "json"},
        "create",
        {"bundle": "/b", "pid-file": "/p", "preserve-fds": 2},
        ["id"],
    )


def test_options_stand_anywhere_after_the_command() -> None:
    assert parse.parse(["delete", "id", "--force"]) == ({}, "delete", {"force": True}, ["id"])
    assert parse.parse(["kill", "id", "KILL", "-a"]) == ({}, "kill", {"all": True}, ["id", "KILL"])


def test_after_two_dashes_all_are_words() -> None:
    assert parse.parse(["state", "--", "--force"]) == ({}, "state", {}, ["--force"])
    assert parse.parse(["--", "state", "id"]) == ({}, "state", {}, ["id"])


def test_an_empty_value_is_one() -> None:
    assert parse.parse(["create", "-b", "", "--pid-file=", "id"]) == (
        {},
        "create",
        {"bundle": "", "pid-file": ""},
        ["id"],
    )


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--help",
        "create --help",
        "create",
        "create a b",
        "create id --bundle",
        "create id --preserve-fds x",
        "create id --preserve-fds -1",
        "create id --preserve-fds 99999999999",
        "create id --preserve-fds ٣",
        "delete --force=yes id",
        "delete -fx id",
        "nonsense id",
        "--nonsense list",
        "--root",
        "--root=/r",
        "list --force",
        "--version list",
    ],
)
def test_left_to_the_full_parser(line: str) -> None:
    assert parse.parse(line.split()) is None


ANY = st.text(max_size=5)


@st.composite
def options(draw: st.DrawFn, table: tuple[parse.Option, ...]) -> Words:
    """Words that give some options of a table, and their values."""
    words: list[str] = []
    values: Values = {}
    table = tuple(option for option in table if option[1] in (FLAG, TEXT, NUMBER))  # the others are click's
    for names, kind, _, _ in draw(st.lists(st.sampled_from(table), max_size=4) if table else st.just([])):
        name = draw(st.sampled_from(names))
        if name[:2] == "--" and draw(st.booleans()):
            name = name[1:]
        if kind == FLAG:
            value = draw(st.sampled_from(["", *BOOLEANS]))
            words.append(f"{name}={value}" if value else name)
            values.pop(names[0][2:], None)
            if BOOLEANS.get(value, True):
                values[names[0][2:]] = True
            continue
        value = draw(st.integers(0, 99)) if kind == NUMBER else draw(ANY)
        words += draw(st.sampled_from([[name, str(value)], [f"{name}={value}"]]))
        values[names[0][2:]] = value
    return words, values


@settings(deadline=None)
@given(st.data())
def test_every_command_line_of_the_table(data: st.DataObject) -> None:
    table = tuple(option for option in GLOBAL if option[0][0] != "--version")
    global_words, global_values = data.draw(options(table))
    command = data.draw(st.sampled_from(sorted(COMMANDS)))
    names, own, _, _ = COMMANDS[command]
    words, values = data.draw(options(own))
    arguments = [data.draw(ANY.filter(lambda text: text[:1] != "-")) for _ in names]
    line = [*global_words, command, *words, *arguments]
    assert parse.parse(line) == (global_values, command, values, arguments)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["--root", "-b", "--", "-", "create", "list", "id", "--force", "=", "--root=", ""])
        | ANY
    )
)
def test_any_words(words: list[str]) -> None:
    """Never an exception; and what is taken is a command with as many arguments as it wants."""
    parsed = parse.parse(words)
    if parsed is not None and parsed[1] != "--version":
        wanted = COMMANDS[parsed[1]][0]
        assert len([name for name in wanted if name[0] != "["]) <= len(parsed[3]) <= len(wanted)
