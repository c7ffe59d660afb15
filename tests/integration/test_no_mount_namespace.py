"""A container without a mount namespace inherits the runtime's: its root is a chroot, and no mount of the host changes.

The runtime is called in a mount namespace of the test's, which plays the host's, so that a fault harms nobody.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import needs
import pytest
from bundles import sleeping


@pytest.fixture
def host(pyrun):
    """The pid of who lives in the runtime's mount namespace, whose mounts are shared, as systemd's hosts have it."""
    needs.root()
    needs.program("nsenter")
    with sleeping("unshare", "--mount", "--propagation", "private") as pid:
        subprocess.run(["nsenter", "-t", str(pid), "-m", "mount", "--make-rshared", "/"], check=True)
        pyrun.wrapper = ["nsenter", "-t", str(pid), "-m"]
        yield pid


@pytest.fixture
def plain(bundle, host):
    """A bundle without a mount namespace, and with nothing that needs one."""

    def make(sh="", **changes):
        one = bundle(changes, sh=sh)
        one.config["mounts"] = []
        one.config["root"].pop("readonly", None)
        for name in ("maskedPaths", "readonlyPaths"):
            one.config["linux"].pop(name, None)
        return one.namespace("mount", None)

    return make


def mounts_of(pid):
    """What a process has mounted, with attributes and propagation."""
    return Path(f"/proc/{pid}/mountinfo").read_text()


def ns(pid):
    """A process's mount namespace."""
    return os.readlink(f"/proc/{pid}/ns/mnt")


def test_the_namespace_is_the_runtimes(pyrun, plain, host):
    """The program is in the runtime's mount namespace, its root is the bundle's, and the host's mounts are untouched
    from create to delete, their propagation as well."""
    before = mounts_of(host)
    container = pyrun.start(plain().args("sleep", "1000"))
    assert ns(container.pid) == ns(host)
    assert os.path.samefile(f"/proc/{container.pid}/root", container.bundle.rootfs)
    assert mounts_of(host) == before
    container.delete("--force")
    assert mounts_of(host) == before


def test_the_program_sees_its_root(pyrun, plain):
    """It finds its files, its working folder and the default devices, and writes into its root file system."""
    one = plain(
        sh="pwd; echo x > /tmp/new; cat /etc/passwd | head -1; echo gone > /dev/null; ls /dev; ls / | wc -l"
    )
    one.config["process"]["cwd"] = "/made/deep"
    lines = pyrun.output(one.write()).splitlines()
    assert lines[:2] == ["/made/deep", "root:x:0:0:root:/root:/bin/sh"]
    assert {"full", "null", "random", "tty", "urandom", "zero"} <= set(lines)
    assert (one.rootfs / "tmp/new").read_text() == "x\n"


def test_exec(pyrun, plain, host):
    """A program of exec is in the same root and namespace, and changes no mount either."""
    before = mounts_of(host)
    container = pyrun.start(plain().args("sleep", "1000"))
    (container.bundle.rootfs / "marker").write_text("here\n")
    assert container.sh("cat /marker; ls /proc") == "here\n"
    assert mounts_of(host) == before
    container.delete("--force")


def test_other_namespaces_and_limits(pyrun, plain):
    """What isn't a mount works as ever: host name, PID namespace, user, capabilities, seccomp, hooks."""
    one = plain(sh="hostname; echo $$; id -u; mkdir /tmp/x || echo refused", hostname="inner")
    one.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    one.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    one.hook("createRuntime", "true").hook("createContainer", "true").hook("poststop", "true")
    result = pyrun.run(one)
    assert result.out == "inner\n1\n1000\nrefused\n"
    assert result.code == 0


def test_devices(pyrun, plain):
    """Configured devices are nodes in the root file system."""
    one = plain(sh="stat -c '%F %t:%T %a' /dev/mine")
    one.config["linux"]["devices"] = [
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640}
    ]
    assert pyrun.output(one.write()) == "character special file 1:3 640\n"


def test_with_the_hosts_own_root(pyrun, plain, host):
    """The root may be the host's own: nothing is made in its /dev."""
    before, devices = mounts_of(host), sorted(os.listdir("/dev"))
    one = plain()
    one.config["root"]["path"] = "/"
    one.args("true")
    assert pyrun.output(one) == ""
    assert (mounts_of(host), sorted(os.listdir("/dev"))) == (before, devices)


