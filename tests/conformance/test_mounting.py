"""How the suite reads the kernel's list of mounts."""

from __future__ import annotations

from oci_conformance.profiles.support import mounting

LINES = [
    "22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro",
    "30 22 0:31 /sub /mnt/a\\040b\\134c ro,nosuid master:7 propagate_from:3 - tmpfs tmpfs rw,size=64k,sync",
    "31 30 0:32 / /mnt/a\\040b\\134c rw unbindable - tmpfs none rw",
    "32 22 0:33 / /mnt/plain rw - proc proc rw",
]


def test_a_line() -> None:
    """Fields before and after the dash, however many optional ones there are, and octal escapes."""
    mount = mounting.parse(LINES)[1]
    assert (mount.id, mount.parent, mount.root, mount.point) == (30, 22, "/sub", "/mnt/a b\\c")
    assert mount.own == {"ro", "nosuid"}
    assert {"ro", "nosuid", "sync", "size=64k"} <= mount.flags
    assert (mount.kind, mount.source, mount.data) == ("tmpfs", "tmpfs", ("rw", "size=64k", "sync"))
    assert mount.propagation == {"master:7", "propagate_from:3"}
    assert mount.group("master") == "7"
    assert mount.group("shared") is None


def test_the_topmost() -> None:
    """Of several mounts at one place the last is seen; a private one has no optional fields."""
    mounts = mounting.parse(LINES)
    seen = mounting.top(mounts, "/mnt/a b\\c")
    assert seen is not None
    assert seen.id == 31
    assert mounting.top(mounts, "/nowhere") is None
    assert mounts[3].propagation == frozenset()


def test_here() -> None:
    """The list of this very process can be read, and has procfs, from which it is read."""
    proc = mounting.top(mounting.here(), "/proc")
    assert proc is not None and proc.kind == "proc"
