"""Another container swaps the components of a mount's destination while the runtime makes the mount.

CVE-2021-30465: the destination is checked, then mounted by its path again. CVE-2024-45310: `mkdir -p` by path makes
files and folders on the host. Here a process that shares the volume exchanges a folder for a link as fast as it can,
and each of many containers either can't be made or has its mount below its root; outside nothing is ever made.
"""

from __future__ import annotations

import json
from pathlib import Path

import needs
import pytest
from bundles import new_id
from hostile import Outside, mount_points, swapping

pytestmark = pytest.mark.slow

ROUNDS = 40


@pytest.fixture
def outside(tmp_path):
    """A folder that must stay untouched."""
    one = Outside(tmp_path / "outside")
    yield one
    one.assert_untouched()


@pytest.fixture
def volume(tmp_path):
    """A folder shared by two containers: `a` in it is a folder, `link` waits to take its place."""
    path = tmp_path / "volume"
    (path / "a").mkdir(parents=True)
    return path


def links(outside):
    """Where the link that takes the folder's place may lead."""
    target = outside.path / "folder"
    return {"absolute": str(target), "relative": "../" * 30 + str(target)[1:], "dots": "a/.." * 30 + "/../.."}


@pytest.mark.parametrize("form", ["absolute", "relative", "dots"])
@pytest.mark.parametrize("what", ["folder", "file"])
def test_a_destination_in_a_shared_volume(pyrun, bundle, outside, volume, tmp_path, form, what):
    """/volume/a/b/c is to be made and mounted on, while /volume/a is now a folder and now a link."""
    (volume / "link").symlink_to(links(outside)[form])
    log = tmp_path / "mountinfo"
    one = bundle()
    one.mount("/volume", "bind", str(volume), "rbind")
    if what == "folder":
        one.mount("/volume/a/b/c", "tmpfs", "h8-marker", "nosuid")
    else:
        one.mount("/volume/a/b/c", "bind", str(outside.path / "file"), "bind", "ro")
    one.hook("createContainer", f"cat /proc/self/mountinfo > {log}")
    codes = set()
    with swapping(volume / "a", volume / "link"):
        for _ in range(ROUNDS):
            log.unlink(missing_ok=True)
            codes.add(pyrun.run(one).code)
            if log.exists():
                points = mount_points(log.read_text())
                assert f"{one.rootfs}/volume" in points
                assert not [
                    each for each in points if str(outside.path) in each and str(one.rootfs) not in each
                ]
                last = [
                    line
                    for line in log.read_text().splitlines()
                    if "h8-marker" in line or "outside/file" in line
                ]
                assert all(point.startswith(f"{one.rootfs}/") for point in mount_points("\n".join(last))), (
                    last
                )
            outside.assert_untouched()
    assert codes <= {0, 1}


def test_a_working_folder_in_a_shared_volume(pyrun, bundle, outside, volume):
    """The same for process.cwd, which is made where it is missing."""
    (volume / "link").symlink_to(links(outside)["relative"])
    one = bundle({"process": {"cwd": "/volume/a/x/y"}}, sh="pwd; ls -di /proc/self/cwd/")
    one.mount("/volume", "bind", str(volume), "rbind")
    forbidden = {each.stat().st_ino for each in outside.path.rglob("*")}
    with swapping(volume / "a", volume / "link"):
        for _ in range(ROUNDS):
            result = pyrun.run(one)
            if result.code == 0:
                folder, inode = result.lines()
                assert folder.startswith("/"), result
                assert int(inode.split()[0]) not in forbidden
    outside.assert_untouched()


@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
def test_a_device_in_a_shared_volume(pyrun, bundle, outside, volume, user):
    """The same for a device's folder: no node is made or mounted, and no owner changed, outside."""
    (volume / "link").symlink_to(links(outside)["relative"])
    device = {"type": "p", "uid": 1000, "gid": 1000}
    one = bundle()
    one.mount("/volume", "bind", str(volume), "rbind")
    if user:
        needs.user_namespaces()
        device |= {"type": "c", "major": 1, "minor": 3}
        one.config["process"]["rlimits"] = None
        one.user_namespace()
        for folder in (volume, volume / "a", outside.path / "folder"):
            folder.chmod(0o777)
        outside.before = outside._look()
    with swapping(volume / "a", volume / "link"):
        for number in range(ROUNDS):
            one.config["linux"]["devices"] = [{**device, "path": f"/volume/a/x{number}/pipe"}]
            assert pyrun.run(one.write()).code in (0, 1)
    outside.assert_untouched()


