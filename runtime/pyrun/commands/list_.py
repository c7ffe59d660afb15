"""pyrun list. Hot module."""

from __future__ import annotations

import errno

from pyrun import jsontext
from pyrun.commands import state
from pyrun.errors import PyrunError
from pyrun.kernel import calls
from pyrun.lifecycle import container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.fastargs import Values

COLUMNS = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")


def run(root: str, values: Values) -> int:
    """Print the containers under the root: a table, JSON, or ids alone."""
    layout = values.get("format", "table")
    if layout not in ("table", "json"):
        raise PyrunError(f'--format: "{layout}" is neither table nor json')
    folder = container.root_folder(root)
    if values.get("quiet"):
        text = "".join([f"{name}\n" for name in container.ids(folder)])
    else:
        found = _documents(folder)
        text = jsontext.encode(found) + "\n" if layout == "json" else _table(found)
    try:
        calls.write_all(1, text.encode())
    except OSError as error:
        if error.errno != errno.EPIPE:  # `pyrun list | head -1` is fine
            raise
    return 0


def _documents(folder: str) -> list[dict[str, Any]]:
    documents = []
    for name in container.ids(folder):
        try:
            found = container.find(folder, name, lock=False)
        except PyrunError:
            continue  # deleted meanwhile, or no container
        if found.record:
            documents.append(state.document(found))
        found.close()
    return documents


def _table(documents: list[dict[str, Any]]) -> str:
    rows = [COLUMNS]
    for one in documents:
        rows.append(
            (one["id"], str(one["pid"]), one["status"], one["bundle"], one["created"], one["owner"]),
        )
    widths = [max([len(row[i]) for row in rows]) for i in range(len(COLUMNS))]
    return "".join([_line(row, widths) for row in rows])


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    return "   ".join([row[i].ljust(widths[i]) for i in range(len(row))]).rstrip() + "\n"
