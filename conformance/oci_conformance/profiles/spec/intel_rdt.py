"""linux.intelRdt (config-linux.md#intelrdt): cache and memory bandwidth by resctrl."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from oci_conformance.core.bundle import Json
from oci_conformance.profiles.support import resctrl
from oci_conformance.profiles.support.resctrl import TOP
from oci_conformance.run.case import Case, Container
from oci_conformance.run.registry import test

RDT = "linux.intelRdt"
NEEDS = ("root", "resctrl")
BOTH = ("rdt.both-written-order", "rdt.both-written-combined", "rdt.l3-with-mb-line")


def _name() -> str:
    return f"oci-conformance-{os.getpid()}"


def _values(t: Case, resource: str, share: int = 2) -> dict[tuple[str, str], int]:
    values = resctrl.smaller(resource, share)
    if not values:
        t.skip(f"this host lacks {resource} in resctrl")
    return values


def _tasks(group: Path) -> set[int]:
    return {int(each) for each in (group / "tasks").read_text().split()}


def _features() -> list[str]:
    """What resctrl can count here."""
    file = TOP / "info/L3_MON/mon_features"
    return file.read_text().split() if file.exists() else []


@contextlib.contextmanager
def _running(t: Case, rdt: Json) -> Iterator[Container]:
    """A started container; after it, what the runtime made for it in resctrl is gone even if the runtime left it."""
    c = t.serve({RDT: rdt})
    try:
        yield c
    finally:
        c.call("delete-force")
        for name in (c.id, rdt.get("closID", "").strip("/")):
            if name and name != _name():
                resctrl.remove(TOP / name)


@test("rdt.no-resctrl-error", needs=("root",))
def no_resctrl(t: Case) -> None:
    """Without a mounted resctrl, intelRdt is refused, whatever is in it."""
    if TOP.joinpath("schemata").exists():
        t.skip("this host has resctrl, and so can't show what happens without it")
    for rdt in ({"closID": "oci-conformance"}, {"l3CacheSchema": "L3:0=f"}, {}, {"closID": "/"}):
        t.refused("rdt.no-resctrl-error", {}, {RDT: rdt}, at="start", why=f"an error for {rdt}")


@test("rdt.unset-untouched", needs=NEEDS)
def unset(t: Case) -> None:
    """A container without intelRdt leaves resctrl as it is."""
    before = resctrl.snapshot()
    c = t.serve({})
    during = resctrl.snapshot()
    t.check("rdt.unset-untouched", c.pid in _tasks(TOP), "the program in the default class", "it isn't")
    c.delete(force=True)
    t.equal("rdt.unset-untouched", [during, resctrl.snapshot()], [before, before])


@test(
    "rdt.tasks",
    "rdt.closid-only-exists",
    "rdt.closid-only-assign",
    "rdt.none-no-write",
    "rdt.no-remove",
    needs=NEEDS,
)
def existing_class(t: Case) -> None:
    """closID alone puts the program into that class, which has to exist, and changes nothing of it."""
    with resctrl.group(_name()) as group:
        before = resctrl.snapshot()
        with _running(t, {"closID": group.name}) as c:
            tasks = _tasks(group)
            for id in ("rdt.tasks", "rdt.closid-only-assign", "rdt.closid-only-exists"):
                t.check(id, c.pid in tasks, f"{c.pid} in {group.name}/tasks", sorted(tasks))
            t.equal("rdt.none-no-write", resctrl.snapshot(), before)
            c.delete(force=True)
            t.check("rdt.no-remove", group.is_dir(), "the class is still there", "it was removed")
    for id in ("rdt.closid-only-exists", "rdt.closid-only-assign"):
        t.refused(id, {}, {RDT: {"closID": f"{_name()}-none"}}, at="start")


@test("rdt.closid-root", needs=NEEDS)
def default_class(t: Case) -> None:
    """closID "/" puts the program into the default class, from wherever the runtime was called."""
    with resctrl.group(_name()) as group:
        (group / "tasks").write_text(str(os.getpid()))  # what this process starts is there, too
        try:
            with _running(t, {"closID": "/"}) as c:
                t.check(
                    "rdt.closid-root", c.pid in _tasks(TOP), "the program in the default class", "it isn't"
                )
        finally:
            (TOP / "tasks").write_text(str(os.getpid()))


@test("rdt.either-written", "rdt.closid-created", needs=NEEDS)
def one_schema(t: Case) -> None:
    """A schema is written to its class, which is made if it isn't there."""
    shown = False
    for key, resource in (("l3CacheSchema", "L3"), ("memBwSchema", "MB")):
        values = resctrl.smaller(resource, 2)
        if not values:
            continue
        shown = True
        name = f"{_name()}-{resource}"
        with _running(t, {"closID": name, key: resctrl.write(values, resource)}):
            made = (TOP / name).is_dir()
            t.check("rdt.closid-created", made, f"the class {name}", "there is none")
            seen = resctrl.schemata(TOP / name) if made else {}
            t.check("rdt.either-written", values.items() <= seen.items(), str(values), str(seen))
    if not shown:
        t.skip("this host lacks L3 and MB in resctrl")


