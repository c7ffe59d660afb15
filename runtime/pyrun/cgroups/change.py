"""Changing the limits of a container that has processes: all that is named, or nothing. Hot module."""

from __future__ import annotations

from pyrun.base.errors import PyrunError, joined
from pyrun.cgroups import driver, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.driver import Record
    from pyrun.cgroups.files import Before

# Files with a line per device: a device without a line has these settings.
UNSET = {
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "io.weight": "default",
    "io.bfq.weight": "default",
    "io.latency": "target=0",
    "blkio.bfq.weight_device": "default",
    "blkio.weight_device": "default",
    "blkio.throttle.read_bps_device": "0",
    "blkio.throttle.write_bps_device": "0",
    "blkio.throttle.read_iops_device": "0",
    "blkio.throttle.write_iops_device": "0",
    "net_prio.ifpriomap": "0",
    "rdma.max": "hca_handle=max hca_object=max",
}
ROUNDS = 4


def apply(record: Record, resources: dict[str, Any], device_rules: list[dict[str, Any]]) -> None:
    """Put those properties of `linux.resources` into effect that are given; if one can't be, put all back.

    `device_rules` are those in force, which can't be read from cgroup v2. Raises PyrunError if one can't be put into
    effect, and says what could not be put back.
    """
    before: list[Before] = []
    cgroups = driver.of(record)
    try:
        cgroups.change(record, resources, before)
    except PyrunError as error:
        left = put_back(before)
        if "devices" in resources:  # they come last: now they are as they were, or half of the new ones
            try:
                cgroups.limit_devices(record, device_rules)
            except PyrunError:
                left.append("the device rules")
        if left:
            error.sentence += f"; and {joined(left)} could not be put back"
        raise


def put_back(before: list[Before]) -> list[str]:
    """Write back what differs, the last first; the names of the files that can't be made as they were.

    Some files are checked against each other, and cpu.idle resets the weight: so there are several rounds.
    """
    wanted: dict[tuple[str, str, str], str] = {}
    for directory, name, written, old in before:
        first, _, rest = written.partition(" ")
        key = (
            "" if name not in UNSET else first if rest else "default"
        )  # a weight alone is that of all devices
        wanted.setdefault((directory, name, key), content(name, key, old))
    differing = list(wanted)[::-1]
    for _ in range(ROUNDS):
        differing = [entry for entry in differing if _now(entry) != wanted[entry]]
        if not differing:
            break
        for entry in differing:
            try:
                files.put(entry[0], entry[1], wanted[entry] or "\n")
            except OSError:
                pass  # its turn may come when the others are right; else it is reported
    return [name for _, name, _ in differing]


def content(name: str, key: str, text: str) -> str:
    """The part of a file's text that is written to restore it: all, a device's line, or the one setting in it."""
    if name == "memory.oom_control":
        return text.split("\n")[0].rpartition(" ")[2]
    if name not in UNSET:
        return text
    for line in text.split("\n"):
        if line.split(" ")[0] == key:
            return line
    return f"{key} {UNSET[name]}"


def _now(entry: tuple[str, str, str]) -> str | None:
    directory, name, key = entry
    try:
        return content(name, key, files.read(f"{directory}/{name}"))
    except OSError:
        return None
