"""The driver that has systemd make the container's cgroup: a transient scope that has the container's init in it.

Hot module, loaded only with --systemd-cgroup. systemd owns the tree (one writer: cgroups(7), systemd's "Control Group
APIs and Delegation"), so it is asked for the cgroup, told every limit that it knows as a property of the unit (or it
would put its own back at the next daemon-reload), and asked to stop the unit at the end. What it doesn't know is
written to the cgroup's files as always, which Delegate=yes allows. Of cgroup v1 systemd leaves some hierarchies alone:
there the cgroups are ours from the beginning.
Source: systemd.resource-control(5).
"""

from __future__ import annotations

import posix
import time

from pyrun.base import log
from pyrun.base.errors import PyrunError, failed
from pyrun.cgroups import cgroupfs, devices, files, groups, hierarchies, limits, systemd_manager, units, v2
from pyrun.kernel import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pyrun.cgroups.driver import Record
    from pyrun.cgroups.files import Before
    from pyrun.cgroups.hierarchies import Hierarchy

JSON_PATH = "linux.cgroupsPath"
FAREWELL = 1.0  # seconds in which systemd forgets a unit whose processes have ended
# The controllers of cgroup v1 that systemd has (systemd.resource-control(5)), and its own hierarchy.
V1_CONTROLLERS = ("cpu", "cpuacct", "memory", "blkio", "devices", "pids")
OWN = "name=systemd"

# What is there once systemd has made it is like any other cgroup.
limit, limit_devices = cgroupfs.limit, cgroupfs.limit_devices
pids, frozen, freeze, thaw = cgroupfs.pids, cgroupfs.frozen, cgroupfs.freeze, cgroupfs.thaw
let_die, kill, view = cgroupfs.let_die, cgroupfs.kill, cgroupfs.view


def plan(cgroups_path: str | None, container_id: str, annotations: Mapping[str, str]) -> Record:
    """Where systemd will make the container's cgroup; nothing is changed. Raises PyrunError if that can't be."""
    layout = hierarchies.layout()
    user = systemd_manager.is_users()
    if user and layout["mode"] != "v2":
        hint = "leave out --systemd-cgroup (podman: --cgroup-manager=cgroupfs)"
        raise PyrunError("a user's systemd has no controllers on a host with cgroup v1", JSON_PATH, hint)
    unit, path = units.place(cgroups_path, container_id, user)
    units.from_annotations(annotations)
    subgroup = units.subgroup(annotations)
    if subgroup and layout["mode"] != "v2":
        path_of_it = f"annotations[{units.SUBGROUP!r}]"
        raise PyrunError("a cgroup below the unit's needs a host with nothing but cgroup v2", path_of_it)
    record: Record = {
        "id": container_id,
        "path": systemd_manager.above(user) + path + (f"/{subgroup}" if subgroup else ""),
        "hierarchies": layout["hierarchies"],
        "made": [],
        "kept": [],
        "unit": {**unit, "pending": True, "subgroup": subgroup},
    }
    _check_free(record)
    ours = _ours(record)
    if ours:
        cgroupfs.survey(record, ours)
    return record


def _check_free(record: Record) -> None:
    """Raises PyrunError if somebody is in the unit's cgroup, or another container owns it."""
    directory = _directory(record)
    owner = groups.owner_of(directory)
    if owner and owner != record["id"]:
        what = f"the container {owner!r}'s, which is not deleted yet"
    elif held := groups.processes(directory):
        what = f"there already, with processes such as {held[0]}"
    else:
        return
    hint = "a container wants a unit of its own"
    raise PyrunError(f"the unit {record['unit']['name']} is {what}", JSON_PATH, hint)


def _is_systemds(hierarchy: Hierarchy) -> bool:
    """Does systemd make a unit's cgroup there?"""
    own = hierarchies.is_v2(hierarchy) or hierarchy["name"] == OWN
    return own or any([name in V1_CONTROLLERS for name in hierarchy["controllers"]])


def _ours(record: Record) -> list[Hierarchy]:
    return [each for each in record["hierarchies"] if not _is_systemds(each)]


def _directory(record: Record) -> str:
    """The unit's cgroup, where systemd looks for its processes."""
    found = hierarchies.v2_of(record["hierarchies"]) or next(
        (each for each in record["hierarchies"] if each["name"] == OWN),
        hierarchies.main_of(record),
    )
    directory = hierarchies.directory_of(record, found)
    subgroup = record["unit"].get("subgroup")
    return directory.removesuffix(f"/{subgroup}") if subgroup else directory


def create(record: Record, rootless: str) -> None:
    """systemd makes a cgroup around a process that lives: see `begin`. What it leaves alone of cgroup v1 is made here.
    Raises PyrunError if that fails; then the record is cut down to what is ours."""
    ours = _ours(record)
    if not ours:
        return
    part: Record = {**record, "hierarchies": ours}
    try:
        cgroupfs.create(part, "false")
    except PyrunError:
        record["hierarchies"] = part["hierarchies"]
        raise


