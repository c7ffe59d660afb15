"""Files that a runtime may read in a root file system: they can be FIFOs that nobody writes to, folders, or endless."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from oci_conformance.profiles.hardening.attack import attack, clear, control, link
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

PATIENCE = 5.0  # seconds for a call that would wait for a writer
HUGE = 64 << 20  # bytes; a hole in the file, so the disk isn't filled
NAMES = ("etc/passwd", "etc/group")  # HOME and groups may come from there
CHANGES = {"process.user": {"uid": 1000, "gid": 1000}}


@test("hardening.planted-users")
def users(t: Case) -> None:
    """/etc/passwd and /etc/group are FIFOs, links to one, folders, links to themselves, huge: every call returns."""
    id = "hardening.planted-users"
    changes = {} if t.host.uid else CHANGES
    if control(t, (id,), changes, "ids", files={"/etc/passwd": "", "/etc/group": ""}) is None:
        return
    t.runtime.limit = min(t.runtime.limit, PATIENCE)
    attacks = attack(t, id)
    fifo = attacks.canary.path / "fifo"
    os.mkfifo(fifo)
    attacks.canary.accept()
    plants: dict[str, Callable[[Path], None]] = {
        "a FIFO": os.mkfifo,
        "a link to a FIFO of the host": lambda place: link(place, fifo),
        "a link to a FIFO inside": _inside,
        "a folder": Path.mkdir,
        "a link to itself": lambda place: link(place, place.name),
        "huge": _huge,
    }
    for name in NAMES:
        for what, put in plants.items():

            def plant(rootfs: Path, name: str = name, put: Callable[[Path], None] = put) -> None:
                clear(rootfs / name)
                put(rootfs / name)

            attacks.run(f"/{name} is {what}", changes, plant)


def _inside(place: Path) -> None:
    fifo = place.with_name("fifo")
    os.mkfifo(fifo)
    link(place, "/etc/fifo")


def _huge(place: Path) -> None:
    place.write_text("")
    os.truncate(place, HUGE)
