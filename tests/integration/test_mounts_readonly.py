"""Nothing is made read-only before everything was made that has to be made in it; in the end all of it is read-only.

runc and crun fill /dev first too: podman --read-only --read-only-tmpfs=false and Quadlet's ReadOnly=true count on it.
"""

from __future__ import annotations

import shlex
import subprocess

import needs
import pytest
from bundles import new_id


def with_dev(one, *options):
    """Add options to the mount at /dev."""
    (dev,) = [mount for mount in one.config["mounts"] if mount["destination"] == "/dev"]
    dev["options"] += options
    return one.write()


@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
@pytest.mark.parametrize("option", ["ro", "rro"])
def test_dev_is_filled_before_it_is_read_only(pyrun, bundle, option, user):
    """`ro` on /dev: devices, links, mount points and configured devices are made; nothing more can be."""
    devices = [{"path": "/dev/sub/x", "type": "c", "major": 1, "minor": 5}]
    one = bundle({"linux": {"devices": devices}})
    one.sh("touch /dev/y 2>&1; cd /dev; ls fd null ptmx pts sub/x -d; touch shm/x && echo shm")
    if user:
        needs.user_namespaces()
        one.config["process"]["rlimits"] = None
        one.user_namespace()
    first, *rest = pyrun.output(with_dev(one, option)).split("\n")
    assert first == "touch: /dev/y: Read-only file system"
    assert rest == ["fd", "null", "ptmx", "pts", "sub/x", "shm", ""]


def test_the_console_of_a_read_only_dev(pyrun, bundle):
    """/dev/console is made on a read-only /dev, too."""
    needs.program("script")
    one = bundle({"process": {"terminal": True}}, sh="stat -c %F /dev/console; touch /dev/y 2>&1")
    with_dev(one, "ro")
    container_id = new_id()
    line = shlex.join(
        [str(pyrun.runtime), "--root", str(pyrun.root), "run", "-b", str(one.path), container_id]
    )
    done = subprocess.run(
        ["script", "-qefc", line, "/dev/null"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "character special file" in done.stdout
    assert "Read-only file system" in done.stdout


@pytest.mark.parametrize("where", ["/dev/work/here", "/data/work", "/covered/work"])
def test_a_missing_cwd_is_made_in_what_will_be_read_only(pyrun, bundle, where):
    """process.cwd is made in a read-only /dev, in another read-only tmpfs, and in a folder of readonlyPaths."""
    one = bundle({"process": {"cwd": where}, "root": {"readonly": False}}, sh="pwd; touch x 2>&1; true")
    one.mount("/data", "tmpfs", "tmpfs", "ro")
    (one.rootfs / "covered").mkdir()
    one.config["linux"]["readonlyPaths"].append("/covered")
    assert pyrun.output(with_dev(one, "ro")) == f"{where}\ntouch: x: Read-only file system\n"


def test_a_read_only_remount_in_the_middle(pyrun, bundle):
    """A remount `ro` waits for the mount points of later entries, and one to `rw` after it is what counts."""
    one = bundle(sh="for f in a b; do touch /$f/x 2>&1; done; ls /a /b; touch /a/in/x && echo in")
    one.config["root"]["readonly"] = False
    for name in ("a", "b"):
        one.mount(f"/{name}", "tmpfs", "tmpfs", "ro")
        one.mount(f"/{name}", "", "none", "remount", "ro")
        one.mount(f"/{name}/in", "tmpfs", "tmpfs")
    one.mount("/b", "", "none", "remount", "rw")
    assert pyrun.output(one) == "touch: /a/x: Read-only file system\n/a:\nin\n\n/b:\nin\nx\nin\n"


def test_a_read_only_volume_is_left_alone(pyrun, bundle):
    """Nothing is made in what a read-only bind mount shows, be it remounted: it is the caller's."""
    for options in (["bind", "ro"], ["bind"]):
        one = bundle()
        (one.path / "data").mkdir()
        one.mount("/data", "none", "data", *options)
        if "ro" not in options:
            one.mount("/data", "none", "none", "remount", "bind", "ro")
        one.mount("/data/missing", "tmpfs", "tmpfs")
        one.config["root"]["readonly"] = False
        assert "Read-only file system" in pyrun.refused(one.write())
        assert not list((one.path / "data").iterdir())


def test_hooks_find_it_writable(pyrun, bundle):
    """What hooks make in /dev (device nodes, say) is there, although /dev is read-only for the program."""
    one = bundle(sh="cat /dev/made; touch /dev/y 2>&1; true")
    one.hook("createContainer", f"echo by the hook > {one.rootfs}/dev/made")
    assert pyrun.output(with_dev(one, "ro")) == "by the hook\ntouch: /dev/y: Read-only file system\n"
