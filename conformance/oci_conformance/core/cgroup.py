"""Which cgroups a process is in, and where they are mounted on this host (cgroups(7))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@cache
def mounted() -> tuple[tuple[frozenset[str], Path, str], ...]:
    """The host's hierarchies: controllers (empty for cgroup2), mount point, and the cgroup that is its root."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ")
        root, point = fields.split(" ")[3:5]
        if kind == "cgroup2":
            found.append((frozenset[str](), Path(point), root))
        elif kind == "cgroup":
            found.append((frozenset(options.split(",")) - {"rw", "ro", "xattr"}, Path(point), root))
    return tuple(found)


def mode() -> str:
    """`v2`, `v1`, `hybrid` (v1, with a cgroup2 mounted beside), or `none`."""
    kinds = {bool(controllers) for controllers, _, _ in mounted()}
    return {(True,): "v1", (False,): "v2", (False, True): "hybrid"}.get(tuple(sorted(kinds)), "none")


def controllers() -> dict[str, bool]:
    """The controllers that can be used here -> whether by cgroup2."""
    found: dict[str, bool] = {}
    for names, point, _ in mounted():
        if names:
            found.update(dict.fromkeys(names, False))
        else:
            found.update(dict.fromkeys((point / "cgroup.controllers").read_text().split(), True))
    return found


@dataclass(frozen=True)
class Cgroups:
    """The cgroups of one process."""

    paths: dict[frozenset[str], str]

    @staticmethod
    def of(pid: int) -> Cgroups:
        """By /proc/PID/cgroup."""
        paths = {}
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            paths[frozenset(name for name in names.split(",") if name)] = path
        return Cgroups(paths)

    def unified(self, controller: str) -> bool:
        """Is the controller one of cgroup2 here?"""
        return not any(controller in names for names in self.paths)

    def directory(self, controller: str) -> Path | None:
        """The directory for a controller, or None where its hierarchy isn't mounted."""
        key = next((names for names in self.paths if controller in names), frozenset[str]())
        path = self.paths.get(key)
        for names, point, root in mounted():
            if path is not None and (controller in names or (not names and not key)):
                inside = path.removeprefix(root.rstrip("/"))
                return point / inside.lstrip("/")
        return None


def remove(name: str) -> None:
    """Remove the cgroups that the suite had runtimes make, by a path: with what is below, and above if it is empty.

    It may count from the top of each hierarchy, or, as a relative cgroupsPath does for some, from our own cgroup.
    """
    own = Cgroups.of(os.getpid())
    for names, point, _ in mounted():
        for top in {point, own.directory(next(iter(names), "")) or point}:
            directory = top / name.lstrip("/")
            if not directory.is_dir():
                continue
            for below in sorted((path for path in directory.rglob("*") if path.is_dir()), reverse=True):
                _remove(below)
            while directory != top:
                _remove(directory)
                directory = directory.parent


def _remove(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        return
