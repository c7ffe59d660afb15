"""Mutants of values: an option, a capability, a namespace, a device, a rule that is ignored or turned into another."""

from __future__ import annotations

import json
from typing import Any

from oci_conformance.mutants.mutant import Mutant
from oci_spec import catalogue
from oci_spec.names import SECCOMP_OPERATORS

NAMESPACES = {
    "pid": "pid",
    "network": "network",
    "mount": "mount",
    "ipc": "ipc",
    "uts": "uts",
    "user": "user",
    "cgroup": "cgroup",
    "time": "time",
}
SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "console")
LINKS = ("fd", "stdin", "stdout", "stderr")
PROPAGATION = ("shared", "slave", "private", "unbindable")
RLIMITS = ("hard", "soft")


def _edit(name: str, title: str, kills: tuple[str, ...], *edits: tuple[str, str, Any]) -> Mutant:
    return Mutant(name, title, kills, edits=edits)


def _mounts() -> list[Mutant]:
    found = []
    for id in catalogue.load():
        if id.startswith("mounts.opt."):
            option = id.removeprefix("mounts.opt.")
            found.append(
                _edit(
                    f"mount-option:{option}",
                    f"the mount option {option} is ignored",
                    (id,),
                    ("remove", "mounts[].options", option),
                )
            )
    found += [
        _edit(
            "mounts-reversed",
            "mounts are done in reverse order",
            ("mounts.order",),
            ("reverse", "mounts", None),
        ),
        _edit(
            "last-mount-missing",
            "the last mount isn't done",
            ("mounts.dest-created", "mounts.order"),
            ("last", "mounts", None),
        ),
        _edit(
            "option-unknown-refused",
            "unknown options are dropped",
            ("mounts.opt-unknown-as-data",),
            ("set", "mounts[].options", ["nosuid"]),
        ),
    ]
    return found


def _process() -> list[Mutant]:
    found = []
    for name in SETS:
        path = f"process.capabilities.{name}"
        found += [
            _edit(
                f"capability-lost:{name}",
                f"one capability of the {name} set is lost",
                (f"caps.{name}",),
                ("last", path, None),
            ),
            _edit(
                f"capability-gained:{name}",
                f"the {name} set has one more",
                (f"caps.{name}",),
                *(
                    ("add", f"process.capabilities.{each}", "CAP_SYS_CHROOT")
                    for each in (
                        {name, "bounding", "permitted"}
                        if name in ("effective", "permitted")
                        else {name, "permitted", "inheritable", "bounding"}
                        if name == "ambient"
                        else {name, "bounding"}
                    )
                ),
            ),
        ]
    found += [
        _edit(
            "environment-more",
            "the program gets a variable more",
            ("process.env",),
            ("add", "process.env", "INVENTED=1"),
        ),
        _edit(
            "environment-less",
            "the program gets a variable less",
            ("process.env",),
            ("last", "process.env", None),
        ),
        _edit(
            "arguments-more",
            "the program gets an argument more",
            ("process.args",),
            ("add", "process.args", "echo invented"),
        ),
        _edit("cwd-root", "the program begins in /", ("process.cwd-set",), ("set", "process.cwd", "/")),
        _edit(
            "groups-more",
            "the program gets a group more",
            ("user.additionalGids",),
            ("add", "process.user.additionalGids", 77),
        ),
        _edit(
            "umask-always",
            "the umask is always 022",
            ("user.umask", "user.umask-unset"),
            ("set", "process.user.umask", 0o22),
        ),
        _edit(
            "nnp-always",
            "no_new_privs is always set",
            ("nnp.unset",),
            ("set", "process.noNewPrivileges", True),
        ),
        _edit(
            "nnp-never", "no_new_privs is never set", ("nnp.set",), ("set", "process.noNewPrivileges", False)
        ),
        _edit(
            "oom-always",
            "oom_score_adj is always 1000",
            ("oom.unset", "oom.set"),
            ("set", "process.oomScoreAdj", 1000),
        ),
        _edit(
            "terminal-never",
            "there is never a terminal",
            ("process.terminal",),
            ("set", "process.terminal", False),
        ),
        _edit(
            "root-readonly-always",
            "the root is always read-only",
            ("root.readonly-default",),
            ("set", "root.readonly", True),
        ),
        Mutant(
            "descriptor-leaked",
            "the program gets a descriptor more",
            ("fds.std-only",),
            behaviour="leak_descriptor",
        ),
    ]
    found += [
        _edit(
            f"rlimit-{name}",
            f"all {name} limits are 1",
            (f"rlimits.{name}",),
            ("set", "process.rlimits[].soft", 1),
            *([("set", "process.rlimits[].hard", 1)] if name == "hard" else []),
        )
        for name in RLIMITS
    ]
    return found


