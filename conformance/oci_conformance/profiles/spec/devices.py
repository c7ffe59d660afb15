"""linux.devices (config-linux.md#devices)."""

from __future__ import annotations

import os
import stat
from typing import Any

from oci_conformance.core.bundle import Json
from oci_conformance.run.case import DELETE, Broken, Case, Container, Refused
from oci_conformance.run.registry import test

KEY = "linux.devices"
NEEDS = ("root", "cap:MKNOD")
NULL = (1, 3)
TYPES = {"c": "char", "u": "char", "b": "block", "p": "fifo"}
# What a device node can be opened for is the cgroup's affair: here, for anything.
ALLOWED = {"linux.resources.devices": [{"allow": True, "access": "rwm"}]}


def device(path: str, kind: str = "c", numbers: tuple[int, int] = NULL, **more: Any) -> dict[str, object]:
    """An entry of linux.devices."""
    return {"path": path, "type": kind, "major": numbers[0], "minor": numbers[1], **more}


def found(container: Container, path: str) -> Json:
    """What the program finds at a path: links are followed, for a runtime may supply devices by them."""
    for _ in range(8):
        answer = container.ask(f"stat {path}")
        result = answer.get("result")
        if not isinstance(result, dict):
            raise Broken(f"{path} isn't there: {answer.get('errno')}")
        if result["type"] != "link":
            return result
        path = os.path.normpath(os.path.join(os.path.dirname(path), result["target"]))
    raise Broken(f"{path} is a loop of links")


@test("devices.available", "devices.any-path", needs=NEEDS)
def available(t: Case) -> None:
    """Each listed device is there with its type and numbers, in /dev, below it, and anywhere else; one can be used."""
    wanted = {
        "/dev/oc-null": ("c", NULL),
        "/dev/oc/deep/zero": ("u", (1, 5)),
        "/dev/oc-block": ("b", (7, 200)),
        "/mnt/oc-full": ("c", (1, 7)),
        "/made/for/it/random": ("c", (1, 8)),
        "/oc-large": ("c", (200, 70000)),
    }
    entries = [device(path, kind, numbers) for path, (kind, numbers) in wanted.items()]
    container = t.serve({KEY: entries, **ALLOWED})
    for path, (kind, numbers) in wanted.items():
        id = "devices.available" if path.startswith("/dev/") else "devices.any-path"
        try:
            seen = found(container, path)
        except Broken as error:
            t.check(id, False, f"a {TYPES[kind]} device at {path}", str(error))
            continue
        t.equal(id, [path, seen["type"], seen["major"], seen["minor"]], [path, TYPES[kind], *numbers])
    for path in ("/dev/oc-null", "/dev/oc/deep/zero"):
        t.equal("devices.available", container.ask(f"open {path} rw").get("errno"), None)


@test("devices.type-p", needs=NEEDS)
def fifo(t: Case) -> None:
    """Type p makes a FIFO, which needs no numbers."""
    entries: list[Json] = [
        {"path": "/dev/oc-fifo", "type": "p"},
        {"path": "/run/fifo", "type": "p", "fileMode": 0o620},
    ]
    container = t.serve({KEY: entries})
    seen = [found(container, entry["path"])["type"] for entry in entries]
    t.equal("devices.type-p", seen, ["fifo", "fifo"])


@test("devices.fileMode", "devices.uid-gid", needs=NEEDS)
def mode_and_owner(t: Case) -> None:
    """Devices have the permissions and owners of their entries, whatever the umask of whoever called the runtime."""
    wanted = {
        "/dev/oc-a": (0o666, 0, 0),
        "/dev/oc-b": (0o440, 1000, 1001),
        "/dev/oc-c": (0, 0, 65534),
        "/mnt/oc-d": (0o777, 4000000000, 7),
    }
    entries = [device(path, numbers=(1, number), fileMode=mode, uid=uid, gid=gid)
               for number, (path, (mode, uid, gid)) in enumerate(wanted.items(), 3)]  # fmt: skip
    before = os.umask(0o77)
    try:
        container = t.serve({KEY: entries})
    finally:
        os.umask(before)
    for path, (mode, uid, gid) in wanted.items():
        seen = found(container, path)
        t.equal("devices.fileMode", f"{path} {seen['mode']:04o}", f"{path} {mode:04o}")
        t.equal("devices.uid-gid", [path, seen["uid"], seen["gid"]], [path, uid, gid])


def _in_user_namespace(t: Case, **more: Any) -> dict[str, object]:
    """What a container in a user namespace finds where a device was listed.

    The host has the device at the same path, for runtimes that supply it by a bind mount; it is the test's own, so
    that a runtime that changes the owner of what it mounts doesn't change the host's.
    """
    node = t.folder / "node"
    os.mknod(node, stat.S_IFCHR | 0o604, os.makedev(*NULL))
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    changes: dict[Any, Any] = {
        "linux.namespaces[+]": {"type": "user"},
        "linux.uidMappings": mapping,
        "linux.gidMappings": mapping,
        KEY: [device(str(node), **more)],
        **ALLOWED,
    }
    container = t.prepare(changes, "serve")
    parent = container.rootfs / str(t.folder).lstrip("/")
    parent.mkdir(parents=True)
    os.chown(parent, 100000, 100000)  # so that the container's root may make the device's file there
    container.create()
    container.start()
    seen = found(container, str(node))
    t.equal("devices.available", [seen["type"], seen["major"], seen["minor"]], ["char", *NULL])
    return seen


