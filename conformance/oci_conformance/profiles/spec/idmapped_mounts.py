"""Mounts with mapped users (config.md#linux-mount-options: idmap, ridmap; config.md#posix-platform-mounts).

A file system of the host holds a file of user 1 and group 2. By whose number it is seen in the container tells which
mapping was used; `idmapped` among the mount's flags tells that it is the kernel's (mount_setattr(2)).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypedDict, Unpack

from oci_conformance.core.bundle import Path_
from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import Entry, bind
from oci_conformance.run.case import Case, Refused, Seen
from oci_conformance.run.registry import test
from oci_spec.types import IdMapping

NEEDS = ("root", "idmap", "kernel:6.3")  # 6.3: a tmpfs can be mapped


class Mappings(TypedDict, total=False):
    """The ids of a mount."""

    uidMappings: list[IdMapping]
    gidMappings: list[IdMapping]


USER, GROUP = 1, 2  # of the file on its file system
UIDS: list[IdMapping] = [{"containerID": 0, "hostID": 30000, "size": 100}]
GIDS: list[IdMapping] = [{"containerID": 0, "hostID": 40000, "size": 100}]
EXPLICIT = Mappings(uidMappings=UIDS, gidMappings=GIDS)
BASE = 200000  # first user and group on the host of the container's user namespace
USERNS: dict[Path_, Any] = {
    "linux.namespaces[+]": {"type": "user"},
    "linux.uidMappings": [{"containerID": 0, "hostID": BASE, "size": 65536}],
    "linux.gidMappings": [{"containerID": 0, "hostID": BASE, "size": 65536}],
}


def _source(t: Case) -> Path:
    """A tree of two mounts with such a file in each."""
    source = mounting.make_tree(t.folder / "source")
    for folder in (source, source / "below"):
        os.chown(folder / "name", USER, GROUP)
    return source


def _entry(source: Path, option: str, **properties: Unpack[Mappings]) -> Entry:
    """A mount of the tree, with idmap of its lower mount alone: in a user namespace trees are bound whole."""
    if option == "idmap":
        return {**bind(source / "below", "/mnt/place", option), **properties}
    return {**bind(source, "/mnt/place", *filter(None, [option]), how="rbind"), **properties}


def _run(t: Case, entry: Entry, changes: dict[Path_, Any] | None = None) -> Seen:
    return t.run(
        {**mounting.add(t, entry), **(changes or {})},
        "mounts",
        "stat /mnt/place/name",
        "stat /mnt/place/below/name",
        files=mounting.points(entry),
    )


def _owner(seen: Seen, place: str = "/mnt/place") -> list[object]:
    stat = seen.answer(f"stat {place}/name").get("result") or {}
    return [stat.get("uid"), stat.get("gid")]


def _mapped(seen: Seen, point: str = "/mnt/place") -> bool:
    mount = mounting.top(mounting.of(seen), point)
    return mount is not None and "idmapped" in mount.own


@test(
    "mounts.opt.idmap", "mounts.idmap-mapping-used", "mounts.idmap-mount_setattr",
    "mounts.uidMappings-impl", "mounts.gidMappings-impl", needs=NEEDS, may_refuse=True,
)  # fmt: skip
def explicit(t: Case) -> None:
    """idmap maps users and groups by the mount's own mappings, and is the kernel's mapping."""
    seen = _run(t, _entry(_source(t), "idmap", **EXPLICIT))
    owner, mapped = _owner(seen), _mapped(seen)
    wanted = [30000 + USER, 40000 + GROUP]
    t.equal("mounts.opt.idmap", owner, wanted)
    t.equal("mounts.idmap-mapping-used", owner, wanted)
    t.check("mounts.idmap-mount_setattr", mapped, "a mount with the flag idmapped", "a mount without it")
    t.equal("mounts.uidMappings-impl", [owner[0], mapped], [wanted[0], True])
    t.equal("mounts.gidMappings-impl", [owner[1], mapped], [wanted[1], True])


@test("mounts.opt.idmap", needs=NEEDS, may_refuse=True)
def not_recursive(t: Case) -> None:
    """Of a recursive bind mount idmap maps only the mount itself."""
    seen = _run(t, {**bind(_source(t), "/mnt/place", "idmap", how="rbind"), **EXPLICIT})
    owners = [_owner(seen, place) for place in ("/mnt/place", "/mnt/place/below")]
    t.equal("mounts.opt.idmap", owners, [[30000 + USER, 40000 + GROUP], [USER, GROUP]])


@test(
    "mounts.opt.ridmap", "mounts.ridmap-mapping-used", "mounts.ridmap-mount_setattr", needs=NEEDS, may_refuse=True
)  # fmt: skip
def explicit_recursive(t: Case) -> None:
    """ridmap maps users and groups by the mount's own mappings, also in what is mounted below."""
    seen = _run(t, _entry(_source(t), "ridmap", **EXPLICIT))
    owners = [_owner(seen, place) for place in ("/mnt/place", "/mnt/place/below")]
    mapped = [_mapped(seen, place) for place in ("/mnt/place", "/mnt/place/below")]
    wanted = [[30000 + USER, 40000 + GROUP]] * 2
    t.equal("mounts.opt.ridmap", owners, wanted)
    t.equal("mounts.ridmap-mapping-used", owners, wanted)
    t.check("mounts.ridmap-mount_setattr", all(mapped), "both mounts with the flag idmapped", mapped)


