"""The root file system and the mounts: where they go, in which order, and what is refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import needs
import pytest
from bundles import eventually, sleeping


def count(one):
    """The index of the last mount, for errors."""
    return len(one.config["mounts"]) - 1


# root


def test_linked_root(pyrun, bundle):
    """A root.path that is a symbolic link is followed: it is the caller's, not the container's."""
    one = bundle(sh="cat /mark")
    (one.rootfs / "mark").write_text("here\n")
    one.rootfs.rename(one.path / "real")
    one.rootfs.symlink_to("real")
    assert pyrun.output(one) == "here\n"


@pytest.mark.parametrize("path", ["nowhere", "/nowhere", "config.json"])
def test_bad_root(pyrun, bundle, path):
    """A root.path that is no folder is refused."""
    assert pyrun.refused(bundle({"root": {"path": path}})).startswith("root.path: ")


def test_the_host_is_out_of_sight(pyrun, bundle):
    """The old root is gone: mountinfo names only the container's mounts, and .. of / is /."""
    text = pyrun.output(
        bundle(sh="cut -d' ' -f5 /proc/self/mountinfo; ls -di / /.. | cut -d/ -f1 | uniq | wc -l")
    )
    *points, same = text.split()
    assert same == "1"
    assert points[0] == "/"
    assert all(point == "/" or point.split("/")[1] in ("proc", "dev", "sys") for point in points)


def test_bad_rootfs_propagation(pyrun, bundle):
    """Any other value is refused."""
    assert pyrun.refused(bundle({"linux": {"rootfsPropagation": "public"}})).startswith(
        "linux.rootfsPropagation: "
    )


def test_host_mounts_are_not_changed(pyrun, bundle):
    """What happens in a container's mount namespace stays there, also if the host's mounts are shared."""
    needs.program("unshare", "nsenter")
    with sleeping("unshare", "-m", "--propagation", "shared") as pid:
        pyrun.wrapper = ["nsenter", f"--mount=/proc/{pid}/ns/mnt"]
        before = Path(f"/proc/{pid}/mountinfo").read_text()
        for value in (None, "private", "slave", "shared", "rshared", "unbindable"):
            one = bundle({"linux": {"rootfsPropagation": value}}).mount("/tmp/x", "tmpfs", "tmpfs")
            one.config["root"]["readonly"] = False
            pyrun.output(one.write())
            now = Path(f"/proc/{pid}/mountinfo").read_text()
            assert sorted(now.splitlines()) == sorted(before.splitlines()), value


def test_new_host_mounts_arrive(pyrun, bundle):
    """A volume that is a slave shows what the host mounts below it later; a private one doesn't."""
    needs.program("unshare", "nsenter")
    one = bundle(sh="while [ ! -e /tmp/go ]; do sleep 0.01; done; ls /slave/in /private/in")
    (one.path / "data/in").mkdir(parents=True)
    (one.path / "go").mkdir()
    with sleeping("unshare", "-m", "--propagation", "shared") as pid:
        pyrun.wrapper = ["nsenter", f"--mount=/proc/{pid}/ns/mnt"]
        subprocess.run([*pyrun.wrapper, "mount", "--bind", one.path / "data", one.path / "data"], check=True)
        one.mount("/slave", "none", "data", "rbind", "rslave").mount(
            "/private", "none", "data", "rbind", "rprivate"
        )
        one.mount("/tmp", "none", "go", "bind")
        container = pyrun.start(one)
        subprocess.run([*pyrun.wrapper, "mount", "-t", "tmpfs", "x", one.path / "data/in"], check=True)
        subprocess.run([*pyrun.wrapper, "touch", one.path / "data/in/late"], check=True)
        (one.path / "go/go").touch()
        container.wait()
        assert container.out() == "/private/in:\n\n/slave/in:\nlate\n"