@test(*BOTH, needs=NEEDS)
def both_schemas(t: Case) -> None:
    """Of l3CacheSchema and memBwSchema both are written; where both say something of bandwidth, the latter counts."""
    cache, first, last = _values(t, "L3"), _values(t, "MB", 4), _values(t, "MB", 2)
    l3, mb = resctrl.write(cache, "L3"), resctrl.write(last, "MB")
    for text, ids in ((l3, BOTH[:2]), (f"{l3}\n{resctrl.write(first, 'MB')}", BOTH)):
        c = t.prepare({RDT: {"l3CacheSchema": text, "memBwSchema": mb}}, "pause")
        call = c.call("create")
        try:
            seen = resctrl.schemata(TOP / c.id) if call.ok else call.sentence
            right = isinstance(seen, dict) and (cache | last).items() <= seen.items()
            for id in ids:
                # Since 1.3.0 a second line in l3CacheSchema isn't recommended, so it may be refused.
                if call.ok or text == l3 or id == BOTH[2]:
                    t.check(id, right, str(cache | last), str(seen))
        finally:
            c.call("delete-force")
            resctrl.remove(TOP / c.id)


@test("rdt.schemata-written", "rdt.schemata-last", needs=NEEDS)
def schemata(t: Case) -> None:
    """Each line of schemata is written, after l3CacheSchema, which it may overrule."""
    first, last = _values(t, "L3", 4), _values(t, "L3", 2)
    lines = [resctrl.write(last, "L3")]
    for id, more in (
        ("rdt.schemata-written", {}),
        ("rdt.schemata-last", {"l3CacheSchema": resctrl.write(first, "L3")}),
    ):
        with _running(t, {"schemata": lines, **more}) as c:
            seen = resctrl.schemata(TOP / c.id)
            t.check(id, last.items() <= seen.items(), str(last), str(seen))


@test("rdt.no-closid-uses-id", "rdt.remove", needs=NEEDS)
def own_class(t: Case) -> None:
    """Without closID the class is named after the container, and goes with it."""
    values = _values(t, "L3")
    with _running(t, {"l3CacheSchema": resctrl.write(values, "L3")}) as c:
        group = TOP / c.id
        made = group.is_dir() and c.pid in _tasks(group)
        t.check("rdt.no-closid-uses-id", made, f"the program in the class {c.id}", sorted(resctrl.snapshot()))
        c.delete(force=True)
        t.check(
            "rdt.remove",
            made and not group.exists(),
            "no such class after delete",
            sorted(resctrl.snapshot()),
        )


