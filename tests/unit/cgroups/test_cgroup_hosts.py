"""Hosts that this one isn't: kernels without accounting for swap, controllers that can't all be had, limits of v2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pyrun.base.errors import PyrunError
from pyrun.cgroups import devices, devices_v1, devices_v2, files, v2
from pyrun.cgroups.controllers import memory

MIB = 1 << 20


@pytest.mark.parametrize("swap", [-1, MIB], ids=["any swap", "no swap"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_kernel_without_accounting_for_swap(tmp_path: Path, version: str, swap: int) -> None:
    """It starts a container with as much swap as there is, or with none: engines send these for everybody."""
    config = {"limit": MIB, "swap": swap}
    writes = memory.v1(config) if version == "v1" else memory.v2(config, str(tmp_path))
    name = "memory.limit_in_bytes" if version == "v1" else "memory.max"
    (tmp_path / name).write_text("")
    files.write_all(str(tmp_path), writes)
    assert (tmp_path / name).read_text() == str(MIB)
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_some_swap_needs_accounting(tmp_path: Path, version: str) -> None:
    """A limit of swap that can't be kept is an error that says what the kernel lacks."""
    config = {"limit": MIB, "swap": 3 * MIB}
    writes = memory.v1(config) if version == "v1" else memory.v2(config, str(tmp_path))
    (tmp_path / ("memory.limit_in_bytes" if version == "v1" else "memory.max")).write_text("")
    with pytest.raises(PyrunError) as caught:
        files.write_all(str(tmp_path), writes)
    assert caught.value.json_path == "linux.resources.memory.swap"
    assert "doesn't account for swap" in caught.value.hint


def hierarchy(top: Path, controllers: str) -> Path:
    """A v2 hierarchy with one cgroup, as files."""
    (top / "one").mkdir()
    (top / "cgroup.controllers").write_text(controllers)
    (top / "cgroup.subtree_control").write_text("")
    (top / "one/cgroup.controllers").write_text("")
    return top / "one"


def test_every_controller_is_enabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that are there, asked for or not; those that aren't, quietly not."""
    one = hierarchy(tmp_path, "cpuset cpu io memory hugetlb pids rdma misc dmem")
    written = []
    monkeypatch.setattr(files, "put", lambda directory, name, value: written.append((name, value)))
    v2.enable(str(one), str(tmp_path), v2.ACCOUNTED)
    assert written == [
        ("cgroup.subtree_control", "+cpuset +cpu +io +memory +hugetlb +pids +rdma +misc"),
    ]


def test_one_controller_does_not_keep_the_others_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the kernel refuses one (cpu, with real-time processes in the way), the others are enabled."""
    one = hierarchy(tmp_path, "cpu memory pids")
    enabled: list[str] = []

    def put(directory: str, name: str, value: str) -> None:
        if "+cpu" in value.split():
            raise OSError(22, "write: Invalid argument")
        enabled.extend(value.split())

    monkeypatch.setattr(files, "put", put)
    failures = v2.enable(str(one), str(tmp_path), ["cpu", "memory", "pids"])
    assert enabled == ["+memory", "+pids"]
    assert list(failures) == ["cpu"]


@pytest.mark.parametrize("reclaimed", [True, False])
def test_a_limit_below_use_on_v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reclaimed: bool) -> None:
    """What can be given back is taken before a limit is refused, and the file that does it is as it was."""
    for name, value in (("current", 50 * MIB), ("high", "max"), ("peak", 70 * MIB)):
        (tmp_path / f"memory.{name}").write_text(f"{value}\n")
    put = files.put

    def reclaim(directory: str, name: str, value: str) -> None:
        put(directory, name, value)
        if reclaimed and name == "memory.high" and value != "max":
            (tmp_path / "memory.current").write_text(value)

    (tmp_path / "memory.high").write_text("max")
    monkeypatch.setattr(files, "put", reclaim)
    config = {"limit": 10 * MIB, "checkBeforeUpdate": True}
    if reclaimed:
        memory.check_usage(config, str(tmp_path))
    else:
        with pytest.raises(PyrunError, match=rf"below the {50 * MIB} that .* \(at most it were {70 * MIB}\)"):
            memory.check_usage(config, str(tmp_path))
    assert (tmp_path / "memory.high").read_text().startswith("max")


def same(number: int) -> dict[str, object]:
    return {"allow": bool(number % 2), "type": "c", "major": 10, "minor": 229, "access": "r"}


def wide(number: int) -> dict[str, object]:
    return {"allow": bool(number % 2), "type": "c", "major": number // 2 % 4000, "access": "rwm"}


@pytest.mark.parametrize("rule", [same, wide])
def test_steps_grow_with_the_rules(
    rule: Callable[[int], dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice the rules are twice the work, counted in looks at a device, not in time."""
    looks = 0
    take = devices_v1._Set.take

    def counted(self: devices_v1._Set, device: devices_v1.Device) -> devices_v1.Device | None:
        nonlocal looks
        before = len(self.devices)
        found = take(self, device)
        looks += 1 + before - len(self.devices)
        return found

    monkeypatch.setattr(devices_v1._Set, "take", counted)
    counts = []
    for number in (2000, 4000):
        looks = 0
        devices_v1.exceptions(*devices.ordered([rule(i) for i in range(number)]))
        counts.append(looks)
    assert counts[1] <= 2.5 * counts[0]


def test_limits_of_rules_are_named() -> None:
    """More than a kernel can bear is refused, and the limit said."""
    rules = [{"allow": True, "type": "c", "major": 10, "minor": i, "access": "r"} for i in range(200_000)]
    with pytest.raises(PyrunError, match="more than 10000 are too many for cgroup v1"):
        devices_v1.exceptions(*devices.ordered(rules))
    with pytest.raises(PyrunError, match="the kernel takes 1000000"):
        devices_v2.program(*devices.ordered(rules))
