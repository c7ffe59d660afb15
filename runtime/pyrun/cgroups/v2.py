"""What only a cgroup of v2 needs when it is made: controllers enabled, an owner, and that it takes processes.

Hot module. kernel: Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError
from pyrun.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# What engines read for their statistics, and look for in a container of their own (kubelet wants hugetlb): enabled
# where it can be, when the cgroup is made.
ACCOUNTED = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")
DELEGATED = "/sys/kernel/cgroup/delegate"


def check_domain(directory: str) -> None:
    """Raise PyrunError for a cgroup that takes threads but no processes."""
    kind = files.fetch(directory, "cgroup.type")
    if kind not in ("domain", "domain threaded"):
        raise PyrunError(
            f"the cgroup {directory} is {kind!r}: it can't hold a process",
            "linux.cgroupsPath",
            "a cgroup above it is threaded; choose a path outside of it",
        )


def enable(directory: str, mount: str, wanted: Sequence[str]) -> dict[str, str]:
    """Enable controllers for a cgroup, in cgroup.subtree_control of each one above it.

    Returns those that can't be had, with the reason. Cheap while the cgroup is empty.
    """
    present = files.fetch(directory, "cgroup.controllers").split()
    missing = [name for name in wanted if name not in present]
    if not missing:
        return {}
    available = files.fetch(mount, "cgroup.controllers").split()
    failures = {name: "this machine has none in cgroup v2" for name in missing if name not in available}
    parent = mount
    for part in directory[len(mount) + 1 :].split("/"):
        missing = [name for name in missing if name not in failures]
        if missing:
            _enable_below(parent, missing, failures)
        parent = f"{parent}/{part}"
    failures.pop("cgroup", None)  # files that every cgroup has
    return failures


def _enable_below(parent: str, names: Sequence[str], failures: dict[str, str]) -> None:
    enabled = files.fetch(parent, "cgroup.subtree_control").split()
    names = [name for name in names if name not in enabled]
    if not names:
        return
    if _is_occupied(parent):
        why = "that cgroup has processes of its own (cgroup v2 allows them only in leaves)"
    else:
        try:
            files.put(parent, "cgroup.subtree_control", " ".join(f"+{name}" for name in names))
            return
        except OSError as error:
            if len(names) > 1:  # one of them is to blame, and the others can be had
                for name in names:
                    _enable_below(parent, [name], failures)
                return
            why = "that is a threaded cgroup" if error.errno == errno.EOPNOTSUPP else files.reason(error)
    for name in names:
        failures[name] = f"enabling it below {parent}: {why}"


def _is_occupied(directory: str) -> bool:
    """Whether it has processes and isn't the root of all, which may.

    The kernel would enable some controllers below it all the same (cpu, cpuset, pids), but make a threaded
    domain of it, in whose children no process can be.
    """
    try:
        return files.read(f"{directory}/cgroup.type") == "domain" and bool(
            files.read(f"{directory}/cgroup.procs")
        )
    except OSError:
        return False


def give(directory: str, uid: int) -> None:
    """Make a user of the host the owner of a cgroup, so that processes of his may divide it further.

    That is the directory and those of its files that the kernel lists (cgroups(7), "Delegation"). Raises PyrunError if
    we may not.
    """
    try:
        names = files.read(DELEGATED).split()
    except OSError:  # before Linux 4.15
        names = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]
    for path in [directory, *(f"{directory}/{name}" for name in names)]:
        try:
            posix.chown(path, uid, -1)
        except OSError as error:
            if error.errno != errno.ENOENT:  # no cgroup has all of them
                raise PyrunError(
                    f"making user {uid} the owner of {path}: {files.reason(error)}", "linux.cgroupsPath"
                ) from None
