"""Namespaces: new, joined and inherited; user namespaces and their mappings; host names and sysctls."""

from __future__ import annotations

import os
from pathlib import Path

import needs
import pytest
from bundles import eventually, process_status, sleeping

# type in the configuration -> name in /proc/PID/ns, option of unshare(1)
TYPES = {
    "pid": ("pid", "--pid"),
    "network": ("net", "--net"),
    "mount": ("mnt", "--mount"),
    "ipc": ("ipc", "--ipc"),
    "uts": ("uts", "--uts"),
    "cgroup": ("cgroup", "--cgroup"),
    "time": ("time", "--time"),
}


def ns(pid, name):
    """Which namespace of a kind a process is in."""
    return os.readlink(f"/proc/{pid}/ns/{name}")


@pytest.fixture
def sleeper(bundle):
    """A bundle whose program sleeps."""
    return bundle().args("sleep", "1000")


LOOPBACK = (
    "cat /sys/class/net/lo/flags; grep -c 127.0.0.1 /proc/net/fib_trie; cut -d' ' -f1 /proc/net/if_inet6"
)
UP_AND_LOOPBACK = "0x9"  # IFF_UP | IFF_LOOPBACK


@pytest.mark.parametrize("user", [False, True], ids=["the host's users", "a user namespace"])
def test_loopback_is_up(pyrun, bundle, user):
    """A new network namespace has its loopback interface up, with its addresses, before the program runs."""
    one = bundle({"process": {"rlimits": None}}, sh=LOOPBACK)
    if user:
        needs.user_namespaces()
        one.user_namespace()
    flags, ipv4, *ipv6 = pyrun.output(one.write()).split()
    assert flags == UP_AND_LOOPBACK
    assert int(ipv4) > 0
    assert ipv6 == ["0" * 31 + "1"] * Path("/proc/net/if_inet6").exists()


def test_loopback_of_a_joined_namespace_is_left_alone(pyrun, bundle):
    """Whoever made a network namespace configures it: the container that joins it changes nothing."""
    needs.program("unshare")
    with sleeping("unshare", "--net") as pid:
        one = bundle(sh=LOOPBACK).namespace("network", f"/proc/{pid}/ns/net")
        assert pyrun.run(one).lines()[0] == "0x8"


def test_joined_containers(pyrun, sleeper, bundle):
    """A second container that joins all of the first one's namespaces but its mounts: what pods are."""
    first = pyrun.start(sleeper).pid
    second = bundle(sh="ls /proc | grep -c '^[0-9]'; hostname; exec sleep 1000")
    del second.config["hostname"]
    for kind in ("pid", "network", "ipc", "uts", "cgroup"):
        second.namespace(kind, f"/proc/{first}/ns/{TYPES[kind][0]}")
    container = pyrun.start(second)
    eventually(lambda: container.out().count("\n") == 2, "no output")
    count, hostname = container.out().split()
    assert int(count) >= 2  # it sees the first one's process
    assert hostname == "pyrun"
    for name in ("pid", "net", "ipc", "uts", "cgroup"):
        assert ns(container.pid, name) == ns(first, name)


def test_pid_of_joined_namespace_outlives(pyrun, sleeper, bundle):
    """Deleting a container that joined a pid namespace kills its own processes and no others."""
    first = pyrun.start(sleeper)
    second = bundle(sh="sleep 1000 & sleep 1000").namespace("pid", f"/proc/{first.pid}/ns/pid")
    container = pyrun.start(second)
    container.delete("--force")
    pyrun.assert_gone(container.id)
    assert first.status == "running"


@pytest.mark.parametrize("kind", TYPES)
def test_wrong_type(pyrun, sleeper, kind):
    """A path to another type of namespace is an error that names the entry."""
    other = "uts" if kind != "uts" else "ipc"
    if kind == "uts":
        del sleeper.config["hostname"]
    sentence = pyrun.refused(sleeper.namespace(kind, f"/proc/1/ns/{other}"))
    assert sentence.startswith("linux.namespaces")
    assert f"/proc/1/ns/{other}" in sentence


@pytest.mark.parametrize("path", ["/no/such/ns", "/etc/passwd", "/dev/null", "/", "relative"])
def test_bad_path(pyrun, sleeper, path):
    """A path that is no namespace is an error too."""
    assert pyrun.refused(sleeper.namespace("ipc", path)).startswith("linux.namespaces")


def test_own_mount_namespace_is_refused(pyrun, sleeper):
    """The runtime's own mount namespace can't be joined: the host's mounts would change."""
    assert "mount namespace" in pyrun.refused(sleeper.namespace("mount", "/proc/1/ns/mnt"))
    assert "mount namespace" in pyrun.refused(sleeper.namespace("mount", None))


def test_duplicate(pyrun, bundle):
    """A type that is listed twice is an error."""
    one = bundle()
    one.config["linux"]["namespaces"].append({"type": "pid"})
    assert pyrun.refused(one.write()).startswith("linux.namespaces[6].type: ")


# user namespaces


