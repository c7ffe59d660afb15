"""Devices where the runtime is root of a user namespace itself: none can be made, and the host's are bound."""

from __future__ import annotations

import os

import pytest
from test_devices import DEFAULT, device
from test_in_user_namespace import ONLY_V2, below


def fit(one):
    """Only ids that `unshare -Umr` maps, and no limits that its root may not have."""
    for mount in one.config["mounts"]:
        mount["options"] = [option for option in mount.get("options", []) if option != "gid=5"]
    one.config["process"]["rlimits"] = None
    return one.write()


@pytest.mark.parametrize("host", ["true", ONLY_V2], ids=["this host", "only cgroup v2"])
def test_default_and_configured_devices(pyrun, bundle, host):
    """They are there and work: default ones, ones of the host, and FIFOs; what is ignored of an entry is said."""
    node = os.stat("/dev/full")
    entries = [
        device("/dev/full", "c", 1, 7),
        device("/dev/ptmx", "c", 5, 2),
        device("/dev/pipe", "p", fileMode=0o600),
        device("/dev/zero", "c", 1, 5, fileMode=0o600),
    ]
    one = bundle({"linux": {"devices": entries}})
    one.sh(
        f"cd /dev; stat -c '%n %t:%T' {' '.join(DEFAULT)}; echo > null; head -c 2 zero | wc -c; stat -c %F pipe"
    )
    result = below(pyrun, host).run(fit(one))
    assert result.code == 0, result
    *lines, zeros, pipe = result.lines()
    assert lines == [f"{name} {number}" for name, number in DEFAULT.items()]
    assert (zeros, pipe) == ("2", "fifo")
    assert "linux.devices[3]: the host's node is taken, fileMode ignored" in result.err
    assert "linux.devices[0]" not in result.err
    assert os.stat("/dev/full").st_mode == node.st_mode


def test_a_device_that_the_host_lacks(pyrun, bundle):
    """It can't be bound, either: the sentence says both."""
    one = bundle({"linux": {"devices": [device("/dev/no-such", "c", 1, 7)]}})
    sentence = below(pyrun).refused(fit(one))
    assert sentence.startswith("linux.devices[0]: ")
    assert "the host has none at this path" in sentence


def test_an_id_that_is_not_mapped(pyrun, bundle):
    """devpts with a group that the user namespace doesn't have: the cause is said."""
    one = fit(bundle())
    one.mount("/tmp", "devpts", "devpts", "gid=5")
    sentence = below(pyrun).refused(one)
    assert "gid" in sentence
    assert "the user namespace has no such id" in sentence
