"""`linux.resources` put into effect: each part in the hierarchy that has its controller. Hot module.

A controller that a v1 hierarchy holds is limited there, every other one in the v2 cgroup, where it is
enabled first.
"""

from __future__ import annotations

from pyrun.base import log
from pyrun.base.errors import PyrunError
from pyrun.cgroups import devices, files, v2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyrun.cgroups.detect import Hierarchy
    from pyrun.cgroups.devices import Rule
    from pyrun.cgroups.files import Before, Write

# controller: the part of linux.resources that it limits
PARTS = (
    ("memory", "memory"),
    ("cpu", "cpu"),
    ("cpuset", "cpu"),
    ("pids", "pids"),
    ("hugetlb", "hugepageLimits"),
)


def apply(
    path: str,
    hierarchies: Sequence[Hierarchy],
    made: Sequence[str],
    resources: dict[str, Any],
    before: list[Before] | None = None,
) -> None:
    """Limit the cgroups at `path`; `made` are the directories that were made for it. What the files hold until then
    is added to `before`. Device rules come last. PyrunError.
    """
    where: dict[str, str] = {}
    unified = mount = ""
    for hierarchy in hierarchies:
        for controller in hierarchy["controllers"]:
            where[controller] = hierarchy["mount"] + path
        if hierarchy["name"] == "unified":
            mount = hierarchy["mount"]
            unified = mount + path
    rest = []
    for controller, key in PARTS:
        part = resources.get(key)
        if not part:
            continue
        if controller not in where:
            rest.append((controller, part))
            continue
        directory = where[controller]
        if controller == "cpu":
            _realtime_above(directory, made, part, before)
        files.write_all(directory, _writes(controller, part, "v1", directory), before)
        if controller == "memory":
            from pyrun.cgroups.controllers import memory

            memory.check_kernel_limit(part, directory)
    _apply_v2(unified, mount, rest, resources.get("unified") or {}, before)
    if "devices" in resources:
        _devices(where.get("devices", ""), unified, resources["devices"])


def _writes(controller: str, part: Any, version: str, directory: str) -> list[Write]:
    if controller == "memory":
        from pyrun.cgroups.controllers import memory

        return memory.v1(part) if version == "v1" else memory.v2(part, directory)
    if controller == "cpu":
        from pyrun.cgroups.controllers import cpu

        return cpu.v1(part) if version == "v1" else cpu.v2(part, directory)
    if controller == "cpuset":
        from pyrun.cgroups.controllers import cpuset

        return cpuset.writes(part)
    if controller == "hugetlb":
        from pyrun.cgroups.controllers import hugetlb

        return hugetlb.v1(part) if version == "v1" else hugetlb.v2(part)
    from pyrun.cgroups.controllers import pids

    return pids.writes(part)


def _realtime_above(
    directory: str, made: Sequence[str], part: dict[str, Any], before: list[Before] | None
) -> None:
    """A new cgroup has no real time to pass on, so those above the container's get the same."""
    if part.get("realtimeRuntime") or part.get("realtimePeriod"):
        from pyrun.cgroups.controllers import cpu

        for parent in made:
            if directory.startswith(parent + "/"):
                files.write_all(parent, cpu.realtime(part), before)


def v2_writes(
    parts: Sequence[tuple[str, Any]], unified_part: dict[str, str], directory: str
) -> list[tuple[str, list[Write]]]:
    """Each controller with what is to be written into a cgroup v2, `directory`. Raises PyrunError for what v2 hasn't
    got."""
    writes = [(controller, _writes(controller, part, "v2", directory)) for controller, part in parts]
    if unified_part:
        from pyrun.cgroups.controllers import unified as unified_files

        writes += [(v2.controller_of(entry[0]), [entry]) for entry in unified_files.writes(unified_part)]
    return writes


def _apply_v2(
    unified: str,
    mount: str,
    parts: list[tuple[str, Any]],
    unified_part: dict[str, str],
    before: list[Before] | None,
) -> None:
    """Limit the v2 cgroup, "" if there is none."""
    if unified_part and not unified:
        raise PyrunError("this machine has no cgroup v2", "linux.resources.unified")
    writes = v2_writes(parts, unified_part, unified)
    wanted = [controller for controller, entries in writes if entries]
    if not wanted:
        return
    failures = v2.enable(unified, mount, wanted) if unified else dict.fromkeys(wanted, "it is not mounted")
    for controller, entries in writes:
        if controller in failures and all([may_be_missing for _, _, _, may_be_missing in entries]):
            entries.clear()
        elif entries and controller in failures:
            sentence = f"the cgroup controller {controller!r} can't be had: {failures[controller]}"
            raise PyrunError(sentence, entries[0][2])
    for controller, part in parts:
        if controller == "memory":
            from pyrun.cgroups.controllers import memory

            memory.check_usage(part, unified)
    for _, entries in writes:
        files.write_all(unified, entries, before)


def _devices(v1_directory: str, unified: str, rules: Sequence[dict[str, Any]]) -> None:
    allowed, ordered = devices.ordered(rules)
    try:
        _write_devices(v1_directory, unified, allowed, ordered)
    except PyrunError as error:
        from pyrun.kernel import process

        # An ordinary user, or root of a user namespace, can't limit devices, nor make nodes, nor open those that it
        # brings in by a mount of its own. runc and crun leave the rules out there, too.
        if error.kind != files.RIGHTS or not process.is_ordinary():
            raise
        log.debug(f"{error.sentence}; without the machine's root, the device rules are left out")


def _write_devices(v1_directory: str, unified: str, allowed: bool, ordered: Sequence[Rule]) -> None:
    if v1_directory:
        from pyrun.cgroups import devices_v1

        devices_v1.apply(v1_directory, allowed, ordered)
    elif unified:
        from pyrun.cgroups import devices_v2

        devices_v2.apply(unified, allowed, ordered)
    elif not allowed:
        raise PyrunError("there is no cgroup that limits devices", devices.PATH, kind=files.RIGHTS)