def begin(
    record: Record, pid: int, resources: dict[str, Any], annotations: Mapping[str, str], owner: int
) -> bool:
    """Make the unit, with the process in it and these limits. Raises PyrunError if systemd doesn't."""
    unit = record["unit"]
    known = limit_properties(record, {"devices": [], **resources})
    systemd_manager.start(unit, pid, [*known, *units.from_annotations(annotations)])
    if not hierarchies.only_v2(record["hierarchies"]):
        _complete(record, pid)
        return True
    directory = hierarchies.main_directory(record)
    if unit.get("subgroup"):
        _make_below(directory)
    if unit.get("subgroup") or unit["name"].endswith(".slice"):  # systemd puts no process there
        files.write(directory, "cgroup.procs", str(pid), JSON_PATH)
    groups.mark(_directory(record), record["id"])
    v2.enable(directory, record["hierarchies"][0]["mount"], v2.ACCOUNTED)
    if owner > 0:
        v2.give(directory, owner)
    return True


def _make_below(directory: str) -> None:
    try:
        posix.mkdir(directory, 0o755)
    except OSError as error:
        path = f"annotations[{units.SUBGROUP!r}]"
        raise failed("making the cgroup below the unit's", error, path) from None


def _complete(record: Record, pid: int) -> None:
    """Put the process where systemd has not, in cgroup v1: its own configuration may leave controllers out, and it puts
    none into a slice. Raises PyrunError if that fails."""
    groups.mark(_directory(record), record["id"])
    for hierarchy in record["hierarchies"]:
        if not _is_systemds(hierarchy):
            continue
        directory = hierarchies.directory_of(record, hierarchy)
        if not calls.exists(directory):
            cgroupfs.create({**record, "hierarchies": [hierarchy]}, "false")
        if pid not in groups.processes(directory):
            files.write(directory, "cgroup.procs", str(pid), JSON_PATH)


def give(record: Record, uid: int) -> None:
    """The unit is its owner's from its beginning."""


def seat(record: Record, below: Mapping[str, str] = cgroupfs.NOTHING) -> int:
    """None before the unit is there: systemd moves the init into it."""
    return -1 if "pending" in record["unit"] else cgroupfs.seat(record, below)


def tasks(record: Record, below: Mapping[str, str] = cgroupfs.NOTHING) -> list[int]:
    """Before the unit is there, only of what is ours: systemd moves the init into the rest."""
    if "pending" in record["unit"]:
        record = {**record, "hierarchies": _ours(record)}
    return cgroupfs.tasks(record, below)


def attach(record: Record, pid: int, below: str = "") -> None:
    """Have a process moved into the container's cgroup, or one `below` it. Raises PyrunError if systemd refuses."""
    place = "/".join([part for part in (record["unit"].get("subgroup"), below) if part])
    systemd_manager.attach(record["unit"], pid, place)


def _is_anothers(record: Record) -> bool:
    """Is somebody in a unit that this container asked for in vain, since another had the name? As long as systemd
    hasn't said yes, a unit without our mark isn't ours; but an init whose create was killed may be dying in there."""
    directory = _directory(record)
    end_of_patience = time.monotonic() + FAREWELL
    while groups.owner_of(directory) != record["id"] and groups.processes(directory):
        if time.monotonic() > end_of_patience:
            return True
        time.sleep(0.01)
    return False


def _stop_pending(record: Record) -> None:
    """Stop a unit of which it isn't known whether systemd made it: the create was killed, or failed. (A scope whose
    process died before it got there stays for ever with systemd 252.) Raises PyrunError if it stays."""
    try:
        systemd_manager.stop_if_ours(record["unit"])
    except PyrunError as error:
        if calls.exists(_directory(record)):
            raise
        log.debug(error.sentence)  # a create that failed for that has no unit


def limit_properties(record: Record, resources: dict[str, Any]) -> list[units.Property]:
    """What of `linux.resources` systemd has properties for. Raises PyrunError for what the machine hasn't got."""
    only_v2 = hierarchies.only_v2(record["hierarchies"])
    known = units.limits(limits.writes(record, resources))
    if resources.get("devices") is None or record["unit"]["user"]:
        return known
    allowed, rules = devices.ordered(resources["devices"])
    if only_v2:
        return known + units.devices(allowed, rules, units.MOST_DEVICES)
    from pyrun.cgroups import devices_v1

    remaining = {} if allowed else devices_v1.exceptions(allowed, rules)
    exact = [(True, *device, access, path) for device, (access, path) in remaining.items()]
    return known + units.devices(allowed, exact, len(exact))


def change(record: Record, resources: dict[str, Any], before: list[Before]) -> None:
    """Write the limits, and tell systemd of those that it knows. Raises PyrunError if either is refused.

    In cgroup v1 systemd takes all devices away before it allows them anew (runc#2204), so that the container is frozen
    meanwhile.
    """
    cgroupfs.change(record, resources, before)
    properties = limit_properties(record, resources)
    if not properties:
        return
    pausing = "devices" in resources and not hierarchies.only_v2(record["hierarchies"]) and not frozen(record)
    if not pausing:
        systemd_manager.change(record["unit"], properties)
        return
    freeze(record)
    try:
        systemd_manager.change(record["unit"], properties)
        cgroupfs.limit_devices(record, resources["devices"])
    finally:
        thaw(record)


def remove(record: Record) -> None:
    """Kill all, stop the unit, and remove what remains; of a unit that is another's, only what we have made. Raises
    PyrunError if that fails."""
    systemd_manager.forget()
    pending = "pending" in record["unit"]
    if pending and _is_anothers(record):
        cgroupfs.remove({**record, "hierarchies": _ours(record)})
        return
    kill(record)
    if pending:
        _stop_pending(record)
    elif calls.exists(_directory(record)):
        systemd_manager.stop(record["unit"])
    cgroupfs.remove(record)
