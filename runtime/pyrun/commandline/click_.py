"""click, fed by the command table: help for people, and usage errors in one sentence. Cold module."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pyrun.base.errors import PyrunError
from pyrun.base.output import put
from pyrun.commandline.parse import takes_all_that_remain
from pyrun.commandline.table import BOOLEANS, COLD_FLAG, COMMANDS, FLAG, GLOBAL, HIDDEN, MANY, NUMBER

if TYPE_CHECKING:
    from pyrun.commandline.parse import Option, Values

    Parsed = tuple[Values, str, Values, list[str]]

# Commands that other runtimes have and engines call: known by name, so that "not yet" can be said.
LATER = ("checkpoint", "restore", "mounts")
HELP: Option = (("--help", "-h"), FLAG, "", "explain this, and do nothing")
WIDTH: Any = {"max_content_width": 100}


class _Version(Exception):
    """--version was given, whatever else there is."""


class _Help(Exception):
    """--help was given; the text."""


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise click.BadParameter(f'"{text}" is not a number from 0 to 999999999')
    return int(text)


class _Command(click.Command):
    """One command. click's parser doesn't say which command its errors are about, so we do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise


class _Program(_Command, click.Group):
    """The group of all commands, in the table's order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return args[0], self.commands[known_command(args[0])], args[1:]


def known_command(name: str) -> str:
    """Return the name. Raises PyrunError if there is no such command."""
    if name in COMMANDS:
        return name
    if name in LATER:
        raise PyrunError(f"the command {name} is not supported yet")
    raise PyrunError(f'no such command: "{name}"', hint=_nearest(name, [*_shown(), *LATER], "pyrun --help"))


def _shown() -> list[str]:
    return [name for name in COMMANDS if name not in HIDDEN]


def _nearest(name: str, known: list[str], help_: str) -> str:
    near = get_close_matches(name.strip("-"), [word.strip("-") for word in known], 1)
    dashes = name[: len(name) - len(name.lstrip("-"))]
    return f"did you mean {dashes}{near[0]}?" if near else f"see {help_}"


def _parameters(table: tuple[Option, ...]) -> list[click.Parameter]:
    found: list[click.Parameter] = []
    for names, kind, metavar, text in table:
        if kind in (FLAG, COLD_FLAG):
            found.append(click.Option(names, is_flag=True, help=text))
        else:
            type_: Any = _number if kind == NUMBER else click.STRING
            found.append(click.Option(names, type=type_, metavar=metavar, help=text, multiple=kind == MANY))
    for option in found:
        if option.name in SPECIAL:
            option.is_eager, option.expose_value, option.callback = True, False, SPECIAL[option.name]
    return found


def _values(found: dict[str, Any], table: tuple[Option, ...]) -> Values:
    """Return option values by key, without those that weren't given."""
    keys = [names[0][2:] for names, _, _, _ in table]
    given = {key: found.get(key.replace("-", "_")) for key in keys}
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in given.items()
        if value is not None and value is not False and value != ()
    }


def _command(name: str) -> click.Command:
    from pyrun.commandline.help import DETAILS

    arguments, table, text, _ = COMMANDS[name]
    parameters = _parameters((*table, HELP))
    all_that_remain = takes_all_that_remain(arguments)
    for index, metavar in enumerate(arguments):
        many = all_that_remain and index == len(arguments) - 1
        parameters.append(
            click.Argument(
                [f"argument{index}"],
                metavar=metavar,
                required=metavar[0] != "[",
                nargs=-1 if many else 1,
                type=click.UNPROCESSED,
            )
        )

    def callback(**found: Any) -> Parsed:
        above = click.get_current_context().parent
        assert above is not None
        words = [found[f"argument{index}"] for index in range(len(arguments))]
        if all_that_remain:
            words += words.pop()
        return _values(above.params, GLOBAL), name, _values(found, table), [w for w in words if w is not None]

    sentence = f"{text[0].upper()}{text[1:]}."
    details = DETAILS.get(name, "")
    return _Command(
        name,
        context_settings={**WIDTH, "allow_interspersed_args": not all_that_remain},
        add_help_option=False,
        params=parameters,
        callback=callback,
        help=f"{sentence}\n\n{details}".strip(),
        short_help=text,
        hidden=name in HIDDEN,
    )


def _on_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        raise _Version


