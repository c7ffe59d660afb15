"""The end of a container's cgroups: all processes killed, all directories removed. Hot module."""

from __future__ import annotations

import posix
import time

from pyrun.base.errors import PyrunError
from pyrun.cgroups import freezer, groups, hierarchies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyrun.cgroups.driver import Record
    from pyrun.cgroups.hierarchies import Hierarchy

PATIENCE = 10.0  # seconds that kill and remove wait


def kill(record: Record) -> None:
    """Kill all processes of the container and wait until none is left, up to 10 s. Raises PyrunError if one stays."""
    hierarchy = hierarchies.main_of(record)
    directory = hierarchies.directory_of(record, hierarchy)
    left: Sequence[int] = ()
    for pause in _pauses():
        left = groups.processes(directory)
        if not left:
            return
        freezer.kill(hierarchy, directory, left)
        _leave_frozen(hierarchy, directory, left)
        time.sleep(pause)
    raise PyrunError(f"killing all in {directory}: process {left[0]} does not end")


def let_die(record: Record) -> None:
    """Let those die who are killed already: in cgroup v1 nothing dies frozen, whoever froze it, the container itself a
    cgroup below its own, or somebody one above. Those of the latter are killed and moved out."""
    hierarchy = hierarchies.main_of(record)
    directory = hierarchies.directory_of(record, hierarchy)
    if "freezer" not in hierarchy["controllers"]:
        return
    try:
        freezer.thaw_below(directory)
        if not freezer.frozen(hierarchy, directory):
            return
        freezer.thaw(hierarchy, directory)
        if freezer.frozen(hierarchy, directory):
            left = groups.processes(directory)
            groups.kill_all(left)
            _leave_frozen(hierarchy, directory, left)
    except FileNotFoundError:
        pass  # the cgroup is gone


def _leave_frozen(hierarchy: Hierarchy, directory: str, killed: Sequence[int]) -> None:
    """Move killed processes out of a cgroup that is frozen by one above: where nothing is frozen, they die."""
    if not hierarchies.is_v2(hierarchy) and freezer.frozen(hierarchy, directory):
        groups.move(killed, hierarchy["mount"])


def remove(record: Record) -> None:
    """Kill what remains and remove what `create` made, and what the container made below; up to 10 s.

    Cgroups that are gone are fine. A cgroup that was there before stays, without our device rules where these are a
    program. Directories above go when they are empty and a pyrun made them. Raises PyrunError if one stays in use.
    """
    busy = []
    for hierarchy in record["hierarchies"]:
        directory = hierarchies.directory_of(record, hierarchy)
        if directory in record["kept"] or not groups.rmdir(directory):
            busy.append(hierarchy)
    if busy:
        kill(record)
        for hierarchy in busy:
            _clear(record, hierarchy)
    for hierarchy in record["hierarchies"]:
        _remove_parents(record, hierarchy)


def _clear(record: Record, hierarchy: Hierarchy) -> None:
    directory = hierarchies.directory_of(record, hierarchy)
    kept = directory in record["kept"]
    for pause in _pauses():
        left = groups.processes(directory)
        if left:
            # Those that left the container's cgroup of the main hierarchy, or that entered it, frozen, just now.
            groups.kill_all(left)
            main = hierarchies.main_of(record)
            freezer.kill(main, hierarchies.directory_of(record, main), left)
        if groups.remove_below(directory) and not left and (kept or groups.rmdir(directory)):
            if kept:
                _leave_clean(record, hierarchy, directory)
            return
        time.sleep(pause)
    raise PyrunError(f"removing the cgroup {directory}: it is still in use")


def _leave_clean(record: Record, hierarchy: Hierarchy, directory: str) -> None:
    if hierarchies.is_v2(hierarchy):
        from pyrun.cgroups import devices_v2

        devices_v2.detach(directory)
    if hierarchy is hierarchies.main_of(record):
        freezer.thaw(hierarchy, directory)
    try:
        posix.removexattr(directory, groups.MARK)
    except OSError:
        pass  # it had none


def _remove_parents(record: Record, hierarchy: Hierarchy) -> None:
    mount = hierarchy["mount"]
    directory = hierarchies.directory_of(record, hierarchy)
    while (directory := directory[: directory.rindex("/")]) != mount:
        try:
            if directory not in record["made"] and groups.owner_of(directory) != "":
                return
            posix.rmdir(directory)
        except FileNotFoundError:
            pass  # create was killed before it made this one, or an earlier removal after it took it away
        except OSError:
            return  # not empty


def _pauses() -> Iterator[float]:
    """Longer and longer pauses in seconds, until PATIENCE is at its end."""
    end = time.monotonic() + PATIENCE
    pause = 0.0005
    while time.monotonic() < end:
        yield pause
        pause = min(pause * 1.5, 0.1)
