"""What the attacks share: a folder that stands for the host, links that lead to it, and a container with a plant.

Nothing of the host is ever a target: every link leads to a `Canary`, a folder that the test made itself. Whether
something was written or mounted there is looked at afterwards; a way out that is found isn't used.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oci_conformance.core import kernel, probe
from oci_conformance.core.runtime import TIMED_OUT
from oci_conformance.profiles.support import mounting
from oci_conformance.run.case import Case, Container, Refused, Seen

Plant = Callable[[Path], None]  # puts something into a root file system

FOLDERS = ("folder/below", "dev/pts", "dev/shm", "dev/mqueue", "proc/self", "sys/firmware")
FILES = (
    "file",
    "folder/file",
    "dev/null",
    "dev/console",
    "dev/ptmx",
    "proc/version",
    "proc/self/oom_score_adj",
)
CONTENT = "of the host"
ANSWERS = "/answers"  # of the probe, for a runtime may be led to spoil its standard output
UP = "../" * 40  # from any depth to /


class Canary:
    """A folder that stands for the host's: nothing in it may be made, changed or covered."""

    def __init__(
        self, path: Path, folders: tuple[str, ...] = FOLDERS, files: tuple[str, ...] = FILES
    ) -> None:
        self.path = path
        for name in folders:
            (path / name).mkdir(parents=True)
        for name in files:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(CONTENT)
        for each in (path, *path.rglob("*")):
            each.chmod(0o755 if each.is_dir() else 0o644)
        self._before = self._look()

    def accept(self) -> None:
        """What the test itself has added is as it should be."""
        self._before = self._look()

    def _look(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for each in (self.path, *self.path.rglob("*")) if self.path.is_dir() else ():
            status = each.lstat()
            found[str(each.relative_to(self.path))] = (
                status.st_dev, status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_size,
                status.st_ctime_ns,
            )  # fmt: skip
        return found

    def changes(self) -> list[str]:
        """What was made, removed, changed or covered since the beginning, in words."""
        now = self._look()
        return [
            *(f"{name} was made" for name in now if name not in self._before),
            *(f"{name} is gone" for name in self._before if name not in now),
            *(f"{name} was changed" for name, old in self._before.items() if now.get(name, old) != old),
            *(f"something is mounted at {point}" for point in kernel.mounts_below(self.path)),
        ]

    def holds(self, path: str | Path) -> bool:
        """Is a path this folder, or below it?"""
        return self.path in (Path(path), *Path(path).parents)


def ways(target: Path) -> dict[str, str]:
    """How a link in a root file system may be written so that a careless look-up ends at `target` of the host."""
    return {
        "absolute": str(target),
        "relative": UP + str(target)[1:],
        "by /proc/self/root": f"/proc/self/root{target}",
        "by /proc/1/root": f"/proc/1/root{target}",
    }


def link(place: Path, target: str | Path) -> None:
    """A symbolic link in the place of whatever is there."""
    clear(place)
    place.symlink_to(target)


def links(targets: Mapping[str, str | Path]) -> Plant:
    """A plant of links: name in the root file system -> where it leads."""

    def plant(rootfs: Path) -> None:
        for name, target in targets.items():
            link(rootfs / name, target)

    return plant


def nothing(rootfs: Path) -> None:
    """No plant: the attack is in the configuration's volumes."""


def clear(place: Path) -> None:
    """Make room for something else; folders that lack are made."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(place.lstat().st_mode):
            place.rmdir()
        else:
            place.unlink()


def without_dev(t: Case, *entries: mounting.Entry) -> dict[Any, Any]:
    """Changes by which /dev is the root file system's own folder, so that what is planted there can be seen."""
    kept = [each for each in t.base("x")["mounts"] if not each["destination"].startswith("/dev")]
    return {"mounts": [*kept, *entries]}


def control(
    t: Case, ids: tuple[str, ...], changes: dict[Any, Any], *commands: str, **more: Any
) -> Seen | None:
    """What the program sees if nothing is planted; None, and `unsupported`, where even that is refused."""
    try:
        return t.run(changes, *commands, **more)
    except Refused as error:
        for id in ids:
            t.unsupported(id, f"without the attack, too: {error}")
        return None


@dataclass
class Attack:
    """Containers whose root file system was prepared by an attacker, and the folder that they must not reach."""

    t: Case
    id: str
    canary: Canary

    def run(self, what: str, changes: dict[Any, Any], plant: Plant, *commands: str) -> Seen | None:
        """Create and start a container with the plant, and judge that nothing happened to the canary.

        What its program saw, or None if the runtime refused, which is as good.
        """
        log = self.t.folder / f"mounts-{len(self.t.containers)}"
        hooks = {"createContainer": [self.t.hook(f"to {log}", "mounts")]}
        container = self.t.prepare({"hooks": hooks, **changes}, f"to {ANSWERS}", *commands)
        plant(container.rootfs)
        seen = self._through(what, container)
        outside = [*self.canary.changes(), *self._mounted(log)]
        self.t.check(
            self.id,
            not outside,
            f"{what}: an error, or a container for which nothing is changed, made or mounted outside of its root",
            "; ".join(outside[:5]) or "nothing outside",
        )
        return seen

    def _through(self, what: str, container: Container) -> Seen | None:
        """From create to delete. A call that doesn't return is a failure, whatever else it did."""
        ran = False
        for operation in ("create", "state", "start"):
            call = container.call(operation)
            self.t.check(self.id, call.code != TIMED_OUT, f"{what}: {operation} returns", call.sentence)
            if not call.ok:
                break
            if operation == "state":
                container.pid  # noqa: B018 - while it surely exists
        else:
            container.wait()
            ran = True
        container.call("delete-force")
        container.created = False  # it is deleted: no need to do so again at the end of the test
        if not ran:
            return None
        seen = Seen(container)
        answers = container.rootfs / ANSWERS[1:]
        seen.answers = probe.parse(answers.read_bytes()) if answers.is_file() else []
        return seen

    def _mounted(self, log: Path) -> list[str]:
        """Mounts at the canary in the container's mount namespace, before its root became /."""
        if not log.exists():
            return []
        answers = [each for each in probe.parse(log.read_bytes()) if each["command"] == "mounts"]
        lines = [line for answer in answers for line in answer.get("result", [])]
        return [
            f"{mount.kind} is mounted at {mount.point}"
            for mount in mounting.parse(lines)
            if self.canary.holds(mount.point)
        ]


def attack(t: Case, id: str) -> Attack:
    """Attacks for a requirement, with a canary of their own."""
    return Attack(t, id, Canary(t.folder / f"outside-{len(os.listdir(t.folder))}"))


def marked(seen: Seen, kind: str) -> list[str]:
    """Where in the container there are mounts of a kind (as the kernel names it)."""
    return [mount.point for mount in mounting.of(seen) if mount.kind == kind]
