"""crun's annotations (run.oci.*), which podman and others send: carried out as crun(1) describes them, refused, or
without effect and a warning.

Hot module. cgroups/units.py carries out run.oci.systemd.subgroup.
"""

from __future__ import annotations

import posix

from pyrun.base.errors import PyrunError, failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from pyrun.story.making import Making

KEEP_GROUPS = "run.oci.keep_original_groups"
HOOKS_STDOUT, HOOKS_STDERR = "run.oci.hooks.stdout", "run.oci.hooks.stderr"
PIDFD_RECEIVER = "run.oci.pidfd_receiver"
MOUNT_CONTEXT = "run.oci.mount_context_type"
CARRIED_OUT = (
    KEEP_GROUPS,
    HOOKS_STDOUT,
    HOOKS_STDERR,
    PIDFD_RECEIVER,
    MOUNT_CONTEXT,
    "run.oci.systemd.subgroup",
)
# Why one is refused, and what to do. By some of these crun takes a seccomp filter, or who decides by one, from
# elsewhere: without effect they would be a hole.
NO_FILTER = "it is crun's, and not supported"
REFUSED = {
    "run.oci.systemd.force_cgroup_v1": (
        "cgroup v1 for the container alone can't be had",
        "a systemd of version 226 or newer runs on cgroup v2",
    ),
    "run.oci.seccomp.receiver": (NO_FILTER, "linux.seccomp.listenerPath says where a seccomp agent listens"),
    "run.oci.seccomp.plugins": (
        NO_FILTER,
        "a seccomp agent at linux.seccomp.listenerPath decides system calls",
    ),
    "run.oci.seccomp_bpf_data": (NO_FILTER, "linux.seccomp describes the filter"),
}
# mount(8): how a file system is labelled
CONTEXTS = ("context", "fscontext", "defcontext", "rootcontext")


def json_path(name: str) -> str:
    """An annotation as errors name it."""
    return f"annotations[{name!r}]"


def without_effect(annotations: Mapping[str, str]) -> list[str]:
    """Those of crun that nothing is made of."""
    return [
        name
        for name in annotations
        if name[:8] == "run.oci." and name not in CARRIED_OUT and name not in REFUSED
    ]


def refusals(annotations: Mapping[str, str]) -> Iterator[PyrunError]:
    """Those that can't be had, and values that make no sense. An empty one asks for nothing."""
    for name, value in annotations.items():
        if value and name in REFUSED:
            yield PyrunError(REFUSED[name][0], json_path(name), REFUSED[name][1])
        if value and name == MOUNT_CONTEXT and value not in CONTEXTS:
            yield PyrunError(f"{value!r} is none of {', '.join(CONTEXTS)}", json_path(name))
        if value and name in (HOOKS_STDOUT, HOOKS_STDERR, PIDFD_RECEIVER) and value[0] != "/":
            yield PyrunError(f"{value!r} is no absolute path", json_path(name))


def hook_files(annotations: Mapping[str, str]) -> tuple[int, int]:
    """Where hooks' stdout and stderr go, to be appended to; -1 where they are ours to read. Raises PyrunError."""
    found = [-1, -1]
    for index, name in enumerate((HOOKS_STDOUT, HOOKS_STDERR)):
        if path := annotations.get(name):
            flags = posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_NOCTTY | posix.O_CLOEXEC
            try:
                found[index] = posix.open(path, flags, 0o644)
            except OSError as error:
                raise failed("opening the file for hooks", error, json_path(name)) from None
    return found[0], found[1]


def open_hook_files(making: Making) -> None:
    """Open them for the hooks of create: those that run inside may not have the right to. Raises PyrunError."""
    making.inside.hook_files = hook_files(_of(making))


def close_hook_files(making: Making) -> None:
    """Nobody needs them any more, or as long as start doesn't."""
    for fd in making.inside.hook_files:
        if fd >= 0:
            posix.close(fd)
    making.inside.hook_files = -1, -1


def _of(making: Making) -> dict[str, Any]:
    return making.plan.config.get("annotations") or {}
