"""Table of the features document (features.md, features-linux.md)."""

from __future__ import annotations

from oci_spec import names
from oci_spec.fields import BOOLEAN, STRING, STRINGS, TEXT, check_enum, check_object, list_of, map_of, table


def names_of(known: tuple[str, ...]) -> tuple[object, ...]:
    """An array of some of the known names."""
    return list_of((check_enum, known))


def enabled(section: str, *more: str) -> tuple[object, ...]:
    """An object that says whether something is supported, and whether more of it is."""
    return table(dict.fromkeys(("enabled", *more), BOOLEAN), (), "features-linux.md#" + section)


LINUX = table(
    {
        "namespaces": names_of(names.NAMESPACES),
        "capabilities": names_of(names.CAPABILITIES),
        "cgroup": table(
            dict.fromkeys(("v1", "v2", "systemd", "systemdUser", "rdma"), BOOLEAN),
            (),
            "features-linux.md#cgroup",
        ),
        "seccomp": table(
            {
                "enabled": BOOLEAN,
                "actions": names_of(names.SECCOMP_ACTIONS),
                "operators": names_of(names.SECCOMP_OPERATORS),
                "archs": names_of(names.SECCOMP_ARCHITECTURES),
                "knownFlags": names_of(tuple(names.SECCOMP_FLAGS)),
                "supportedFlags": names_of(tuple(names.SECCOMP_FLAGS)),
            },
            (),
            "features-linux.md#seccomp",
        ),
        "apparmor": enabled("apparmor"),
        "selinux": enabled("selinux"),
        "intelRdt": enabled("intel-rdt", "schemata", "monitoring"),
        "memoryPolicy": table(
            {
                "modes": names_of(tuple(names.MEMORY_POLICY_MODES)),
                "flags": names_of(tuple(names.MEMORY_POLICY_FLAGS)),
            },
            (),
            "features-linux.md#memorypolicy",
        ),
        "mountExtensions": table(
            {"idmap": enabled("mountextensions")}, (), "features-linux.md#mountextensions"
        ),
        "netDevices": enabled("netdevices"),
    },
    (),
    "features-linux.md",
)

FEATURES = table(
    {
        "ociVersionMin": STRING,
        "ociVersionMax": STRING,
        "hooks": names_of(names.HOOKS),
        "mountOptions": STRINGS,
        "annotations": map_of(TEXT, TEXT),
        "potentiallyUnsafeConfigAnnotations": STRINGS,
        "linux": LINUX,
    },
    ("ociVersionMin", "ociVersionMax"),
    "features.md",
)


def parse(document: object) -> None:
    """Check a features document; raises ConfigError at the first fault."""
    check_object(FEATURES, document)
