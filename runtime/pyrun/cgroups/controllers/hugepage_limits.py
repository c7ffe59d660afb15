"""linux.resources.hugepageLimits: config-linux.md § Huge page limits; kernel: hugetlbpage.rst, cgroup-v2.rst § HugeTLB.

Hot module. A limit of 0, which engines send for each page size of the machine, is all that gets here so far. Where
there is no file for it (no controller, no pages of that size), nothing is limited: no container gets such pages unless
the machine's owner has set some aside.
"""

from __future__ import annotations

import posix

from pyrun.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from pyrun.cgroups.files import Write

PATH = "linux.resources.hugepageLimits"


def v1(limits: Sequence[dict[str, Any]], directory: str = "") -> list[Write]:
    """What to write into the container's cgroup of the hugetlb hierarchy."""
    return list(_writes(limits, "limit_in_bytes"))


def v2(limits: Sequence[dict[str, Any]], directory: str = "") -> list[Write]:
    """What to write into a cgroup v2."""
    return list(_writes(limits, "max"))


def _writes(limits: Sequence[dict[str, Any]], ending: str) -> Iterator[Write]:
    """The limit on use and, since Linux 5.7, that on reservations, which fails at mmap and not by SIGBUS later."""
    for index, entry in enumerate(limits):
        for middle in ("", "rsvd."):
            name = f"hugetlb.{entry['pageSize']}.{middle}{ending}"
            yield name, str(entry["limit"]), f"{PATH}[{index}].limit", True


def stats(v1_directory: str, unified: str) -> dict[str, Any]:
    """What is used, by page size, such as 2MB; of the v1 cgroup or else the v2 one, "" if there is none."""
    directory = v1_directory or unified
    try:
        names = posix.listdir(directory) if directory else []
    except OSError:
        names = []
    usage, limit = ("usage_in_bytes", "max_usage_in_bytes") if v1_directory else ("current", "")
    found = {}
    for name in names:
        parts = name.split(".")
        if len(parts) == 3 and parts[0] == "hugetlb" and parts[2] == usage:
            page = f"{directory}/hugetlb.{parts[1]}"
            found[parts[1]] = {"usage": files.number(f"{page}.{usage}")}
            if limit:
                found[parts[1]]["max"] = files.number(f"{page}.{limit}")
            found[parts[1]]["failcnt"] = (
                files.number(f"{page}.failcnt")
                if v1_directory
                else files.pairs(f"{page}.events").get("max", 0)
            )
    return found
