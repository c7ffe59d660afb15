"""linux.resources.pids: config-linux.md § PIDs; the same file in v1 and v2. Hot module."""

from __future__ import annotations

from oci_spec import version
from pyrun.base.errors import PyrunError
from pyrun.cgroups import files, groups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.files import Write

PATH = "linux.resources.pids.limit"


def upgrade(resources: dict[str, Any], oci_version: str) -> dict[str, Any]:
    """`linux.resources` with the pids limit as spec 1.3 has it, for a configuration of `oci_version`.

    Before 1.3 the spec left open what 0 is, and engines said 0 for unlimited: podman up to 5.4 writes it for
    --pids-limit -1. Their configurations have an older version.
    """
    parsed = version.parse(oci_version)
    if parsed is None or parsed[:2] >= (1, 3) or (resources.get("pids") or {}).get("limit") != 0:
        return resources
    return {**resources, "pids": {**resources["pids"], "limit": -1}}


def v1(pids: dict[str, Any], directory: str = "") -> list[Write]:
    """-1 is unlimited, and 0 a limit like any other: no process may be made. Raises PyrunError for a number below."""
    limit = pids.get("limit")
    if limit is None:
        return []
    if limit < -1:
        raise PyrunError(f"{limit} is neither a number of tasks nor -1", PATH)
    return [("pids.max", "max" if limit == -1 else str(limit), PATH, False)]


v2 = v1


def stats(directory: str) -> dict[str, int]:
    """What is used; of a cgroup of v1 or v2, "" if there is none. A limit of 0 is none: runc's shape has no other word
    for it."""
    if not directory:
        return {"current": 0, "limit": 0}
    current = files.text(f"{directory}/pids.current")
    limit = files.number(f"{directory}/pids.max")
    return {
        "current": int(current) if current else len(groups.processes(directory)),
        "limit": 0 if limit == files.UNLIMITED else limit,
    }