@test("mounts.idmap-mapping-used", "mounts.ridmap-mapping-used", needs=(*NEEDS, "userns"), may_refuse=True)
def explicit_in_user_namespace(t: Case) -> None:
    """The mount's own mappings count also where the container has others."""
    source = _source(t)
    mappings: list[IdMapping] = [{"containerID": 0, "hostID": BASE + 500, "size": 100}]
    for option in ("idmap", "ridmap"):
        entry = _entry(source, option, uidMappings=mappings, gidMappings=mappings)
        t.equal(f"mounts.{option}-mapping-used", _owner(_run(t, entry, USERNS)), [500 + USER, 500 + GROUP])


@test(
    "mounts.idmap-implied", "mounts.idmap-no-implied-error", "mounts.ridmap-implied", "mounts.ridmap-no-implied-error",
    needs=(*NEEDS, "userns"),
)  # fmt: skip
def implied(t: Case) -> None:
    """Without mappings of its own a mount is mapped as the container's user namespace is, or there is an error."""
    source = _source(t)
    for option in ("idmap", "ridmap"):
        may, must = f"mounts.{option}-implied", f"mounts.{option}-no-implied-error"
        wanted = f"a file of user {USER}, group {GROUP}; or an error"
        try:
            seen = _run(t, _entry(source, option), USERNS)
        except Refused as error:
            _run(t, _entry(source, ""), USERNS)  # without the option it has to run, or the error says nothing
            t.unsupported(may, str(error))
            t.check(must, True, wanted, "")
            continue
        places = ("/mnt/place", "/mnt/place/below") if option == "ridmap" else ("/mnt/place",)
        owners = [_owner(seen, place) for place in places]
        for id in (may, must):
            t.check(id, owners == [[USER, GROUP]] * len(places), wanted, owners)


@test("mounts.idmap-no-userns-error", "mounts.ridmap-no-userns-error", needs=("root", "idmap"))
def nothing_to_map_by(t: Case) -> None:
    """With neither mappings nor a user namespace there is an error."""
    source = t.folder / "source"
    (source / "below").mkdir(parents=True)
    plain = mounting.add(t, _entry(source, ""))
    for option in ("idmap", "ridmap"):
        t.refused(f"mounts.{option}-no-userns-error", plain, mounting.add(t, _entry(source, option)))


@test("mounts.uidMappings-needs-gid", "mounts.gidMappings-needs-uid", needs=NEEDS)
def one_sided(t: Case) -> None:
    """Mappings of users alone, or of groups alone, are an error."""
    source = _source(t)
    for id, alone in (("mounts.uidMappings-needs-gid", "uid"), ("mounts.gidMappings-needs-uid", "gid")):
        fault = _entry(source, "idmap", **{f"{alone}Mappings": UIDS})
        t.refused(id, mounting.add(t, _entry(source, "idmap", **EXPLICIT)), mounting.add(t, fault))


@test("mounts.uidMappings-impl", "mounts.gidMappings-impl", needs=NEEDS, may_refuse=True)
def without_option(t: Case) -> None:
    """Mappings of a mount are used, or refused, also without an option that says so: they aren't passed over."""
    owner = _owner(_run(t, _entry(_source(t), "", **EXPLICIT)))
    t.equal("mounts.uidMappings-impl", owner[0], 30000 + USER)
    t.equal("mounts.gidMappings-impl", owner[1], 40000 + GROUP)