WANTS = {
    "a mount": ("mounts[0]", lambda c: c["mounts"].append({"destination": "/m", "type": "tmpfs", "source": "t"})),
    "a bind mount": (
        "mounts[0]",
        lambda c: c["mounts"].append({"destination": "/m", "source": "/", "options": ["bind"]}),
    ),
    "a remount": ("mounts[0]", lambda c: c["mounts"].append({"destination": "/", "options": ["remount", "ro"]})),
    "propagation": ("mounts[0]", lambda c: c["mounts"].append({"destination": "/", "options": ["rprivate"]})),
    "a read-only root": ("root.readonly", lambda c: c["root"].update(readonly=True)),
    "propagation of the root": ("linux.rootfsPropagation", lambda c: c["linux"].update(rootfsPropagation="slave")),
    "masked paths": ("linux.maskedPaths", lambda c: c["linux"].update(maskedPaths=["/etc"])),
    "read-only paths": ("linux.readonlyPaths", lambda c: c["linux"].update(readonlyPaths=["/etc"])),
    "a terminal": ("process.terminal", lambda c: c["process"].update(terminal=True)),
}  # fmt: skip


@pytest.mark.parametrize("case", WANTS)
def test_what_would_change_the_hosts_mounts(pyrun, plain, host, case):
    """It is refused by its JSON path, by `validate` too, and nothing is done."""
    before = mounts_of(host)
    place, ask = WANTS[case]
    one = plain()
    ask(one.config)
    sentence = pyrun.refused(one.write())
    assert sentence == (
        f"{place}: the container has no mount namespace, and its mounts would be the host's"
        ' (add {"type": "mount"} to linux.namespaces, or take it out)'
    )
    checked = pyrun("validate", str(one.path))
    assert checked.code == 1
    assert place in checked.out + checked.err
    assert mounts_of(host) == before


def in_user_namespace(one):
    """Let the container have a user namespace."""
    needs.user_namespaces()
    one.config["process"]["rlimits"] = None
    return one.user_namespace()


def test_in_a_user_namespace(pyrun, plain, host):
    """Its root has no right over the host's mounts; devices are those of the root file system, or missing by name."""
    before = mounts_of(host)
    one = in_user_namespace(plain(sh="id -u; echo x > /dev/null; umount /proc 2>&1 || echo kept"))
    assert pyrun.refused(one) == (
        "making device /dev/null: in a user namespace it is a mount, and the container has no mount namespace"
        ' (add {"type": "mount"} to linux.namespaces, or have the device in the root file system)'
    )
    assert os.listdir(one.rootfs / "dev") == []
    for number, name in ((3, "null"), (5, "zero"), (7, "full"), (8, "random"), (9, "urandom")):
        os.mknod(one.rootfs / "dev" / name, 0o20666, os.makedev(1, number))
        os.chmod(one.rootfs / "dev" / name, 0o666)
    os.mknod(one.rootfs / "dev/tty", 0o20666, os.makedev(5, 0))
    assert pyrun.output(one).splitlines()[0] == "0"
    container = pyrun.start(one.args("sleep", "1000"))
    (one.rootfs / "marker").write_text("here\n")
    assert container.sh("cat /marker; id -u") == "here\n0\n"
    container.delete("--force")
    assert mounts_of(host) == before
    one.config["linux"]["devices"] = [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]
    assert pyrun.refused(one.write()).startswith("linux.devices: in a user namespace devices are mounts: ")


@pytest.mark.parametrize("what", ["file", "link", "folder"])
def test_an_image_with_something_at_dev_null(pyrun, plain, host, what):
    """What passes for a default device can't be covered, so it is an error; nothing outside is written to."""
    before = mounts_of(host)
    one = plain()
    victim = one.path / "victim"
    victim.write_text("")
    place = one.rootfs / "dev/null"
    {"file": place.touch, "link": lambda: place.symlink_to(victim), "folder": place.mkdir}[what]()
    sentence = pyrun.refused(one)
    assert sentence.startswith("making device /dev/null: the root file system has another file there")
    assert mounts_of(host) == before


def test_notify_socket(pyrun, plain):
    """sd_notify's socket comes by a mount, so it isn't passed on."""
    env = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": "/run/nothing"}
    assert pyrun.output(plain(sh="echo ${NOTIFY_SOCKET-none}"), env=env) == "none\n"
