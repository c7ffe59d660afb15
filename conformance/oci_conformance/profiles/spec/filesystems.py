"""The file systems that programs for Linux expect (config-linux.md#default-filesystems).

The text doesn't say who makes them available. No runtime mounts what `mounts` doesn't list, and a bundle may mean to
leave one out; so the configuration lists them, as one for a program for Linux does.
"""

from __future__ import annotations

from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import Entry
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

# linux/magic.h, as statfs(2) tells; and something that is there in each
KINDS = {
    "fs.proc": ("/proc", "0x9fa0", "read /proc/self/comm"),
    "fs.sys": ("/sys", "0x62656572", "list /sys/class"),
    "fs.devpts": ("/dev/pts", "0x1cd1", "stat /dev/pts/ptmx"),
    "fs.devshm": ("/dev/shm", "0x1021994", "write /dev/shm/file x"),
}


@test(*KINDS, needs=("netns",))
def available(t: Case) -> None:
    """proc, sysfs, devpts and a tmpfs for shared memory are where programs look for them, and work."""
    shm = mounting.tmpfs("/dev/shm", "nosuid", "noexec", "nodev", "mode=1777", "size=1m")
    sys: Entry = {
        "destination": "/sys",
        "type": "sysfs",
        "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", "ro"],
    }
    commands = [command for path, _, use in KINDS.values() for command in (f"statfs {path}", use)]
    # sysfs shows the network namespace, so its owner alone may mount it
    seen = t.run({**mounting.add(t, shm, sys), "linux.namespaces[+]": {"type": "network"}}, *commands)
    for id, (path, kind, use) in KINDS.items():
        found = (seen.answer(f"statfs {path}").get("result") or {}).get("type")
        t.equal(id, found, kind)
        t.check(id, seen.error(use) is None, f"{use} works", seen.error(use))
