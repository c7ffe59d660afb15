"""linux.resources.blockIO (config-linux.md#block-io)."""

from __future__ import annotations

from pathlib import Path

from oci_conformance.core.cgroup import Cgroups
from oci_conformance.profiles.support import limits
from oci_conformance.profiles.support.limits import Knob
from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test

BLOCK = "linux.resources.blockIO"
NEEDS = (
    "root",
)  # the controller is `blkio` on v1 and `io` on cgroup2, or isn't there: then an error is right
THROTTLES = {  # property -> (file of v1, key in io.max of cgroup2)
    "throttleReadBpsDevice": ("blkio.throttle.read_bps_device", "rbps"),
    "throttleWriteBpsDevice": ("blkio.throttle.write_bps_device", "wbps"),
    "throttleReadIOPSDevice": ("blkio.throttle.read_iops_device", "riops"),
    "throttleWriteIOPSDevice": ("blkio.throttle.write_iops_device", "wiops"),
}


def _controller(t: Case) -> str:
    return "blkio" if "blkio" in t.host.controllers else "io"


def _disk(t: Case) -> tuple[int, int]:
    """The numbers of a whole disk of this host: limits can't be set for what isn't there. Skips if there is none."""
    # Real disks first: limits of loop devices are of no use to anyone, but they can be set.
    disks = sorted(
        Path("/sys/block").glob("*"),
        key=lambda path: (path.name.startswith(("loop", "ram", "zram")), path.name),
    )
    if not disks:
        t.skip("this host lacks a block device")
    major, _, minor = (disks[0] / "dev").read_text().strip().partition(":")
    return int(major), int(minor)


def _line(text: str, disk: str) -> str:
    """What a file says of one disk."""
    lines = (line.split(" ", 1) for line in text.splitlines())
    return next((line[1] for line in lines if line[0] == disk and len(line) == 2), "")


@test("blkio.weight", needs=NEEDS)
def weight(t: Case) -> None:
    """The cgroup has the weight of the configuration, or one that grows with it on cgroup2."""
    for value in (100, 750):
        text = str(value)
        knob = Knob(
            _controller(t),
            {"blkio.weight": text, "blkio.bfq.weight": text},
            {"io.bfq.weight": f"default {text}", "io.weight": _changed},
        )
        limits.applied(t, "blkio.weight", {f"{BLOCK}.weight": value}, knob)
    if _controller(t) == "io":
        _grows(t)


def _changed(text: str) -> bool:
    """Is a weight of cgroup2 another than that of every new cgroup? 100 and 750 of 10 to 1000 are no formula's 100."""
    return text.removeprefix("default ") != "100"


def _grows(t: Case) -> None:
    """How a weight (10 to 1000) becomes one of cgroup2 (1 to 10000) is left open, but more has to remain more: in the
    file of the scheduler BFQ where that has one, or in that of all."""
    try:
        made = [t.create({f"{BLOCK}.weight": value}) for value in (10, 100, 1000)]
    except Refused:
        return
    seen = {}
    for name in ("io.bfq.weight", "io.weight"):
        folders = [Cgroups.of(each.pid).directory("io") for each in made]
        texts = [(folder / name).read_text() for folder in folders if folder and (folder / name).exists()]
        seen[name] = [text.partition("\n")[0].removeprefix("default ") for text in texts]
    t.check("blkio.weight", any(map(_is_growing, seen.values())), "weights that grow", seen)


def _is_growing(weights: list[str]) -> bool:
    numbers = [int(each) for each in weights if each.isdigit()]
    return numbers == sorted({*numbers}) and len(numbers) == 3


@test("blkio.leafWeight", needs=NEEDS)
def leaf_weight(t: Case) -> None:
    """leafWeight is applied, or refused where the kernel has none (since Linux 5.0)."""
    knob = Knob(_controller(t), {"blkio.leaf_weight": "300"})
    limits.applied(t, "blkio.leafWeight", {f"{BLOCK}.leafWeight": 300}, knob)


@test("blkio.weightDevice", needs=NEEDS)
def weight_device(t: Case) -> None:
    """The weight of a single device is applied, or refused where the kernel has none for it."""
    major, minor = _disk(t)
    disk = f"{major}:{minor}"
    entry = {"major": major, "minor": minor, "weight": 300}
    knob = Knob(
        _controller(t),
        {
            name: lambda text: _line(text, disk) == "300"
            for name in ("blkio.weight_device", "blkio.bfq.weight_device")
        },
        {
            "io.weight": lambda text: bool(_line(text, disk)),
            "io.bfq.weight": lambda text: bool(_line(text, disk)),
        },
    )
    try:
        c = t.create({f"{BLOCK}.weightDevice": [entry]})
    except Refused as error:
        control = t.create({})
        if any(_takes(path, f"{disk} 300") for path in knob.files(control)):
            t.check("blkio.weightDevice", False, f"{knob.words} with {disk} 300", str(error))
        else:
            t.unsupported("blkio.weightDevice", f"this kernel takes no weight for the device {disk}; {error}")
    else:
        limits.check(t, "blkio.weightDevice", c, knob)


def _takes(path: Path, text: str) -> bool:
    try:
        path.write_text(text)
    except OSError:
        return False
    return bool(_line(path.read_text(), text.split()[0]))


@test("blkio.weightDevice-one", needs=NEEDS)
def weight_device_empty(t: Case) -> None:
    """An entry of weightDevice with neither weight nor leafWeight is refused."""
    major, minor = _disk(t)
    name = f"{BLOCK}.weightDevice"
    t.refused("blkio.weightDevice-one", {name: []}, {name: [{"major": major, "minor": minor}]})


@test("blkio.throttle", needs=NEEDS)
def throttle(t: Case) -> None:
    """The four rates for a device are applied, each to its own."""
    major, minor = _disk(t)
    disk = f"{major}:{minor}"
    rates = {name: 1_048_576 + 4096 * number for number, name in enumerate(THROTTLES)}
    every: dict[str, object] = {
        f"{BLOCK}.{name}": [{"major": major, "minor": minor, "rate": rate}] for name, rate in rates.items()
    }
    v2 = " ".join([disk, *(f"{THROTTLES[name][1]}={rate}" for name, rate in rates.items())])
    try:
        c = t.create(every)
    except Refused:  # by itself, so that it is clear what the kernel lacks
        name = THROTTLES["throttleReadBpsDevice"][0]
        knob = Knob(_controller(t), {name: f"{disk} {rates['throttleReadBpsDevice']}"}, {"io.max": v2})
        limits.applied(t, "blkio.throttle", every, knob)
        return
    for name, rate in rates.items():
        knob = Knob(_controller(t), {THROTTLES[name][0]: f"{disk} {rate}"}, {"io.max": v2})
        limits.check(t, "blkio.throttle", c, knob)
