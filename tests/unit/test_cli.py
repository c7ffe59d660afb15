"""The command line: one table, two parsers that agree, help, and usage errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrun.base import log
from pyrun.base.errors import PyrunError, render
from pyrun.commandline import click_, parse
from pyrun.commandline import full as cli
from pyrun.commandline.table import BOOLEANS, COLD_FLAG, COMMANDS, FLAG, GLOBAL, HIDDEN, NUMBER

SHOWN = [name for name in COMMANDS if name not in HIDDEN]
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
WORDS = VALUES.filter(lambda text: text[0] != "-")


@st.composite
def some_options(draw: st.DrawFn, table: tuple[parse.Option, ...]) -> list[str]:
    """Options of a table in any order and form, some twice."""
    words: list[str] = []
    for names, kind, _, _ in draw(st.lists(st.sampled_from(table), max_size=5)) if table else []:
        if "--version" in names:
            continue
        name = draw(st.sampled_from(names))
        if name[:2] == "--" and draw(st.booleans()):
            name = name[1:]  # as Go programs write it
        if kind in (FLAG, COLD_FLAG):
            words.append(name + draw(st.sampled_from(["", *(f"={value}" for value in BOOLEANS)])))
            continue
        value = draw(st.integers(0, 999999999).map(str) if kind == NUMBER else VALUES)
        words += [f"{name}={value}"] if draw(st.booleans()) else [name, value]
    return words


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Command lines that are right, though not each is one for the hot path."""
    name = draw(st.sampled_from(SHOWN))
    arguments, table, _, _ = COMMANDS[name]
    count = draw(st.integers(len([one for one in arguments if one[0] != "["]), len(arguments)))
    words = draw(st.lists(WORDS, min_size=count, max_size=count))
    return [*draw(some_options(GLOBAL)), name, *draw(some_options(table)), *words]


@settings(deadline=None)
@given(command_lines())
def test_both_parsers_understand_the_same(line: list[str]) -> None:
    by_click = click_.parse(line)
    fast = parse.parse(line)
    assert by_click is not None
    cold = any(word.partition("=")[0] in ("-r", "-regex", "--regex") for word in line)
    assert fast == by_click or (fast is None and cold)
    if "regex" not in by_click[2]:
        assert parse.parse(cli.plain_arguments(by_click)) == by_click


@settings(deadline=None)
@given(st.lists(st.one_of(st.sampled_from(["--log", "-b", "--", "-", "create", "kill", "-ab"]), VALUES)))
def test_any_line_is_understood_or_refused_in_one_sentence(line: list[str]) -> None:
    fast = parse.parse(line)
    sentence = ""
    try:
        by_click = click_.parse([*line, "--no-such-option"] if fast is None else line)
        assert fast is None or fast == by_click
    except PyrunError as error:
        sentence = render(error)
    assert fast is None or not sentence
    assert sentence.isprintable()


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("create -b/b x", ({}, "create", {"bundle": "/b"}, ["x"])),
        (
            "--debug create -fc.json -b /b x",
            ({"debug": True}, "create", {"bundle": "/b", "config": "c.json"}, ["x"]),
        ),
        ("run -dbB x", ({}, "run", {"detach": True, "bundle": "B"}, ["x"])),
        ("run -dbB=C x", ({}, "run", {"detach": True, "bundle": "B=C"}, ["x"])),
        ("kill -a -regex=true x", ({}, "kill", {"all": True, "regex": True}, ["x"])),
        ("kill -ar --all=false x", ({}, "kill", {"regex": True}, ["x"])),
        ("kill -ar x 9", ({}, "kill", {"all": True, "regex": True}, ["x", "9"])),
        ("--root=/r --version create", ({}, "--version", {}, [])),
    ],
)
def test_unusual_lines_that_are_right(line: str, parsed: Any) -> None:
    assert parse.parse(line.split()) is None
    assert click_.parse(line.split()) == parsed


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("-root /r -log-format=json list", ({"root": "/r", "log-format": "json"}, "list", {}, [])),
        ("--systemd-cgroup=false --debug=true list", ({"debug": True}, "list", {}, [])),
        ("delete -force x", ({}, "delete", {"force": True}, ["x"])),
        ("delete x -force=false", ({}, "delete", {}, ["x"])),
        ("exec -tty=false -t --tty=false -cwd / x y", ({}, "exec", {"cwd": "/"}, ["x", "y"])),
        ("exec --tty=false -t x y", ({}, "exec", {"tty": True}, ["x", "y"])),
        ("create -b=/b x", ({}, "create", {"bundle": "/b"}, ["x"])),
        ("ps x -force", ({}, "ps", {}, ["x", "-force"])),
    ],
)
def test_as_callers_of_go_programs_write(line: str, parsed: Any) -> None:
    """One dash before a long name, and a switch with a value: the last one counts."""
    assert parse.parse(line.split()) == click_.parse(line.split()) == parsed