@pytest.fixture
def user(bundle):
    """A bundle with a user namespace, root being 100000."""
    needs.user_namespaces()
    return bundle({"process": {"rlimits": None}}).user_namespace()


def test_capabilities_hold_in_the_namespace_only(pyrun, user):
    """Root of a user namespace has its capabilities there, and none over the host."""
    caps = {key: ["CAP_SYS_ADMIN", "CAP_MKNOD"] for key in ("bounding", "permitted", "effective")}
    user.config["process"]["capabilities"] = caps
    text = pyrun.output(
        user.sh(
            "mkdir -p /dev/shm/x && mount -t tmpfs x /dev/shm/x && echo mounted; "
            "mknod /dev/shm/x/null c 1 3 2>/dev/null || echo no"
        )
    )
    assert text.split() == ["mounted", "no"]


def test_devices_are_bound(pyrun, user):
    """A user namespace can't make devices: the host's are bound in, and work."""
    user.config["linux"]["devices"] = [{"path": "/dev/mine", "type": "p"}]
    text = pyrun.output(
        user.sh(
            "echo x > /dev/null; head -c 3 /dev/zero | wc -c; "
            "stat -c '%F %t:%T' /dev/full /dev/tty /dev/mine; ls -l /dev/fd"
        )
    )
    assert text.splitlines()[:4] == [
        "3",
        "character special file 1:7",
        "character special file 5:0",
        "fifo 0:0",
    ]


def test_files_have_the_owners_of_the_namespace(pyrun, user):
    """Files of the host's root belong to nobody inside; what is made inside belongs to its root outside."""
    (user.path / "data").mkdir()
    (user.path / "data").chmod(0o777)
    user.mount("/data", "none", "data", "bind")
    assert pyrun.output(
        user.sh("stat -c %u /bin/busybox; touch /data/file; stat -c %u /data/file")
    ).split() == ["65534", "0"]
    assert (user.path / "data/file").stat().st_uid == 100000


def test_bind_mounts_in_user_namespace(pyrun, user):
    """A bind mount of a mount with nodev, nosuid and noexec can be made read-only inside."""
    needs.program("unshare")
    (user.path / "data").mkdir()
    (user.path / "data").chmod(0o755)
    pyrun.wrapper = [
        "unshare",
        "-m",
        "sh",
        "-c",
        'mount -t tmpfs -o nodev,nosuid,noexec x "$0" && exec "$@"',
        str(user.path / "data"),
    ]
    text = pyrun.output(user.mount("/data", "none", "data", "bind", "ro").sh("grep ' /data ' /proc/mounts"))
    assert {"ro", "nodev", "nosuid", "noexec"} <= set(text.split()[3].split(","))


def test_unreachable_source_in_user_namespace(pyrun, user):
    """Sources are opened by the host's root: a folder that the mapped root couldn't reach can be bound."""
    (user.path / "secret/data").mkdir(parents=True)
    (user.path / "secret/data/file").touch()
    (user.path / "secret").chmod(0o700)
    assert pyrun.output(user.mount("/data", "none", "secret/data", "bind").args("ls", "/data")) == "file\n"


def test_masks_in_user_namespace(pyrun, user):
    """Masked and read-only paths work there too."""
    text = pyrun.output(
        user.sh("wc -c < /proc/keys; (: >> /proc/sys/kernel/panic) 2>&1; ls /sys/firmware 2>/dev/null; true")
    )
    assert text.splitlines()[0] == "0"
    assert "Read-only file system" in text or "ermission denied" in text


def test_joined_user_namespace(pyrun, bundle):
    """A user namespace by path is joined, with the rights of its root; others of its owner can be joined too."""
    needs.user_namespaces()
    with sleeping("unshare", "--user", "--net") as pid:
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{name}").write_text("0 100000 65536\n")
        one = bundle({"process": {"rlimits": None}})
        for folder in (one.path, one.path.parent, one.rootfs):
            folder.chmod(0o755)
        one.namespace("user", f"/proc/{pid}/ns/user").namespace("network", f"/proc/{pid}/ns/net")
        container = pyrun.start(one.sh("id -u; exec sleep 1000"))
        eventually(container.out, "no output")
        assert container.out() == "0\n"
        assert ns(container.pid, "user") == ns(pid, "user")
        assert ns(container.pid, "net") == ns(pid, "net")
        assert process_status(container.pid)["Uid"].split()[0] == "100000"
        container.delete("--force")


def test_mappings_without_user_namespace(pyrun, bundle):
    """Mappings without a user namespace, and a new one without mappings, are refused."""
    mapping = [{"containerID": 0, "hostID": 100000, "size": 1}]
    assert pyrun.refused(bundle({"linux": {"uidMappings": mapping, "gidMappings": mapping}})).startswith(
        "linux.uidMappings"
    )
    assert pyrun.refused(bundle().namespace("user")).startswith("linux.uidMappings")


def test_unmapped_root(pyrun, user):
    """A namespace whose root isn't mapped is an error, or works; nothing is left in any case."""
    for key in ("uidMappings", "gidMappings"):
        user.config["linux"][key] = [{"containerID": 1000, "hostID": 101000, "size": 1}]
    assert "linux.uidMappings" in pyrun.refused(user.write())


