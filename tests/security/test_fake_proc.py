"""/proc and /sys of the image aren't what they seem.

CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: /proc or /sys of the image is a symbolic link, so that procfs is mounted
elsewhere and what is masked in it lies open. CVE-2019-16884, CVE-2025-52881: a volume over /proc makes the runtime
write labels and sysctls into files of the attacker's choice. Fixed in runc, lost in a refactoring, fixed again: these
tests are never to be deleted.
"""

from __future__ import annotations

import os
import re

import pytest
from hostile import Outside, mount_points


@pytest.fixture
def outside(tmp_path):
    """A folder that must stay untouched."""
    one = Outside(tmp_path / "outside")
    yield one
    one.assert_untouched()


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize(
    "where", ["inside", "outside", "outside by ..", "itself", "dangling", "a file", "magic"]
)
def test_it_is_no_folder(pyrun, bundle, outside, name, where):
    """The container is refused: procfs and sysfs only ever lie where the configuration says."""
    one = bundle()
    place = one.rootfs / name
    place.rmdir()
    (one.rootfs / "elsewhere").mkdir()
    if where == "a file":
        place.write_text("")
    else:
        target = {
            "inside": "elsewhere",
            "outside": str(outside.path / name),
            "outside by ..": "../" * 20 + str(outside.path / name).lstrip("/"),
            "itself": name,
            "dangling": "/nowhere",
            "magic": "/proc/self/root/elsewhere",
        }[where]
        place.symlink_to(target)
    sentence = pyrun.refused(one)
    assert re.match(r"mounts\[\d+\]", sentence), sentence
    assert not list((one.rootfs / "elsewhere").iterdir())


def test_a_link_on_the_way_stays_inside(pyrun, bundle, outside):
    """A procfs below a linked folder is mounted inside, where the link leads if / is the image's."""
    one = bundle(sh="grep ' /place/proc ' /proc/self/mountinfo | wc -l; ls -d /deep/place/proc/self/root")
    (one.rootfs / "deep/place").mkdir(parents=True)
    (one.rootfs / "deep/folder").symlink_to("../" * 20 + "deep/place")
    (one.rootfs / "out").symlink_to(outside.path)
    one.mount("/deep/folder/proc", "proc", "proc")
    result = pyrun.output(one)
    assert result.splitlines() == ["0", "/deep/place/proc/self/root"]


def test_sysctl_with_a_volume_over_proc(pyrun, bundle, tmp_path):
    """The write goes to the kernel, not to what a volume has at the same place."""
    volume = tmp_path / "volume"
    fake = volume / "sys/net/ipv4/ip_forward"
    fake.parent.mkdir(parents=True)
    fake.write_text("fake")
    other = tmp_path / "other"
    (volume / "sys/net/ipv4/ping_group_range").symlink_to(other)
    sysctl = {"net.ipv4.ip_forward": "1", "net.ipv4.ping_group_range": "0 7"}
    one = bundle({"linux": {"sysctl": sysctl, "maskedPaths": None, "readonlyPaths": None}})
    one.mount("/proc", "bind", str(volume), "bind")
    one.mount("/real", "proc", "proc")
    one.sh("cat /real/sys/net/ipv4/ip_forward /real/sys/net/ipv4/ping_group_range")
    (one.rootfs / "real").mkdir()
    assert pyrun.output(one).split() == ["1", "0", "7"]
    assert fake.read_text() == "fake"
    assert not other.exists()


@pytest.mark.parametrize(
    "key",
    [
        "net/../../../etc/x",
        "net...x",
        "net.ipv4/../../kernel/core_pattern",
        "net/./ipv4",
        "net//ipv4",
        "../kernel/panic",
    ],
)
def test_sysctl_names_lead_nowhere_else(pyrun, bundle, key):
    """No name of a parameter walks out of its namespace's folder."""
    assert "linux.sysctl" in pyrun.refused(bundle({"linux": {"sysctl": {key: "1"}}}))


def test_every_mount_is_below_the_root(pyrun, bundle, outside, tmp_path):
    """Whatever links the image has on the way of mount destinations, each mount lies below its root."""
    log = tmp_path / "mountinfo"
    one = bundle()
    one.hook("createContainer", f"cat /proc/self/mountinfo > {log}")
    targets = [
        str(outside.path / "folder"),
        "../" * 30 + str(outside.path / "folder")[1:],
        "/proc/1/root/tmp",
    ]
    for number, target in enumerate(targets[:2]):
        (one.rootfs / f"link{number}").symlink_to(target)
        one.mount(f"/link{number}/a/b", "tmpfs", "h8-marker")
        one.mount(f"/link{number}/file", "bind", str(outside.path / "file"), "bind", "ro")
    assert pyrun.run(one).code == 0
    marked = [line for line in log.read_text().splitlines() if "h8-marker" in line or "/file " in line]
    assert marked
    assert all(point.startswith(f"{one.rootfs}/") for point in mount_points("\n".join(marked)))
    (one.rootfs / "magic").symlink_to(targets[2])
    one.mount("/magic/x", "tmpfs", "tmpfs")
    pyrun.refused(one)
    assert os.path.realpath(outside.path) == str(outside.path)
