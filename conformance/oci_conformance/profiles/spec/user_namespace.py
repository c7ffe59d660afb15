"""linux.uidMappings and linux.gidMappings (config-linux.md#user-namespace-mappings)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from oci_conformance.run.case import Broken, Case, Container
from oci_conformance.run.registry import test

NAMESPACE = {"linux.namespaces[+]": {"type": "user"}}
NEEDS = ("root", "userns")
UIDS = [
    {"containerID": 0, "hostID": 100000, "size": 1000},
    {"containerID": 1000, "hostID": 300000, "size": 1},
    {"containerID": 5000, "hostID": 200000, "size": 60000},
]
GIDS = [
    {"containerID": 0, "hostID": 400000, "size": 2000},
    {"containerID": 65534, "hostID": 500000, "size": 2},
]


def _lines(text: str) -> list[list[int]]:
    """The lines of /proc/PID/uid_map, in the order of the container's ids."""
    return sorted([int(word) for word in line.split()] for line in text.splitlines())


def _rows(mappings: list[dict[str, int]]) -> list[list[int]]:
    return [[each["containerID"], each["hostID"], each["size"]] for each in mappings]


@test("userns.mappings", needs=NEEDS)
def mappings(t: Case) -> None:
    """The user namespace maps the ids that the configuration maps, and no others."""
    changes: dict[Any, Any] = {
        **NAMESPACE,
        "linux.uidMappings": UIDS,
        "linux.gidMappings": GIDS,
        "process.user": {"uid": 1000, "gid": 1999},
    }
    container = t.serve(changes)
    t.equal("userns.mappings", _lines(container.proc("uid_map")), _rows(UIDS))
    t.equal("userns.mappings", _lines(container.proc("gid_map")), _rows(GIDS))
    ids = container.ask("ids").get("result", {})
    t.equal("userns.mappings", (ids.get("uid"), ids.get("gid")), (1000, 1999))
    fields = dict(line.split(":\t", 1) for line in container.proc("status").splitlines() if ":\t" in line)
    outside = (fields.get("Uid", "").split(), fields.get("Gid", "").split())
    t.equal("userns.mappings", outside, (["300000"] * 4, ["401999"] * 4))


@test("userns.mappings", needs=NEEDS)
def files(t: Case) -> None:
    """Files have the owners that the mappings give them, in both directions."""
    container = t.prepare(
        {**NAMESPACE, "linux.uidMappings": UIDS[:1], "linux.gidMappings": GIDS[:1]},
        "stat /mine", "stat /others", "write /tmp/made x",
    )  # fmt: skip
    (container.rootfs / "tmp").chmod(0o1777)
    for name, uid, gid in (("mine", 100007, 400008), ("others", 1, 1)):
        (container.rootfs / name).touch()
        os.chown(container.rootfs / name, uid, gid)
    container.create()
    container.start()
    container.wait()
    seen = {each["command"]: each.get("result", {}) for each in container.results()}
    owners = [
        (seen[command].get("uid"), seen[command].get("gid")) for command in ("stat /mine", "stat /others")
    ]
    t.equal("userns.mappings", owners, [(7, 8), (_overflow("uid"), _overflow("gid"))])
    made = container.rootfs / "tmp/made"
    if not made.exists():
        raise Broken("the container's root can't make a file in a directory that everybody may write to")
    t.equal("userns.mappings", (made.stat().st_uid, made.stat().st_gid), (100000, 400000))


def _overflow(kind: str) -> int:
    """The id that stands for all that isn't mapped."""
    return int(Path(f"/proc/sys/kernel/overflow{kind}").read_text())


@test("userns.no-chown", needs=NEEDS)
def no_chown(t: Case) -> None:
    """The owners of the files of the root file system, and of a bind mount's source, are left as they are."""
    shared = t.folder / "shared"
    shared.mkdir()
    changes: dict[Any, Any] = {
        **NAMESPACE,
        "linux.uidMappings": UIDS[:1],
        "linux.gidMappings": GIDS[:1],
        "mounts[+]": {"destination": "/mnt", "type": "bind", "source": str(shared), "options": ["rbind"]},
    }
    container = t.prepare(changes, "ids")
    for place in (container.rootfs, shared):
        (place / "folder").mkdir()
        (place / "folder/file").touch()
        (place / "link").symlink_to("folder/file")
        os.chown(place / "folder/file", 12, 34)
        os.lchown(place / "link", 100056, 400078)
    before = _owners(container, shared)
    container.create()
    created = _owners(container, shared)
    container.start()
    container.wait()
    container.delete()
    deleted = _owners(container, shared)
    for seen in (created, deleted):
        changed = {name: seen.get(name) for name in before if seen.get(name) != before[name]}
        t.equal("userns.no-chown", changed, {})


def _owners(container: Container, shared: Path) -> dict[str, tuple[int, int]]:
    """Every file that the suite made -> its owner and group."""
    found = {}
    for top in (container.rootfs, shared):
        for path in (top, *top.rglob("*")):
            status = path.lstat()
            found[str(path)] = status.st_uid, status.st_gid
    return found
