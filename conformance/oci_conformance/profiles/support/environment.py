"""What of the host a runtime may change, so far as the suite can see it: to be compared before and after."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oci_conformance.core import cgroup, kernel
from oci_conformance.core.container import POLL, Broken, Container
from oci_conformance.run.case import Case

OURS = ("config.json", "rootfs", "stdout", "stderr", "console")  # what the suite makes in a bundle


@dataclass(frozen=True)
class Environment:
    """Processes below this one, mounts in this test's folder, its cgroups, and files where runtimes keep theirs."""

    processes: frozenset[int]
    mounts: tuple[str, ...]
    cgroups: frozenset[str]
    files: frozenset[str]  # in the runtime's state folder, and in bundles beside what the suite makes

    def changes(self, after: Environment) -> str:
        """What is there afterwards and wasn't, or the other way round, in words; nothing if it is the same."""
        found = []
        for name in ("processes", "mounts", "cgroups", "files"):
            old, new = set(getattr(self, name)), set(getattr(after, name))
            if new - old:
                found.append(f"new {name}: {', '.join(sorted(map(str, new - old)))}")
            if old - new:
                found.append(f"{name} gone: {', '.join(sorted(map(str, old - new)))}")
        return "; ".join(found)


def look(t: Case) -> Environment:
    """The environment of a test as it is now."""
    return Environment(
        frozenset(pid for pid in kernel.descendants(os.getpid()) if _lives(pid)),
        tuple(str(point) for point in kernel.mounts_below(t.folder)),
        frozenset(_cgroups(t.cgroups)),
        frozenset(_files(t)),
    )


def changes_since(t: Case, before: Environment, seconds: float = 5.0) -> str:
    """How the environment differs from `before`, once it has had `seconds` to become the same again."""
    until = time.monotonic() + seconds
    while (found := before.changes(look(t))) and time.monotonic() < until:
        time.sleep(POLL)
    return found


def runs_probe(c: Container) -> bool:
    """Does the container's process execute the probe of its root file system? Raises Broken where it is gone."""
    try:
        return os.path.samestat(os.stat(f"/proc/{c.pid}/exe"), os.stat(c.rootfs / "probe"))
    except OSError as error:
        raise Broken(f"the program of process {c.pid}, its pid, can't be seen: {error.strerror}") from None


def _files(t: Case) -> Iterator[str]:
    """Files in the state folder, and what was put into bundles, by whomever."""
    for path, _, names in os.walk(t.runtime.root):
        yield from (f"{path}/{each}" for each in names)
    for container in t.containers:
        with contextlib.suppress(OSError):  # a bundle that a test took away
            yield from (str(each) for each in container.bundle.iterdir() if each.name not in OURS)


def _lives(pid: int) -> bool:
    """Is it a process, and no zombie that waits for its parent?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _cgroups(name: str) -> Iterator[str]:
    """Directories below `name`; it is the parent of all, so a runtime may well leave it to the next container."""
    for _, point, _ in cgroup.mounted():
        for path, names, _ in os.walk(point / name):
            yield from (f"{path}/{each}" for each in names)
