"""argv to command; the only place that prints errors and sets exit codes. Hot module."""

from __future__ import annotations

import posix

from pyrun.base import log
from pyrun.base.errors import PyrunError, failed, printable, render
from pyrun.commandline import parse
from pyrun.commandline.table import COMMANDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrun.commandline.parse import Values


CGROUP_MANAGERS = ("cgroupfs", "systemd", "disabled")
ROOTLESS = ("auto", "true", "false")


NO_EXEC = 255  # exec's status where its program can't be started: runc's, since programs seldom end with it


def main(arguments: list[str]) -> int:
    """Run one command line (without the program's name); returns the exit code."""
    try:
        _open_standard_descriptors()
        parsed = parse.parse(arguments)
        if parsed is None or (parsed[1] in COMMANDS and not COMMANDS[parsed[1]][3]):
            from pyrun.base import cold

            cold.execute(arguments)
            return 1
        return run(*parsed)
    except PyrunError as error:  # before the log is configured, or the full interpreter is missing
        log.last_words(render(error))
        return 1


def run(
    global_values: Values,
    command: str,
    values: Values,
    arguments: list[str],
    dispatch: Callable[[Values, str, Values, list[str]], int] | None = None,
) -> int:
    """Run a command that has been parsed, by `parse` or by click; a hot one unless `dispatch` knows others."""
    try:
        log.configure(
            str(global_values.get("log", "")),
            str(global_values.get("log-format", "")),
            str(global_values.get("log-level", "")),
            bool(global_values.get("debug")),
        )
        check_global(global_values)
        return (dispatch or _dispatch)(global_values, command, values, arguments)
    except PyrunError as error:
        log.last_words(render(error))
    except OSError as error:
        log.last_words(render(failed(command, error)))
    except MemoryError:
        log.last_words(
            "there is not enough memory: the system is short of it, or a limit on our address space is low"
        )
    except KeyboardInterrupt:
        return 130
    except ImportError:  # a file of the full interpreter's is missing: cold.BOOT says which
        raise
    except Exception as error:  # a bug of ours: say so in one sentence all the same
        log.last_words(printable(_bug(error)))
    return NO_EXEC if command == "exec" else 1


def _dispatch(global_values: Values, command: str, values: Values, arguments: list[str]) -> int:
    """Load what this command needs, and nothing else."""
    root = str(global_values.get("root", ""))
    if command in ("create", "run"):  # the others find what was done in the container's state
        for name in ("cgroup-manager", "rootless"):
            if name in global_values:
                values[name] = global_values[name]
        if global_values.get("systemd-cgroup"):
            values["cgroup-manager"] = "systemd"
    if command == "--version":
        from pyrun.commands import version

        return version.run()
    if command == "create":
        from pyrun.commands import create

        return create.run(root, values, arguments)
    if command == "start":
        from pyrun.commands import start

        return start.run(root, arguments)
    if command == "state":
        from pyrun.commands import state

        return state.run(root, arguments)
    if command == "kill":
        from pyrun.commands import kill

        return kill.run(root, values, arguments)
    if command == "delete":
        from pyrun.commands import delete

        return delete.run(root, values, arguments)
    if command == "run":
        from pyrun.commands import run as foreground

        return foreground.run(root, values, arguments)
    if command == "exec":
        from pyrun.commands import exec_

        return exec_.run(root, values, arguments)
    if command == "list":
        from pyrun.commands import list_

        return list_.run(root, values)
    if command == "ps":
        from pyrun.commands import ps

        return ps.run(root, values, arguments)
    if command in ("pause", "resume"):
        from pyrun.commands import pause

        return pause.pause(root, arguments) if command == "pause" else pause.resume(root, arguments)
    if command == "update":
        from pyrun.commands import update

        return update.run(root, values, arguments)
    from pyrun.commands import events

    return events.run(root, values, arguments)


def check_global(values: Values) -> None:
    """Refuse values that the global options don't have."""
    for name, known in (("cgroup-manager", CGROUP_MANAGERS), ("rootless", ROOTLESS)):
        if values.get(name, known[0]) not in known:
            raise PyrunError(f"--{name}={values[name]}: there are {', '.join(known)}")


def _bug(error: Exception) -> str:
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = f" at {at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at is not None else ""
    return f"internal error: {type(error).__name__}: {error}{where}; please report it"


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
