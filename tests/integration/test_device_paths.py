"""linux.devices at paths that are taken: by the runtime's own, by the image, by the host's (runc and crun do the same).

Engines hand over every device of the host (--privileged), and devices under other names (--device A:B).
"""

from __future__ import annotations

import os

import needs
import pytest
from test_devices import DEFAULT, device, in_user_namespace

FORMS = ["/dev/ptmx", "//dev/./ptmx", "/dev/ptmx/"]


def in_both(pyrun, one, user):
    """Run in a user namespace or not; what the program writes, and what the runtime says."""
    result = pyrun.run(in_user_namespace(one, "other") if user else one)
    assert result.code == 0, result
    return result


@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
@pytest.mark.parametrize("path", FORMS)
def test_ptmx_stays_the_containers_own(pyrun, bundle, path, user):
    """An entry /dev/ptmx, however it is written, is left out: the link to the container's pts/ptmx stays."""
    one = bundle({"linux": {"devices": [device(path, "c", 5, 2)]}}, sh="readlink /dev/ptmx; ls /dev/pts")
    (one.rootfs / "other").mkdir()
    result = in_both(pyrun, one, user)
    assert (result.out, result.err) == ("pts/ptmx\nptmx\n", "")


@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
@pytest.mark.parametrize(
    ("path", "number"),
    [
        pytest.param("/dev/urandom", (1, 8), id="urandom is random"),
        pytest.param("/dev/tty", (4, 64), id="tty is a serial line"),
        pytest.param("/dev//null", (1, 5), id="null is zero"),
    ],
)
def test_an_entry_takes_the_place_of_a_default_device(pyrun, bundle, path, number, user):
    """A device of another number at a default device's path is the one that is there; the others are as ever."""
    names = " ".join(DEFAULT)
    one = bundle(sh=f"cd /dev; stat -c '%n %t:%T %a' {names}")
    one.config["linux"]["devices"] = [device(path, "c", *number, fileMode=0o606)]
    (one.rootfs / "other").mkdir()
    result = in_both(pyrun, one.write(), user)
    wanted = {name: f"{number} 666" for name, number in DEFAULT.items()}
    wanted[path.rpartition("/")[2]] = f"{number[0]:x}:{number[1]:x} 606"
    assert dict(line.split(" ", 1) for line in result.lines()) == wanted
    assert result.err == ""


def test_all_devices_of_a_host(pyrun, bundle):
    """What --privileged asks for, as podman writes it: default devices and the host's terminals among the rest."""
    entries = [
        device(path, kind, *number, fileMode=mode, gid=gid)
        for path, kind, number, mode, gid in [
            ("/dev/console", "c", (5, 1), 0o600, 5),
            ("/dev/full", "c", (1, 7), 0o666, 0),
            ("/dev/loop0", "b", (7, 0), 0o660, 6),
            ("/dev/null", "c", (1, 3), 0o666, 0),
            ("/dev/ptmx", "c", (5, 2), 0o666, 5),
            ("/dev/tty", "c", (5, 0), 0o666, 5),
            ("/dev/tty0", "c", (4, 0), 0o620, 5),
            ("/dev/net/tun", "c", (10, 200), 0o666, 0),
        ]
    ]
    one = bundle({"linux": {"devices": entries}})
    result = pyrun.run(one.sh("cd /dev; stat -c '%n %F %a %g' console null loop0 tty net/tun; readlink ptmx"))
    assert result.err == ""
    assert result.lines() == [
        "console character special file 600 5",
        "null character special file 666 0",
        "loop0 block special file 660 6",
        "tty character special file 666 5",
        "net/tun character special file 666 0",
        "pts/ptmx",
    ]


@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
@pytest.mark.parametrize("what", ["file", "other device", "link", "folder", "fifo"])
def test_what_is_at_the_path_stays(pyrun, bundle, what, user):
    """Something else at a device's path is left as it is, with a warning that names the entry. Only a user namespace,
    where devices are mounts, has the device over a file or another device."""
    one = bundle({"linux": {"devices": [device("/other/x")]}}, sh="stat -c '%F %t:%T' /other/x")
    place = one.rootfs / "other/x"
    place.parent.mkdir()
    if what == "file":
        place.write_text("of the image")
    elif what == "link":
        place.symlink_to("/dev/null")
    elif what == "folder":
        place.mkdir()
    elif what == "fifo":
        os.mkfifo(place)
    else:
        needs.capability("CAP_MKNOD")
        os.mknod(place, 0o20666, os.makedev(1, 5))
    before = place.lstat()
    result = in_both(pyrun, one, user)
    after = place.lstat()
    assert (after.st_mode, after.st_ino, after.st_size) == (before.st_mode, before.st_ino, before.st_size)
    if user and what in ("file", "other device"):
        assert (result.out, result.err) == ("character special file 1:3\n", "")
        return
    kinds = {"file": "regular file", "other device": "character special file", "link": "symbolic link"}
    assert result.out.startswith(kinds.get(what) or {"folder": "directory"}.get(what) or what)
    assert "1:3" not in result.out
    assert "linux.devices[0]: /other/x is there" in result.err


@pytest.mark.parametrize("what", ["file", "link", "folder"])
def test_no_file_passes_for_a_default_device(pyrun, bundle, what):
    """An image's file at /dev/urandom doesn't stay where another device is asked for: that is refused."""
    one = bundle({"linux": {"devices": [device("/dev/urandom", "c", 1, 8)]}})
    one.config["mounts"] = [m for m in one.config["mounts"] if not m["destination"].startswith("/dev")]
    place = one.rootfs / "dev/urandom"
    if what == "file":
        place.write_text("not random")
    elif what == "link":
        place.symlink_to("/etc/passwd")
    else:
        place.mkdir()
    assert pyrun.refused(one.write()).startswith("linux.devices[0]: /dev/urandom exists")


def test_nothing_is_made_in_a_bound_dev_of_the_host(pyrun, bundle, tmp_path):
    """Where /dev is the host's own folder, its devices are there already, and no missing one is made in it."""
    needs.program("unshare", "mount")
    hosts = tmp_path / "hosts"
    hosts.mkdir()
    os.mknod(hosts / "null", 0o20666, os.makedev(1, 3))
    # a host whose /dev is a folder of the test's
    pyrun.wrapper = ["unshare", "-m", "sh", "-c", f'mount --bind {hosts} /dev && exec "$@"', "sh"]
    entries = [device("/dev/null"), device("/dev/missing")]
    one = bundle({"linux": {"devices": entries}}, sh="ls /dev")
    one.config["mounts"] = [m for m in one.config["mounts"] if not m["destination"].startswith("/dev")]
    result = pyrun.run(one.mount("/dev", "none", "/dev", "rbind"))
    assert (result.code, result.out) == (0, "null\n"), result
    assert "linux.devices[1]: not made" in result.err
    assert os.listdir(hosts) == ["null"]
