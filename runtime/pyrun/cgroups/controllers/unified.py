"""linux.resources.unified: files of cgroup v2 and what to write into them, config-linux.md § Unified. Hot
module.
"""

from __future__ import annotations

from pyrun.base.errors import PyrunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.cgroups.files import Write

PATH = "linux.resources.unified"


def v2(unified: dict[str, str], directory: str = "") -> list[Write]:
    """A file takes one line at a time (io.max one device), so each line is a write of its own.
    Raises PyrunError for a name that is no file's."""
    found: list[Write] = []
    for name, text in unified.items():
        json_path = f"{PATH}.{name}"
        if "/" in name or "." not in name.strip("."):
            raise PyrunError(f"{name!r} is not the name of a file in a cgroup", PATH)
        for line in text.split("\n"):
            if line or not text:
                found.append((name, line, json_path, False))
    return found
