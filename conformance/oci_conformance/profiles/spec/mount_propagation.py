"""How mounts of a container propagate (config.md#linux-mount-options; mount_namespaces(7), mount(8)).

Sources are mounts of the test's own, made shared or private before.
"""

from __future__ import annotations

from typing import Any

from oci_conformance.core.bundle import Path_
from oci_conformance.core.kernel import MS_PRIVATE, MS_REC, MS_SHARED
from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import Mount, bind
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

OPTIONS = ("shared", "slave", "private", "unbindable")
SLAVES = ("slave", "rslave")
ONE_WAY = (*SLAVES, "private", "rprivate")
ADMIN = mounting.capabilities("CAP_SYS_ADMIN")
# With it the copy of a shared source is shared too, so that an option has something to change.
SHARED: dict[Path_, Any] = {"linux.rootfsPropagation": "shared"}


def _kinds(mount: Mount | None) -> str:
    """What stands in the propagation fields of a mount, without numbers."""
    if mount is None:
        return "no mount there"
    return " ".join(sorted(field.partition(":")[0] for field in mount.propagation)) or "private"


def _is(option: str, mount: Mount | None) -> bool:
    """Does a mount propagate in the way that an option asks for?"""
    kinds = _kinds(mount).split()
    if option == "shared":  # one that was a slave before is still one
        return "shared" in kinds
    return kinds == [{"slave": "master"}.get(option, option)]


@test(*(f"mounts.opt.{prefix}{option}" for option in OPTIONS for prefix in ("", "r")), needs=("root",))
def fields(t: Case) -> None:
    """shared, slave, private and unbindable change the mount, with r in front also the mounts below it."""
    tree = mounting.make_tree(t.folder / "source")
    for flags, propagation, options in (
        (MS_SHARED, "shared", ("slave", "private")),
        (MS_PRIVATE, "private", ("shared", "unbindable")),
    ):
        mounting.propagate(tree, flags | MS_REC)
        names = [prefix + option for option in options for prefix in ("", "r")]
        entries = [bind(tree, "/mnt/plain", how="rbind")]
        entries += [bind(tree, f"/mnt/{name}", name, how="rbind") for name in names]
        changes: dict[Path_, Any] = {"linux.rootfsPropagation": propagation, **mounting.add(t, *entries)}
        mounts = mounting.of(t.run(changes, "mounts", files=mounting.points(*entries)))
        before = _kinds(mounting.top(mounts, "/mnt/plain/below"))
        for name in names:
            option = name if name in options else name[1:]
            mount, below = (mounting.top(mounts, f"/mnt/{name}{place}") for place in ("", "/below"))
            if name == option:
                ok = _kinds(below) == before
                wanted = f"the mount {option}, the one below it {before}, as without options"
            else:
                ok, wanted = _is(option, below), f"the mount and the one below it {option}"
            t.check(f"mounts.opt.{name}", ok and _is(option, mount), wanted, [_kinds(mount), _kinds(below)])


@test("mounts.opt.slave", "mounts.opt.rslave", "mounts.opt.private", "mounts.opt.rprivate", needs=("root",))
def events_of_the_host(t: Case) -> None:
    """What is mounted on the host appears in a slave and not in a private mount; what either mounts stays with it."""
    source = mounting.make_tree(t.folder / "source")
    for folder in (source, source / "below"):
        for name in ("late", *ONE_WAY):
            (folder / name).mkdir()
    mounting.propagate(source, MS_SHARED | MS_REC)
    entries = [bind(source, f"/mnt/{name}", name, how="rbind") for name in ONE_WAY]
    container = t.serve({**mounting.add(t, *entries), **SHARED, **ADMIN}, files=mounting.points(*entries))
    for folder in (source, source / "below"):
        mounting.make_tmpfs(folder / "late")
    points = {mount.point for mount in mounting.asked(container)}
    for name in ONE_WAY:
        places = [source] if not name.startswith("r") else [source, source / "below"]
        for place in places:
            below = str(place)[len(str(source)) :]
            late = f"/mnt/{name}{below}/late"
            wanted = f"a mount on the host {'appears' if name in SLAVES else 'does not appear'} at {late}"
            t.check(f"mounts.opt.{name}", (late in points) == (name in SLAVES), wanted, sorted(points))
            made = container.ask(f"mount tmpfs /mnt/{name}{below}/{name} tmpfs")
            leaked = mounting.top(mounting.here(), place / name)
            ok = "errno" not in made and leaked is None
            t.check(f"mounts.opt.{name}", ok, "what the container mounts there is its own", leaked or made)


@test("mounts.opt.shared", "mounts.opt.rshared", needs=("root",))
def events_of_the_container(t: Case) -> None:
    """A mount made in the container below a shared mount appears in each other mount of its peer group."""
    source = mounting.make_tree(t.folder / "source")
    for folder in (source, source / "below"):
        (folder / "late").mkdir()
    names = {"shared": "late", "rshared": "below/late"}
    entries = [bind(source, f"/mnt/{name}", name, how="rbind") for name in names]
    container = t.serve({**mounting.add(t, *entries), **ADMIN}, files=mounting.points(*entries))
    for name, place in names.items():
        id = f"mounts.opt.{name}"
        container.ask(f"mkdir /tmp/{name}")
        copied = container.ask(f"mount /mnt/{name} /tmp/{name} - rbind")
        made = container.ask(f"mount tmpfs /mnt/{name}/{place} tmpfs")
        if not t.check(id, "errno" not in {**copied, **made}, "CAP_SYS_ADMIN lets mount", [copied, made]):
            continue
        points = {mount.point for mount in mounting.asked(container)}
        t.check(
            id, f"/tmp/{name}/{place}" in points, f"the mount at {place} also in the copy", sorted(points)
        )


@test("mounts.opt.unbindable", "mounts.opt.runbindable", needs=("root",))
def unbindable(t: Case) -> None:
    """An unbindable mount can't be bind mounted by the program."""
    source = mounting.make_tree(t.folder / "source")
    entries = [
        bind(source, "/mnt/unbindable", "unbindable"),
        bind(source, "/mnt/runbindable", "runbindable", how="rbind"),
        bind(source, "/mnt/plain"),
    ]
    tries = {
        "mounts.opt.unbindable": "mount /mnt/unbindable /tmp - bind",
        "mounts.opt.runbindable": "mount /mnt/runbindable/below /tmp - bind",
        "control": "mount /mnt/plain /tmp - bind",
    }
    seen = t.run({**mounting.add(t, *entries), **ADMIN}, *tries.values(), files=mounting.points(*entries))
    control = seen.error(tries.pop("control"))
    for id, command in tries.items():
        t.equal(id, [seen.error(command), control], ["EINVAL", None])
