"""Mounts: their modes and flags, where they come from, and what is made for them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from oci_conformance.core import kernel
from oci_conformance.profiles.habits import tools
from oci_conformance.profiles.habits.tools import MAPPED
from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import Entry, add, bind, tmpfs
from oci_conformance.run.case import Case, Refused, Seen
from oci_conformance.run.registry import test

SAFE = frozenset({"nosuid", "nodev", "noexec"})
SAFE_FLAGS = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC


def _own(seen: Seen, point: str) -> frozenset[str]:
    """The flags of the mount that is seen at a point; nothing if there is none."""
    mount = mounting.top(mounting.of(seen), point)
    return mount.own if mount is not None else frozenset()


def _volume(t: Case, name: str = "volume", content: str = "here") -> Path:
    """A folder of the host with a file `name` in it."""
    folder = t.folder / name
    folder.mkdir()
    (folder / "name").write_text(content)
    return folder


def _dev(t: Case, *options: str) -> list[Entry]:
    """The mounts of the base configuration, with more options for /dev."""
    mounts: list[Entry] = t.base("x")["mounts"]
    return [
        {**each, "options": [*each["options"], *options]} if each["destination"] == "/dev" else each
        for each in mounts
    ]


@test("habits.dev-readonly")
def dev_readonly(t: Case) -> None:
    """/dev with ro: the null device can be written to, and nothing can be made."""
    seen = t.run(
        {"mounts": _dev(t, "ro")}, "stat /dev/null", "write /dev/null x", "write /dev/new x", "mounts"
    )
    node = seen["stat /dev/null"]
    t.equal("habits.dev-readonly", [node["type"], node["major"], node["minor"]], ["char", 1, 3])
    t.equal("habits.dev-readonly", seen.error("write /dev/null x"), None)
    t.equal("habits.dev-readonly", seen.error("write /dev/new x"), "EROFS")


@test("habits.tmpfs-mode")
def tmpfs_mode(t: Case) -> None:
    """Folders of mode 0710 and 0700 of the image, covered by a tmpfs without mode=, and by one with mode=751."""
    container = t.prepare(
        add(t, tmpfs("/one", "nosuid"), tmpfs("/two", "size=64k"), tmpfs("/three", "mode=751")),
        "stat /one", "stat /two", "stat /three",
    )  # fmt: skip
    for name, mode in (("one", 0o710), ("two", 0o700), ("three", 0o700)):
        (container.rootfs / name).mkdir()
        (container.rootfs / name).chmod(mode)
    container.create()
    container.start()
    container.wait()
    modes = [oct(tools.result(container.stdout, f"stat /{each}")["mode"]) for each in ("one", "two", "three")]
    t.equal("habits.tmpfs-mode", modes, [oct(0o710), oct(0o700), oct(0o751)])


@test("habits.bind-unknown-option")
def bind_unknown(t: Case) -> None:
    """A bind mount with an option that no file system has, and with one of tmpfs: refused."""
    volume = _volume(t)
    for option in ("no-such-option=1", "size=64k"):
        t.refused(
            "habits.bind-unknown-option", add(t, bind(volume, "/mnt")), add(t, bind(volume, "/mnt", option))
        )


@test("habits.bind-idmap-option", needs=("root", "idmap", "kernel:6.3"))
def bind_idmap(t: Case) -> None:
    """idmap=uids=0-1000-1;gids=0-1000-1: an error, or a file of user 0 that isn't his in the container."""
    volume = mounting.make_tmpfs(t.folder / "volume")
    (volume / "name").write_text("")
    with tools.control(t):
        t.run(add(t, bind(volume, "/mnt")), "stat /mnt/name")
    entry = bind(volume, "/mnt", "idmap=uids=0-1000-1;gids=0-1000-1")
    try:
        seen = t.run(add(t, entry), "stat /mnt/name")["stat /mnt/name"]
    except Refused:
        t.check("habits.bind-idmap-option", True, "an error", "an error")
        return
    owner = (seen["uid"], seen["gid"])
    t.check("habits.bind-idmap-option", owner != (0, 0), "an error, or another owner", f"owner {owner}")


