"""What this host has. A test names its needs; `Host.lacks` says in words which of them isn't met.

Needs: root, userns, timens, netns, idmap, cgroup:NAME (by any version), cgroup-v1:NAME, cgroup-v2[:NAME], cap:NAME,
kernel:MAJOR.MINOR, apparmor, selinux, resctrl, swap, hugetlb, rdma, numa:N, cpus:N, systemd, program:NAME,
filesystem:NAME, arch:NAME.
"""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from oci_conformance.core import cgroup, kernel
from oci_conformance.core.records import HostRecord

# linux/capability.h, as far as hosts differ in them
CAPABILITIES = {
    "SYS_ADMIN": 21, "SYS_NICE": 23, "SYS_RESOURCE": 24, "SYS_TIME": 25, "MKNOD": 27, "NET_ADMIN": 12, "SYS_PTRACE": 19,
    "MAC_ADMIN": 33, "SYS_CHROOT": 18,
}  # fmt: skip
# need -> name in /proc/PID/ns, flag of unshare(2) (linux/sched.h)
NAMESPACES = {
    "userns": ("user", 0x10000000),
    "timens": ("time", 0x00000080),
    "netns": ("net", 0x40000000),
    "cgroupns": ("cgroup", 0x02000000),
}


@dataclass(frozen=True)
class Host:
    """Facts about the host that decide what can be tested."""

    uid: int
    gid: int
    kernel: tuple[int, int]
    release: str
    machine: str
    distribution: str
    cgroups: str  # v1, hybrid, v2, none
    controllers: dict[str, bool]  # name -> by cgroup2
    lsms: tuple[str, ...]
    capabilities: int  # effective, as a bit set
    systemd: bool
    systemd_cgroup: bool = False  # the runtime is told to have systemd make its cgroups
    absent: frozenset[str] = field(default_factory=frozenset)  # needs that are to be taken as not met

    def record(self) -> HostRecord:
        """The host as it stands in the stream's header."""
        return {
            "kernel": self.release,
            "machine": self.machine,
            "distribution": self.distribution,
            "cgroups": self.cgroups,
            "controllers": sorted(self.controllers),
            "lsms": list(self.lsms),
            "uid": self.uid,
            "systemd": self.systemd,
        }

    def lacks(self, need: str) -> str:
        """What is missing for a need, in words; nothing if it is met."""
        kind, _, name = need.partition(":")
        if need in self.absent:
            return f"{need}, which was switched off"
        return _CHECKS[kind](self, name)