@pytest.mark.parametrize(
    ("line", "values", "arguments"),
    [
        ("ps x", {}, ["x"]),
        ("ps -f json x", {"format": "json"}, ["x"]),
        ("ps --format=json -- x", {"format": "json"}, ["x"]),
        ("ps x -o pid --format json", {}, ["x", "-o", "pid", "--format", "json"]),
        ("ps x -- -o", {}, ["x", "--", "-o"]),
        ("ps x -eo pid,args --help", {}, ["x", "-eo", "pid,args", "--help"]),
    ],
)
def test_words_after_the_id_are_the_hosts_ps(line: str, values: Any, arguments: list[str]) -> None:
    """An argument that stands for all words that remain: options are only looked for before the first."""
    assert parse.parse(line.split()) == click_.parse(line.split()) == ({}, "ps", values, arguments)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("craete x", 'no such command: "craete" (did you mean create?)'),
        ("frobnicate", 'no such command: "frobnicate" (see pyrun --help)'),
        ("checkpoint x", "the command checkpoint is not supported yet"),
        ("--debug", "missing command (see pyrun --help)"),
        ("--rot x list", "no such option: --rot (did you mean --root?)"),
        ("--debug=yes list", '--debug: "yes" is neither true nor false'),
        ("-rot x list", "no such option: --rot (did you mean --root?)"),
        ("--log", "--log needs a value (see pyrun --help)"),
        ("create", "create: ID is missing (see pyrun create --help)"),
        ("start x y", "start: got unexpected extra argument (y) (see pyrun start --help)"),
        ("create --bundel x y", "create: no such option: --bundel (did you mean --bundle?)"),
        (
            "create x --root /r",
            "create: no such option: --root (it is a global option, and stands before create)",
        ),
        ("create x --bundle", "create: --bundle needs a value (see pyrun create --help)"),
        ("create --no-pivot=yes x", 'create: --no-pivot: "yes" is neither true nor false'),
        ("kill -regex=2 x", 'kill: --regex: "2" is neither true nor false'),
        ("run --preserve-fds=-1 x", 'run: --preserve-fds: "-1" is not a number from 0 to 999999999'),
        ("kill -9 x", "kill: no such option: -9 (see pyrun kill --help)"),
    ],
)
def test_usage_errors(line: str, sentence: str) -> None:
    with pytest.raises(PyrunError) as caught:
        click_.parse(line.split())
    assert render(caught.value) == sentence


@pytest.mark.parametrize("name", ["", *SHOWN])
def test_help_names_every_option_and_no_hidden_command(
    name: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    text = click_.help_text(name)
    for names, _, _, _ in COMMANDS[name][1] if name else GLOBAL:
        assert all(one in text for one in names)
    assert not any(hidden in text for hidden in HIDDEN)
    assert click_.parse([name, "--help"] if name else ["-h"]) is None
    assert capfdbinary.readouterr().out.decode().split() == text.split()


def test_option_names_are_unique() -> None:
    for table in (GLOBAL, *(entry[1] for entry in COMMANDS.values())):
        names = [name for option in (*table, click_.HELP) for name in option[0]]
        assert len(names) == len(set(names))
        assert all(option[0][0][:2] == "--" for option in table)


@pytest.mark.parametrize(
    "line",
    [
        ["--log", "{}", "--log-format", "json", "create"],
        ["--debug", "--log={}", "--log-format=json", "create", "--log", "no"],
        ["--log-format", "json", "--bogus", "--log", "{}", "create"],
    ],
)
def test_usage_errors_reach_the_log(line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("path", "as_json", "level"):
        monkeypatch.setattr(log, name, getattr(log, name))
    path = tmp_path / "log"
    assert cli.main([word.format(path) for word in line]) == 1
    (record,) = path.read_text().splitlines()
    assert json.loads(record)["level"] == "error"
    assert "option" in json.loads(record)["msg"] or "ID is missing" in json.loads(record)["msg"]
