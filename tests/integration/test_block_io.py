"""linux.resources.blockIO in real cgroups: the blkio hierarchy of v1, or io of v2, whichever this host has."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import Bundle, Container, Pyrun

Make = Callable[..., Bundle]
BLOCK = "linux.resources.blockIO"
# property -> (file of v1, key in io.max)
RATES = {
    "throttleReadBpsDevice": ("blkio.throttle.read_bps_device", "rbps"),
    "throttleWriteBpsDevice": ("blkio.throttle.write_bps_device", "wbps"),
    "throttleReadIOPSDevice": ("blkio.throttle.read_iops_device", "riops"),
    "throttleWriteIOPSDevice": ("blkio.throttle.write_iops_device", "wiops"),
}


def cgroup_of(pid: int, controller: str) -> Path:
    """The folder of a process's cgroup for a controller, on v1 or v2."""
    unified = ""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return Path("/sys/fs/cgroup", names) / path[1:]
        if not names:
            unified = path
    return Path("/sys/fs/cgroup") / unified[1:]


def disk() -> tuple[int, int]:
    """The numbers of this host's largest disk."""
    found = list(Path("/sys/block").iterdir())
    if not found:
        pytest.skip("needs a disk")
    largest = max(found, key=lambda path: int((path / "size").read_text()))
    major, minor = (largest / "dev").read_text().split(":")
    return int(major), int(minor)


def limited(pyrun: Pyrun, bundle: Make, asked: dict[str, Any]) -> Container:
    """A container with these limits; skips where nothing has them."""
    one = bundle({"linux": {"resources": {"blockIO": asked}}}).args("sleep", "1000")
    result = pyrun("create", "-b", str(one.path), name := pyrun.id())
    if result.code and (
        "controller 'io' can't be had" in result.err or "none of its schedulers" in result.err
    ):
        pytest.skip("needs a controller of block I/O that has such limits")
    assert result.code == 0, result.err
    return Container(pyrun, name, one, result.out_file)


def folder_of(container: Container) -> Path:
    found = cgroup_of(container.pid, "blkio")
    return found if (found / "blkio.throttle.read_bps_device").exists() else cgroup_of(container.pid, "io")


def rates_in_force(container: Container, device: str) -> dict[str, str]:
    """Property -> what the kernel says of one disk."""
    folder = folder_of(container)
    found = {}
    for key, (file, name) in RATES.items():
        path = folder / file if (folder / file).exists() else folder / "io.max"
        for line in path.read_text().splitlines():
            numbers, *words = line.split()
            if numbers == device:
                values = (
                    dict(word.split("=") for word in words) if path.name == "io.max" else {name: words[0]}
                )
                if values[name] != "max":
                    found[key] = values[name]
    return found


def entry(rate: int) -> list[dict[str, int]]:
    major, minor = disk()
    return [{"major": major, "minor": minor, "rate": rate}]


def test_the_four_rates(pyrun: Pyrun, bundle: Make) -> None:
    """Each rate is in force for its disk; update changes one and leaves the others."""
    container = limited(pyrun, bundle, {key: entry(4096 + number) for number, key in enumerate(RATES)})
    device = ":".join(map(str, disk()))
    expected = {key: str(4096 + number) for number, key in enumerate(RATES)}
    assert rates_in_force(container, device) == expected
    document = json.dumps({"blockIO": {"throttleReadIOPSDevice": entry(77)}}).encode()
    pyrun.ok("update", "--resources", "-", container.id, data=document)
    assert rates_in_force(container, device) == {**expected, "throttleReadIOPSDevice": "77"}


