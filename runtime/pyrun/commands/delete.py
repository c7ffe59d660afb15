"""pyrun delete. Hot module."""

from __future__ import annotations

from pyrun.base.errors import PyrunError
from pyrun.container import roots, states, store
from pyrun.kernel import process
from pyrun.story import destroy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Delete a stopped container; with --force any, and an unknown id is no error (engines ask twice)."""
    process.own_signals()
    force = bool(values.get("force"))
    try:
        found = store.find(roots.root_folder(root), arguments[0], lock=True, force=force)
    except PyrunError as error:
        if force and error.kind == "missing":
            return 0
        raise
    if not force:
        status = states.status(found)
        if status != states.STOPPED:
            raise PyrunError(
                f'container "{found.id}" is {status}, and only a stopped one can be deleted',
                hint="kill it, or use --force",
            )
    destroy.destroy(found, with_hooks=True, force=force)
    return 0
