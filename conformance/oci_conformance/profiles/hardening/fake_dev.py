"""/dev of the root file system, or what lies in it, leads elsewhere.

CVE-2026-41579, CVE-2026-47766 (/dev itself is a link), CVE-2025-52565 (the target of the terminal's bind mount).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from oci_conformance.profiles.hardening.attack import (
    UP,
    Attack,
    Plant,
    attack,
    clear,
    control,
    link,
    links,
    ways,
    without_dev,
)
from oci_conformance.profiles.support.mounting import Entry, tmpfs
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

# What a runtime makes in /dev, or mounts there: devices, links, mount points.
GROUPS = (
    ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "console"),
    ("fd", "stdin", "stdout", "stderr", "core"),
    ("pts", "shm", "mqueue"),
)
MOUNTS: tuple[Entry, ...] = (
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["newinstance", "ptmxmode=0666"],
    },
    tmpfs("/dev/shm"),
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"},
)


@test("hardening.dev-link", needs=("root",))
def dev_is_a_link(t: Case) -> None:
    """/dev is a link to the host, with and without a tmpfs mounted there: no device, link or mount is made there."""
    id = "hardening.dev-link"
    if control(t, (id,), without_dev(t)) is None:
        return
    attacks = attack(t, id)
    targets = {**ways(attacks.canary.path / "dev"), "dangling": str(attacks.canary.path / "missing")}
    for form, target in targets.items():
        for what, changes in {
            "mounted on": {},
            "as it is": without_dev(t),
            "with mounts in it": _own(t),
        }.items():
            attacks.run(
                f"/dev is a link, {form}, {what}",
                changes,
                links({"dev": target}),
            )


def _own(t: Case) -> dict[str, object]:
    return {**without_dev(t, *MOUNTS)}


@test("hardening.dev-entries", needs=("root",))
def entries(t: Case) -> None:
    """Links and FIFOs in /dev in the place of devices, links, mount points: nothing is made outside, or waited for."""
    id = "hardening.dev-entries"
    if control(t, (id,), _own(t)) is None:
        return
    attacks = attack(t, id)
    outside = attacks.canary.path
    plants: dict[str, Callable[[Path], None]] = {
        "links to a file": lambda place: link(place, outside / "file"),
        "relative links to a folder": lambda place: link(place, UP + str(outside / "folder")[1:]),
        "dangling links": lambda place: link(place, outside / f"missing-{place.name}"),
        "links to the same name": lambda place: link(place, outside / "dev" / place.name),
        "FIFOs": _fifo,
        "files": _file,
    }
    for what, plant in plants.items():
        for group in GROUPS:
            _try(attacks, what, plant, group)


def _try(attacks: Attack, what: str, put: Callable[[Path], None], names: Sequence[str]) -> None:
    """Plant all of them; if that is refused, which may hide what happens with the others, each half."""
    where = f"{what} at {', '.join(f'/dev/{name}' for name in names)}"
    if attacks.run(where, _own(attacks.t), _everywhere(put, names)) is None and len(names) > 1:
        half = len(names) // 2
        for some in (names[:half], names[half:]):
            _try(attacks, what, put, some)


def _everywhere(put: Callable[[Path], None], names: Sequence[str]) -> Plant:
    def plant(rootfs: Path) -> None:
        for name in names:
            put(rootfs / "dev" / name)

    return plant


def _fifo(place: Path) -> None:
    clear(place)
    os.mkfifo(place)


def _file(place: Path) -> None:
    clear(place)
    place.write_text("planted")


@test("hardening.console-target", needs=("root",))
def console(t: Case) -> None:
    """/dev/console is a link: the terminal isn't mounted on what it leads to on the host, and none is made there."""
    id = "hardening.console-target"
    changes = {**without_dev(t, MOUNTS[0]), "process.terminal": True}
    if control(t, (id,), changes) is None:
        return
    attacks = attack(t, id)
    for form, target in {
        **ways(attacks.canary.path / "dev/console"),
        "dangling": str(attacks.canary.path / "missing"),
        "to a folder": str(attacks.canary.path / "folder"),
        "by a link to /dev": "/way/console",
    }.items():

        def plant(rootfs: Path, target: str = target) -> None:
            link(rootfs / "way", attacks.canary.path / "dev")
            link(rootfs / "dev/console", target)

        attacks.run(f"/dev/console is a link, {form}", changes, plant)


@test("hardening.console-source", needs=("root",))
def terminal(t: Case) -> None:
    """A link has the name of the terminal in /dev/pts: what it leads to isn't mounted on /dev/console, past a mask."""
    id = "hardening.console-source"
    elsewhere: Entry = {**MOUNTS[0], "destination": "/dev/other"}
    changes = {"process.terminal": True, "linux.maskedPaths": ["/proc/version"]}
    if control(t, (id,), {**changes, **without_dev(t, MOUNTS[0])}) is None:
        return
    attacks = attack(t, id)
    plant = links({"dev/pts/ptmx": "../other/ptmx", "dev/pts/0": "/proc/version", "dev/ptmx": "other/ptmx"})
    what = "/dev/pts/0 is a link"
    seen = attacks.run(what, {**changes, **without_dev(t, elsewhere)}, plant, "stat /dev/console")
    if seen is not None:
        kind = (seen.answer("stat /dev/console").get("result") or {}).get("type")
        t.check(
            id, kind != "file", f"{what}: /dev/console is a terminal, or nothing", f"/dev/console is a {kind}"
        )
