"""linux.devices in a user namespace, which can't make them (config-linux.md, Devices; features/device_nodes.py)."""

from __future__ import annotations

import os
from pathlib import Path

import needs
import pytest
from test_devices import CASES, device, in_user_namespace


@pytest.mark.parametrize("case", range(len(CASES)))
def test_device_in_user_namespace(pyrun, bundle, case):
    """The same in a user namespace, although the host has no such device; the owner is as the container counts."""
    entry, wanted = CASES[case]
    one = bundle({"linux": {"devices": [entry]}}, sh=f"stat -c '%F %t:%T %a %u %g' {entry['path']}")
    assert pyrun.output(in_user_namespace(one, "run")) == wanted + "\n"


@pytest.mark.parametrize("uid", [5, 6])
def test_mode_and_owner_count_in_user_namespace(pyrun, bundle, uid):
    """A node in a user namespace can be used, by whom its mode lets."""
    entries = [device("/dev/five", minor=5, fileMode=0o400, uid=5), device("/dev/all", minor=5)]
    one = bundle(
        {"linux": {"devices": entries}, "process": {"user": {"uid": uid, "gid": uid}}},
        sh="head -c 3 /dev/all | wc -c; head -c 3 /dev/five 2>/dev/null | wc -c",
    )
    assert pyrun.output(in_user_namespace(one)).split() == ["3", "3" if uid == 5 else "0"]


def test_several_devices_in_user_namespace(pyrun, bundle):
    """Each entry has its own node, FIFOs among them, one at a default device's path, and one listed twice."""
    entries = [
        device("/dev/a", minor=5, uid=1),
        device("/dev/p", "p", fileMode=0o600, uid=2),
        device("/dev/null", fileMode=0o606, gid=3),
        device("/dev/b", "b", 7, 1, fileMode=0o604),
        device("/dev/a", minor=5, uid=4),
    ]
    one = bundle({"linux": {"devices": entries}})
    one.sh("cd /dev; stat -c '%n %F %t:%T %a %u %g' a p null b; stat -c '%a' /dev/zero")
    assert pyrun.output(in_user_namespace(one)).splitlines() == [
        "a character special file 1:5 666 4 0",
        "p fifo 0:0 600 2 0",
        "null character special file 1:3 606 0 3",
        "b block special file 7:1 604 0 0",
        "666",
    ]


@pytest.mark.parametrize("propagation", ["", "private", "shared", "rslave"])
def test_device_mounts_in_user_namespace(pyrun, bundle, propagation):
    """The container has a mount of the node alone and no other, whatever the propagation; the host has none."""
    one = bundle({"linux": {"devices": [device("/dev/x")]}}, sh="cat /proc/self/mountinfo; exec sleep 1000")
    if propagation:
        one.config["linux"]["rootfsPropagation"] = propagation
    before = Path("/proc/self/mountinfo").read_text()
    container = pyrun.create(in_user_namespace(one))
    assert Path("/proc/self/mountinfo").read_text() == before
    lines = [line.split() for line in Path(f"/proc/{container.pid}/mountinfo").read_text().splitlines()]
    (node,) = [line for line in lines if line[4] == "/dev/x"]
    others = [line for line in lines if line[2] == node[2]]
    assert (node[3], others) == ("/0", [node])
    container.delete("--force")
    assert Path("/proc/self/mountinfo").read_text() == before


def test_same_device_in_user_namespace(pyrun, bundle):
    """A node of the image gives way to the configured one, and stays as it is."""
    one = bundle(
        {"linux": {"devices": [device("/other/x", fileMode=0o604, uid=7)]}}, sh="stat -c '%a %u' /other/x"
    )
    (one.rootfs / "other").mkdir()
    os.mknod(one.rootfs / "other/x", 0o20600, os.makedev(1, 3))
    before = (one.rootfs / "other/x").stat()
    assert pyrun.output(in_user_namespace(one)) == "604 7\n"
    assert (one.rootfs / "other/x").stat() == before


def test_again_in_user_namespace(pyrun, bundle):
    """What is left in the image where a device was is in nobody's way the next time, and can't be taken for one."""
    one = bundle({"linux": {"devices": [device("/other/x")]}}, sh="stat -c %t:%T /other/x")
    (one.rootfs / "other").mkdir()
    in_user_namespace(one, "other")
    assert [pyrun.output(one) for _ in range(2)] == ["1:3\n"] * 2
    left = (one.rootfs / "other/x").stat()
    assert (left.st_mode, left.st_size) == (0o100000, 0)


@pytest.mark.parametrize("kind", ["uid", "gid"])
@pytest.mark.parametrize("type_", ["c", "p"])
def test_unmapped_owner(pyrun, bundle, kind, type_):
    """An owner that the container's user namespace doesn't have is an error."""
    one = bundle({"linux": {"devices": [device("/dev/x", type_, **{kind: 65536})]}})
    assert pyrun.refused(in_user_namespace(one)).startswith("linux.devices[0]")


@pytest.mark.parametrize("asked", [{}, {"fileMode": 0o640, "gid": 7}])
def test_without_the_right_to_make_nodes(pyrun, bundle, asked):
    """Who may not make nodes gets the host's bound in, and is told what that ignores."""
    needs.program("setpriv")
    one = bundle(sh="stat -c '%t:%T %a %g' /dev/full; head -c 3 /dev/full | wc -c")
    one.config["linux"]["devices"] = [device("/dev/full", minor=7, **asked)]
    in_user_namespace(one)
    pyrun.wrapper = ["setpriv", "--bounding-set", "-mknod"]
    result = pyrun.run(one)
    assert result.out == "1:7 666 65534\n3\n", result
    assert (
        "linux.devices[0]: the host's node is taken, fileMode and gid ignored: making" in result.err
    ) == bool(asked)
    assert asked or not result.err


@pytest.mark.parametrize("told", [True, False])
def test_device_in_joined_user_namespace(pyrun, bundle, told):
    """A user namespace that is joined: as in a new one if its mappings are given, else the host's node."""
    first = pyrun.start(in_user_namespace(bundle().args("sleep", "1000"))).pid
    one = bundle(sh="stat -c '%t:%T %a %u' /dev/full")
    one.config["linux"]["devices"] = [device("/dev/full", minor=7, fileMode=0o640, uid=3)]
    in_user_namespace(one).namespace("user", f"/proc/{first}/ns/user")
    if not told:
        del one.config["linux"]["uidMappings"], one.config["linux"]["gidMappings"]
    result = pyrun.run(one.write())
    assert result.out == ("1:7 640 3\n" if told else "1:7 666 65534\n"), result
    assert ("fileMode and uid ignored: the mappings are unknown" in result.err) == (not told)
