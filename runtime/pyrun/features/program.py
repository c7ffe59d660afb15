"""process.args: the program is looked for by stage 2 as its user, and executed last.

Hot module. Source: config.md, Process (args has the semantics of execvp in IEEE Std 1003.1-2008).
"""

from __future__ import annotations

from pyrun.features import environment
from pyrun.kernel import stage2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci_spec import types
    from pyrun.story.last import Last


def candidates(process: types.Process) -> list[str]:
    """Where args[0] may be: itself if it has a slash, else in each folder of the container's PATH: execvp(3)."""
    program = process["args"][0]
    if "/" in program or not program:  # "" is a file in no folder: below each of PATH it would be that folder
        return [program]
    return [f"{folder or '.'}/{program}" for folder in search_path(process).split(":")]


def search_path(process: types.Process) -> str:
    """PATH of the container's environment, or execvp's default."""
    path = environment.value(process.get("env") or [], "PATH")
    return "/bin:/usr/bin" if path is None else path


def find(last: Last) -> None:
    """Find the program as its user, so that a created container is one that can be started."""
    last.label("process.args[0]", "", kind="program")
    last.orders.add(stage2.FIND, data=last.texts(candidates(last.program)))


def announce(last: Last) -> None:
    """Tell the runtime that all is done but the program's execution: if the connection closes now, it runs."""
    last.orders.add(stage2.GOING)


def execute(last: Last) -> None:
    """Become the program."""
    last.label("process.args[0]", "", kind="program")
    last.orders.add(stage2.EXECUTE)
