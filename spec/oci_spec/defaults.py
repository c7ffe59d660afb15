"""The configuration that `pyrun spec` writes, and its variant for a user without privileges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oci_spec import names

if TYPE_CHECKING:
    from oci_spec.types import Config, Mount

CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)

READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def document(rootless: tuple[int, int] | None = None) -> Config:
    """The default config.json: a shell on a terminal, little privilege, everything in namespaces of its own.

    `rootless` is the uid and gid of a user without privileges: then these alone are mapped (to 0), the host's
    network is kept with its view of /sys (a new sysfs needs a network namespace one owns), and no limits are
    set.
    """
    config: Config = {
        "ociVersion": names.VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": list(CAPABILITIES),
                "effective": list(CAPABILITIES),
                "permitted": list(CAPABILITIES),
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyrun",
        "mounts": mounts(rootless is not None),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"},
                {"type": "network"},
                {"type": "ipc"},
                {"type": "uts"},
                {"type": "mount"},
                {"type": "cgroup"},
            ],
            "maskedPaths": list(MASKED_PATHS),
            "readonlyPaths": list(READONLY_PATHS),
        },
    }
    if rootless is not None:
        linux = config["linux"]
        del linux["resources"]
        linux["namespaces"][1] = {"type": "user"}
        linux["uidMappings"] = [{"containerID": 0, "hostID": rootless[0], "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": rootless[1], "size": 1}]
    return config


def mounts(rootless: bool) -> list[Mount]:
    """The default file systems (config-linux.md#default-filesystems) and the usual ones beside them."""
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    entries = [
        mount("/proc", "proc", "proc", []),
        mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        # Group 5 (tty) isn't mapped in a user namespace with a single group.
        mount("/dev/pts", "devpts", "devpts", pts if rootless else [*pts, "gid=5"]),
        mount("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    ]
    if rootless:
        return [*entries, mount("/sys", "none", "/sys", ["rbind", "nosuid", "noexec", "nodev", "ro"])]
    return [
        *entries,
        mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ]


def mount(destination: str, kind: str, source: str, options: list[str]) -> Mount:
    """One entry of `mounts`."""
    entry: Mount = {"destination": destination, "type": kind, "source": source}
    if options:
        entry["options"] = options
    return entry
