"""linux.resources.cpu.cpus and .mems: config-linux.md § CPU; the files have the same names in v1 and v2.
Hot module.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.files import Write


def writes(cpu: dict[str, Any]) -> list[Write]:
    """Lists of numbers such as "0-3,7"; an empty one is "not set"."""
    return [
        (f"cpuset.{key}", cpu[key], f"linux.resources.cpu.{key}", False)
        for key in ("cpus", "mems")
        if cpu.get(key)
    ]