def _linux() -> list[Mutant]:
    found = []
    for kind, name in NAMESPACES.items():
        ids = (f"ns.supported-{name}",)
        found.append(
            _edit(
                f"namespace-missing:{kind}",
                f"no {kind} namespace is made",
                ids,
                ("remove", "linux.namespaces", {"type": kind}),
            )
        )
        if kind == "mount":  # whose absence runtimes refuse, since its mounts would be the host's
            continue
        found.append(
            _edit(
                f"namespace-added:{kind}",
                f"a {kind} namespace is made without being asked for",
                ("ns.inherit",),
                ("remove", "linux.namespaces", {"type": kind}),
                ("add", "linux.namespaces", {"type": kind}),
            )
        )
    found.append(
        _edit(
            "namespace-never-joined",
            "a namespace's path is ignored",
            ("ns.path-joined",),
            ("drop", "linux.namespaces[].path", None),
        )
    )
    for place in DEVICES:
        found.append(
            Mutant(
                f"no-device:{place}",
                f"/dev/{place} is missing",
                (f"devices.default-{place}",),
                behaviour="spoil_file",
                argument=place,
            )
        )
    for place in LINKS:
        found.append(
            Mutant(
                f"no-link:{place}",
                f"/dev/{place} is missing",
                (f"dev-symlinks.{place}",),
                behaviour="spoil_file",
                argument=place,
            )
        )
    for value in PROPAGATION:
        other = "private" if value == "shared" else "shared"
        found.append(
            _edit(
                f"root-propagation:{value}",
                f"rootfsPropagation {value} is {other}",
                (f"rootprop.{value}",),
                ("replace", "linux.rootfsPropagation", [value, other]),
            )
        )
    for operator in SECCOMP_OPERATORS:
        other = "SCMP_CMP_NE" if operator == "SCMP_CMP_EQ" else "SCMP_CMP_EQ"
        found.append(
            _edit(
                f"seccomp-operator:{operator}",
                f"{operator} works like {other}",
                ("seccomp.args-ops",),
                ("replace", "linux.seccomp.syscalls[].args[].op", [operator, other]),
            )
        )
    for action in (
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_TRAP",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_NOTIFY",
    ):
        found.append(
            _edit(
                f"seccomp-action:{action}",
                f"{action} lets the call through",
                ("seccomp.state-payload",) if action == "SCMP_ACT_NOTIFY" else ("seccomp.actions",),
                ("replace", "linux.seccomp.syscalls[].action", [action, "SCMP_ACT_ALLOW"]),
            )
        )
    for action in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG"):
        found.append(
            _edit(
                f"seccomp-action:{action}",
                f"{action} refuses the call",
                ("seccomp.actions",),
                ("replace", "linux.seccomp.syscalls[].action", [action, "SCMP_ACT_ERRNO"]),
            )
        )
    found += [
        _edit(
            "seccomp-default",
            "what isn't named is allowed",
            ("seccomp.default-action",),
            ("set", "linux.seccomp.defaultAction", "SCMP_ACT_ALLOW"),
            ("drop", "linux.seccomp.defaultErrnoRet", None),
        ),
        _edit(
            "masked-last",
            "the last masked path isn't masked",
            ("masked.applied",),
            ("last", "linux.maskedPaths", None),
        ),
        _edit(
            "readonly-last",
            "the last read-only path isn't",
            ("readonly.applied",),
            ("last", "linux.readonlyPaths", None),
        ),
        _edit(
            "device-rules-reversed",
            "device rules are applied in reverse order",
            ("cgdev.order",),
            ("reverse", "linux.resources.devices", None),
        ),
        _edit(
            "cgroup-elsewhere",
            "the container is in another cgroup",
            ("cgroup.path-absolute",),
            ("replace", "linux.cgroupsPath", ["oci-conformance", "oci-conformance-elsewhere"]),
        ),
        _edit(
            "annotation-reserved",
            "an annotation is lost",
            ("state.annotations",),
            ("drop", "annotations{}", None),
        ),
    ]
    return found


def _features() -> list[Mutant]:
    claims: tuple[tuple[str, str, object], ...] = (
        ("hooks", "features.hooks", "preCreate"),
        ("mountOptions", "features.mountOptions", "frozen"),
        ("mountOptions", "features.mountOptions-no-fs", "mode=700"),
        ("ociVersionMin", "features.max-ge-min", "9.0.0"),
        ("ociVersionMin", "features.versionMin", "0.0.1-invented"),
        ("ociVersionMax", "features.versionMax", "9.9.9"),
        ("annotations", "features.annotations-map", ["no", "map"]),
        ("potentiallyUnsafeConfigAnnotations", "features.unsafe-annotations", [1]),
        ("linux.namespaces", "features.namespaces", "universe"),
        ("linux.capabilities", "features.capabilities", "CAP_INVENTED"),
        ("linux.seccomp.actions", "features.seccomp-actions", "SCMP_ACT_WISH"),
        ("linux.seccomp.operators", "features.seccomp-operators", "SCMP_CMP_NEAR"),
        ("linux.seccomp.archs", "features.seccomp-archs", "SCMP_ARCH_ABACUS"),
        ("linux.seccomp.knownFlags", "features.seccomp-knownFlags", "SECCOMP_FILTER_FLAG_WISH"),
        ("linux.seccomp.supportedFlags", "features.seccomp-supportedFlags", "SECCOMP_FILTER_FLAG_WISH"),
        ("linux.memoryPolicy", "features.mempolicy-modes", {"modes": ["MPOL_WISH"], "flags": []}),
        (
            "linux.memoryPolicy",
            "features.mempolicy-flags",
            {"modes": ["MPOL_DEFAULT"], "flags": ["MPOL_F_WISH"]},
        ),
        ("linux", "features.null", None),
    )
    return [
        Mutant(
            f"claim:{path}={json.dumps(value)[:40]}",
            f"features claims {value} in {path}",
            (id,),
            behaviour="change_features",
            argument=json.dumps([path, value]),
        )
        for path, id, value in claims
    ]


def mutants() -> list[Mutant]:
    """All of them."""
    return [*_mounts(), *_process(), *_linux(), *_features()]
