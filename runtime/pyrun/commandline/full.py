"""pyrun in a full interpreter: everything that the hot path doesn't need. Cold module, started by cold.py.

A command line that is unusual but right, such as `create -bDIR ID`, goes back to the binary in its plain form: only an
interpreter that can't import from disk ever makes a container.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import TYPE_CHECKING

from pyrun.base import cold, log
from pyrun.base.errors import PyrunError, render
from pyrun.commandline import dispatch, parse
from pyrun.commandline.table import COMMANDS, FLAG, GLOBAL, is_hot

if TYPE_CHECKING:
    from pyrun.commandline.parse import Values

    Parsed = tuple[Values, str, Values, list[str]]


def main(arguments: list[str]) -> int:
    """Run one command line (without the program's name); returns the exit code."""
    parsed = parse.parse(arguments)
    if parsed is None:
        from pyrun.commandline import click_

        try:
            parsed = click_.parse(arguments)
        except PyrunError as error:
            configure_log(arguments)
            log.last_words(render(error))
            return 1
        if parsed is None:
            return 0
    if not is_hot(parsed[1]):
        return dispatch.run(*parsed)
    if parsed[2].get("regex"):
        return dispatch.guarded(parsed[0], parsed[1], lambda: _for_each(*parsed))
    return _run_hot(parsed)


def _run_hot(parsed: Parsed) -> int:
    """Hand a hot command back to the binary. Run unfrozen, there is none, and the command runs here."""
    # The full interpreter ignores these; the container must not.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    binary = os.environ.pop(cold.BINARY, "")
    plain = plain_arguments(parsed)
    if not binary or parse.parse(plain) != parsed:
        return dispatch.run(*parsed)
    try:
        os.execv(binary, [binary, *plain])
    except OSError as error:
        log.last_words(f"{binary} can't be executed again: {error.strerror}")
    return 1


def plain_arguments(parsed: Parsed) -> list[str]:
    """Return a parsed command line in the form that `parse` takes."""
    global_values, command, values, arguments = parsed
    if command not in COMMANDS:
        return [*_plain_options(global_values, GLOBAL)]
    options = _plain_options(values, COMMANDS[command][1])
    return [*_plain_options(global_values, GLOBAL), command, *options, "--", *arguments]


def _plain_options(values: Values, table: tuple[parse.Option, ...]) -> list[str]:
    words = []
    for names, kind, _, _ in table:
        key = names[0][2:]
        if key in values:
            value = values[key]
            for each in value if isinstance(value, list) else [value]:
                words += [names[0]] if kind == FLAG else [f"{names[0]}={each}"]
    return words


def _for_each(global_values: Values, command: str, values: Values, arguments: list[str]) -> int:
    """Run `kill --regex` or `delete --regex` for every container whose id the expression is found in."""
    from pyrun.container import roots

    try:
        pattern = re.compile(arguments[0])
    except (re.error, RecursionError, OverflowError) as error:
        raise PyrunError(f'--regex: "{arguments[0]}" is not a regular expression: {error}') from None
    root = roots.root_folder(str(global_values.get("root", "")))
    found = [one for one in roots.ids(root) if pattern.search(one)]
    if not found and not values.get("force"):
        raise PyrunError(f'--regex: "{arguments[0]}" is found in no container\'s id')
    plain = {key: value for key, value in values.items() if key != "regex"}
    return max(
        [dispatch.run(global_values, command, plain, [one, *arguments[1:]]) for one in found], default=0
    )


def configure_log(arguments: list[str]) -> None:
    """Take --log and its format from a command line that is wrong somewhere: engines read the error there."""
    found = {"--log": "", "--log-format": ""}
    words = iter(arguments)
    takes_value = {name for names, kind, _, _ in GLOBAL if kind != FLAG for name in names}
    for word in words:
        name, equals, value = word.partition("=")
        name = f"--{name.lstrip('-')}"
        if name in takes_value and not equals:
            value = next(words, "")
        if name in found:
            found[name] = value
        if word[:1] != "-" or word == "--":
            break
    known = found["--log-format"] if found["--log-format"] in ("text", "json") else ""
    try:
        log.configure(found["--log"], known, "", False)
    except PyrunError:
        pass  # there is another mistake to be told already


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
