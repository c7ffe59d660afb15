"""The properties of `linux.resources`, in the order in which they are put into effect: one file each.

Hot module. A property's file is named by its key. It has

    v1(part, directory)   what to write into the cgroup of the v1 hierarchy of the row's controller
    v2(part, directory)   what to write into a cgroup of v2

as lists of `files.Write`; they raise PyrunError for what that version hasn't got. `directory` is there to be looked
at, "" if there is none. What a controller's files can't do is decided here, what the kernel refuses when it is written.
A file to write belongs to the controller that its name begins with. Files are loaded when they are asked for.
"""

from __future__ import annotations

from oci_spec.resources import RESOURCES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType
    from typing import Any

    from pyrun.cgroups.files import Write


def _memory() -> ModuleType:
    from pyrun.cgroups.controllers import memory

    return memory


def _cpu() -> ModuleType:
    from pyrun.cgroups.controllers import cpu

    return cpu


def _pids() -> ModuleType:
    from pyrun.cgroups.controllers import pids

    return pids


def _hugepage_limits() -> ModuleType:
    from pyrun.cgroups.controllers import hugepage_limits

    return hugepage_limits


def _block_io() -> ModuleType:
    from pyrun.cgroups.controllers import block_io

    return block_io


def _network() -> ModuleType:
    from pyrun.cgroups.controllers import network

    return network


def _rdma() -> ModuleType:
    from pyrun.cgroups.controllers import rdma

    return rdma


def _unified() -> ModuleType:
    from pyrun.cgroups.controllers import unified

    return unified


UNSET = (1 << 64) - 1
# key, the controller that a v1 hierarchy has for it, its file
CONTROLLERS = (
    ("memory", "memory", _memory),
    ("cpu", "cpu", _cpu),
    ("pids", "pids", _pids),
    ("hugepageLimits", "hugetlb", _hugepage_limits),
    ("blockIO", "blkio", _block_io),
    ("network", "net_cls", _network),
    ("rdma", "rdma", _rdma),
    ("unified", "", _unified),
)
# Whatever the specification has and no row is refused by name; devices are limited after all others, by limits.py.
NOT_YET = tuple([key for key in RESOURCES[1] if key not in ("devices", *[row[0] for row in CONTROLLERS])])


def asked(resources: Mapping[str, Any]) -> list[str]:
    """The keys of those properties, but for the devices, that ask for something: engines send zeros for the others."""
    found = []
    for key, value in resources.items():
        if key != "devices" and (value if key == "rdma" else _asks(value)):
            found.append(key)
    return found


def _asks(value: Any) -> bool:
    if isinstance(value, dict):
        return any([_asks(item) for key, item in value.items() if key != "pageSize"])
    if isinstance(value, list):
        return any([_asks(item) for item in value])
    return bool(value)


def forget_unset(document: Any) -> None:
    """Take a swappiness of 2^64-1 out of an unchecked configuration: it is -1 in Go's unsigned numbers, by which older
    engines say "not set", and the spec has no such value."""
    found = document
    for key in ("linux", "resources", "memory"):
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, dict) and found.get("swappiness") == UNSET:
        del found["swappiness"]


def writes(
    resources: Mapping[str, Any], where: Mapping[str, str], unified: str
) -> list[tuple[str, str, list[Write]]]:
    """All that is to be written: by v1 cgroup, "" for that of v2, and controller. `where` has the v1 cgroup of each
    controller, `unified` is the v2 one. Raises PyrunError for what these can't do."""
    found: list[tuple[str, str, list[Write]]] = []
    for key, controller, load in CONTROLLERS:
        part = resources.get(key)
        if not part:
            continue
        file = load()
        entries = file.v1(part, where[controller]) if controller in where else file.v2(part, unified)
        for entry in entries:
            its = entry[0].partition(".")[0]
            directory = where.get(its, "") if controller else ""
            if not found or found[-1][:2] != (directory, its):
                found.append((directory, its, []))
            found[-1][2].append(entry)
    return found


def upgrade(resources: Mapping[str, Any], oci_version: str) -> dict[str, Any]:
    """`linux.resources` of a configuration of `oci_version` in today's meaning."""
    return _pids().upgrade(dict(resources), oci_version) if resources.get("pids") else dict(resources)
