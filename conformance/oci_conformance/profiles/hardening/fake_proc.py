"""/proc and /sys of the root file system aren't what they seem: links, files, or volumes that lie over them.

CVE-2019-19921, CVE-2023-27561, CVE-2023-28642 (a link in their place, by which masks miss), CVE-2019-16884 and
CVE-2025-52881 (what the runtime writes to procfs lands in a file of the attacker's choice).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oci_conformance.profiles.hardening.attack import (
    Canary,
    attack,
    clear,
    control,
    link,
    links,
    marked,
    nothing,
    ways,
)
from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import Entry, bind
from oci_conformance.profiles.support.namespaces import apart
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

SYSCTL = {"net.ipv4.ip_forward": "1", "net.ipv4.ping_group_range": "0 7"}
FAKES = tuple(f"sys/{name.replace('.', '/')}" for name in SYSCTL)
# What runtimes write about a process: scores, maps of users, labels.
WRITTEN = tuple(
    f"{process}/{name}"
    for process in ("self", "thread-self", "1", "self/task/1")
    for name in (
        "oom_score_adj", "uid_map", "gid_map", "setgroups", "attr/exec", "attr/current", "attr/keycreate",
        "attr/apparmor/exec", "loginuid", "timens_offsets",
    )
)  # fmt: skip
SYSFS: Entry = {
    "destination": "/sys",
    "type": "sysfs",
    "source": "sysfs",
    "options": ["ro", "nosuid", "nodev", "noexec"],
}
REAL: Entry = {"destination": "/real", "type": "proc", "source": "proc"}
NETWORK = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")]


@test("hardening.proc-link", "hardening.sys-link", needs=("root", "netns"))
def link_in_its_place(t: Case) -> None:
    """A link or file in the place of /proc or /sys: nothing is mounted on the host, and no mask is missed."""
    masked = {"proc": "version", "sys": "kernel/vmcoreinfo"}
    changes = {
        **mounting.add(t, SYSFS),
        "linux.maskedPaths": [f"/{name}/{path}" for name, path in masked.items()],
        "linux.namespaces": NETWORK,
    }
    ids = ("hardening.proc-link", "hardening.sys-link")
    if control(t, ids, changes, "mounts") is None:
        return
    for id, (name, secret) in zip(ids, masked.items(), strict=True):
        attacks = attack(t, id)
        targets = {
            **ways(attacks.canary.path / name),
            "to a folder inside": "elsewhere",
            "dangling": str(attacks.canary.path / "missing"),
            "a file": "",
        }
        for form, target in targets.items():

            def plant(rootfs: Path, name: str = name, target: str = target) -> None:
                (rootfs / "elsewhere").mkdir()
                if target:
                    link(rootfs / name, target)
                else:
                    clear(rootfs / name)
                    (rootfs / name).write_text("")

            reads = [f"read /{place}/{secret}" for place in (name, "elsewhere")]
            seen = attacks.run(f"/{name}: {form}", changes, plant, *reads)
            readable = [each for each in reads if seen and seen.error(each) is None and seen[each]]
            t.check(id, not readable, f"/{name}: {form}: what is masked can't be read", readable)


@test("hardening.proc-sysctl", needs=("root", "netns"))
def sysctl(t: Case) -> None:
    """A volume over /proc, or over a folder in it: parameters aren't written into its files, or through its links."""
    id = "hardening.proc-sysctl"
    changes: dict[Any, Any] = {"linux.namespaces": NETWORK, "linux.sysctl": SYSCTL}
    other = Canary(t.folder / "other")
    volume = Canary(t.folder / "volume", ("self",), FAKES)
    leading = Canary(t.folder / "leading", ("sys/net/ipv4", "self"), ())
    for name in FAKES:
        (leading.path / name).symlink_to(other.path / "file")
    leading.accept()
    base = t.base("x")["mounts"]
    with apart("network"):  # should the runtime write to its own namespace, that is the test's
        if control(t, (id,), {**changes, "mounts": [*base, REAL, bind(volume.path, "/mnt")]}) is None:
            return
        attacks = attack(t, id)
        for what, mounts in {
            "a volume at /proc": [bind(volume.path, "/proc"), *base[1:]],
            "a volume over the procfs": [*base, bind(volume.path, "/proc")],
            "a volume with links over the procfs": [*base, bind(leading.path, "/proc")],
            "a volume over /proc/sys": [*base, bind(volume.path / "sys", "/proc/sys")],
            "a volume over /proc/sys/net": [*base, bind(volume.path / "sys/net", "/proc/sys/net")],
            "a file over a parameter": [*base, bind(volume.path / FAKES[0], f"/proc/{FAKES[0]}")],
        }.items():
            attacks.run(what, {**changes, "mounts": mounts}, nothing)
            wrong = [each for canary in (volume, leading, other) for each in canary.changes()]
            t.check(id, not wrong, f"{what}: its files as they were", "; ".join(wrong[:5]))


