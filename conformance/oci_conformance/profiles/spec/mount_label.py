"""linux.mountLabel (config-linux.md#mount-label)."""

from __future__ import annotations

import os

from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import tmpfs
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test


@test("mountlabel", needs=("root", "selinux"))
def label(t: Case) -> None:
    """The file systems that are mounted for the container have the SELinux context of mountLabel."""
    context = (
        os.getxattr("/etc/passwd", "security.selinux").rstrip(b"\0").decode()
    )  # one that the policy knows
    entry = tmpfs("/mnt/place")
    seen = t.run(
        {**mounting.add(t, entry), "linux.mountLabel": context}, "mounts", files=mounting.points(entry)
    )
    mounts = mounting.of(seen)
    for point in ("/mnt/place", "/dev"):
        mount = mounting.top(mounts, point)
        data = ",".join(mount.data) if mount else "no mount there"
        t.check("mountlabel", context in data, f"{point} with the context {context}", data)