def test_mounts_reach_the_host_through_rshared(pyrun, bundle):
    """A mount that the container makes below a shared volume appears on the host."""
    needs.program("unshare", "nsenter")
    caps = {key: ["CAP_SYS_ADMIN"] for key in ("bounding", "permitted", "effective")}
    changes = {"process": {"capabilities": caps}, "linux": {"rootfsPropagation": "rshared"}}
    one = bundle(changes, sh="mount -t tmpfs x /vol/in && touch /vol/in/file; exec sleep 1000")
    (one.path / "data/in").mkdir(parents=True)
    with sleeping("unshare", "-m", "--propagation", "shared") as pid:
        pyrun.wrapper = ["nsenter", f"--mount=/proc/{pid}/ns/mnt"]
        subprocess.run([*pyrun.wrapper, "mount", "--bind", one.path / "data", one.path / "data"], check=True)
        container = pyrun.start(one.mount("/vol", "none", "data", "rbind", "rshared"))
        eventually(
            lambda: f"{one.path}/data/in " in Path(f"/proc/{pid}/mountinfo").read_text(),
            "the mount didn't come",
        )
        container.delete("--force")


# order, sources and destinations


def test_nested_below_readonly(pyrun, bundle):
    """A place for a mount is made in an earlier one also if that one is read-only."""
    one = bundle(sh="ls /ro; touch /ro/x 2>/dev/null; touch /ro/below/y && ls /ro/below")
    one.mount("/ro", "tmpfs", "tmpfs", "ro").mount("/ro/below", "tmpfs", "tmpfs")
    assert pyrun.output(one) == "below\ny\n"


@pytest.mark.parametrize("kind", ["", "none", "bind", "made-up"])
def test_type_is_ignored_for_bind(pyrun, bundle, kind):
    """It is the option that makes a bind mount; the type may be anything, or absent."""
    one = bundle(sh="ls /m")
    (one.path / "data").mkdir()
    (one.path / "data/file").touch()
    assert pyrun.output(one.mount("/m", kind, "data", "bind")) == "file\n"


def test_bind_folder_on_file(pyrun, bundle):
    """A folder can't be bound on a file, nor a file on a folder."""
    one = bundle().mount("/etc/passwd", "none", ".", "bind")
    assert pyrun.refused(one).startswith(f"mounts[{count(one)}]: ")
    one = bundle().mount("/etc", "none", "config.json", "bind")
    assert pyrun.refused(one).startswith(f"mounts[{count(one)}]: ")


def test_missing_source(pyrun, bundle):
    """A source that isn't there is an error that no engine takes for a missing program."""
    one = bundle().mount("/m", "none", "/no/such/source", "bind")
    sentence = pyrun.refused(one)
    assert sentence.startswith(f"mounts[{count(one)}].source: ")
    assert "/no/such/source" in sentence
    assert "no such file" not in sentence.lower()


def test_special_files_can_be_bound(pyrun, bundle):
    """Sockets, FIFOs and devices can be bound, and are not opened for it."""
    import socket

    one = bundle(sh="stat -c %F /run/a /run/b /run/c")
    os.mkfifo(one.path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(one.path / "sock"))
    one.mount("/run/a", "none", "fifo", "bind").mount("/run/b", "none", "sock", "bind")
    one.mount("/run/c", "none", "/dev/null", "bind")
    assert pyrun.output(one).splitlines() == ["fifo", "socket", "character special file"]


def test_relative_destination(pyrun, bundle):
    """A relative destination is relative to the root."""
    assert pyrun.output(bundle({"process": {"cwd": "/etc"}}, sh="grep -c ' /data/x ' /proc/mounts").mount(
        "data/x", "tmpfs", "tmpfs")) == "1\n"  # fmt: skip


@pytest.mark.parametrize("destination", ["/", "//", "/.", "/..", ".", ".."])
def test_root_as_destination(pyrun, bundle, destination):
    """The root itself is no place for a mount."""
    one = bundle().mount(destination, "tmpfs", "tmpfs")
    assert pyrun.refused(one).startswith(f"mounts[{count(one)}].destination: ")


@pytest.mark.parametrize("destination", ["/a/../b", "/a/b/../../b", "/./b//", "/../../b"])
def test_dots_in_destination(pyrun, bundle, destination):
    """Dots and doubled slashes are resolved as in the container."""
    one = bundle(sh="grep -c ' /b ' /proc/mounts").mount(destination, "tmpfs", "tmpfs")
    (one.rootfs / "a/b").mkdir(parents=True)
    assert pyrun.output(one) == "1\n"


