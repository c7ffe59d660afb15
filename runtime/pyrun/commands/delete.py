"""pyrun delete. Hot module."""

from __future__ import annotations

from pyrun.errors import PyrunError
from pyrun.kernel import process
from pyrun.lifecycle import container, destroy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.fastargs import Values


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Delete a stopped container; with --force any, and an unknown id is no error (engines ask twice)."""
    process.own_signals()
    force = bool(values.get("force"))
    try:
        found = container.find(container.root_folder(root), arguments[0], lock=True, force=force)
    except PyrunError as error:
        if force and error.kind == "missing":
            return 0
        raise
    if not force:
        status = container.status(found)
        if status != container.STOPPED:
            raise PyrunError(
                f'container "{found.id}" is {status}, and only a stopped one can be deleted',
                hint="kill it, or use --force",
            )
    destroy.destroy(found, with_hooks=True)
    return 0
