"""Bundles for the bench: a busybox root file system and the configurations that are measured."""

from __future__ import annotations

import copy
import json
import platform
import shutil
from pathlib import Path
from typing import Any

Config = dict[str, Any]

APPLETS = ("true", "sleep")
CAPABILITY_SETS = ("bounding", "effective", "permitted")
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
ENGINE_CAPABILITIES = [
    f"CAP_{name}"
    for name in (
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    )
]
ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}
DEFAULT_MOUNTS: list[Config] = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {
        "destination": "/dev",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
        "destination": "/dev/shm",
        "type": "tmpfs",
        "source": "shm",
        "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    },
    {
        "destination": "/dev/mqueue",
        "type": "mqueue",
        "source": "mqueue",
        "options": ["nosuid", "noexec", "nodev"],
    },
    {
        "destination": "/sys",
        "type": "sysfs",
        "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", "ro"],
    },
    {
        "destination": "/sys/fs/cgroup",
        "type": "cgroup",
        "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
    },
]


def default_config(v2: bool) -> Config:
    """What ``pyrun spec`` and ``runc spec`` print, but without a terminal and with /bin/true as program."""
    namespaces = ["pid", "network", "ipc", "uts", "mount"] + (["cgroup"] if v2 else [])
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": dict.fromkeys(CAPABILITY_SETS, CAPABILITIES),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "bench",
        "mounts": copy.deepcopy(DEFAULT_MOUNTS),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in namespaces],
            "maskedPaths": [
                "/proc/acpi",
                "/proc/asound",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def engine_config(v2: bool, folder: Path, cgroups_path: str) -> Config:
    """The size of what an engine sends: 350 system-call names, 64 mounts, limits, device rules."""
    config = default_config(v2)
    add_mounts(config, folder, 64 - len(DEFAULT_MOUNTS))
    for number, mount in enumerate(config["mounts"][len(DEFAULT_MOUNTS) :]):
        if number % 2:
            mount["options"].append("ro")
    config["process"]["capabilities"] = dict.fromkeys(CAPABILITY_SETS, ENGINE_CAPABILITIES)
    config["process"]["env"] += [f"VARIABLE_{number}=value {number}" for number in range(20)]
    config["annotations"] = {f"org.example.annotation{number}": "value" for number in range(10)}
    linux = config["linux"]
    linux["cgroupsPath"] = cgroups_path
    linux["seccomp"] = seccomp_profile()
    linux["resources"]["devices"] += [
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))
    ]
    if not v2:  # the private v2 hierarchy of a hybrid host has neither controller
        linux["resources"]["memory"] = {"limit": 1 << 30}
        linux["resources"]["pids"] = {"limit": 1000}
    return config


def seccomp_profile() -> Config:
    """An allow-list of 350 names and some rules with arguments, as large as the engines' default profiles."""
    names = Path(__file__).with_name("allowed_syscalls.txt").read_text().split()
    personalities = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ARCHITECTURES.get(platform.machine(), []),
        "syscalls": [
            {"names": names, "action": "SCMP_ACT_ALLOW"},
            {
                "names": ["socket"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}],
            },
            *(
                {
                    "names": ["personality"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}],
                }
                for value in personalities
            ),
            {
                "names": ["clone"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
            },
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        ],
    }


def add_mounts(config: Config, folder: Path, count: int) -> None:
    """Append `count` bind mounts of an empty directory, each with a mount point of its own under /mnt."""
    source = folder / "volume"
    source.mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"rootfs/mnt/{number}").mkdir(parents=True, exist_ok=True)
        config["mounts"].append(
            {
                "destination": f"/mnt/{number}",
                "type": "bind",
                "source": str(source),
                "options": ["rbind", "rprivate"],
            }
        )


def make_rootfs(folder: Path) -> None:
    """A root file system with the few programs of the bench in `folder`/rootfs."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise SystemExit("bench: needs a static busybox (Debian: busybox-static)")
    for name in ("bin", "dev", "etc", "mnt", "proc", "sys", "tmp"):
        (folder / "rootfs" / name).mkdir(parents=True)
    shutil.copy(busybox, folder / "rootfs/bin/busybox")
    for applet in APPLETS:
        (folder / "rootfs/bin" / applet).symlink_to("busybox")


def write_bundle(folder: Path, name: str, config: Config, *args: str) -> Path:
    """A bundle `folder`/`name` that shares `folder`/rootfs; `args`: the program instead of /bin/true."""
    config = copy.deepcopy(config)
    config["root"]["path"] = str(folder / "rootfs")
    if args:
        config["process"]["args"] = list(args)
    bundle = folder / name
    bundle.mkdir()
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle
