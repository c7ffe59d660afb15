"""What a container sees of the cgroup hierarchies at a cgroup mount, with and without a cgroup namespace of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from cgroup_machine import ONLY_V2
from test_in_user_namespace import ONLY_V2 as USERNS_V2
from test_in_user_namespace import below

READ = (
    "while IFS=: read -r n c p; do [ $n = 0 ] && cat /sys/fs/cgroup$p/cgroup.procs; done < /proc/self/cgroup"
)


def with_cgroups(one, *options, own=True):
    """A cgroup mount at the usual place, with these options."""
    one.config["mounts"] = [m for m in one.config["mounts"] if m["destination"] != "/sys/fs/cgroup"]
    one.namespace("cgroup", "" if own else None)
    return one.mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", *options)


@pytest.mark.parametrize("own", [True, False], ids=["own namespace", "host's namespace"])
def test_its_own_path_is_found_on_v2(pyrun, bundle, own):
    """The path that /proc/self/cgroup names is there below /sys/fs/cgroup: agents and nested engines look there."""
    pyrun.wrapper = ["unshare", "-m", "sh", "-c", ONLY_V2, "sh"]
    one = with_cgroups(bundle(sh=f"{READ}; mkdir /sys/fs/cgroup/x 2>&1; true"), "ro", own=own)
    *processes, refusal = pyrun.output(one).splitlines()
    assert "1" in processes
    assert refusal.endswith("Read-only file system")


JOINT = """
mount --rbind /sys/fs/cgroup "$1"; umount -l /sys/fs/cgroup; mount -t tmpfs host /sys/fs/cgroup
for each in "$1"/*; do
    name=${each##*/}
    [ "$name" = cpu ] && name=cpu,other
    mkdir "/sys/fs/cgroup/$name"; mount --bind "$each" "/sys/fs/cgroup/$name"
done
umount -l "$1"; shift; exec "$@"
"""


def test_controllers_of_a_joint_folder_have_links(pyrun, bundle, tmp_path):
    """A v1 hierarchy whose folder has several names, as systemd mounts cpu,cpuacct, is found under its controllers'."""
    if not Path("/sys/fs/cgroup/cpu").is_mount():
        pytest.skip("needs cgroup v1's hierarchy cpu, mounted by itself on /sys/fs/cgroup/cpu")
    place = tmp_path / "hosts"
    place.mkdir()
    pyrun.wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", JOINT, "sh", str(place)]
    one = with_cgroups(
        bundle(sh="cd /sys/fs/cgroup; readlink cpu; ls cpu/cpu.shares 'cpu,other/cpu.shares'"), "ro"
    )
    assert pyrun.output(one).split() == ["cpu,other", "cpu,other/cpu.shares", "cpu/cpu.shares"]


@pytest.mark.parametrize("own", [True, False], ids=["own namespace", "host's namespace"])
@pytest.mark.parametrize("host", ["true", USERNS_V2], ids=["this host", "only cgroup v2"])
def test_below_a_user_namespace(pyrun, bundle, host, own):
    """Where cgroup2 may not be mounted, being root of somebody's user namespace, the host's is bound."""
    one = bundle(sh="ls /sys/fs/cgroup | wc -l; " + (READ if host != "true" else ""))
    for mount in one.config["mounts"]:
        mount["options"] = [option for option in mount.get("options", []) if option != "gid=5"]
    one.config["process"]["rlimits"] = None
    count, *_ = below(pyrun, host).output(with_cgroups(one, "ro", own=own)).split()
    assert int(count) > 0
