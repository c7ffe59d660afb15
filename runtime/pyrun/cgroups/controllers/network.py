"""linux.resources.network: config-linux.md § Network; kernel: cgroup-v1/{net_cls,net_prio}.rst.

Hot module. Two controllers, of cgroup v1 alone. 0 is what every cgroup has: it needs no controller.
"""

from __future__ import annotations

from pyrun.base.errors import PyrunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.files import Write

PATH = "linux.resources.network"


def v1(network: dict[str, Any], directory: str = "") -> list[Write]:
    """What to write into the container's cgroups of the hierarchies of net_cls and net_prio. Raises PyrunError for what
    can't be a device's name."""
    writes: list[Write] = []
    if "classID" in network:
        number = network["classID"]
        writes.append(("net_cls.classid", str(number), f"{PATH}.classID", not number))
    for index, entry in enumerate(network.get("priorities") or ()):
        name, priority, path = entry["name"], entry["priority"], f"{PATH}.priorities[{index}]"
        if name.split() != [name]:
            raise PyrunError(f"{name!r} is not the name of a network device", f"{path}.name")
        writes.append(("net_prio.ifpriomap", f"{name} {priority}", path, not priority))
    return writes


v2 = v1  # that there are no such controllers is known when they are to be enabled
