"""pyrun features: the features document (features.md, features-linux.md). Cold module.

What is refused comes from the lists by which create refuses, so that the two can't disagree. null would mean
"unknown", and an absent property too; an empty list means "none".
"""

from __future__ import annotations

import ctypes
import errno
import json
from typing import TYPE_CHECKING, Any

from oci_spec import mount_options, names, version
from pyrun.base import built
from pyrun.base.errors import PyrunError
from pyrun.base.output import put
from pyrun.cgroups.controllers import table
from pyrun.features import crun_annotations
from pyrun.features.namespaces import NAMESPACES
from pyrun.kernel import process
from pyrun.story.create import NOT_YET

if TYPE_CHECKING:
    from pyrun.commandline.parse import Values


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Print the document."""
    put(json.dumps(document(), indent=2) + "\n")
    return 0


def document() -> dict[str, Any]:
    """Return what this build supports, whatever the host has."""
    annotations = {"io.github.pyrun.version": built.VERSION, "io.github.pyrun.commit": built.COMMIT}
    annotations["io.github.seccomp.libseccomp.version"] = libseccomp_version()
    return {
        "ociVersionMin": version.OLDEST,
        "ociVersionMax": version.NEWEST,
        "hooks": list(names.HOOKS),
        "mountOptions": mount_options.known(),
        "linux": _linux(),
        "annotations": {key: value for key, value in annotations.items() if value},
        "potentiallyUnsafeConfigAnnotations": sorted(crun_annotations.CARRIED_OUT),
    }


def _linux() -> dict[str, Any]:
    rdt = "linux.intelRdt" not in NOT_YET
    policy = "linux.memoryPolicy" not in NOT_YET
    return {
        "namespaces": sorted(NAMESPACES),
        "capabilities": list(names.CAPABILITIES),
        "cgroup": {
            "v1": True,
            "v2": True,
            "systemd": True,
            "systemdUser": True,
            "rdma": "rdma" not in table.NOT_YET,
        },
        "seccomp": _seccomp(),
        "apparmor": {"enabled": True},
        "selinux": {"enabled": True},
        "intelRdt": {"enabled": rdt, "schemata": rdt, "monitoring": rdt},
        "memoryPolicy": {
            "modes": list(names.MEMORY_POLICY_MODES) if policy else [],
            "flags": list(names.MEMORY_POLICY_FLAGS) if policy else [],
        },
        "mountExtensions": {"idmap": {"enabled": True}},
        "netDevices": {"enabled": "linux.netDevices" not in NOT_YET},
    }


def _seccomp() -> dict[str, Any]:
    """What the compiler knows and the installed libseccomp too; without libseccomp, no profile can be compiled."""
    try:
        from pyrun.features.seccomp import compiler
    except PyrunError:
        return {"enabled": False}
    flags = sorted(names.SECCOMP_FLAGS)
    return {
        "enabled": True,
        "actions": sorted(compiler.ACTIONS),
        "operators": sorted(compiler.OPERATORS),
        "archs": sorted(
            name for name, token in compiler.ARCHITECTURES.items() if _has_architecture(compiler, token)
        ),
        "knownFlags": flags,
        "supportedFlags": [flag for flag in flags if _kernel_knows(flag)],
    }


def _kernel_knows(flag: str) -> bool:
    """Can this kernel load a filter with this flag, and with a listener if only that makes sense?"""
    from pyrun.features.seccomp import notify, profile

    for action in ("SCMP_ACT_ALLOW", notify.ACTION):
        if not process.seccomp_knows(profile.flags({"defaultAction": action, "flags": [flag]})):
            return False
    return True


def _has_architecture(compiler: Any, token: int) -> bool:
    try:
        compiler.lib.SyscallFilter(compiler.ACTIONS["SCMP_ACT_ALLOW"]).add_arch(token)
    except OSError as error:
        # EEXIST: this machine's own; EDOM: one of the other byte order, which no process here can have
        return error.errno in (errno.EEXIST, errno.EDOM)
    return True


def libseccomp_version() -> str:
    """Return the version of the installed libseccomp, "" if there is none: seccomp_version(3)."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return ""
    library.seccomp_version.restype = ctypes.POINTER(ctypes.c_uint * 3)
    return ".".join(str(part) for part in library.seccomp_version().contents)
