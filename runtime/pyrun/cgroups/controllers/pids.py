"""linux.resources.pids: config-linux.md § PIDs; the same file in v1 and v2. Hot module."""

from __future__ import annotations

from pyrun.errors import PyrunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.files import Write

PATH = "linux.resources.pids.limit"


def writes(pids: dict[str, Any]) -> list[Write]:
    """-1 is unlimited, and 0 a limit like any other: no process may be made. PyrunError."""
    limit = pids.get("limit")
    if limit is None:
        return []
    if limit < -1:
        raise PyrunError(f"{limit} is neither a number of tasks nor -1", PATH)
    return [("pids.max", "max" if limit == -1 else str(limit), PATH, False)]
