"""linux.resources.blockIO as files, with and without the scheduler BFQ, on folders that look like cgroups."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrun.base.errors import PyrunError
from pyrun.cgroups import causes, change, files
from pyrun.cgroups.controllers import block_io

DISK = {"major": 8, "minor": 16}
WEIGHTS: dict[str, Any] = {"weight": 500, "weightDevice": [{**DISK, "weight": 1000}]}
RATES = {key: [{**DISK, "rate": 1000 + number}] for number, (key, _, _) in enumerate(block_io.THROTTLES)}


def pairs(writes: list[files.Write]) -> list[tuple[str, str]]:
    return [(name, value) for name, value, _, _ in writes]


@pytest.mark.parametrize(
    ("there", "begin"), [("blkio.bfq.weight", "blkio.bfq"), ("blkio.weight", "blkio")], ids=["bfq", "cfq"]
)
def test_weights_on_v1(tmp_path: Path, there: str, begin: str) -> None:
    """BFQ's files where the kernel has them."""
    (tmp_path / there).write_text("100\n")
    assert pairs(block_io.v1(WEIGHTS, str(tmp_path))) == [
        (f"{begin}.weight", "500"),
        (f"{begin}.weight_device", "8:16 1000"),
    ]


def test_leaf_weights_on_v1() -> None:
    """Old kernels have them, in files of their own."""
    asked = {"leafWeight": 300, "weightDevice": [{**DISK, "leafWeight": 400}]}
    assert pairs(block_io.v1(asked, "/nonexistent")) == [
        ("blkio.leaf_weight", "300"),
        ("blkio.leaf_weight_device", "8:16 400"),
    ]


def test_weights_on_v2_with_bfq(tmp_path: Path) -> None:
    """BFQ's weights are those of the configuration."""
    (tmp_path / "io.bfq.weight").write_text("default 100\n")
    (tmp_path / "io.weight").write_text("default 100\n")
    assert pairs(block_io.v2(WEIGHTS, str(tmp_path))) == [
        ("io.bfq.weight", "default 500"),
        ("io.bfq.weight", "8:16 1000"),
    ]


def test_weights_on_v2_without_bfq() -> None:
    """io.weight has another range, so the weights are converted."""
    assert pairs(block_io.v2(WEIGHTS, "/nonexistent")) == [
        ("io.weight", "default 4950"),
        ("io.weight", "8:16 10000"),
    ]


@given(st.integers(10, 999))
def test_converted_weights_grow(weight: int) -> None:
    """More weight is more io.weight, and both ends are ends."""
    assert block_io.io_weight(weight) < block_io.io_weight(weight + 1)
    assert (block_io.io_weight(10), block_io.io_weight(1000)) == (1, 10000)


def test_leaf_weights_are_refused_on_v2() -> None:
    """v2 has no weight against a cgroup's own children: an error only where one is asked for."""
    for asked, place in (
        ({"leafWeight": 10}, "leafWeight"),
        ({"weightDevice": [{**DISK, "leafWeight": 10}]}, "weightDevice[0].leafWeight"),
    ):
        with pytest.raises(PyrunError) as caught:
            block_io.v2(asked, "/nonexistent")
        assert caught.value.json_path == f"linux.resources.blockIO.{place}"
    assert block_io.v2({"leafWeight": 0}, "/nonexistent") == []


@pytest.mark.parametrize("weight", [9, 1001])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_weights_out_of_range_are_refused(version: str, weight: int) -> None:
    """The specification's range is 10 to 1000, whatever the kernel would take."""
    with pytest.raises(PyrunError, match="from 10 to 1000") as caught:
        getattr(block_io, version)({"weight": weight}, "/nonexistent")
    assert caught.value.json_path == "linux.resources.blockIO.weight"