@test("habits.mount-points")
def mount_points(t: Case) -> None:
    """Destinations that aren't there, from a caller with umask 022: folders of mode 0755 and a file."""
    volume = _volume(t)
    entries = (bind(volume, "/new/deep/folder"), bind(volume / "name", "/other/file"), tmpfs("/third/place"))
    container = t.prepare(add(t, *entries), "read /new/deep/folder/name", "read /other/file")
    with tools.umask(0o22):
        container.create()
    container.start()
    container.wait()
    container.delete()
    for command in ("read /new/deep/folder/name", "read /other/file"):
        t.equal("habits.mount-points", tools.result(container.stdout, command), "here")
    for name in ("new", "new/deep", "new/deep/folder", "other", "third", "third/place"):
        mode = stat.S_IMODE((container.rootfs / name).stat().st_mode)
        t.equal("habits.mount-points", f"/{name} {mode & 0o777:04o}", f"/{name} 0755")
    t.check("habits.mount-points", (container.rootfs / "other/file").is_file(), "a file", "something else")


@test("habits.bind-source-rights", needs=("root", "userns"))
def source_rights(t: Case) -> None:
    """Sources in folders of mode 0700 of root's and of another user's, with and without a user namespace: both seen."""
    entries = []
    for user in (0, 4321):
        volume = _volume(t, f"of-{user}", str(user))
        closed = t.folder / f"closed-{user}"
        closed.mkdir()
        volume.rename(closed / "volume")
        os.chown(closed, user, user)
        closed.chmod(0o700)
        entries += [
            bind(closed / "volume", f"/mnt/{user}"),
            bind(closed / "volume/name", f"/mnt/file-{user}"),
        ]
    commands = ("read /mnt/0/name", "read /mnt/4321/name", "read /mnt/file-0", "read /mnt/file-4321")
    points = {f"/mnt/file-{user}": "" for user in (0, 4321)} | mounting.points(entries[0], entries[2])
    with tools.control(t):
        t.run(MAPPED, "cwd")
    bound: dict[Any, Any] = {**add(t, *entries)}
    for changes in (bound, {**MAPPED, **bound}):
        seen = t.run(changes, *commands, files=points)
        t.equal("habits.bind-source-rights", [seen[each] for each in commands], ["0", "4321", "0", "4321"])


@test("habits.bind-in-order", needs=("root",))
def in_order(t: Case) -> None:
    """A volume at /mnt, then the root file system's mnt at /final and a folder in it at /deeper: the volume's."""
    volume = _volume(t)
    (volume / "inner").mkdir()
    (volume / "inner/name").write_text("deep")
    folder = t.folder / "bundle"
    root = folder / "rootfs"
    entries = (
        bind(volume, "/mnt"),
        bind(root / "mnt", "/final", how="rbind"),
        bind(root / "mnt/inner", "/deeper"),
    )
    container = t.prepare(add(t, *entries), "read /final/name", "read /deeper/name", folder=folder)
    container.create()
    container.start()
    container.wait()
    seen = [tools.result(container.stdout, each) for each in ("read /final/name", "read /deeper/name")]
    t.equal("habits.bind-in-order", seen, ["here", "deep"])


@test("habits.bind-flags", needs=("root",))
def bind_flags(t: Case) -> None:
    """A source with nosuid, nodev and noexec, bound with rw, and with nosuid: the mount has what is named."""
    source = mounting.make_tmpfs(t.folder / "source", SAFE_FLAGS)
    seen = t.run(add(t, bind(source, "/one", "rw"), bind(source, "/two", "nosuid")), "mounts")
    for point, wanted in (("/one", []), ("/two", ["nosuid"])):
        t.equal("habits.bind-flags", f"{point} {sorted(SAFE & _own(seen, point))}", f"{point} {wanted}")