def _on_help(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        raise _Help(ctx.get_help())


SPECIAL = {"version": _on_version, "help": _on_help}


def program() -> click.Group:
    """Return the whole command line as click has it."""
    from pyrun.commandline.help import ABOUT, EPILOG

    return _Program(
        "pyrun",
        commands={name: _command(name) for name in COMMANDS},
        context_settings=WIDTH,
        add_help_option=False,
        params=_parameters((*GLOBAL, HELP)),
        help=ABOUT,
        epilog=EPILOG,
        subcommand_metavar="COMMAND [ARGUMENTS]...",
        options_metavar="[GLOBAL OPTIONS]",
    )


def help_text(name: str) -> str:
    """Return what --help prints, for the program ("") or a command."""
    group = program()
    above = click.Context(group, info_name="pyrun", **WIDTH)
    if not name:
        return group.get_help(above)
    command = group.commands[known_command(name)]
    return command.get_help(click.Context(command, above, info_name=name, **WIDTH))


def parse(arguments: list[str]) -> Parsed | None:
    """Parse a command line that `parse` did not take; None if it asked for help, which is printed.

    Raises PyrunError for a usage error, in one sentence.
    """
    if not arguments:
        arguments = ["--help"]
    arguments = in_gnu_form(arguments)
    try:
        found: Parsed = program().main(arguments, prog_name="pyrun", standalone_mode=False)
        return found
    except _Version:
        return {}, "--version", {}, []
    except _Help as text:
        put(f"{text}\n")
        return None
    except click.UsageError as error:
        _explain(error)


def in_gnu_form(arguments: list[str]) -> list[str]:
    """Return the same command line in GNU's words, which click reads: Go writes -root DIR and --tty=false.

    Raises PyrunError if a switch has another value than true or false.
    """
    above, rest = _options_in_gnu_form(arguments, GLOBAL, False, "")
    if not rest or rest[0] not in COMMANDS:
        return [*above, *rest]
    names, table, _, _ = COMMANDS[rest[0]]
    below, words = _options_in_gnu_form(rest[1:], table, not takes_all_that_remain(names), f"{rest[0]}: ")
    return [*above, rest[0], *below, *words]


def _options_in_gnu_form(
    words: list[str], table: tuple[Option, ...], intermixed: bool, prefix: str
) -> tuple[list[str], list[str]]:
    """Options of one table and what is between them, in GNU's form; and the words after the last."""
    known = {name: (names[0], kind) for names, kind, _, _ in (*table, HELP) for name in names}
    found: list[tuple[str, list[str]]] = []  # the option's first name, "" for other words
    words = list(words)
    while words:
        word = words[0]
        if word == "--" or ((word[:1] != "-" or word == "-") and not intermixed):
            break
        del words[0]
        if word[:1] != "-" or word == "-":
            found.append(("", [word]))
            continue
        name, equals, value = word.partition("=")
        name = "-" + name if name not in known else name
        if name not in known:
            if _is_cluster(word, known):  # -dbDIR
                words[:0] = _taken_apart(word, known)
            else:
                two = word[:2] != "--" and len(word) > 2 and word[1].isalpha()
                found.append(("", ["-" + word if two else word]))  # click says what is wrong with it
            continue
        first, kind = known[name]
        if kind in (FLAG, COLD_FLAG) and equals and value not in BOOLEANS:
            raise PyrunError(f'{prefix}{name}: "{value}" is neither true nor false')
        if kind in (FLAG, COLD_FLAG) and equals and not BOOLEANS[value]:
            found = [one for one in found if one[0] != first]
        elif kind in (FLAG, COLD_FLAG):
            found.append((first, [first]))
        else:
            found.append((first, [first, value] if equals else [first, *words[:1]]))
            words = words if equals else words[1:]
    return [word for _, some in found for word in some], words


def _is_cluster(word: str, known: dict[str, tuple[str, str]]) -> bool:
    return word[:2] != "--" and len(word) > 2 and f"-{word[1]}" in known


def _taken_apart(word: str, known: dict[str, tuple[str, str]]) -> list[str]:
    """One step: -dbDIR to -d -bDIR, and -bDIR to -b DIR."""
    name, rest = word[:2], word[2:]
    return [name, f"-{rest}" if known[name][1] in (FLAG, COLD_FLAG) else rest]


def _explain(error: click.UsageError) -> NoReturn:
    """Raise click's usage error as our sentence."""
    name = error.ctx.info_name if error.ctx is not None and error.ctx.parent is not None else ""
    prefix = f"{name}: " if name else ""
    help_ = f"pyrun {name} --help" if name else "pyrun --help"
    if isinstance(error, click.NoSuchOption):
        option = error.option_name
        table = COMMANDS[name][1] if name else GLOBAL
        near = [word for names, _, _, _ in table for word in names if word[:2] == "--"]
        hint = _nearest(option, near, help_)
        if name and option in [word for names, _, _, _ in GLOBAL for word in names]:
            hint = f"it is a global option, and stands before {name}"
        raise PyrunError(f"{prefix}no such option: {option}", hint=hint) from None
    if isinstance(error, click.MissingParameter) and error.param is not None:
        raise PyrunError(
            f"{prefix}{error.param.human_readable_name} is missing", hint=f"see {help_}"
        ) from None
    if isinstance(error, click.BadParameter) and error.param is not None:
        raise PyrunError(f"{prefix}{error.param.opts[0]}: {error.message}") from None
    if isinstance(error, click.BadOptionUsage):
        what = "takes no value" if "does not take" in error.message else "needs a value"
        raise PyrunError(f"{prefix}{error.option_name} {what}", hint=f"see {help_}") from None
    text = error.message.rstrip(".")
    raise PyrunError(f"{prefix}{text[:1].lower()}{text[1:]}", hint=f"see {help_}") from None