def test_rates_on_v1() -> None:
    """Each in a file of its own."""
    assert pairs(block_io.v1(RATES, "/nonexistent")) == [
        ("blkio.throttle.read_bps_device", "8:16 1000"),
        ("blkio.throttle.write_bps_device", "8:16 1001"),
        ("blkio.throttle.read_iops_device", "8:16 1002"),
        ("blkio.throttle.write_iops_device", "8:16 1003"),
    ]


def test_rates_on_v2() -> None:
    """All in io.max, a key each."""
    assert pairs(block_io.v2(RATES, "/nonexistent")) == [
        ("io.max", "8:16 rbps=1000"),
        ("io.max", "8:16 wbps=1001"),
        ("io.max", "8:16 riops=1002"),
        ("io.max", "8:16 wiops=1003"),
    ]


def test_a_rate_of_0_is_none() -> None:
    """v1's kernel takes 0 for unlimited, v2's refuses it."""
    asked = {"throttleReadBpsDevice": [{**DISK, "rate": 0}]}
    assert pairs(block_io.v1(asked, "")) == [("blkio.throttle.read_bps_device", "8:16 0")]
    assert pairs(block_io.v2(asked, "")) == [("io.max", "8:16 rbps=max")]


def test_large_rates_are_not_cut() -> None:
    """v1's kernel keeps 32 bits of a number of operations: 2^32 + 5 would be 5."""
    asked = {"throttleReadIOPSDevice": [{**DISK, "rate": (1 << 32) + 5}]}
    assert pairs(block_io.v1(asked, "")) == [("blkio.throttle.read_iops_device", "8:16 4294967295")]


def test_zeros_ask_for_nothing() -> None:
    """docker sends these for everybody."""
    asked: dict[str, Any] = {"weight": 0, "weightDevice": [], **{key: [] for key in RATES}}
    assert block_io.v1(asked, "") == block_io.v2(asked, "") == []


@pytest.mark.parametrize(
    ("name", "written", "before", "restored"),
    [
        ("blkio.throttle.read_bps_device", "8:16 5", "8:0 7\n", "8:16 0"),
        ("blkio.throttle.read_bps_device", "8:16 5", "8:0 7\n8:16 9", "8:16 9"),
        ("blkio.bfq.weight_device", "8:16 5", "default 100", "8:16 default"),
        ("io.bfq.weight", "default 5", "default 100\n8:16 20", "default 100"),
        ("io.max", "8:16 rbps=1", "8:16 rbps=max wbps=3 riops=max wiops=max",
         "8:16 rbps=max wbps=3 riops=max wiops=max"),
    ],
)  # fmt: skip
def test_a_device_is_put_back(name: str, written: str, before: str, restored: str) -> None:
    """An update that fails writes a device's old line, or one that takes it out of the file."""
    assert change.content(name, written.split(" ")[0], before) == restored


def test_a_weight_alone_is_put_back(tmp_path: Path) -> None:
    """linux.resources.unified may have it without the word default."""
    (tmp_path / "io.weight").write_text("300")
    before = [(str(tmp_path), "io.weight", "300", "default 100\n8:16 20")]
    assert change.put_back(before) == []
    assert (tmp_path / "io.weight").read_text() == "default 100"


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        ("blkio.throttle.read_bps_device", errno.ENODEV, "no disk 8:16; a partition"),
        ("io.max", errno.ENODEV, "no disk 8:16; a partition"),
        ("blkio.bfq.weight_device", errno.EOPNOTSUPP, "is not bfq"),
        ("io.bfq.weight", errno.EOPNOTSUPP, "is not bfq"),
        ("io.weight", errno.EOPNOTSUPP, "io.cost.qos"),
        ("io.weight", errno.ENOENT, "CONFIG_BFQ_GROUP_IOSCHED"),
        ("blkio.leaf_weight", errno.ENOENT, "since version 5.0"),
    ],
)
def test_what_the_host_lacks_is_said(tmp_path: Path, name: str, number: int, said: str) -> None:
    """A refusal of the kernel's names its cause."""
    assert said in causes.cause(str(tmp_path), name, "8:16 1", number)
