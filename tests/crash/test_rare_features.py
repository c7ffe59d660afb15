"""Network devices, clocks, mapped mounts and classes of resctrl, when a system call fails or the runtime is killed: a
device is where it was, and no class, process or state is left."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import needs
import pytest
from bundles import Bundle, Pyrun, new_id, sleeping
from faults import Faults, one_sentence, points, points_wanted
from networks import Network, furnish
from resctrl_of_tests import Resctrl, serving
from test_call_failures import NEVER_FAIL

ERRORS = (errno.ENOSPC, errno.EIO, errno.EPERM, errno.ENOMEM)
IDS = [{"containerID": 0, "hostID": 30000, "size": 100}]


@pytest.fixture
def networks(pyrun: Pyrun) -> Iterator[tuple[Network, Network]]:
    """The runtime's network namespace, with devices, and one for the container to join, where they stay."""
    needs.root()
    needs.program("ip", "nsenter")
    with sleeping("unshare", "--net") as host, sleeping("unshare", "--net") as guest:
        furnish(Network(host))
        pyrun.wrapper = ["nsenter", f"--net=/proc/{host}/ns/net"]
        yield Network(host), Network(guest)


@pytest.fixture
def resctrl(pyrun: Pyrun, tmp_path: Path) -> Iterator[Resctrl]:
    """resctrl is mounted where the runtime is called."""
    with serving(pyrun, tmp_path) as found:
        yield found


def test_devices_stay_whatever_fails(
    faults: Faults, pyrun: Pyrun, bundle: Callable[..., Bundle], networks: tuple[Network, Network]
) -> None:
    """If a create fails, by whichever system call, its devices are the runtime's again, as they were."""
    needs.namespace("time")
    host, guest = networks
    one = bundle().args("true").namespace("network", guest.path).namespace("time")
    one.config["linux"]["netDevices"] = {"pt-a": {"name": "eth0"}, "pt-b": {}}
    one.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000}}
    one.mount("/tmp", "tmpfs", "tmpfs", "idmap")
    one.config["mounts"][-1].update(uidMappings=IDS, gidMappings=IDS)
    one.write()
    words = ("create", "--bundle", str(one.path), new_id())
    recorded = faults.record(*words)
    assert recorded.code == 0, recorded.err
    take_back(pyrun, host, guest, words[-1])
    failures = []
    for point in points(recorded.calls, points_wanted(60), NEVER_FAIL):
        before = host.devices()
        number = ERRORS[point[1] % len(ERRORS)]
        ended = faults.at(point, f"error:{number}", *words)
        about = f"{point} {ended.at(point)} {errno.errorcode[number]}: {ended.err!r}"
        if ended.code == 0:
            take_back(pyrun, host, guest, words[-1])
        elif not one_sentence(ended.err) or host.devices() != before or set(guest.devices()) != {"lo"}:
            failures.append(f"{about}: {host.devices()}, {guest.devices()}")
            take_back(pyrun, host, guest, words[-1])
    assert not failures, "\n".join(failures)


def take_back(pyrun: Pyrun, host: Network, guest: Network, container_id: str) -> None:
    """Delete the container, and make the devices anew."""
    pyrun("delete", "--force", container_id)
    for name in ("eth0", "pt-b", "pt-a"):
        for network in (guest, host):
            if name in network.devices():
                network.ip("link", "delete", name)
    furnish(host)


def test_no_class_is_left_when_killed(
    faults: Faults, pyrun: Pyrun, bundle: Callable[..., Bundle], resctrl: Resctrl, tmp_path: Path
) -> None:
    """Wherever a create is killed, what it made in resctrl goes with `delete --force`, and nothing else."""
    one = bundle().args("true")
    one.config["linux"]["intelRdt"] = {"l3CacheSchema": "L3:0=f", "enableMonitoring": True}
    one.write()
    resctrl.make("another")
    # the process that is traced is another than the wrapper's
    script = tmp_path / "runtime"
    script.write_text(
        f'#!/bin/sh\nmount --bind {resctrl.table} /proc/$$/mountinfo && exec {pyrun.runtime} "$@"\n'
    )
    script.chmod(0o755)
    pyrun.runtime = script
    words = ("create", "--bundle", str(one.path), new_id())
    recorded = faults.record(*words)
    assert recorded.code == 0, recorded.err
    pyrun.ok("delete", "--force", words[-1])
    makes = [index + 1 for index, name in enumerate(recorded.calls[0]) if name == "mkdir"]
    chosen = {(0, at + more) for at in makes for more in range(-2, 6)}
    for point in sorted(chosen | set(points(recorded.calls, points_wanted(20), NEVER_FAIL))):
        ended = faults.at(point, "kill", *words)
        pyrun.ok("delete", "--force", words[-1])
        assert resctrl.classes() == ["another"], (point, ended.at(point))