def look(*, systemd_cgroup: bool = False) -> Host:
    """Look at this host."""
    major, minor = platform.release().split(".")[:2]
    return Host(
        os.geteuid(),
        os.getegid(),
        (int(major), int("".join(filter(str.isdigit, minor)) or 0)),
        platform.release(),
        platform.machine(),
        _distribution(),
        cgroup.mode(),
        cgroup.controllers(),
        tuple(filter(None, _read("/sys/kernel/security/lsm").strip().split(","))),
        int(_field("/proc/self/status", "CapEff") or "0", 16),
        Path("/run/systemd/system").is_dir(),
        systemd_cgroup,
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _field(path: str, key: str) -> str:
    for line in _read(path).splitlines():
        if line.startswith(f"{key}:"):
            return line.split(":", 1)[1].strip()
    return ""


def _distribution() -> str:
    for line in _read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def _root(host: Host, _: str) -> str:
    return "" if host.uid == 0 else "root (the suite runs as an ordinary user)"


def _namespace(host: Host, kind: str) -> str:
    """What is missing for a kind of namespace. An ordinary user makes the others inside of a user namespace."""
    name, flag = NAMESPACES[kind]
    if not Path(f"/proc/self/ns/{name}").exists():
        return f"{name} namespaces in this kernel"
    if not kernel.can_unshare(flag if host.uid == 0 else flag | NAMESPACES["userns"][1]):
        return f"{name} namespaces, which this host forbids"
    return ""


def _cgroup(host: Host, name: str) -> str:
    return "" if name in host.controllers else f"the {name} cgroup controller"


def _cgroup_v1(host: Host, name: str) -> str:
    if name in host.controllers and not host.controllers[name]:
        return ""
    return f"the {name} controller of cgroup v1"


def _cgroup_v2(host: Host, name: str) -> str:
    if host.cgroups != "v2":
        return "a cgroup v2 host"
    return "" if not name or host.controllers.get(name) else f"the {name} controller of cgroup v2"


def _capability(host: Host, name: str) -> str:
    return "" if host.capabilities >> CAPABILITIES[name] & 1 else f"CAP_{name}"


def _kernel(host: Host, name: str) -> str:
    wanted = tuple(int(part) for part in name.split("."))
    return "" if host.kernel >= wanted else f"Linux {name} (this is {host.release})"


def _apparmor(host: Host, _: str) -> str:
    return "" if _read("/sys/module/apparmor/parameters/enabled").strip() == "Y" else "AppArmor"


def _selinux(host: Host, _: str) -> str:
    loaded = Path("/sys/fs/selinux/policyvers").exists() and _read("/proc/self/attr/current").strip(
        "\0\n"
    ) not in (
        "",
        "kernel",
    )
    return "" if loaded else "SELinux with a policy"


def _resctrl(host: Host, _: str) -> str:
    return "" if Path("/sys/fs/resctrl/schemata").exists() else "resctrl (Intel RDT or AMD QoS)"


def _swap(host: Host, _: str) -> str:
    return "" if len(_read("/proc/swaps").splitlines()) > 1 else "swap space"


def _hugetlb(host: Host, _: str) -> str:
    return "" if any(Path("/sys/kernel/mm/hugepages").glob("hugepages-*")) else "huge pages"


def _rdma(host: Host, _: str) -> str:
    return "" if any(Path("/sys/class/infiniband").glob("*")) else "an RDMA device"


def _numa(host: Host, count: str) -> str:
    nodes = len(list(Path("/sys/devices/system/node").glob("node[0-9]*")))
    return "" if nodes >= int(count) else f"{count} memory nodes (there are {nodes})"


def _cpus(host: Host, count: str) -> str:
    usable = len(os.sched_getaffinity(0))
    return "" if usable >= int(count) else f"{count} CPUs (there are {usable})"


def _systemd(host: Host, _: str) -> str:
    return "" if host.systemd else "systemd"


def _program(host: Host, name: str) -> str:
    return "" if shutil.which(name) else f"the program {name}"


def _filesystem(host: Host, name: str) -> str:
    known = {line.split()[-1] for line in _read("/proc/filesystems").splitlines()}
    return "" if name in known else f"the file system {name}"


def _arch(host: Host, name: str) -> str:
    return "" if host.machine == name else f"a machine of the kind {name} (this is {host.machine})"


_CHECKS = {
    "root": _root,
    "userns": lambda host, _: _namespace(host, "userns"),
    "timens": lambda host, _: _namespace(host, "timens"),
    "netns": lambda host, _: _namespace(host, "netns"),
    "cgroupns": lambda host, _: _namespace(host, "cgroupns"),
    "idmap": lambda host, _: _kernel(host, "5.12"),
    "cgroup": _cgroup,
    "cgroup-v1": _cgroup_v1,
    "cgroup-v2": _cgroup_v2,
    "cap": _capability,
    "kernel": _kernel,
    "apparmor": _apparmor,
    "selinux": _selinux,
    "resctrl": _resctrl,
    "swap": _swap,
    "hugetlb": _hugetlb,
    "rdma": _rdma,
    "numa": _numa,
    "cpus": _cpus,
    "systemd": _systemd,
    "program": _program,
    "filesystem": _filesystem,
    "arch": _arch,
}
