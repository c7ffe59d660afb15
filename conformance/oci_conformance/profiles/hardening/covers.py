"""maskedPaths and readonlyPaths against a root file system that would rather not be covered.

CVE-2025-31133 (masks are bind mounts of the container's own /dev/null), GHSA-3q8j-pf29-vwv8 (paths resolved anew).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oci_conformance.profiles.hardening.attack import (
    Attack,
    Canary,
    attack,
    clear,
    control,
    link,
    ways,
    without_dev,
)
from oci_conformance.run.case import Case, Seen
from oci_conformance.run.registry import test

SECRET = "secret"
PLANTED = "planted"
NULL = (1, 3)  # major and minor number of the null device


@test("hardening.masked-link")
def masked(t: Case) -> None:
    """A masked path that is, or lies behind, a link: it can't be read by it inside, and outside is as it was."""
    id = "hardening.masked-link"
    paths = ["/way", "/etc/way/secret", "/chain/secret"]
    changes = {"linux.maskedPaths": paths}
    reads = [f"read {path}" for path in paths]
    plain = {"/way": SECRET, "/etc/way/secret": SECRET, "/chain/secret": SECRET}
    seen = control(t, (id,), changes, *reads, files=plain)
    if seen is None:
        return
    attacks = attack(t, id)

    def inside(rootfs: Path) -> None:
        (rootfs / "real").mkdir()
        (rootfs / "real/secret").write_text(SECRET)
        link(rootfs / "way", "real/secret")
        link(rootfs / "etc/way", "/real")
        link(rootfs / "chain", "second")
        link(rootfs / "second", "etc/way")

    _unreadable(attacks, "links inside", reads, attacks.run("links inside", changes, inside, *reads))
    for form, target in ways(attacks.canary.path).items():

        def leading(rootfs: Path, target: str = target) -> None:
            link(rootfs / "way", f"{target}/file")
            link(rootfs / "etc/way", target)
            link(rootfs / "chain", "etc/way")

        attacks.run(f"links to the host, {form}", changes, leading)


@test("hardening.readonly-link")
def readonly(t: Case) -> None:
    """A read-only path behind a link: what it leads to inside can't be written by it; outside is as it was."""
    id = "hardening.readonly-link"
    changes: dict[Any, Any] = {"linux.readonlyPaths": ["/way", "/etc/way/below"]}
    writes = ["access /way/file w", "access /etc/way/below/file w"]
    plain = {"/way/file": "", "/etc/way/below/file": ""}
    seen = control(t, (id,), changes, *writes, files=plain)
    if seen is None:
        return
    attacks = attack(t, id)

    def inside(rootfs: Path) -> None:
        (rootfs / "real/below").mkdir(parents=True)
        for name in ("real/file", "real/below/file"):
            (rootfs / name).write_text("")
        link(rootfs / "way", "real")
        link(rootfs / "etc/way", "/real")

    seen = attacks.run("links inside", changes, inside, *writes)
    for command in writes:
        error = seen.error(command) if seen else "refused"
        t.check(id, error is not None, f"links inside: {command}: an error", "it could be written")
    for form, target in ways(attacks.canary.path / "folder").items():

        def leading(rootfs: Path, target: str = target) -> None:
            link(rootfs / "way", target)
            link(rootfs / "etc/way", target)

        attacks.run(f"links to the host, {form}", changes, leading)


def _unreadable(attacks: Attack, what: str, reads: list[str], seen: Seen | None) -> None:
    readable = [each for each in reads if seen and seen.error(each) is None and seen[each]]
    attacks.t.check(attacks.id, not readable, f"{what}: what is masked can't be read", readable)


def _file(place: Path) -> None:
    place.write_text(PLANTED)


@test("hardening.mask-null", needs=("root",))
def null_is_planted(t: Case) -> None:
    """Whatever the root file system has at /dev/null: what masks a file is empty."""
    id = "hardening.mask-null"
    paths = ["/etc/secret", "/proc/version"]
    changes: dict[Any, Any] = {**without_dev(t), "linux.maskedPaths": paths}
    stats = [f"stat {path}" for path in paths]
    if control(t, (id,), changes, *stats, files={"/etc/secret": SECRET}) is None:
        return
    attacks = attack(t, id)
    outside: Canary = attacks.canary
    plants: dict[str, Callable[[Path], None]] = {
        "a file": _file,
        "a link to a file inside": lambda null: link(null, "/etc/planted"),
        "a link to a file of /proc": lambda null: link(null, "/proc/cmdline"),
        "a link to a folder": lambda null: link(null, "/etc"),
        "a dangling link": lambda null: link(null, "/etc/missing"),
        "a FIFO": os.mkfifo,
        "another device": lambda null: os.mknod(null, 0o020666, os.makedev(1, 7)),
        **{
            f"a link to the host, {form}": lambda null, to=target: link(null, to)  # type: ignore[misc]
            for form, target in ways(outside.path / "file").items()
        },
    }
    for what, put in plants.items():

        def plant(rootfs: Path, put: Callable[[Path], None] = put) -> None:
            (rootfs / "etc/secret").write_text(SECRET)
            (rootfs / "etc/planted").write_text(PLANTED)
            clear(rootfs / "dev/null")
            put(rootfs / "dev/null")

        fifo = what == "a FIFO"  # reading one would wait for a writer
        reads = [] if fifo else [f"read {path} 64" for path in paths]
        seen = attacks.run(f"/dev/null is {what}", changes, plant, *stats, *reads)
        if seen is None:
            continue
        _unreadable(attacks, f"/dev/null is {what}", reads, seen)
        for command in stats:
            cover = seen.answer(command).get("result") or {}
            device = cover.get("type") == "char" and (cover.get("major"), cover.get("minor")) == NULL
            t.check(
                id,
                device or not cover or cover.get("type") in ("file", "dir"),
                f"/dev/null is {what}: {command}: the null device, or something empty",
                cover,
            )