def test_the_hosts_root_is_not_mapped_unasked(pyrun, user):
    """Nothing of the container is the host's root: neither its process, nor its keyring's owner."""
    container = pyrun.create(user.args("sleep", "1000"))
    assert process_status(container.pid)["Uid"].split() == ["100000"] * 4
    assert process_status(container.pid)["Gid"].split() == ["100000"] * 4


# names and sysctls


def test_no_hostname(pyrun, bundle):
    """Without a hostname, the new namespace starts with the host's."""
    assert pyrun.output(bundle({"hostname": None}).args("hostname")).strip() == os.uname().nodename


def test_hostname_needs_a_namespace(pyrun, bundle):
    """A hostname without an own UTS namespace is refused: it would be the host's."""
    assert pyrun.refused(bundle().namespace("uts", None)).startswith("hostname: ")


def test_sysctl(pyrun, bundle):
    """sysctls are set in the container's namespaces, written with dots or slashes, and only there."""
    before = Path("/proc/sys/kernel/shmmni").read_text(), Path("/proc/sys/net/ipv4/ip_forward").read_text()
    sysctl = {
        "kernel.shmmni": "1234",
        "net.ipv4.ip_forward": "1",
        "net/ipv4/conf/lo/forwarding": "1",
        "fs.mqueue.msg_max": "20",
    }
    text = pyrun.output(
        bundle({"linux": {"sysctl": sysctl}}).sh(
            "cd /proc/sys; cat kernel/shmmni net/ipv4/ip_forward net/ipv4/conf/lo/forwarding fs/mqueue/msg_max"
        )
    )
    assert text.split() == ["1234", "1", "1", "20"]
    assert (
        Path("/proc/sys/kernel/shmmni").read_text(),
        Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    ) == before


@pytest.mark.parametrize(
    "key", ["kernel.panic", "vm.swappiness", "kernel.hostname.x", "fs.file-max", "", "net", "a..b", "../x.y"]
)
def test_bad_sysctl(pyrun, bundle, key):
    """A sysctl of the host, or none at all, is refused by name."""
    # to what it is already: if it isn't refused, nothing changes on the host
    file = Path("/proc/sys", key.replace(".", "/"))
    value = file.read_text().strip() if ".." not in key and file.is_file() else "1"
    assert pyrun.refused(bundle({"linux": {"sysctl": {key: value}}})).startswith("linux.sysctl")


def test_unknown_sysctl(pyrun, bundle):
    """A sysctl that the kernel lacks, and a value that it refuses, are errors that name it."""
    assert "net.made.up" in pyrun.refused(bundle({"linux": {"sysctl": {"net.made.up": "1"}}}))
    assert "ip_forward" in pyrun.refused(bundle({"linux": {"sysctl": {"net.ipv4.ip_forward": "many"}}}))


def test_sysctl_without_namespace(pyrun, bundle):
    """A sysctl of a namespace that the container shares with the host is refused."""
    one = bundle({"linux": {"sysctl": {"kernel.shmmni": "1234"}}}).namespace("ipc", None)
    assert pyrun.refused(one).startswith("linux.sysctl")


@pytest.mark.parametrize("planted", ["link", "tmpfs"])
def test_sysctl_is_not_redirected(pyrun, bundle, planted):
    """sysctls don't go through the container's /proc: what is mounted or linked there gets nothing written."""
    one = bundle({"linux": {"sysctl": {"net.ipv4.ip_forward": "1"}}})
    trap = one.path / "trap"
    (trap / "sys/net/ipv4").mkdir(parents=True)
    (trap / "sys/net/ipv4/ip_forward").write_text("untouched")
    one.config["mounts"] = [mount for mount in one.config["mounts"] if mount["destination"] != "/proc"]
    if planted == "link":
        (one.rootfs / "proc").rmdir()
        (one.rootfs / "proc").symlink_to("trap")
        trap.rename(one.rootfs / "trap")
        trap = one.rootfs / "trap"
    else:
        one.mount("/proc", "none", "trap", "bind")
    pyrun.output(one.write())
    assert (trap / "sys/net/ipv4/ip_forward").read_text() == "untouched"


@pytest.mark.parametrize("key", ["uid", "gid"])
def test_unmapped_user(pyrun, user, key):
    """A user or group that isn't mapped is an error that names the property."""
    user.config["process"]["user"][key] = 70000
    assert pyrun.refused(user.write()).startswith(f"process.user.{key}: ")


def test_unmapped_owner_of_a_device(pyrun, user):
    """A mount's owner that isn't mapped is an error with the kernel's words, not a container with another owner."""
    user.mount("/m", "tmpfs", "tmpfs", "uid=70000")
    assert "uid" in pyrun.refused(user)


def test_rlimits_in_user_namespace(pyrun, user):
    """Limits are set there too, also for a user who isn't root."""
    user.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}]
    user.config["process"]["user"] = {"uid": 5, "gid": 5}
    assert pyrun.output(user.sh("ulimit -n; ulimit -Hn")).split() == ["77", "88"]