@test("habits.readonly-path-flags", needs=("root",))
def readonly_path(t: Case) -> None:
    """A folder in a tmpfs with nosuid, nodev and noexec as read-only path: it has these flags and ro."""
    source = mounting.make_tmpfs(t.folder / "source", SAFE_FLAGS)
    (source / "folder").mkdir()
    changes: dict[Any, Any] = {**add(t, bind(source, "/mnt", *SAFE)), "linux.readonlyPaths": ["/mnt/folder"]}
    seen = t.run(changes, "mounts", "write /mnt/folder/new x")
    t.equal("habits.readonly-path-flags", seen.error("write /mnt/folder/new x"), "EROFS")
    flags = sorted((SAFE | {"ro"}) & _own(seen, "/mnt/folder"))
    t.equal("habits.readonly-path-flags", flags, sorted(SAFE | {"ro"}))


@test("habits.bind-readonly-locked", needs=("root", "userns"))
def locked(t: Case) -> None:
    """A source with flags that the user namespace may not clear, bound with ro: it is seen, read-only."""
    source = mounting.make_tmpfs(t.folder / "source", SAFE_FLAGS)
    with tools.control(t):
        t.run(MAPPED, "cwd")
    changes: dict[Any, Any] = {**MAPPED, **add(t, bind(source, "/mnt", "ro"))}
    seen = t.run(changes, "mounts")
    t.check("habits.bind-readonly-locked", "ro" in _own(seen, "/mnt"), "ro", sorted(_own(seen, "/mnt")))


@test("habits.tmpfs-readonly-late")
def readonly_late(t: Case) -> None:
    """A tmpfs with ro, and a volume at a new folder in it: the volume is seen, and nothing can be made beside it."""
    entries = (tmpfs("/mnt", "ro"), bind(_volume(t), "/mnt/below/volume"))
    seen = t.run(add(t, *entries), "read /mnt/below/volume/name", "write /mnt/new x")
    t.equal("habits.tmpfs-readonly-late", seen.answer("read /mnt/below/volume/name").get("result"), "here")
    t.equal("habits.tmpfs-readonly-late", seen.error("write /mnt/new x"), "EROFS")


@test("habits.mount-twice")
def twice(t: Case) -> None:
    """A tmpfs and then a volume at one folder, and two volumes: the second volume is seen."""
    one, two = _volume(t, "one", "one"), _volume(t, "two", "two")
    entries = (tmpfs("/mnt"), bind(one, "/mnt"), bind(one, "/run"), bind(two, "/run"))
    seen = t.run(add(t, *entries), "read /mnt/name", "read /run/name")
    t.equal("habits.mount-twice", (seen["read /mnt/name"], seen["read /run/name"]), ("one", "two"))


@test("habits.tmpfs-option-last")
def last_option(t: Case) -> None:
    """A tmpfs with two sizes and two numbers of files: the last of each."""
    options = ("size=64k", "nr_inodes=16", "size=128k", "nr_inodes=32")
    room = t.run(add(t, tmpfs("/mnt", *options)), "statfs /mnt")["statfs /mnt"]
    t.equal("habits.tmpfs-option-last", (room["blocks"] * room["bsize"], room["files"]), (128 << 10, 32))


@test("habits.idmap-userns", needs=("root", "idmap", "userns", "kernel:6.3"), may_refuse=True)
def idmap(t: Case) -> None:
    """A file of user 7 on a volume with idmap, in a container with a user namespace: it is user 7's there."""
    volume = mounting.make_tmpfs(t.folder / "volume")
    (volume / "name").write_text("")
    os.chown(volume / "name", 7, 7)
    plain: dict[Any, Any] = {**MAPPED, **add(t, bind(volume, "/mnt"))}
    with tools.control(t):
        t.run(plain, "cwd")
    changes: dict[Any, Any] = {**MAPPED, **add(t, bind(volume, "/mnt", "idmap"))}
    owner = t.run(changes, "stat /mnt/name")["stat /mnt/name"]
    t.equal("habits.idmap-userns", (owner["uid"], owner["gid"]), (7, 7))
