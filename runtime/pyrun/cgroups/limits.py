"""`linux.resources` put into effect: each property in the hierarchy that has its controller. Hot module.

A controller that a v1 hierarchy holds is limited there, every other one in the v2 cgroup, where it is enabled first.
"""

from __future__ import annotations

from pyrun.base import log
from pyrun.base.errors import PyrunError
from pyrun.cgroups import devices, files
from pyrun.cgroups.controllers import table
from pyrun.cgroups.hierarchies import by_controller, v2_directory, v2_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pyrun.cgroups.devices import Rule
    from pyrun.cgroups.driver import Record
    from pyrun.cgroups.files import Before, Write

FROM_ABOVE = (
    "cpu.rt_"  # a new cgroup has none of these to pass on, so those above the container's get the same
)
# file: what is the matter if the kernel takes a number and then says that there is no limit
IGNORED = {"memory.kmem.limit_in_bytes": "this kernel has no limit of its own for kernel memory any more"}


def apply(record: Record, resources: dict[str, Any], before: list[Before] | None = None) -> None:
    """Limit the container's cgroups. What the files hold until then is added to `before`. Device rules come last.
    Raises PyrunError if something can't be had."""
    where = by_controller(record["hierarchies"], record["path"])
    hierarchy = v2_of(record["hierarchies"])
    unified = hierarchy["mount"] + record["path"] if hierarchy else ""
    if resources.get("unified") and not unified:
        raise PyrunError("this machine has no cgroup v2", "linux.resources.unified")
    groups = table.writes(resources, where, unified)
    failures: dict[str, str] = {}
    if [True for directory, _, _ in groups if not directory]:
        failures = _enable(unified, hierarchy["mount"] if hierarchy else "", groups)
        if where:  # what is to be written depends on what is there, and more may be there now
            groups = table.writes(resources, where, unified)
    for directory, controller, writes in groups:
        if directory:
            _limit_above(directory, record["made"], writes, before)
            files.write_all(directory, writes, before)
            _check_ignored(directory, writes)
        elif controller not in failures:
            files.write_all(unified, writes, before)
    if "devices" in resources:
        _devices(where.get("devices", ""), unified, resources["devices"])


def _enable(unified: str, mount: str, groups: Sequence[tuple[str, str, list[Write]]]) -> dict[str, str]:
    """Enable the controllers that the v2 cgroup needs; it is "" if there is none. Returns those that can't be had, but
    needn't be. Raises PyrunError for the others."""
    from pyrun.cgroups import v2

    wanted = [controller for directory, controller, _ in groups if not directory]
    failures = v2.enable(unified, mount, wanted) if unified else dict.fromkeys(wanted, "it is not mounted")
    for directory, controller, writes in groups:
        if directory or controller not in failures:
            continue
        required = [entry for entry in writes if not entry[3]]  # the others may be missing
        if required:
            sentence = f"the cgroup controller {controller!r} can't be had: {failures[controller]}"
            raise PyrunError(sentence, required[0][2])
    return failures


def _limit_above(
    directory: str, made: Sequence[str], writes: Sequence[Write], before: list[Before] | None
) -> None:
    wanted = [entry for entry in writes if entry[0].startswith(FROM_ABOVE)]
    for parent in made if wanted else ():
        if directory.startswith(parent + "/"):
            files.write_all(parent, wanted, before)


def _check_ignored(directory: str, writes: Sequence[Write]) -> None:
    for name, value, json_path, _ in writes:
        if name in IGNORED and int(value) > 0 and int(files.fetch(directory, name)) > 1 << 60:
            raise PyrunError(IGNORED[name], json_path)


def writes(record: Record, resources: dict[str, Any]) -> list[Write]:
    """What is to be written into the files of the container's cgroups, wherever they are. Raises PyrunError for what
    this machine's cgroups haven't got."""
    where = by_controller(record["hierarchies"], record["path"])
    unified = v2_directory(record["hierarchies"], record["path"])
    return [entry for _, _, found in table.writes(resources, where, unified) for entry in found]


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
