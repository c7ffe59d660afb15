"""How mounts of a container propagate (config.md#linux-mount-options; mount_namespaces(7), mount(8)).

Sources are mounts of the test's own, made shared or private before. What a container without rootfsPropagation gets
from the host isn't said, so it is set where a mount has to receive something.
"""

from __future__ import annotations

from oci_conformance import mounting
from oci_conformance.case import Case
from oci_conformance.kernel import MS_PRIVATE, MS_REC, MS_SHARED
from oci_conformance.mounting import Mount, bind
from oci_conformance.registry import test

OPTIONS = ("shared", "slave", "private", "unbindable")
ADMIN = mounting.capabilities("CAP_SYS_ADMIN")


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
    shared, private = (mounting.make_tree(t.folder / name) for name in ("shared", "private"))
    mounting.propagate(shared, MS_SHARED | MS_REC)
    mounting.propagate(private, MS_PRIVATE | MS_REC)
    entries = [
        bind(
            shared if option in ("slave", "private") else private,
            f"/mnt/{prefix}{option}",
            f"{prefix}{option}",
            how="rbind",
        )
        for option in OPTIONS
        for prefix in ("", "r")
    ]
    seen = t.run(
        {**mounting.add(t, *entries), "linux.rootfsPropagation": "slave"},
        "mounts",
        files=mounting.points(*entries),
    )
    mounts = mounting.of(seen)
    for option in OPTIONS:
        for prefix in ("", "r"):
            points = [f"/mnt/{prefix}{option}", f"/mnt/{prefix}{option}/below"]
            found = [mounting.top(mounts, point) for point in points]
            ok = _is(option, found[0])
            if prefix:
                ok = ok and _is(option, found[1])
                wanted = f"the mount and the one below it: {option}"
            else:
                if option in ("shared", "unbindable"):  # the one below had nothing of it before
                    ok = ok and not _is(option, found[1])
                wanted = f"the mount: {option}; the one below it as before"
            t.check(f"mounts.opt.{prefix}{option}", ok, wanted, [_kinds(mount) for mount in found])


@test("mounts.opt.slave", "mounts.opt.rslave", "mounts.opt.private", "mounts.opt.rprivate", needs=("root",))
def events_of_the_host(t: Case) -> None:
    """What is mounted on the host after create appears in a slave, not in a private mount, and r means also below."""
    source = mounting.make_tree(t.folder / "source")
    for folder in (source, source / "below"):
        (folder / "late").mkdir()
    mounting.propagate(source, MS_SHARED | MS_REC)
    names = ("slave", "rslave", "private", "rprivate")
    entries = [bind(source, f"/mnt/{name}", name, how="rbind") for name in names]
    container = t.create(
        {**mounting.add(t, *entries), "linux.rootfsPropagation": "slave"},
        "serve",
        files=mounting.points(*entries),
    )
    container.start()
    for folder in (source, source / "below"):
        mounting.make_tmpfs(folder / "late")
    points = {mount.point for mount in mounting.asked(container)}
    for name in names:
        seen = [f"/mnt/{name}{below}/late" in points for below in ("", "/below")]
        if name.endswith("slave"):
            wanted = "mounts made on the host appear"
            ok = seen[0] if name == "slave" else all(seen)
        else:
            wanted = "mounts made on the host don't appear"
            ok = not seen[0] if name == "private" else not any(seen)
        t.check(f"mounts.opt.{name}", ok, wanted, f"at the top: {seen[0]}, below: {seen[1]}")


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
