"""/dev of the image, or what lies in it, is a symbolic link.

CVE-2026-41579, CVE-2026-47766 (and CVE-2019-18837): /dev itself is a link, and device nodes, links and mounts are made
on the host. Nothing is made outside here, whichever of the runtime's targets is a link.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import needs
import pytest
from hostile import Outside


@pytest.fixture
def outside(tmp_path):
    """A folder that must stay untouched."""
    one = Outside(tmp_path / "outside")
    yield one
    one.assert_untouched()


def up(path) -> str:
    """The same path, relative, from any depth."""
    return "../" * 30 + str(path)[1:]


def without_dev_mounts(one):
    """The image's own /dev: no tmpfs covers what the attacker has put there."""
    one.config["mounts"] = [m for m in one.config["mounts"] if not m["destination"].startswith("/dev")]
    return one.write()


@pytest.mark.parametrize("form", [str, up], ids=["absolute", "relative"])
@pytest.mark.parametrize("mounted", [True, False], ids=["tmpfs", "image"])
def test_dev_is_a_link(pyrun, bundle, outside, form, mounted):
    """Devices and mounts come to lie inside, where the link leads if / is the image's."""
    needs.capability("CAP_MKNOD")
    one = bundle()
    (one.rootfs / "dev").rmdir()
    (one.rootfs / "dev").symlink_to(form(outside.path / "dev"))
    if not mounted:
        without_dev_mounts(one)
    one.config["root"]["readonly"] = False
    one.sh("ls -l /dev/null; echo > /dev/null; ls -ld /dev/fd/")
    result = pyrun.run(one)
    if result.code == 0:
        assert "1,   3" in result.out
    outside.assert_untouched()
    below = one.rootfs / str(outside.path / "dev").lstrip("/")
    assert below.exists() == (result.code == 0)


@pytest.mark.parametrize("target", ["file", "folder", "dev/null", "missing", "folder/missing"])
def test_in_dev_is_a_link(pyrun, bundle, outside, target):
    """A link in the place of a device or of one of the runtime's own links leads nowhere outside."""
    needs.capability("CAP_MKNOD")
    one = without_dev_mounts(bundle({"root": {"readonly": False}}))
    for kind, destination in (("devpts", "/dev/pts"), ("tmpfs", "/dev/shm"), ("mqueue", "/dev/mqueue")):
        one.mount(destination, kind, kind)
    for name in "null zero tty ptmx fd stdin stderr pts shm mqueue".split():
        shutil.rmtree(one.rootfs / "dev")
        (one.rootfs / "dev").mkdir()
        (one.rootfs / "dev" / name).symlink_to(up(outside.path / target))
        pyrun.run(one)
        outside.assert_untouched()
    assert not (outside.path / "missing").exists()


@pytest.mark.parametrize("where", ["/links/x", "/links/a/b/x", "/links"])
@pytest.mark.parametrize("kind", ["c", "b", "p"])
@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
def test_configured_device_through_a_link(pyrun, bundle, outside, where, kind, user):
    """The folder of a configured device is a link to the host's."""
    needs.capability("CAP_MKNOD")
    device = {"path": where, "type": kind, "fileMode": 0o666, "uid": 1000, "gid": 1000}
    if kind != "p":
        device |= {"major": 1, "minor": 7}
    one = bundle({"root": {"readonly": False}, "linux": {"devices": [device]}})
    (one.rootfs / "links").symlink_to(outside.path / "folder")
    if user:
        needs.user_namespaces()
        one.config["process"]["rlimits"] = None
        one.user_namespace()
    result = pyrun.run(one)
    outside.assert_untouched()
    assert result.code == 0
    assert ("linux.devices[0]: /links is there" in result.err) == (where == "/links")


@pytest.mark.parametrize("target", ["file", "folder", "dev/null", "missing"])
def test_a_link_in_place_of_a_device_of_a_user_namespace(pyrun, bundle, outside, target):
    """What is mounted on is what stands at the path itself: a link stays as it is, wherever it leads."""
    needs.capability("CAP_MKNOD")
    needs.user_namespaces()
    device = {"path": "/x", "type": "c", "major": 1, "minor": 7}
    one = bundle({"process": {"rlimits": None}, "linux": {"devices": [device]}}).user_namespace()
    (one.rootfs / "x").symlink_to(up(outside.path / target))
    result = pyrun.run(one.sh("cat /proc/self/mountinfo"))
    assert result.code == 0
    assert "linux.devices[0]: /x is there" in result.err
    assert up(outside.path / target) not in result.out
    outside.assert_untouched()


def test_null_is_something_else(pyrun, bundle):
    """A file, a link or a folder at /dev/null: the program gets the real device, read-only as a mount."""
    needs.capability("CAP_MKNOD")
    for make in (lambda p: p.write_text("x"), lambda p: p.symlink_to("/etc/passwd")):
        one = without_dev_mounts(bundle({"root": {"readonly": False}}))
        make(one.rootfs / "dev/null")
        one.sh(
            "echo secret > /dev/null; cat /dev/null; grep -E ' /(dev/null|etc/passwd) ' /proc/self/mountinfo"
        )
        (line,) = pyrun.output(one).splitlines()
        assert " ro," in line
    one = without_dev_mounts(bundle())
    (one.rootfs / "dev/null").mkdir()
    assert "/dev/null" in pyrun.refused(one)


@pytest.mark.parametrize("spelling", ["/dev", "/dev/", "//dev", "/./dev", "/dev/.", "dev"])
def test_the_hosts_dev(pyrun, bundle, spelling, tmp_path):
    """A bind mount on /dev, however written, is the caller's: a device /dev/ptmx in it is not replaced by a link. (A
    folder stands for the host's /dev here.)"""
    needs.capability("CAP_MKNOD")
    host = tmp_path / "host-dev"
    (host / "pts").mkdir(parents=True)
    os.mknod(host / "ptmx", 0o020666, os.makedev(5, 2))
    one = without_dev_mounts(bundle())
    one.mount(spelling, "bind", str(host), "rbind")
    assert pyrun.run(one).code == 0
    assert sorted(os.listdir(host)) == ["ptmx", "pts"]
    assert (host / "ptmx").stat().st_rdev == os.makedev(5, 2)


def test_the_hosts_own_dev_is_recognised():
    """devices.is_host_dev knows it by what it is, not by its name."""
    from pyrun.features import devices

    host, other = os.open("/", os.O_PATH), os.open("/proc", os.O_PATH)
    try:
        assert devices.is_host_dev(host)
        assert not devices.is_host_dev(other)
    finally:
        os.close(host)
        os.close(other)


def test_device_of_the_host_is_checked():
    """What is bound in place of a device is the very device: type and number."""
    from pyrun.features import devices

    os.close(devices.open_host("/dev/null", devices.CHARACTER, 1, 3))
    for kind, major, minor in ((devices.CHARACTER, 1, 5), (devices.BLOCK, 1, 3)):
        with pytest.raises(OSError, match="open"):
            devices.open_host("/dev/null", kind, major, minor)
    assert Path("/dev/null").is_char_device()
