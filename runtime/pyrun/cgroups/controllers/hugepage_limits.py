"""linux.resources.hugepageLimits: config-linux.md § Huge page limits; kernel: hugetlbpage.rst, cgroup-v2.rst § HugeTLB.

Hot module. Engines send a limit of 0 for each page size of the machine. Where there is no file for that (no controller,
no pages of that size), nothing needs to be limited: no container gets such pages unless the machine's owner has set
some aside. Any other limit that can't be kept is an error.
"""

from __future__ import annotations

import posix

from pyrun.base.errors import PyrunError, joined
from pyrun.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyrun.cgroups.files import Write

PATH = "linux.resources.hugepageLimits"
SIZES = "/sys/kernel/mm/hugepages"  # a folder hugepages-2048kB for each size


def v1(limits: Sequence[dict[str, Any]], directory: str = "") -> list[Write]:
    """What to write into the container's cgroup of the hugetlb hierarchy. Raises PyrunError for a page size that this
    machine hasn't got."""
    return _writes(limits, "limit_in_bytes")


def v2(limits: Sequence[dict[str, Any]], directory: str = "") -> list[Write]:
    """What to write into a cgroup v2. Raises PyrunError for a page size that this machine hasn't got."""
    return _writes(limits, "max")


def _writes(limits: Sequence[dict[str, Any]], ending: str) -> list[Write]:
    """The limit on use and, since Linux 5.7, that on reservations, which fails at mmap and not by SIGBUS later."""
    found = []
    for index, entry in enumerate(limits):
        size, limit = entry["pageSize"], entry["limit"]
        if limit:
            _check_size(size, f"{PATH}[{index}].pageSize")
        for middle, optional in (("", not limit), ("rsvd.", True)):
            name = f"hugetlb.{size}.{middle}{ending}"
            found.append((name, str(limit), f"{PATH}[{index}].limit", optional))
    return found


def _check_size(size: str, json_path: str) -> None:
    try:
        names = posix.listdir(SIZES)
    except OSError:
        return  # no sysfs, or no such pages at all: the write says so
    known = [_file_name(int(name[len("hugepages-") : -len("kB")])) for name in names]
    if size not in known:
        there = f"its sizes are {joined(sorted(known))}" if known else "it has none at all"
        raise PyrunError(f"this machine has no huge pages of {size}: {there}", json_path)


def _file_name(kib: int) -> str:
    """A page size as the names of cgroup files have it."""
    for power, unit in ((20, "GB"), (10, "MB")):
        if kib >= 1 << power:
            return f"{kib >> power}{unit}"
    return f"{kib}KB"


def stats(v1_directory: str, unified: str) -> dict[str, Any]:
    """What is reserved, or used where the kernel doesn't count reservations, by page size; of the v1 cgroup or else the
    v2 one, "" if there is none."""
    directory = v1_directory or unified
    try:
        names = posix.listdir(directory) if directory else []
    except OSError:
        names = []
    usage = "usage_in_bytes" if v1_directory else "current"
    found = {}
    for name in names:
        parts = name.split(".")
        if len(parts) == 3 and parts[0] == "hugetlb" and parts[2] == usage:
            page = f"{directory}/hugetlb.{parts[1]}"
            counted = f"{page}.rsvd" if f"hugetlb.{parts[1]}.rsvd.{usage}" in names else page
            entry = found[parts[1]] = {"usage": files.number(f"{counted}.{usage}")}
            if v1_directory:
                entry["max"] = files.number(f"{counted}.max_usage_in_bytes")
                entry["failcnt"] = files.number(f"{counted}.failcnt")
            else:
                entry["failcnt"] = files.pairs(f"{page}.events").get("max", 0)
    return found
