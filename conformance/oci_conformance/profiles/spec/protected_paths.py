"""Paths that can't be read or written (config-linux.md#masked-paths, config-linux.md#readonly-paths).

Nothing is written where a hole would change the host: there access(2) tells, which answers EROFS for a read-only mount.
"""

from __future__ import annotations

from typing import Any

from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import bind, tmpfs
from oci_conformance.run.case import Case, Refused, Seen
from oci_conformance.run.registry import test

# so that no mode and no owner forbids anything
ABLE = mounting.capabilities("CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_CHOWN")
SECRET = "secret"
REFUSALS = ("EROFS", "EACCES", "EPERM")


def _said(seen: Seen, command: str) -> object:
    """The result of a command, or the name of its error."""
    return seen.error(command) or seen.answer(command).get("result")


@test("masked.applied")
def masked(t: Case) -> None:
    """Neither root with all of its power nor a user can read what maskedPaths names: files, folders, in any mount."""
    volume = t.folder / "volume"
    (volume / "folder").mkdir(parents=True)
    volume.chmod(0o755)
    for name in ("file", "folder/file"):
        (volume / name).write_text(SECRET)
    paths = [
        "/etc/file",
        "/etc/folder",
        "/mnt/volume/file",
        "/mnt/volume/folder",
        "/proc/version",
        "/proc/sys/kernel",
    ]
    tries = [
        "read /etc/file", "read /etc/folder/file", "list /etc/folder", "read /mnt/volume/file",
        "read /mnt/volume/folder/file", "list /mnt/volume/folder", "read /proc/version",
        "read /proc/sys/kernel/ostype", "list /proc/sys/kernel",
    ]  # fmt: skip
    entry = bind(volume, "/mnt/volume")
    files = {**mounting.points(entry), "/etc/file": SECRET, "/etc/folder/file": SECRET}
    for user in (0,) if t.host.uid else (0, 1000):
        changes = {**mounting.add(t, entry), **ABLE, "process.user": {"uid": user, "gid": user}}
        before = t.run(changes, *tries, files=files)
        readable = [command for command in tries if before.error(command) is None and before[command]]
        assert len(readable) == len(tries), f"without masks only this can be read: {readable}"
        try:
            masks = {**changes, "linux.maskedPaths": paths}
            seen = t.run(masks, *tries, "read /etc/other", files={**files, "/etc/other": "x"})
        except Refused as error:
            _name_the_refused(t, changes, paths, files, error)
            return
        for command in tries:
            hidden = seen.error(command) is not None or seen[command] in ("", [])
            t.check("masked.applied", hidden, f"{command}: nothing, or an error", _said(seen, command))
        t.equal("masked.applied", _said(seen, "read /etc/other"), "x")


def _name_the_refused(
    t: Case, changes: dict[Any, Any], paths: list[str], files: dict[str, str], error: Refused
) -> None:
    """The verdict where masks were refused: which of them are, each alone, or else all together."""
    for path in paths:
        try:
            t.run({**changes, "linux.maskedPaths": [path]}, "cwd", files=files)
        except Refused as alone:
            t.check("masked.applied", False, f"a container in which {path} is masked", str(alone))
    t.check("masked.applied", False, f"a container in which {', '.join(paths)} are masked", str(error))


@test("masked.absolute")
def masked_relative(t: Case) -> None:
    """A path in maskedPaths that doesn't begin with / is refused."""
    t.refused(
        "masked.absolute", {"linux.maskedPaths": ["/proc/version"]}, {"linux.maskedPaths": ["proc/version"]}
    )


@test("readonly.applied")
def readonly(t: Case) -> None:
    """Nothing can be written where readonlyPaths says so, whatever capabilities: files, folders, other mounts."""
    volume = t.folder / "volume"
    (volume / "folder").mkdir(parents=True)
    (volume / "folder/file").write_text("old")
    entries = [bind(volume, "/mnt/volume"), tmpfs("/mnt/memory")]
    paths = ["/etc/file", "/etc/folder", "/mnt/volume/folder", "/mnt/memory", "/proc/sys"]
    tries = [
        "write /etc/file new", "chmod /etc/file 600", "write /etc/folder/deep/file new", "write /etc/folder/new new",
        "mkdir /etc/folder/deep/new", "unlink /etc/folder/deep/file", "chmod /etc/folder 700",
        "write /mnt/volume/folder/file new", "write /mnt/memory/new new",
    ]  # fmt: skip
    if not t.host.uid:  # nobody else may write there
        tries.append("access /proc/sys/kernel/domainname w")
    allowed = [
        "write /etc/other new",
        "write /mnt/volume/other new",
        "read /etc/file",
        "read /mnt/volume/folder/file",
    ]
    files = {**mounting.points(*entries), "/etc/file": "old", "/etc/folder/deep/file": "old"}
    changes = {**mounting.add(t, *entries), **ABLE}
    before = t.run(changes, *tries, *allowed, files=files)
    seen = t.run({**changes, "linux.readonlyPaths": paths}, *tries, *allowed, files=files)
    for command in (*tries, *allowed):
        error = before.error(command)
        t.check("readonly.applied", error is None, f"without readonlyPaths {command}: no error", error)
    for command in tries:
        error = seen.error(command)
        t.check(
            "readonly.applied", error in REFUSALS, f"{command}: an error, such as EROFS", _said(seen, command)
        )
    for command in allowed:
        error = seen.error(command)
        t.check("readonly.applied", error is None, f"{command}: no error, for it isn't read-only", error)


@test("readonly.absolute")
def readonly_relative(t: Case) -> None:
    """A path in readonlyPaths that doesn't begin with / is refused."""
    t.refused(
        "readonly.absolute", {"linux.readonlyPaths": ["/proc/sys"]}, {"linux.readonlyPaths": ["proc/sys"]}
    )
