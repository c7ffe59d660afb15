"""Where the cgroup hierarchies of this machine are mounted, and which of them is cgroup v2's.

Hot module. Three layouts exist: "v1" (one hierarchy per controller or group of controllers), "v2" (one for all, at
/sys/fs/cgroup) and "hybrid" (v1's, and a cgroup2 mount that has the controllers no v1 hierarchy holds).
"""

from __future__ import annotations

import posix

from pyrun.base.errors import PyrunError
from pyrun.kernel.calls import O_CLOEXEC, read_file, statfs_type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypedDict

    from pyrun.cgroups.driver import Record

    class Hierarchy(TypedDict):
        """`name`: "unified" for cgroup v2, else its controllers ("cpu,cpuacct") or its own name
        ("name=systemd").
        """

        name: str
        controllers: list[str]
        mount: str

    class Layout(TypedDict):
        """`mode` is "v1", "v2" or "hybrid". v2's controllers are looked up in the cgroup when a limit needs
        one.
        """

        mode: str
        hierarchies: list[Hierarchy]


UNIFIED = "unified"
USUAL_PLACE = "/sys/fs/cgroup"
NONE = "the container has no cgroup of its own"
CGROUP2_SUPER_MAGIC = 0x63677270
V1_CONTROLLERS = (
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls", "net_prio",
    "perf_event", "hugetlb", "rdma", "misc",
)  # fmt: skip


def is_v2(hierarchy: Hierarchy) -> bool:
    """Is it cgroup v2's?"""
    return hierarchy["name"] == UNIFIED


def only_v2(hierarchies: Sequence[Hierarchy]) -> bool:
    """Is cgroup v2 all there is?"""
    return len(hierarchies) == 1 and is_v2(hierarchies[0])


def v2_of(hierarchies: Sequence[Hierarchy]) -> Hierarchy | None:
    """The one of cgroup v2, if there is one."""
    for hierarchy in hierarchies:
        if is_v2(hierarchy):
            return hierarchy
    return None


def v2_directory(hierarchies: Sequence[Hierarchy], path: str) -> str:
    """The cgroup at `path` in cgroup v2; "" if that isn't there."""
    found = v2_of(hierarchies)
    return found["mount"] + path if found else ""


def by_controller(hierarchies: Sequence[Hierarchy], path: str) -> dict[str, str]:
    """The cgroups at `path` in v1's hierarchies, by controller."""
    return {name: each["mount"] + path for each in hierarchies for name in each["controllers"]}


def directory_of(record: Record, hierarchy: Hierarchy) -> str:
    """The container's cgroup in one hierarchy."""
    return hierarchy["mount"] + record["path"]


def main_of(record: Record) -> Hierarchy:
    """The hierarchy that freezes and that says which processes there are. Raises PyrunError if the container has no
    cgroup."""
    for hierarchy in record["hierarchies"]:
        if "freezer" in hierarchy["controllers"]:
            return hierarchy
    if not record["hierarchies"]:
        raise PyrunError(NONE)
    return v2_of(record["hierarchies"]) or record["hierarchies"][0]


def main_directory(record: Record) -> str:
    """The container's cgroup in the main hierarchy. Raises PyrunError if it has none."""
    return main_of(record)["mount"] + record["path"]


def layout() -> Layout:
    """The hierarchies that this process sees.

    A machine with cgroup2 at the usual place is recognised by that alone: /proc/self/mountinfo has a line
    for every mount of every container, and is read only where v1 hierarchies have to be found.
    """
    try:
        fd = posix.open(USUAL_PLACE, posix.O_RDONLY | posix.O_DIRECTORY | O_CLOEXEC)
        try:
            if statfs_type(fd) == CGROUP2_SUPER_MAGIC:
                return {"mode": "v2", "hierarchies": [_unified(USUAL_PLACE)]}
        finally:
            posix.close(fd)
    except OSError:
        pass  # mounted elsewhere, or not at all
    return from_mountinfo(read_file("/proc/self/mountinfo").decode("utf-8", "surrogateescape"))


def from_mountinfo(text: str) -> Layout:
    """The hierarchies in the text of a mountinfo file: proc_pid_mountinfo(5).

    A hierarchy may be mounted in several places (a container's /sys/fs/cgroup is visible on the host too):
    the one in the usual place counts, else the first. Its root within the hierarchy doesn't matter: the
    spec counts all paths from the mount point.
    """
    found: dict[str, Hierarchy] = {}
    for line in text.split("\n"):
        if " - cgroup" not in line:
            continue
        left, _, right = line.partition(" - ")
        kind, _, super_options = right.split(" ", 2)
        mount = _unescape(left.split(" ", 5)[4])
        if kind == "cgroup2":
            entry = _unified(mount)
        elif kind == "cgroup":
            options = super_options.split(",")
            controllers = [option for option in options if option in V1_CONTROLLERS]
            named = [option for option in options if option.startswith("name=")]
            entry = {"name": ",".join(controllers + named), "controllers": controllers, "mount": mount}
        else:
            continue
        known = found.get(entry["name"])
        if known is None or (_is_usual(mount) and not _is_usual(known["mount"])):
            found[entry["name"]] = entry
    if not found:
        raise PyrunError("no cgroup file system is mounted", hint="mount cgroup2 on /sys/fs/cgroup")
    mode = "v1" if UNIFIED not in found else "v2" if len(found) == 1 else "hybrid"
    return {"mode": mode, "hierarchies": list(found.values())}


def _unified(mount: str) -> Hierarchy:
    return {"name": UNIFIED, "controllers": [], "mount": mount}


def _is_usual(mount: str) -> bool:
    return mount == USUAL_PLACE or mount.startswith(USUAL_PLACE + "/")


def _unescape(path: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path
