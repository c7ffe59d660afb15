"""What mount options do to a process (config.md#linux-mount-options), on bind mounts of one folder of the host."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from oci_conformance.core.bundle import Path_
from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import bind
from oci_conformance.run.case import Case, Seen
from oci_conformance.run.registry import test

NULL = os.makedev(1, 3)


def _source(t: Case) -> Path:
    """A file system with a program, one that runs as root, a device and a symbolic link."""
    source = mounting.make_tmpfs(t.folder / "source")
    for name, mode in (("program", 0o755), ("privileged", 0o4755)):
        shutil.copy(t.program, source / name)
        (source / name).chmod(mode)
    os.mknod(source / "null", 0o666 | stat.S_IFCHR, NULL)
    (source / "null").chmod(0o666)
    (source / "link").symlink_to("program")
    (source / "all").mkdir(mode=0o777)
    (source / "all").chmod(0o777)
    return source


def _said(seen: Seen, command: str) -> object:
    answer = seen.answer(command)
    return answer.get("errno", "done")


def _as(user: int, *, gain: bool) -> dict[Path_, object]:
    return {"process.user": {"uid": user, "gid": user}, "process.noNewPrivileges": not gain}


@test(
    "mounts.opt.ro", "mounts.opt.rw", "mounts.opt.noexec", "mounts.opt.exec", "mounts.opt.nodev", "mounts.opt.dev",
    "mounts.opt.nosuid", "mounts.opt.suid", needs=("root", "cap:MKNOD"),
)  # fmt: skip
def effects(t: Case) -> None:
    """ro forbids to write, noexec to execute, nodev to open devices, nosuid to become root; their opposites don't."""
    source = _source(t)
    pairs = (("ro", "rw"), ("noexec", "exec"), ("nodev", "dev"), ("nosuid", "suid"))
    entries = [bind(source, f"/mnt/{on}", on) for on, _ in pairs]
    entries += [bind(source, f"/mnt/{off}", on, off) for on, off in pairs]
    tried = {
        "ro": "write {}/all/file x",
        "noexec": "exec {}/program cwd",
        "nodev": "open {}/null",
        "nosuid": "exec {}/privileged ids",
    }
    commands = {name: tried[on].format(f"/mnt/{name}") for on, off in pairs for name in (on, off)}
    seen = t.run(
        {**mounting.add(t, *entries), **_as(1000, gain=True)},
        *commands.values(),
        files=mounting.points(*entries),
    )
    wanted = {"ro": "EROFS", "noexec": "EACCES", "nodev": "EACCES"}
    for on, off in pairs[:3]:
        t.equal(f"mounts.opt.{on}", _said(seen, commands[on]), wanted[on])
        t.equal(f"mounts.opt.{off}", _said(seen, commands[off]), "done")
    users = {}
    for name in ("nosuid", "suid"):
        answer = seen.answer(commands[name]).get("result") or {}
        users[name] = '"euid":0' in answer.get("stdout", "")
    t.check(
        "mounts.opt.nosuid", not users["nosuid"], "a set-user-ID program stays user 1000", "it became root"
    )
    t.check("mounts.opt.suid", users["suid"], "a set-user-ID program becomes root", "it did not")


@test("mounts.opt.nosymfollow", "mounts.opt.symfollow", needs=("root", "kernel:5.10"))
def symbolic_links(t: Case) -> None:
    """On a bind mount nosymfollow forbids to follow symbolic links."""
    source = _source(t)
    entries = [bind(source, "/mnt/no", "nosymfollow"), bind(source, "/mnt/yes", "nosymfollow", "symfollow")]
    commands = ("open /mnt/no/link", "open /mnt/yes/link")
    answers = mounting.attempt(t, entries, *commands)
    for name, command, answer, wanted in zip(
        ("nosymfollow", "symfollow"), commands, answers, ("ELOOP", "done"), strict=True
    ):
        id = f"mounts.opt.{name}"
        if not isinstance(answer, tuple):
            t.unsupported(id, str(answer))
        elif mounting.lacks(t, name):
            t.unsupported(id, "the runtime's features doesn't list it")
        else:
            t.equal(id, _said(answer[1], command), wanted)
