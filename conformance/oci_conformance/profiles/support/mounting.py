"""What tests of mounts share: the kernel's list of mounts, entries of a configuration, and trees to bind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oci_conformance.core import kernel
from oci_conformance.core.bundle import Path_
from oci_conformance.run.case import Case, Container, Refused, Seen
from oci_spec import types

# sys/mount.h
MS_RDONLY, MS_REMOUNT, MS_NOSYMFOLLOW, MS_NOATIME, MS_NODIRATIME = 1, 32, 256, 1 << 10, 1 << 11
MS_STRICTATIME = 1 << 24

Entry = types.Mount


@dataclass(frozen=True)
class Mount:
    """A line of /proc/PID/mountinfo (proc_pid_mountinfo(5))."""

    id: int
    parent: int
    root: str  # of the mount, within its file system
    point: str
    flags: frozenset[str]  # of the mount and of its file system together
    own: frozenset[str]  # of the mount alone
    propagation: frozenset[str]  # "shared:7", "master:7", "unbindable"; empty for a private mount
    kind: str
    source: str
    data: tuple[str, ...]  # options of the file system, in the kernel's order

    def group(self, name: str) -> str | None:
        """The number of the peer group for "shared" or "master"."""
        return next(
            (field.partition(":")[2] for field in self.propagation if field.startswith(name + ":")), None
        )


def parse(lines: Iterable[str]) -> list[Mount]:
    """The mounts of lines of a mountinfo file."""
    return [_mount(line) for line in lines if line.strip()]


def _mount(line: str) -> Mount:
    before, _, after = line.partition(" - ")
    id, parent, _device, root, point, own, *optional = before.split()
    kind, source, data, *_ = *after.split(" ", 2), "", ""
    flags = frozenset(own.split(","))
    options = tuple(data.strip().split(","))
    return Mount(
        int(id), int(parent), _plain(root), _plain(point), flags | {*options}, flags, frozenset(optional),
        kind, source, options,
    )  # fmt: skip


def _plain(path: str) -> str:
    """Without the octal escapes that the kernel writes for blanks and backslashes."""
    for code in ("040", "011", "012", "134"):
        path = path.replace(f"\\{code}", chr(int(code, 8)))
    return path


def here() -> list[Mount]:
    """The mounts of the suite itself."""
    return parse(Path("/proc/self/mountinfo").read_text().splitlines())


def top(mounts: Iterable[Mount], point: str | Path) -> Mount | None:
    """The mount that is seen at a mount point: the last one there."""
    return next((mount for mount in [*mounts][::-1] if mount.point == str(point)), None)


def of(seen: Seen) -> list[Mount]:
    """What the probe's `mounts` said."""
    return parse(seen["mounts"])


def asked(container: Container) -> list[Mount]:
    """What a serving probe says of its mounts now."""
    return parse(container.ask("mounts").get("result", []))


# entries of a configuration's `mounts`


def tmpfs(destination: str, *options: str) -> Entry:
    """An entry for a tmpfs of the container's own."""
    return {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": [*options]}


def bind(source: str | Path, destination: str, *options: str, how: str = "bind") -> Entry:
    """An entry for a bind mount; `how` is "bind" or "rbind"."""
    return {"destination": destination, "source": str(source), "type": "none", "options": [how, *options]}


def add(t: Case, *entries: Entry) -> dict[Path_, Any]:
    """Changes that add entries after those of the base configuration."""
    return {"mounts": [*t.base("x")["mounts"], *entries]}


def capabilities(*names: str) -> dict[Path_, Any]:
    """Changes that give a process capabilities instead of those of the base configuration."""
    return {f"process.capabilities.{kind}": [*names] for kind in ("bounding", "effective", "permitted")}


def points(*entries: Entry) -> dict[str, str]:
    """Files that make the destinations of entries exist: whether a runtime makes them isn't said."""
    return {f"{entry['destination']}/.there": "" for entry in entries}


def attempt(t: Case, entries: Sequence[Entry], *commands: str) -> list[tuple[list[Mount], Seen] | Refused]:
    """For each entry what a container with it saw, in one container for all.

    Where that is refused the entries are halved, until each that is refused was alone.
    """
    try:
        seen = t.run(add(t, *entries), "mounts", *commands, files=points(*entries))
    except Refused as error:
        if len(entries) == 1:
            return [error]
        half = len(entries) // 2
        return [*attempt(t, entries[:half], *commands), *attempt(t, entries[half:], *commands)]
    return [(of(seen), seen)] * len(entries)


def lacks(t: Case, option: str) -> bool:
    """Does the runtime's `features` list the mount options that it knows, without this one?"""
    known = (t.features or {}).get("mountOptions")
    return isinstance(known, list) and option not in known


# file systems of the test's own, in the suite's mount namespace


def make_tmpfs(place: Path, flags: int = 0) -> Path:
    """Mount a tmpfs for anybody to use at a new folder. `flags` are those of mount(2), of the mount alone."""
    place.mkdir(parents=True, exist_ok=True)
    kernel.mount("tmpfs", place, "tmpfs", data="mode=0755")
    if flags:
        kernel.mount("none", place, flags=flags | MS_REMOUNT | kernel.MS_BIND)
    return place


def make_tree(place: Path, flags: int = 0) -> Path:
    """A tmpfs with another in its folder `below`; each holds a file `name` with its own name in it."""
    make_tmpfs(place)
    make_tmpfs(place / "below")
    for folder in (place, place / "below"):
        (folder / "name").write_text(folder.name)
        if flags:
            kernel.mount("none", folder, flags=flags | MS_REMOUNT | kernel.MS_BIND)
    return place


def propagate(place: Path, flags: int) -> None:
    """Change how a mount propagates, as MS_SHARED or MS_PRIVATE with or without MS_REC."""
    kernel.mount("none", place, flags=flags)