@test("devices.available", needs=(*NEEDS, "userns"))
def in_user_namespace(t: Case) -> None:
    """A listed device is there in a user namespace, too."""
    _in_user_namespace(t)


@test("devices.available", "devices.fileMode", "devices.uid-gid", needs=(*NEEDS, "userns"), may_refuse=True)
def owner_in_user_namespace(t: Case) -> None:
    """In a user namespace the owner is as the container counts. What can't be applied has to be an error."""
    seen = _in_user_namespace(t, fileMode=0o641, uid=1000, gid=1001)
    t.equal("devices.fileMode", f"{seen['mode']:04o}", "0641")
    t.equal("devices.uid-gid", [seen["uid"], seen["gid"]], [1000, 1001])


@test("devices.exists-mismatch-error", needs=NEEDS)
def mismatch(t: Case) -> None:
    """Whatever stands at the path and isn't the device is an error; the device itself, or nothing, is none."""
    changes = {KEY: [device("/mnt/node")], **ALLOWED}
    for right in (None, (stat.S_IFCHR, NULL)):
        container = _with_file(t, changes, right)
        container.create()
        container.start()
        seen = found(container, "/mnt/node")
        t.equal(
            "devices.exists-mismatch-error", [seen["type"], seen["major"], seen["minor"]], ["char", *NULL]
        )
    for wrong in (
        (stat.S_IFREG, NULL),
        (stat.S_IFDIR, NULL),
        (stat.S_IFIFO, NULL),
        (stat.S_IFBLK, NULL),
        (stat.S_IFCHR, (1, 5)),
        (stat.S_IFCHR, (7, 3)),
    ):
        container = _with_file(t, changes, wrong)
        place = container.rootfs / "mnt/node"
        before = _identity(place)
        expected = f"an error, as {_words(*wrong)} is in the way"
        t.is_refused("devices.exists-mismatch-error", container, expected=expected)
        t.equal("devices.exists-mismatch-error", _identity(place), before)


def _with_file(t: Case, changes: Any, file: tuple[int, tuple[int, int]] | None) -> Container:
    """A prepared container, with a file of a type and device numbers at /mnt/node."""
    container = t.prepare(changes, "serve")
    place = container.rootfs / "mnt/node"
    if file is not None and file[0] == stat.S_IFDIR:
        place.mkdir()
    elif file is not None:
        os.mknod(place, file[0] | 0o666, os.makedev(*file[1]))
    return container


def _identity(place: os.PathLike[str]) -> list[int]:
    status = os.lstat(place)
    return [status.st_mode, status.st_rdev, status.st_size]


def _words(kind: int, numbers: tuple[int, int]) -> str:
    words = {stat.S_IFREG: "a file", stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO"}
    return words.get(kind, f"a {'block' if kind == stat.S_IFBLK else 'character'} device {numbers}")


@test("devices.major-minor-required", needs=NEEDS)
def numbers_required(t: Case) -> None:
    """Without major or minor an entry is an error, unless its type is p."""
    for kind in ("c", "u", "b"):
        base: dict[Any, Any] = {KEY: [device("/dev/oc", kind)]}
        for name in ("major", "minor"):
            t.refused("devices.major-minor-required", base, {f"{KEY}[0].{name}": DELETE})


@test("devices.type-invalid", needs=NEEDS)
def type_invalid(t: Case) -> None:
    """A type other than c, b, u and p, or none, is an error."""
    base: dict[Any, Any] = {KEY: [device("/dev/oc")]}
    for kind in ("s", "a", "", "cc", "C", DELETE):
        t.refused("devices.type-invalid", base, {f"{KEY}[0].type": kind})


@test("devices.dup", needs=NEEDS)
def duplicates(t: Case) -> None:
    """One device for two paths may be refused; where it isn't, both are there."""
    paths = ("/dev/oc-one", "/dev/oc-two")
    try:
        container = t.serve({KEY: [device(path) for path in paths]})
    except Refused as error:
        t.check("devices.dup", True, "an error, or both devices", error)
        return
    seen = [found(container, path) for path in paths]
    numbers = [[each["type"], each["major"], each["minor"]] for each in seen]
    t.equal("devices.dup", numbers, [["char", *NULL]] * 2)


@test("devices.unlisted-inaccessible", needs=NEEDS)
def unlisted(t: Case) -> None:
    """A device file of the root file system that isn't listed may be denied to the program, or work."""
    container = t.prepare({}, "open /mnt/kmsg")
    os.mknod(container.rootfs / "mnt/kmsg", stat.S_IFCHR | 0o666, os.makedev(1, 11))
    container.create()
    container.start()
    container.wait()
    seen = [each.get("errno", "it opens") for each in container.results()]
    permitted = ("it opens", "EPERM", "EACCES", "ENXIO", "ENODEV", "ENOENT")
    t.check(
        "devices.unlisted-inaccessible",
        seen[:1] in [[each] for each in permitted],
        " or ".join(permitted),
        seen,
    )