@test("rdt.closid-compare", needs=NEEDS)
def compare(t: Case) -> None:
    """A schema that differs from that of an existing class is refused; the same one is not."""
    values, other = _values(t, "L3", 2), _values(t, "L3", 4)
    with resctrl.group(_name(), resctrl.write(values, "L3")) as group:
        same = {"closID": group.name, "l3CacheSchema": resctrl.write(values, "L3")}
        differs = {"closID": group.name, "l3CacheSchema": resctrl.write(other, "L3")}
        t.refused("rdt.closid-compare", {RDT: same}, {RDT: differs}, at="start")


@test("rdt.no-remove", needs=NEEDS)
def class_stays(t: Case) -> None:
    """A class that the runtime made because of closID stays after delete."""
    values = _values(t, "L3")
    with _running(t, {"closID": f"{_name()}-stays", "l3CacheSchema": resctrl.write(values, "L3")}) as c:
        c.delete(force=True)
        stays = (TOP / f"{_name()}-stays").is_dir()
        t.check("rdt.no-remove", stays, "the class is still there", "it was removed")


@test("rdt.mb-form", "rdt.mb-no-newline", "rdt.schemata-no-newline", needs=NEEDS)
def forms(t: Case) -> None:
    """What is no single line, or of another resource in memBwSchema, is refused."""
    l3 = resctrl.write(_values(t, "L3"), "L3")
    lines = [l3, l3]
    t.refused("rdt.schemata-no-newline", {RDT: {"schemata": lines}}, {RDT: {"schemata": ["\n".join(lines)]}})
    mb = resctrl.write(_values(t, "MB"), "MB")
    base: dict[str, object] = {RDT: {"memBwSchema": mb}}
    t.refused("rdt.mb-form", base, {RDT: {"memBwSchema": l3}})
    t.refused("rdt.mb-no-newline", base, {RDT: {"memBwSchema": f"{mb}\n{mb}"}})


@test("rdt.cmt", "rdt.mbm", needs=NEEDS)
def old_monitoring(t: Case) -> None:
    """enableCMT and enableMBM have the container monitored: it is in a group of its own that counts."""
    for id, key, file in (
        ("rdt.cmt", "enableCMT", "llc_occupancy"),
        ("rdt.mbm", "enableMBM", "mbm_total_bytes"),
    ):
        if file not in _features():
            t.unsupported(id, f"this host lacks {file} in resctrl")
            continue
        with _running(t, {key: True}) as c:
            groups = [
                path.parent
                for path in TOP.rglob("tasks")
                if path.parent != TOP and c.pid in _tasks(path.parent)
            ]
            t.check(
                id,
                any(list(group.glob(f"mon_data/*/{file}")) for group in groups),
                f"a group with {file}",
                groups,
            )


@test("rdt.mon-create", "rdt.mon-name", "rdt.mon-delete", "rdt.mon-fail", needs=NEEDS)
def monitoring(t: Case) -> None:
    """enableMonitoring makes a monitoring group with the container's name in its class, which goes with it."""
    if not (TOP / "mon_groups").is_dir():
        t.skip("this host lacks monitoring in resctrl")
    with resctrl.group(_name()) as group:
        place = group / "mon_groups"
        rdt = {"closID": group.name, "enableMonitoring": True}
        with _running(t, rdt) as c:
            groups = sorted(path.name for path in place.iterdir())
            t.check("rdt.mon-create", len(groups) == 1, "one monitoring group", groups)
            t.check("rdt.mon-name", groups == [c.id], f"a monitoring group {c.id}", groups)
            c.delete(force=True)
            left = sorted(path.name for path in place.iterdir())
            t.check("rdt.mon-delete", bool(groups) and not left, "no monitoring group after delete", left)
        _exhaust(place)
        t.is_refused("rdt.mon-fail", t.prepare({RDT: rdt}), at="start")


def _exhaust(place: Path) -> None:
    """Make monitoring groups until the hardware has no more; they go with the class that they are in."""
    for number in range(1 << 14):
        try:
            (place / f"filler{number}").mkdir()
        except OSError:
            return