LINKS = {
    "relative": ("link", "target", "/target"),
    "absolute": ("link", "/target", "/target"),
    "dangling": ("link", "/new/deep", "/new/deep"),
    "up and out": ("link", "../../../../../../../../../target", "/target"),
    "link to link": ("link", "/second", "/target"),
    "in the middle": ("link", "/target", "/target/below"),
    "dangling in the middle": ("link", "/new", "/new/below"),
    "absolute and dangling to a host path": ("link", "{host}", "{host}"),
}


@pytest.mark.parametrize("case", LINKS)
@pytest.mark.parametrize("kind", ["tmpfs", "bind", "bind file"])
def test_linked_destination(pyrun, bundle, case, kind):
    """A link in a destination is followed inside the root, and never leads to the host."""
    name, target, point = LINKS[case]
    one = bundle(sh="cut -d' ' -f5 /proc/self/mountinfo")
    host = one.path / "host"
    host.mkdir()
    one.rootfs.joinpath("target").mkdir()
    one.rootfs.joinpath("second").symlink_to("target")
    one.rootfs.joinpath(name).symlink_to(target.format(host=host))
    destination = "/link/below" if "middle" in case else "/link"
    if kind == "bind file":
        if "target" in point and "middle" not in case:
            one.rootfs.joinpath("target").rmdir()
            one.rootfs.joinpath("target").touch()
        one.mount(destination, "none", "config.json", "bind")
    elif kind == "bind":
        (one.path / "data").mkdir()
        one.mount(destination, "none", "data", "bind")
    else:
        one.mount(destination, "tmpfs", "tmpfs")
    assert point.format(host=host) in pyrun.output(one).split()
    assert os.listdir(host) == []


def test_looping_link(pyrun, bundle):
    """Links in a circle are an error, not a hang."""
    one = bundle().mount("/loop", "tmpfs", "tmpfs")
    (one.rootfs / "loop").symlink_to("loop2")
    (one.rootfs / "loop2").symlink_to("loop")
    assert pyrun.refused(one).startswith(f"mounts[{count(one)}]: ")


@pytest.mark.parametrize("kind", ["proc", "sysfs"])
@pytest.mark.parametrize("target", ["/tmp", "file", "nowhere"])
def test_proc_and_sys_must_be_folders(pyrun, bundle, kind, target):
    """A link or a file at the place of proc or sysfs is refused: attacks redirect checks so (CVE-2019-19921)."""
    one = bundle()
    where = one.rootfs / ("proc" if kind == "proc" else "sys")
    where.rmdir()
    if target == "file":
        where.touch()
    else:
        where.symlink_to(target)
    assert "must be a folder" in pyrun.refused(one)


def test_unknown_file_system(pyrun, bundle):
    """A type that the kernel doesn't know is an error that names it."""
    one = bundle().mount("/m", "made-up", "x")
    assert pyrun.refused(one) == (
        f'mounts[{count(one)}]: mounting made-up on /m: the kernel knows no file system "made-up"'
    )


def test_type_missing(pyrun, bundle):
    """A mount that isn't a bind needs a type."""
    one = bundle().mount("/m", "", "x", "ro")
    assert pyrun.refused(one).startswith(f"mounts[{count(one)}].type: ")


def test_tmpcopyup(pyrun, bundle):
    """`tmpcopyup` starts a tmpfs with what it covers: files, modes, owners, links."""
    script = "cd /data && find . | sort | xargs stat -c '%n %F %a %g' && readlink link"
    one = bundle(sh=script + " && cat file && echo new > file && cat file")
    data = one.rootfs / "data"
    (data / "folder/deep").mkdir(parents=True)
    (data / "file").write_text("old\n")
    (data / "file").chmod(0o640)
    (data / "folder").chmod(0o711)
    (data / "folder/deep").chmod(0o1777)
    os.chown(data / "folder", 0, 1000)
    (data / "link").symlink_to("/nowhere")
    os.mkfifo(data / "fifo", 0o600)
    data.chmod(0o751)
    text = pyrun.output(one.mount("/data", "tmpfs", "tmpfs", "tmpcopyup"))
    assert text.splitlines() == [
        ". directory 751 0",
        "./fifo fifo 600 0",
        "./file regular file 640 0",
        "./folder directory 711 1000",
        "./folder/deep directory 1777 0",
        "./link symbolic link 777 0",
        "/nowhere",
        "old",
        "new",
    ]
    assert (data / "file").read_text() == "old\n"


