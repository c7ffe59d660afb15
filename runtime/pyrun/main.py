"""The program: from argv to the exit code. Hot module."""

from __future__ import annotations

import posix

from pyrun.base import log
from pyrun.base.errors import PyrunError, failed, render
from pyrun.commandline import dispatch, parse, table


def main(arguments: list[str]) -> int:
    """Run one command line (without the program's name); returns the exit code."""
    try:
        _open_standard_descriptors()
        parsed = parse.parse(arguments)
        if parsed is None or not table.is_hot(parsed[1]):
            from pyrun.base import cold

            cold.execute(arguments)
            return 1
        return dispatch.run(*parsed)
    except PyrunError as error:  # before the log is configured, or the full interpreter is missing
        log.last_words(render(error))
        return 1


def _open_standard_descriptors() -> None:
    """If stdin, stdout or stderr is closed, our own files must not take its number and end up in the container,
    which gets /dev/null instead (runtime-linux.md, File descriptors)."""
    for fd in (0, 1, 2):
        try:
            posix.fstat(fd)
        except OSError:
            try:
                posix.set_inheritable(posix.open("/dev/null", posix.O_RDWR), True)
            except OSError as error:
                name = ("standard input", "standard output", "standard error")[fd]
                raise failed(f"{name} is closed, and /dev/null can't take its place", error) from None
