"""Links on the way of what a configuration names: mount points, devices, the working folder, the root itself.

CVE-2019-18837, CVE-2021-30465, CVE-2026-41579, CVE-2026-47766 and their like: a path of the container is looked up as
if it were one of the host's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from oci_conformance.profiles.hardening.attack import UP, Attack, attack, control, links, ways
from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import bind, tmpfs
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

CWD = "stat ."


def _forms(outside: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """Attacks by links: name -> the path that the configuration names, and links in the root file system."""
    folder = outside / "folder"
    forms = {name: ("/way", {"way": target}) for name, target in ways(folder).items()}
    return {
        **{f"a link, {name}": form for name, form in forms.items()},
        **{
            f"below a link, {name}": (f"{path}/below/new", targets) for name, (path, targets) in forms.items()
        },
        "a chain": ("/way/new", {"way": "second", "second": "/third", "third": UP + str(folder)[1:]}),
        "a dangling link": ("/way", {"way": str(outside / "missing")}),
        "a dangling relative link": ("/way/new", {"way": UP + str(outside)[1:] + "/missing"}),
        "a link in the middle": ("/etc/way/below", {"etc/way": str(folder)}),
        "a link, then ..": ("/way/../new", {"way": str(folder / "below")}),
        "links that climb": ("/one/two/new", {"one": "..", "two": UP + str(folder)[1:]}),
        "a link to itself": ("/way/new", {"way": "way"}),
    }


@test("hardening.mount-link")
def tmpfs_there(t: Case) -> None:
    """A tmpfs's destination is, or lies behind, a link to the host: it is mounted inside, or the runtime refuses."""
    _mount(t, tmpfs("", "size=64k"), "size=64k")


@test("hardening.mount-link")
def folder_there(t: Case) -> None:
    """The destination of a folder is, or lies behind, a link to the host: as for a tmpfs."""
    volume = t.folder / "volume"
    volume.mkdir()
    _mount(t, bind(volume, ""), "/volume")


@test("hardening.mount-link")
def file_there(t: Case) -> None:
    """The destination of a file is, or lies behind, a link to the host: as for a tmpfs."""
    marker = t.folder / "marker"
    marker.write_text("")
    _mount(t, bind(marker, ""), "/marker")


def _mount(t: Case, entry: mounting.Entry, sign: str) -> None:
    """Attacks on a mount, which `sign` tells from others: the end of its root, or an option of its file system."""
    id = "hardening.mount-link"
    if control(t, (id,), mounting.add(t, {**entry, "destination": "/plain"})) is None:
        return
    attacks = attack(t, id)
    for form, (path, targets) in _forms(attacks.canary.path).items():
        changes = mounting.add(t, {**entry, "destination": path})
        seen = attacks.run(form, changes, links(targets), "mounts")
        if seen is not None:
            inside = [each for each in mounting.of(seen) if each.root.endswith(sign) or sign in each.data]
            t.check(id, bool(inside), f"{form}: the mount is seen inside", seen["mounts"])


@test("hardening.device-link", needs=("root",))
def fifo_there(t: Case) -> None:
    """The path of a FIFO is, or lies behind, a link to the host: none is made, and no owner changed, there."""
    _device(t, {"type": "p", "fileMode": 0o666, "uid": 1000, "gid": 1000})


@test("hardening.device-link", needs=("root", "cap:MKNOD"))
def device_there(t: Case) -> None:
    """The path of a device is, or lies behind, a link to the host: as for a FIFO."""
    _device(t, {"type": "c", "major": 1, "minor": 7, "fileMode": 0o666, "uid": 1000, "gid": 1000})


def _device(t: Case, device: dict[str, object]) -> None:
    id = "hardening.device-link"
    if control(t, (id,), {"linux.devices": [{**device, "path": "/run/plain"}]}) is None:
        return
    attacks = attack(t, id)
    for form, (path, targets) in _forms(attacks.canary.path).items():
        attacks.run(form, {"linux.devices": [{**device, "path": path}]}, links(targets))


@test("hardening.cwd-link")
def working_folder(t: Case) -> None:
    """process.cwd is, or lies behind, a link to the host: nothing is made there, and the program isn't in it."""
    id = "hardening.cwd-link"
    if control(t, (id,), {"process.cwd": "/run/new/folder"}, "cwd") is None:
        return
    attacks = attack(t, id)
    for form, (path, targets) in _forms(attacks.canary.path).items():
        seen = attacks.run(
            f"cwd at {form}",
            {"process.cwd": path},
            links(targets),
            "cwd",
            CWD,
        )
        if seen is not None:
            judge_folder(attacks, f"cwd at {form}", seen["cwd"], seen.answer(CWD).get("result"))


def judge_folder(attacks: Attack, what: str, name: object, status: Any) -> None:
    """A verdict: a program's working folder is one of its own root, and not the canary."""
    outside = {_identity(each.stat()) for each in (attacks.canary.path, *attacks.canary.path.rglob("*"))}
    inside = isinstance(name, str) and name.startswith("/")
    attacks.t.check(attacks.id, inside, f"{what}: a folder below the container's root", name)
    here = ((status or {}).get("dev"), (status or {}).get("ino"))
    attacks.t.check(
        attacks.id, here not in outside, f"{what}: a folder of the container", f"the host's, {name}"
    )


def _identity(status: os.stat_result) -> tuple[str, int]:
    return f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}", status.st_ino


@test("hardening.root-link")
def root(t: Case) -> None:
    """A root file system behind links, and a bundle behind one: the container has what is there, and nothing else."""
    id = "hardening.root-link"
    attacks = attack(t, id)
    for number, (path, target) in enumerate(
        (("way", "rootfs"), ("way/rootfs", "."), ("way", "{bundle}/rootfs"))
    ):
        folder = t.folder / f"bundle-{number}"
        changes = {
            **mounting.add(t, tmpfs("/new/mount")),
            "root.path": path,
            "linux.maskedPaths": ["/etc/secret"],
        }
        container = t.prepare(changes, "mounts", "read /etc/secret", "read /etc/name", folder=folder)
        (folder / "way").symlink_to(target.format(bundle=folder))
        for name in ("secret", "name"):
            (container.rootfs / "etc" / name).write_text(name)
        bundles = t.folder / f"link-{number}"
        bundles.symlink_to(folder)
        call = container.call("create", bundle=str(bundles))
        if not call.ok:
            continue
        container.start()
        container.wait()
        container.delete()
        answers = {each["command"]: each for each in container.results()}
        points = [mount.point for mount in mounting.parse(answers.get("mounts", {}).get("result", []))]
        t.check(id, "/new/mount" in points, f"root.path {path}: the mount is inside", points)
        t.equal(id, answers.get("read /etc/name", {}).get("result"), "name")
        secret = answers.get("read /etc/secret", {}).get("result")
        t.check(id, not secret, f"root.path {path}: what is masked can't be read", secret)
        t.check(
            id, (folder / "way").is_symlink(), f"root.path {path}: the bundle's link stays", "it was replaced"
        )
    wrong = attacks.canary.changes()
    t.check(id, not wrong, "nothing is changed outside", wrong)
