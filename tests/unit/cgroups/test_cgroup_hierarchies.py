"""Which hierarchies are found in which mountinfo."""

from __future__ import annotations

import pytest

from pyrun.base.errors import PyrunError
from pyrun.cgroups import hierarchies

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
34 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
35 31 0:39 / /mnt/a\\040b rw,relatime - ext4 /dev/vda rw
"""


def names(text: str) -> list[tuple[str, str, list[str]]]:
    found = hierarchies.from_mountinfo(text)["hierarchies"]
    return [(entry["name"], entry["mount"], entry["controllers"]) for entry in found]


def test_hybrid() -> None:
    assert hierarchies.from_mountinfo(HYBRID)["mode"] == "hybrid"
    assert names(HYBRID) == [
        ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", ["cpu", "cpuacct"]),
        ("name=systemd", "/sys/fs/cgroup/systemd", []),
        ("unified", "/sys/fs/cgroup/unified", []),
    ]


def test_v1_and_v2() -> None:
    v1 = "".join(line + "\n" for line in HYBRID.splitlines() if "cgroup2" not in line)
    assert hierarchies.from_mountinfo(v1)["mode"] == "v1"
    v2 = "20 1 0:20 / /cg\\040two rw - cgroup2 none rw\n"
    assert hierarchies.from_mountinfo(v2)["mode"] == "v2"
    assert names(v2) == [("unified", "/cg two", [])]


def test_a_containers_own_mount_of_a_hierarchy_is_not_taken() -> None:
    elsewhere = "90 80 0:29 /docker/x /var/lib/c/rootfs/sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n"
    for text in (elsewhere + HYBRID, HYBRID + elsewhere):
        assert next(mount for _, mount, _ in names(text)) == "/sys/fs/cgroup/cpu,cpuacct"


def test_inside_a_container_the_mount_point_counts() -> None:
    inside = "90 80 0:29 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    assert names(inside) == [("memory", "/sys/fs/cgroup/memory", ["memory"])]


def test_no_cgroups_is_an_error() -> None:
    with pytest.raises(PyrunError, match="no cgroup file system"):
        hierarchies.from_mountinfo("31 23 0:28 / / rw - ext4 /dev/vda rw\n")