def test_default_file_systems(pyrun, bundle):
    """/proc, /sys, /dev/pts, /dev/shm and /dev/mqueue of the default configuration are what they should be."""
    text = pyrun.output(bundle().args("cat", "/proc/mounts"))
    kinds = {line.split()[1]: line.split()[2] for line in text.splitlines()}
    wanted = {
        "/proc": "proc",
        "/sys": "sysfs",
        "/dev/pts": "devpts",
        "/dev/shm": "tmpfs",
        "/dev/mqueue": "mqueue",
    }
    assert {path: kinds.get(path) for path in wanted} == wanted


def test_no_mounts(pyrun, bundle):
    """A container without any mount works."""
    one = bundle({"mounts": None, "root": {"readonly": False}}, sh="ls /proc | wc -l; ls /dev")
    text = pyrun.output(one)
    assert text.split() == ["0", "full", "null", "random", "tty", "urandom", "zero"]


def test_many_mounts(pyrun, bundle):
    """A thousand mounts are no problem."""
    one = bundle(sh="grep -c ' /m/' /proc/mounts")
    for number in range(1000):
        one.config["mounts"].append({"destination": f"/m/{number}", "type": "tmpfs", "source": "x"})
    assert pyrun.output(one.write()) == "1000\n"


@pytest.mark.parametrize("option", [(), ("--no-pivot",)])
def test_no_pivot(pyrun, bundle, option):
    """--no-pivot gives the same container, by moving the root mount."""
    needs.program("unshare")
    pyrun.wrapper = ["unshare", "-m"]
    one = bundle(
        sh="ls -d /bin /proc/self; hostname; touch /x; cut -d' ' -f5 /proc/self/mountinfo | head -1; ls /.."
    )
    result = pyrun.run(one, *option)
    assert result.code == 0
    lines = result.out.split()
    assert lines[:4] == ["/bin", "/proc/self", "pyrun", "/"]
    assert "rootfs" not in lines
    assert result.err == "touch: /x: Read-only file system\n"


def test_cgroup_mount(pyrun, bundle):
    """The cgroup mount shows the container's own cgroup as its root, read-only if so configured."""
    text = pyrun.output(
        bundle(sh="ls /sys/fs/cgroup; cat /proc/self/cgroup; mkdir /sys/fs/cgroup/x 2>&1; true")
    )
    assert "Read-only file system" in text
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        assert "cgroup.procs" in text
    else:
        assert {"memory", "pids", "devices"} <= set(text.split())
    assert all(
        line.endswith(":/") for line in text.splitlines() if line.count(":") == 2 and line[0].isdigit()
    )


def test_tmpcopyup_settings_win(pyrun, bundle):
    """A mode that the mount's options give is the tmpfs's mode, whatever folder it copies from."""
    one = bundle(sh="stat -c %a /data")
    (one.rootfs / "data").mkdir(mode=0o755)
    assert pyrun.output(one.mount("/data", "tmpfs", "tmpfs", "tmpcopyup", "mode=1770")) == "1770\n"


def test_sysfs_with_the_hosts_network_and_a_user_namespace(pyrun, bundle):
    """The kernel refuses a new sysfs there: the container has the host's, read-only as asked for, with the host's
    network devices and what is mounted below; masked paths in it are masked."""
    needs.user_namespaces()
    one = bundle({"process": {"rlimits": None}}).user_namespace().namespace("network", None)
    script = (
        "ls /sys/class/net | sort; touch /sys/x 2>/dev/null || echo read-only; "
        "touch /sys/fs/cgroup/x 2>/dev/null || echo read-only below; ls /sys/firmware | wc -l"
    )
    lines = pyrun.output(one.sh(script)).splitlines()
    assert lines[-3:] == ["read-only", "read-only below", "0"]
    assert lines[:-3] == sorted(os.listdir("/sys/class/net"))