def test_masked_and_read_only_paths(pyrun, bundle, outside, volume):
    """GHSA-3q8j-pf29-vwv8: targets that change between two looks. Nothing but what the path was is covered."""
    (volume / "link").symlink_to(links(outside)["relative"])
    paths = ["/volume/a", "/volume/a/x"]
    one = bundle({"linux": {"maskedPaths": paths, "readonlyPaths": paths}}, sh="cat /proc/self/mountinfo")
    (volume / "a/x").mkdir()
    one.mount("/volume", "bind", str(volume), "rbind")
    with swapping(volume / "a", volume / "link"):
        for _ in range(ROUNDS):
            result = pyrun.run(one)
            assert result.code in (0, 1)
            for point in mount_points(result.out):
                assert "outside" not in point or point.startswith("/"), point
    outside.assert_untouched()


@pytest.mark.parametrize(
    "options", [["silent"], ["mpol=default" + "," * 250], []], ids=["old", "long", "new"]
)
def test_attributes_go_to_the_mount_that_was_made(pyrun, bundle, volume, options):
    """/volume/a is mounted on read-only while it is swapped for a link to /dev/shm: whatever was mounted on, the new
    mount alone is read-only. mount(2) can only name its target, and a second look would find the other one."""
    (volume / "link").symlink_to("/dev/shm")
    one = bundle(sh="cat /proc/self/mountinfo")
    one.mount("/volume", "bind", str(volume), "rbind")
    one.mount("/volume/a", "tmpfs", "h8-marker", "ro", *options)
    made = 0
    with swapping(volume / "a", volume / "link"):
        for _ in range(ROUNDS * 4):
            result = pyrun.run(one)
            if result.code:
                continue
            made += 1
            lines = [line.split() for line in result.lines()]
            flags = {line[line.index("-") + 2]: line[5].split(",") for line in lines}
            assert "ro" in flags["h8-marker"], result.out
            assert "ro" not in flags["shm"], result.out
    assert made


def test_renaming_without_end_is_no_hang(pyrun, bundle, volume):
    """A path of many ".." is looked up anew at each rename on the machine: the runtime gives up at last."""
    (volume / "link").symlink_to("a/../" * 700)
    one = bundle()
    one.mount("/volume", "bind", str(volume), "rbind")
    one.mount("/volume/link/x", "tmpfs", "tmpfs")
    (volume / "one").mkdir()
    (volume / "two").mkdir()
    with swapping(volume / "one", volume / "two"):
        for _ in range(5):
            assert pyrun.run(one, time_limit=25).code in (0, 1)


def test_proc_is_renamed_in_a_shared_root_file_system(pyrun, bundle):
    """Another container with the same root file system swaps /proc for a folder of its own, while this one is made:
    wherever the real procfs lies in the end, it has its masks, and its read-only paths are read-only."""
    one = bundle(changes={"root": {"readonly": False}})
    (one.rootfs / "fake/keys").mkdir(parents=True)
    (one.rootfs / "fake/sys").mkdir()
    made = 0
    with swapping(one.rootfs / "proc", one.rootfs / "fake"):
        for _ in range(ROUNDS):
            container_id = new_id()
            if pyrun("create", "-b", str(one.path), container_id).code:
                continue
            made += 1
            pid = json.loads(pyrun.ok("state", container_id).out)["pid"]
            lines = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
            (proc,) = [
                fields for fields in lines if fields[3] == "/" and fields[fields.index("-") + 1] == "proc"
            ]
            covers = {
                fields[4].rpartition("/")[2]: fields[5].split(",") for fields in lines if fields[1] == proc[0]
            }
            pyrun.ok("delete", "--force", container_id)
            assert "ro" in covers.get("keys", ()), covers
            assert "ro" in covers.get("sys", ()), covers
    assert made
