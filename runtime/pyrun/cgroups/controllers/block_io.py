"""linux.resources.blockIO: config-linux.md § Block IO; kernel: cgroup-v1/blkio-controller.rst, bfq-iosched.rst,
cgroup-v2.rst § IO.

Hot module. A weight of 0 is "not set": engines send it so. Weights are the scheduler BFQ's where the kernel has that
for cgroups. A limit is for a whole disk.
"""

from __future__ import annotations

from pyrun.base.errors import PyrunError
from pyrun.cgroups import files
from pyrun.kernel import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.files import Write

PATH = "linux.resources.blockIO"
LEAST, MOST = 10, 1000
# property, the file of v1, the key in io.max of v2
THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
)
MOST_OPERATIONS = (
    0xFFFFFFFF  # means unlimited; v1's kernel would keep 32 bits of a larger number, and limit by them
)
# property: the files that may hold it, the first that does counts
STATS_V1 = (
    ("ioServiceBytesRecursive", ("blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive")),
    ("ioServicedRecursive", ("blkio.bfq.io_serviced_recursive", "blkio.throttle.io_serviced_recursive")),
    ("ioQueueRecursive", ("blkio.bfq.io_queued_recursive",)),
    ("ioServiceTimeRecursive", ("blkio.bfq.io_service_time_recursive",)),
    ("ioWaitTimeRecursive", ("blkio.bfq.io_wait_time_recursive",)),
    ("ioMergedRecursive", ("blkio.bfq.io_merged_recursive",)),
    ("ioTimeRecursive", ("blkio.bfq.time_recursive",)),
    ("sectorsRecursive", ("blkio.bfq.sectors_recursive",)),
)  # fmt: skip
STATS_V2 = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "dbytes": ("ioServiceBytesRecursive", "Discard"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
    "dios": ("ioServicedRecursive", "Discard"),
}


def v1(block_io: dict[str, Any], directory: str = "") -> list[Write]:
    """What to write into the container's cgroup of the blkio hierarchy, `directory`. Raises PyrunError for a weight out
    of range."""
    begin = "blkio.bfq" if calls.exists(f"{directory}/blkio.bfq.weight") else "blkio"
    writes: list[Write] = []
    for key, name in (("weight", f"{begin}.weight"), ("leafWeight", "blkio.leaf_weight")):
        if weight := _weight(block_io, key, PATH):
            writes.append((name, str(weight), f"{PATH}.{key}", False))
        for numbers, entry, path in _devices(block_io, "weightDevice"):
            if weight := _weight(entry, key, path):
                writes.append((f"{name}_device", f"{numbers} {weight}", f"{path}.{key}", False))
    for key, name, limit in THROTTLES:
        for numbers, entry, path in _devices(block_io, key):
            rate = min(entry["rate"], MOST_OPERATIONS) if limit.endswith("iops") else entry["rate"]
            writes.append((name, f"{numbers} {rate}", f"{path}.rate", False))
    return writes


def v2(block_io: dict[str, Any], directory: str) -> list[Write]:
    """What to write into a cgroup v2, `directory`. Raises PyrunError for a weight out of range, and for leafWeight, of
    which v2 has no equivalent."""
    has_bfq = calls.exists(f"{directory}/io.bfq.weight")
    name = "io.bfq.weight" if has_bfq else "io.weight"
    writes: list[Write] = []
    parts = [("default", block_io, PATH), *_devices(block_io, "weightDevice")]
    for numbers, entry, path in parts:
        if _weight(entry, "leafWeight", path):
            raise PyrunError("cgroup v2 has no weight against a cgroup's own children", f"{path}.leafWeight")
        if weight := _weight(entry, "weight", path):
            value = weight if has_bfq else io_weight(weight)
            writes.append((name, f"{numbers} {value}", f"{path}.weight", False))
    for key, _, limit in THROTTLES:
        for numbers, entry, path in _devices(block_io, key):
            rate = entry["rate"] or "max"  # v1 takes 0 for unlimited
            writes.append(("io.max", f"{numbers} {limit}={rate}", f"{path}.rate", False))
    return writes


def io_weight(weight: int) -> int:
    """io.weight (1 to 10000, default 100) for a weight (10 to 1000): a straight line through both ends, as runc has
    it."""
    return 1 + (weight - LEAST) * 9999 // (MOST - LEAST)


def _devices(block_io: dict[str, Any], key: str) -> list[tuple[str, dict[str, Any], str]]:
    """The entries of a list, with the device's numbers and the JSON path of each."""
    return [
        (f"{entry['major']}:{entry['minor']}", entry, f"{PATH}.{key}[{index}]")
        for index, entry in enumerate(block_io.get(key) or ())
    ]


def _weight(entry: dict[str, Any], key: str, path: str) -> int:
    weight: int = entry.get(key) or 0
    if weight and not LEAST <= weight <= MOST:
        raise PyrunError(f"{weight} is not a weight, which is from {LEAST} to {MOST}", f"{path}.{key}")
    return weight


def stats(v1_directory: str, unified: str) -> dict[str, Any]:
    """What was read and written, by device; of the v1 cgroup or else the v2 one, "" if there is none."""
    return _stats_v1(v1_directory) if v1_directory else _stats_v2(unified)


def _stats_v1(directory: str) -> dict[str, Any]:
    found = {}
    for key, names in STATS_V1:
        for name in names:
            entries = [
                _entry(line.split()) for line in files.text(f"{directory}/{name}").split("\n") if ":" in line
            ]
            if entries:
                found[key] = entries
                break
    return found


def _entry(words: list[str]) -> dict[str, Any]:
    """ "8:0 Read 4096", or without a word in between."""
    return _device(words[0], words[1] if len(words) > 2 else "", int(words[-1]))


def _device(numbers: str, operation: str, value: int) -> dict[str, Any]:
    major, _, minor = numbers.partition(":")
    return {"major": int(major), "minor": int(minor), "op": operation, "value": value}


def _stats_v2(directory: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in files.text(f"{directory}/io.stat").split("\n"):
        words = line.split()
        for word in words[1:]:
            name, _, value = word.partition("=")
            if name in STATS_V2:
                key, operation = STATS_V2[name]
                found.setdefault(key, []).append(_device(words[0], operation, int(value)))
    return found
