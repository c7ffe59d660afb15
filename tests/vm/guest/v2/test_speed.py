"""create with --systemd-cgroup beside runc and crun: what a kubelet waits for."""

from __future__ import annotations

import concurrent.futures
import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import ROOTFS, RUNTIME, Host, eventually

pytestmark = pytest.mark.long
PEERS = {"pyrun": str(RUNTIME), "runc": "/usr/sbin/runc", "crun": "/usr/bin/crun"}
ROUNDS = 15
MANY = 50


@pytest.fixture(scope="module")
def bundle(root: Host) -> Iterator[Path]:
    """A bundle that all three take: crun 1.8 refuses a newer ociVersion than 1.0."""
    path = Path("/var/tmp/speed")
    path.mkdir()
    shutil.copytree(ROOTFS, path / "rootfs", symlinks=True)
    root.ok(PEERS["runc"], "spec", "--bundle", str(path))
    config = json.loads((path / "config.json").read_text())
    config["process"].update(terminal=False, args=["true"])
    config["ociVersion"] = "1.0.0"
    config["linux"]["resources"]["memory"] = {"limit": 1 << 26}
    (path / "config.json").write_text(json.dumps(config))
    yield path
    shutil.rmtree(path)


def create(runtime: str, bundle: Path, name: str) -> float:
    """Seconds that a create takes."""
    argv = [PEERS[runtime], "--systemd-cgroup", "create", "--bundle", str(bundle), name]
    begin = time.monotonic()
    nothing = subprocess.DEVNULL  # runc's default configuration has ambient capabilities that can't be had
    subprocess.run(argv, check=True, stdin=nothing, stdout=nothing, stderr=nothing)
    return time.monotonic() - begin


def delete(runtime: str, name: str) -> None:
    subprocess.run([PEERS[runtime], "delete", "--force", name], check=True, stdout=subprocess.DEVNULL)


def test_create(bundle: Path) -> None:
    """The median of a create's time is at most half of runc's, and at most one and a half of crun's."""
    times: dict[str, list[float]] = {name: [] for name in PEERS}
    for count in range(ROUNDS):
        for name in PEERS:  # in turn, so that a slow moment of the machine meets all of them
            times[name].append(create(name, bundle, f"speed-{count}"))
            delete(name, f"speed-{count}")
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"create with --systemd-cgroup, median of {ROUNDS}: {medians}")
    assert medians["pyrun"] <= 0.5 * medians["runc"], medians
    assert medians["pyrun"] <= 1.5 * medians["crun"], medians


def test_many_at_once(root: Host, bundle: Path) -> None:
    """Fifty creates at once lose none; the time of the slowest ones, the 95th percentile, is at most half of runc's."""
    tails = {}
    for name in ("pyrun", "runc"):
        ids = [f"many-{name}-{count}" for count in range(MANY)]
        with concurrent.futures.ThreadPoolExecutor(MANY) as pool:
            try:
                times = sorted(pool.map(lambda one: create(name, bundle, one), ids))  # noqa: B023
            finally:
                list(pool.map(lambda one: delete(name, one), ids))  # noqa: B023
        tails[name] = times[int(MANY * 0.95)]
    print(f"95th percentile of {MANY} creates at once: {tails}")
    eventually(lambda: root.units("runc-many-*.scope") == [], "units are left")
    assert tails["pyrun"] <= 0.5 * tails["runc"], tails
