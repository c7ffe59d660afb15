"""The record of a container's cgroups, where they are, and whose a cgroup is.

Hot module. A `Record` is planned before the first side effect and kept in the container's state; it is all that later
calls need.
"""

from __future__ import annotations

import posix

from pyrun.base.errors import PyrunError
from pyrun.cgroups import v1, v2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NotRequired, TypedDict

    from pyrun.cgroups.detect import Hierarchy
    from pyrun.cgroups.units import Unit

    class Record(TypedDict):
        """`path` counts from each hierarchy's mount. `made`: the directories that create makes, parents
        first.

        `kept`: those at `path` that were there before and will stay. `unit`: what systemd makes the cgroup for, if
        it does.
        """

        id: str
        path: str
        hierarchies: list[Hierarchy]
        made: list[str]
        kept: list[str]
        unit: NotRequired[Unit]


# An attribute of directories. A container's cgroup (in the main hierarchy) has its id: no other may have the
# path until it is deleted. One above that pyrun made has an empty one: whoever removes the last container
# removes it too.
MARK = "trusted.pyrun"
NONE = "the container has no cgroup of its own, since none could be made without rights"


def mark(directory: str, owner: str) -> None:
    """Write down whose a cgroup is."""
    try:
        posix.setxattr(directory, MARK, owner.encode())
    except OSError:
        pass  # only root of the machine may; then the plan alone tells what is ours


def owner_of(directory: str) -> str | None:
    """The container that a cgroup belongs to, "" for one above that pyrun made, None for others."""
    try:
        return posix.getxattr(directory, MARK).decode()
    except OSError:
        return None


def directory_of(record: Record, hierarchy: Hierarchy) -> str:
    """The container's cgroup in one hierarchy."""
    return hierarchy["mount"] + record["path"]


def main_of(record: Record) -> Hierarchy:
    """The hierarchy that freezes and that says which processes there are. PyrunError for a container without cgroups
    (see manager.create)."""
    for hierarchy in record["hierarchies"]:
        if "freezer" in hierarchy["controllers"]:
            return hierarchy
    for hierarchy in record["hierarchies"]:
        if hierarchy["name"] == "unified":
            return hierarchy
    if not record["hierarchies"]:
        raise PyrunError(NONE)
    return record["hierarchies"][0]


def is_frozen(hierarchy: Hierarchy, directory: str) -> bool:
    """Whether a cgroup is frozen, by itself or by one above."""
    if hierarchy["name"] == "unified":
        return v2.frozen(directory)
    return "freezer" in hierarchy["controllers"] and v1.frozen(directory)
