"""pyrun list. Hot module."""

from __future__ import annotations

import errno

from pyrun.base import jsontext, log
from pyrun.base.errors import PyrunError, printable, render
from pyrun.commands import state
from pyrun.container import roots, states, store
from pyrun.kernel import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.commandline.parse import Values

COLUMNS = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Print the containers under the root: a table, JSON, or ids alone. A damaged one is a warning."""
    layout = values.get("format", "table")
    if layout not in ("table", "json"):
        raise PyrunError(f'--format: "{layout}" is neither table nor json')
    folder = roots.root_folder(root)
    if values.get("quiet"):
        text = "".join([f"{name}\n" for name in roots.ids(folder)])
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
    for name in roots.ids(folder):
        try:
            found = store.find(folder, name, lock=False)
            try:
                if found.record or state.wait_for_record(found, 0):
                    documents.append(state.document(found))
                elif states.status(found) != states.CREATING and found.is_current():
                    log.warn(render(state.unfinished(found)))
            finally:
                found.close()
        except PyrunError as error:
            if error.kind != "missing":  # deleted meanwhile
                log.warn(render(error))
    return documents


def _table(documents: list[dict[str, Any]]) -> str:
    rows = [COLUMNS]
    names = _user_names() if documents else {}
    for one in documents:
        owner = names.get(one["owner"], one["owner"])
        rows.append(
            (one["id"], str(one["pid"]), one["status"], printable(one["bundle"]), one["created"], owner),
        )
    widths = [max([len(row[i]) for row in rows]) for i in range(len(COLUMNS))]
    return "".join([_line(row, widths) for row in rows])


def _user_names() -> dict[str, str]:
    """The names of the host's users by their numbers, the first of a number's: passwd(5)."""
    names: dict[str, str] = {}
    try:
        text = calls.read_file("/etc/passwd").decode("utf-8", "replace")
    except OSError:
        return names  # then numbers do
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) > 2 and fields[0].isprintable() and " " not in fields[0] and fields[0]:
            names.setdefault(fields[2], fields[0])
    return names


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    return "   ".join([row[i].ljust(widths[i]) for i in range(len(row))]).rstrip() + "\n"
