"""linux.rootfsPropagation (config-linux.md#rootfs-mount-propagation)."""

from __future__ import annotations

from oci_conformance.core import kernel
from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import Mount
from oci_conformance.run.case import Case, Container
from oci_conformance.run.registry import test

ADMIN = mounting.capabilities("CAP_SYS_ADMIN")


def _serve(t: Case, propagation: str) -> Container:
    """A running container whose bundle is in a shared mount of the host."""
    container = t.prepare({**ADMIN, "linux.rootfsPropagation": propagation}, "serve")
    kernel.mount(str(container.bundle), container.bundle, flags=kernel.MS_BIND)
    kernel.mount("none", container.bundle, flags=kernel.MS_SHARED)
    container.create()
    container.start()
    return container


def _root(container: Container) -> Mount | None:
    return mounting.top(mounting.asked(container), "/")


def _shown(mount: Mount | None) -> object:
    return "/ isn't among the mounts" if mount is None else sorted(mount.propagation) or "private"


def _arrives(container: Container) -> bool:
    """Does a mount that is made on the host in the root directory appear in the container?"""
    kernel.mount("tmpfs", container.rootfs / "mnt", "tmpfs")
    return mounting.top(mounting.asked(container), "/mnt") is not None


@test("rootprop.shared", needs=("root",))
def shared(t: Case) -> None:
    """shared: / is in a peer group of its own, and so is what is mounted below it."""
    container = _serve(t, "shared")
    root = _root(container)
    group = root.group("shared") if root else None
    if not t.check("rootprop.shared", group is not None, "/ is shared", _shown(root)):
        return
    others = {mount.group("shared") for mount in mounting.here()}
    t.check(
        "rootprop.shared", group not in others, "a peer group that the host has no mount in", _shown(root)
    )
    made = container.ask("mount tmpfs /run tmpfs")
    mount = mounting.top(mounting.asked(container), "/run")
    ok = mount is not None and mount.group("shared") is not None
    t.check("rootprop.shared", ok, "a mount made below / is shared", _shown(mount) if mount else made)


@test("rootprop.slave", needs=("root",))
def slave(t: Case) -> None:
    """slave: what is mounted on the host in the root directory appears in the container, but not vice versa."""
    container = _serve(t, "slave")
    root = _root(container)
    fields = {field.partition(":")[0] for field in root.propagation} if root else set()
    t.check("rootprop.slave", fields == {"master"}, "/ is a slave, and not shared", _shown(root))
    t.check("rootprop.slave", _arrives(container), "the host's mount at /mnt", "no mount at /mnt")
    _keeps_its_own(t, "rootprop.slave", container)


@test("rootprop.private", needs=("root",))
def private(t: Case) -> None:
    """private: neither side sees what the other mounts."""
    container = _serve(t, "private")
    root = _root(container)
    t.check("rootprop.private", root is not None and not root.propagation, "/ is private", _shown(root))
    t.check("rootprop.private", not _arrives(container), "no mount at /mnt", "the host's mount at /mnt")
    _keeps_its_own(t, "rootprop.private", container)


@test("rootprop.unbindable", needs=("root",))
def unbindable(t: Case) -> None:
    """unbindable: / is private and can't be bind mounted."""
    container = _serve(t, "unbindable")
    root = _root(container)
    t.check(
        "rootprop.unbindable",
        root is not None and root.propagation == {"unbindable"},
        "unbindable",
        _shown(root),
    )
    t.check("rootprop.unbindable", not _arrives(container), "no mount at /mnt", "the host's mount at /mnt")
    made = container.ask("mount / /run - bind")
    t.equal("rootprop.unbindable", made.get("errno"), "EINVAL")


@test("rootprop.invalid")
def invalid(t: Case) -> None:
    """A value that names no kind of propagation is refused."""
    for value in ("bogus", "Shared"):
        fault = {"linux.rootfsPropagation": value}
        t.refused("rootprop.invalid", {"linux.rootfsPropagation": "private"}, fault)


def _keeps_its_own(t: Case, id: str, container: Container) -> None:
    """What the container mounts doesn't appear on the host."""
    made = container.ask("mount tmpfs /run tmpfs")
    left = mounting.top(mounting.here(), container.rootfs / "run")
    alone = "errno" not in made and left is None
    t.check(id, alone, "/run mounted in the container alone", left or made)