@test("hardening.proc-writes", needs=("root",))
def writes(t: Case) -> None:
    """A volume over /proc: neither a score, nor a label, nor anything else of a process is written into its files."""
    id = "hardening.proc-writes"
    volume = Canary(t.folder / "volume", (), WRITTEN)
    changes: dict[Any, Any] = {"process.oomScoreAdj": 500}
    base = t.base("x")["mounts"]
    if control(t, (id,), {**changes, "mounts": [*base, bind(volume.path, "/mnt")]}) is None:
        return
    attacks = attack(t, id)
    for what, mounts in {
        "a volume at /proc": [bind(volume.path, "/proc"), *base[1:]],
        "a volume over the procfs": [*base, bind(volume.path, "/proc")],
        "a folder over /proc/self": [*base, bind(volume.path / "self", "/proc/self")],
    }.items():
        attacks.run(what, {**changes, "mounts": mounts}, nothing)
        wrong = volume.changes()
        t.check(id, not wrong, f"{what}: its files as they were", "; ".join(wrong[:5]))


@test("hardening.proc-label", needs=("root", "apparmor"))
def label(t: Case) -> None:
    """A volume over /proc doesn't swallow the process's AppArmor profile: the program doesn't run without it."""
    id = "hardening.proc-label"
    volume = Canary(t.folder / "volume", (), WRITTEN)
    changes: dict[Any, Any] = {"process.apparmorProfile": "unconfined"}
    base = t.base("x")["mounts"]
    if control(t, (id,), {**changes, "mounts": [*base, bind(volume.path, "/mnt")]}) is None:
        return
    mounts = [*base, bind(volume.path, "/proc")]
    attack(t, id).run("a volume over the procfs", {**changes, "mounts": mounts}, nothing)
    wrong = volume.changes()
    t.check(id, not wrong, "the volume's files as they were", "; ".join(wrong[:5]))


@test("hardening.proc-masks", needs=("root",))
def masks_follow(t: Case) -> None:
    """Wherever links on the way of a procfs's mount point lead, it lies below the root, with its masks."""
    id = "hardening.proc-masks"
    changes = {
        **mounting.add(t, {**REAL, "destination": "/way/folder/proc"}),
        "linux.maskedPaths": ["/way/folder/proc/version"],
    }
    if control(t, (id,), changes, "mounts") is None:
        return
    attacks = attack(t, id)
    for form, target in ways(attacks.canary.path / "folder").items():
        reads = "read /way/folder/proc/version", f"read {attacks.canary.path}/folder/folder/proc/version"
        seen = attacks.run(form, changes, links({"way": target}), "mounts", *reads)
        if seen is not None:
            t.check(
                id, len(marked(seen, "proc")) >= 2, f"{form}: both are mounted inside", marked(seen, "proc")
            )
            readable = [each for each in reads if seen.error(each) is None and seen[each]]
            t.check(id, not readable, f"{form}: what is masked can't be read", readable)
