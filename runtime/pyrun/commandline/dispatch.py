"""Run the module of a parsed command line, and print what goes wrong there. Hot module.

The binary and the full interpreter both come here, and both find the module by the command table.
"""

from __future__ import annotations

from pyrun.base import log
from pyrun.base.errors import PyrunError, failed, printable, render
from pyrun.commandline import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrun.commandline.parse import Values

CGROUP_MANAGERS = ("cgroupfs", "systemd", "disabled")
ROOTLESS = ("auto", "true", "false")
NO_EXEC = 255  # exec's status where its program can't be started: runc's, since programs seldom end with it


def run(global_values: Values, command: str, values: Values, arguments: list[str]) -> int:
    """Run a command that `parse` or click has parsed; returns the exit code."""
    return guarded(global_values, command, lambda: call(global_values, command, values, arguments))


def guarded(global_values: Values, command: str, work: Callable[[], int]) -> int:
    """Do the work of a command with the log that the global options ask for; an error becomes one sentence."""
    try:
        log.configure(
            str(global_values.get("log", "")),
            str(global_values.get("log-format", "")),
            str(global_values.get("log-level", "")),
            bool(global_values.get("debug")),
        )
        _check_global(global_values)
        return work()
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


def call(global_values: Values, command: str, values: Values, arguments: list[str]) -> int:
    """Load the module of a command, and nothing else, and run it."""
    if command in table.MAKERS:
        for name in ("cgroup-manager", "rootless"):
            if name in global_values:
                values[name] = global_values[name]
        if global_values.get("systemd-cgroup"):
            values["cgroup-manager"] = "systemd"
    module = __import__(table.module(command), None, None, ("run",))
    status: int = module.run(str(global_values.get("root", "")), values, arguments)
    return status


def _check_global(values: Values) -> None:
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