def test_an_update_that_fails_leaves_all_rates(pyrun: Pyrun, bundle: Make) -> None:
    """A rate that was there is put back, and one that wasn't is taken away."""
    container = limited(pyrun, bundle, {"throttleReadBpsDevice": entry(4096)})
    device = ":".join(map(str, disk()))
    wrong = {
        "throttleReadBpsDevice": entry(8192),
        "throttleWriteBpsDevice": entry(8192),
        "throttleWriteIOPSDevice": [{"major": 4000, "minor": 0, "rate": 1}],
    }
    document = json.dumps({"blockIO": wrong}).encode()
    sentence = pyrun.error("update", "--resources", "-", container.id, data=document)
    assert sentence.startswith(f"{BLOCK}.throttleWriteIOPSDevice[0].rate: writing ")
    assert "this machine has no disk 4000:0" in sentence
    assert "put back" not in sentence
    assert rates_in_force(container, device) == {"throttleReadBpsDevice": "4096"}


def test_a_rate_is_kept(pyrun: Pyrun, bundle: Make) -> None:
    """What the program reads from a disk takes the time that its rate allows."""
    one = bundle(
        sh="s=$(cut -d' ' -f1 /proc/uptime); dd if=/data of=/dev/null bs=1M count=2 iflag=direct 2>&1;"
        " echo $s $(cut -d' ' -f1 /proc/uptime)",
    )
    data = one.path / "rootfs/data"
    with data.open("wb") as file:
        file.write(os.urandom(2 << 20))
        os.fsync(file.fileno())
    device = data.stat().st_dev
    major, minor = os.major(device), os.minor(device)
    if not Path(f"/sys/dev/block/{major}:{minor}/queue").exists():
        pytest.skip("needs temporary files on a whole disk")
    rate = {"major": major, "minor": minor, "rate": 1 << 20}
    one.config["linux"].setdefault("resources", {})["blockIO"] = {"throttleReadBpsDevice": [rate]}
    result = pyrun.run(one.write(), time_limit=60)
    if result.code and "can't be had" in result.err:
        pytest.skip("needs a controller of block I/O")
    assert "2+0 records in" in result.out, result
    begin, end = map(float, result.out.splitlines()[-1].split())
    assert end - begin > 0.7, result.out  # 2 MiB at 1 MiB/s; the first slice of time is free


@pytest.mark.parametrize("weight", [10, 500, 1000])
def test_the_weight(pyrun: Pyrun, bundle: Make, weight: int) -> None:
    """BFQ's weight is that of the configuration, and io.weight stands for it; update changes it."""
    container = limited(pyrun, bundle, {"weight": weight})
    folder = folder_of(container)

    def seen() -> set[tuple[str, int]]:
        names = ("blkio.bfq.weight", "blkio.weight", "io.bfq.weight", "io.weight")
        there = [name for name in names if (folder / name).exists()][:1]
        return {(name, int((folder / name).read_text().split()[-1])) for name in there}

    def wanted(number: int) -> set[tuple[str, int]]:
        return {
            (name, 1 + (number - 10) * 9999 // 990 if name == "io.weight" else number) for name, _ in seen()
        }

    assert seen() == wanted(weight) != set()
    pyrun.ok("update", "--blkio-weight", "321", container.id)
    assert seen() == wanted(321)


def test_a_weight_out_of_range_is_refused(pyrun: Pyrun, bundle: Make) -> None:
    """The specification's range is 10 to 1000; create and update say the same."""
    one = bundle({"linux": {"resources": {"blockIO": {"weight": 9}}}})
    sentence = f"{BLOCK}.weight: 9 is not a weight, which is from 10 to 1000"
    assert pyrun.refused(one) == sentence
    container = pyrun.start(bundle().args("sleep", "1000"))
    assert pyrun.error("update", "--blkio-weight", "9", container.id) == sentence


def test_leaf_weights_of_old_kernels_alone(pyrun: Pyrun, bundle: Make) -> None:
    """Where there is no weight against a cgroup's children, one that is asked for is refused by name."""
    one = bundle({"linux": {"resources": {"blockIO": {"leafWeight": 10}}}})
    result = pyrun("create", "-b", str(one.path), pyrun.id())
    if result.code == 0:
        pytest.skip("needs a kernel without leaf weights, that is 5.0 or later")
    assert result.err.startswith(f"pyrun: {BLOCK}.leafWeight: ")
    assert "since version 5.0" in result.err or "cgroup v2 has no weight" in result.err
