"""A folder becomes a link, and a folder again, while a container is made on it.

CVE-2021-30465 (the destination of a mount is checked, then mounted by its path), CVE-2024-45310 (folders and files are
made by path), GHSA-3q8j-pf29-vwv8 (masks). The one who swaps them shares a volume with the container.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from oci_conformance.core import kernel
from oci_conformance.core.bundle import Changes
from oci_conformance.profiles.hardening.attack import UP, attack, control, nothing
from oci_conformance.profiles.hardening.links import CWD, judge_folder
from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import bind, tmpfs
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

# What is made in a round, in a folder that is new then: entries of mounts, and other changes.
Made = Callable[[str], tuple[list[mounting.Entry], Changes]]

ROUNDS = 25
SECONDS = 4.0  # for one race
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # fcntl.h, linux/fs.h
DETOURS = 700  # each ".." is looked up anew when something is renamed; a path may have 4096 bytes
PLACE = "/mnt/volume"


@contextlib.contextmanager
def swapping(first: Path, second: Path) -> Iterator[None]:
    """Another process exchanges two names as fast as it can."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _swap(bytes(first), bytes(second), writing)
    try:
        os.close(writing)
        if not os.read(reading, 1):
            raise OSError("names can't be exchanged in this file system (renameat2)")
        yield
    finally:
        os.close(reading)
        kernel.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _swap(first: bytes, second: bytes, writing: int) -> None:
    """In the forked process, which never returns."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        kernel.die_with_parent(signal.SIGKILL)
        exchange = ctypes.CDLL(None).renameat2
        if exchange(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE) == 0:
            os.write(writing, b"x")
            while True:
                exchange(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE)
    finally:
        os._exit(1)


def _race(t: Case, id: str, made: Made, *, cwd: bool = False) -> None:
    """Containers with a volume, in which the folder `a` is a link to the host half of the time."""
    volume = t.folder / "volume"
    (volume / "a/below").mkdir(parents=True)
    if control(t, (id,), _changes(t, volume, made, 0), "cwd") is None:
        return
    attacks = attack(t, id)
    (volume / "link").symlink_to(UP + str(attacks.canary.path / "folder")[1:])
    until = time.monotonic() + SECONDS
    with swapping(volume / "a", volume / "link"):
        for number in range(1, ROUNDS + 1):
            changes = _changes(t, volume, made, number)
            seen = attacks.run(f"round {number}", changes, nothing, *(("cwd", CWD) if cwd else ()))
            if seen is not None and cwd:
                judge_folder(attacks, f"round {number}", seen["cwd"], seen.answer(CWD).get("result"))
            if time.monotonic() > until:
                break


def _changes(t: Case, volume: Path, made: Made, number: int) -> dict[Any, Any]:
    entries, others = made(f"{PLACE}/a/{number}")
    return {**mounting.add(t, bind(volume, PLACE, how="rbind"), *entries), **others}


@test("hardening.race-mount", slow=True)
def mount(t: Case) -> None:
    """A tmpfs is mounted on a folder to be made: nothing is made or mounted where the link leads."""
    _race(t, "hardening.race-mount", lambda path: ([tmpfs(f"{path}/below", "size=64k")], {}))


@test("hardening.race-file", slow=True)
def file(t: Case) -> None:
    """A file is mounted on a file to be made: nothing is made or mounted where the link leads."""
    source = t.folder / "source"
    source.write_text("")
    _race(t, "hardening.race-file", lambda path: ([bind(source, f"{path}/file", "ro")], {}))


@test("hardening.race-device", needs=("root", "cap:MKNOD"), slow=True)
def device(t: Case) -> None:
    """A FIFO with an owner is made: none is made, and no owner changed, where the link leads."""
    pipe = {"type": "p", "uid": 1000, "gid": 1000}
    _race(
        t, "hardening.race-device", lambda path: ([], {"linux.devices": [{**pipe, "path": f"{path}/pipe"}]})
    )


@test("hardening.race-cwd", slow=True)
def working_folder(t: Case) -> None:
    """The working folder is made: none is made where the link leads, and the program isn't there."""
    _race(t, "hardening.race-cwd", lambda path: ([], {"process.cwd": f"{path}/below"}), cwd=True)


@test("hardening.race-masks", slow=True)
def masks(t: Case) -> None:
    """The folder is masked and made read-only: nothing of the host is."""
    paths = [f"{PLACE}/a", f"{PLACE}/a/below"]
    changes = {"linux.maskedPaths": paths, "linux.readonlyPaths": paths}
    _race(t, "hardening.race-masks", lambda _: ([], changes))


@test("hardening.race-end", slow=True)
def without_end(t: Case) -> None:
    """Something is renamed all the time while a path of many turns is looked up: every call returns."""
    id = "hardening.race-end"
    volume = t.folder / "volume"
    (volume / "a").mkdir(parents=True)
    for name in ("one", "two"):
        (volume / name).mkdir()
    (volume / "way").symlink_to("a/../" * DETOURS)
    changes = mounting.add(t, bind(volume, PLACE, how="rbind"), tmpfs(f"{PLACE}/way/made"))
    if control(t, (id,), changes, "cwd") is None:
        return
    attacks = attack(t, id)
    with swapping(volume / "one", volume / "two"):
        for number in range(3):
            attacks.run(f"round {number + 1}", changes, nothing)
