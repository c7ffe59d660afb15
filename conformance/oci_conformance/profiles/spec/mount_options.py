"""Mount options that set or clear a flag (config.md#linux-mount-options): each must have its meaning in mount(8).

An option whose flag is off by default is given behind its opposite, since the last of two opposites counts; so a
runtime that ignores it is seen. Where the kernel shows nothing of a flag (iversion, silent), what can be seen is
that the option isn't taken for one of the file system's, which a tmpfs refuses.
"""

from __future__ import annotations

from dataclasses import dataclass

from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import MS_STRICTATIME, Entry, bind, tmpfs
from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test


@dataclass(frozen=True)
class OptionRow:
    """Options of a mount, and flags that it has to have and that it mustn't have."""

    id: str
    options: tuple[str, ...]
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


def _row(option: str, before: str = "", *, has: str = "", lacks: str = "") -> OptionRow:
    return OptionRow(
        f"mounts.opt.{option}", (*before.split(), option), tuple(has.split()), tuple(lacks.split())
    )


def _check(t: Case, rows: list[OptionRow], entries: list[Entry]) -> None:
    """A verdict for each row on the entry that stands at its place."""
    for row, entry, answer in zip(rows, entries, mounting.attempt(t, entries), strict=True):
        wanted = (
            f"options {','.join(entry['options'])}: a mount with {' '.join(row.has) or 'no flag of them'}"
            + (f", without {' '.join(row.lacks)}" if row.lacks else "")
        )
        if isinstance(answer, Refused):
            t.check(row.id, False, wanted, str(answer))
            continue
        mount = mounting.top(answer[0], entry["destination"])
        ok = mount is not None and mount.flags.issuperset(row.has) and not mount.flags.intersection(row.lacks)
        t.check(row.id, ok, wanted, "no mount there" if mount is None else sorted(mount.flags))


def _on_tmpfs(t: Case, rows: list[OptionRow]) -> None:
    _check(t, rows, [tmpfs(f"/mnt/{number}", *row.options) for number, row in enumerate(rows)])


@test(
    "mounts.opt.ro", "mounts.opt.rw", "mounts.opt.nosuid", "mounts.opt.suid", "mounts.opt.nodev", "mounts.opt.dev",
    "mounts.opt.noexec", "mounts.opt.exec",
)  # fmt: skip
def protection(t: Case) -> None:
    """ro, nosuid, nodev and noexec set their flag, rw, suid, dev and exec clear it."""
    rows = [
        _row("ro", has="ro"),
        _row("ro", "rw", has="ro"),
        _row("rw", "ro", has="rw", lacks="ro"),
        _row("nosuid", has="nosuid", lacks="ro nodev noexec"),
        _row("suid", "nosuid", lacks="nosuid"),
        _row("nodev", has="nodev", lacks="ro nosuid noexec"),
        _row("dev", "nodev", lacks="nodev"),
        _row("noexec", has="noexec", lacks="ro nosuid nodev"),
        _row("exec", "noexec", lacks="noexec"),
    ]
    _on_tmpfs(t, rows)


@test("mounts.opt.defaults")
def defaults(t: Case) -> None:
    """defaults sets no flag."""
    flags = "ro nosuid nodev noexec sync dirsync noatime nodiratime"
    _on_tmpfs(t, [_row("defaults", has="rw", lacks=flags)])


@test(
    "mounts.opt.sync", "mounts.opt.async", "mounts.opt.dirsync", "mounts.opt.lazytime", "mounts.opt.nolazytime",
)  # fmt: skip
def writing(t: Case) -> None:
    """sync, dirsync and lazytime set their flag of the file system, async and nolazytime clear it."""
    rows = [
        _row("sync", has="sync", lacks="dirsync"),
        _row("async", "sync", lacks="sync"),
        _row("dirsync", has="dirsync", lacks="sync"),
        _row("lazytime", has="lazytime"),
        _row("nolazytime", "lazytime", lacks="lazytime"),
    ]
    _on_tmpfs(t, rows)


@test(
    "mounts.opt.noatime", "mounts.opt.atime", "mounts.opt.nodiratime", "mounts.opt.diratime",
    "mounts.opt.strictatime", "mounts.opt.nostrictatime", "mounts.opt.norelatime",
)  # fmt: skip
def access_times(t: Case) -> None:
    """Options about access times set and clear their flag; where none is set the kernel's default, relatime, remains.

    norelatime names a flag that the kernel sets whenever no other is, so either way of updating is right after it.
    """
    rows = [
        _row("noatime", has="noatime"),
        _row("atime", "noatime", lacks="noatime"),
        _row("nodiratime", has="nodiratime"),
        _row("diratime", "nodiratime", lacks="nodiratime"),
        _row("strictatime", lacks="noatime relatime nodiratime"),
        _row("nostrictatime", "strictatime", has="relatime", lacks="noatime"),
        _row("norelatime", lacks="noatime nodiratime ro"),
    ]
    _on_tmpfs(t, rows)


@test("mounts.opt.iversion", "mounts.opt.noiversion", "mounts.opt.silent", "mounts.opt.loud")
def without_trace(t: Case) -> None:
    """iversion, noiversion, silent and loud are flags of the mount call, not options of the file system."""
    rows = [_row("iversion"), _row("noiversion", "iversion"), _row("silent"), _row("loud", "silent")]
    _on_tmpfs(t, [OptionRow(row.id, row.options, ("rw",)) for row in rows])


@test("mounts.opt.mand", "mounts.opt.nomand")
def mandatory_locks(t: Case) -> None:
    """mand and nomand are known, or refused; a kernel that has mandatory locking (up to 5.14) shows that it is on."""
    rows = [_row("mand", has="mand" if t.host.kernel < (5, 15) else ""), _row("nomand", "mand", lacks="mand")]
    for row in rows:
        _optional(t, row)


@test("mounts.opt.nosymfollow", "mounts.opt.symfollow", needs=("kernel:5.10",))
def symbolic_links(t: Case) -> None:
    """nosymfollow sets its flag, symfollow clears it."""
    _optional(t, _row("nosymfollow", has="nosymfollow"))
    _optional(t, _row("symfollow", "nosymfollow", lacks="nosymfollow"))


def _optional(t: Case, row: OptionRow) -> None:
    """A verdict on an option that a runtime may lack: then it refuses a tmpfs with it."""
    entry = tmpfs("/mnt/place", *row.options)
    (answer,) = mounting.attempt(t, [entry])
    if isinstance(answer, Refused):
        t.unsupported(row.id, str(answer))
        return
    mount = mounting.top(answer[0], "/mnt/place")
    ok = mount is not None and mount.flags.issuperset(row.has) and not mount.flags.intersection(row.lacks)
    wanted = (
        f"{row.options[-1]}, with {row.has or 'no'} and without {row.lacks or 'other'} flags, or an error"
    )
    t.check(row.id, ok, wanted, "no mount there" if mount is None else sorted(mount.flags))


@test(
    "mounts.opt.bind", "mounts.opt.ro", "mounts.opt.nosuid", "mounts.opt.nodev", "mounts.opt.noexec",
    "mounts.opt.noatime", "mounts.opt.nodiratime", "mounts.opt.strictatime", "mounts.opt.relatime", needs=("root",),
)  # fmt: skip
def of_bind_mounts(t: Case) -> None:
    """A bind mount has the flags that are asked for it, and its source keeps its own."""
    plain = mounting.make_tmpfs(t.folder / "plain")
    strict = mounting.make_tmpfs(t.folder / "strict", MS_STRICTATIME)
    flags = ("ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime")
    rows = [
        OptionRow("mounts.opt.bind", (), (), flags),
        *(_row(flag, has=flag) for flag in flags),
        _row("noexec", "ro nosuid nodev", has="ro nosuid nodev noexec"),
        _row("strictatime", lacks="noatime relatime"),
        _row("relatime", has="relatime"),
    ]
    before = [mounting.top(mounting.here(), place) for place in (plain, strict)]
    entries = [
        bind(strict if row.id.endswith(".relatime") else plain, f"/mnt/{number}", *row.options)
        for number, row in enumerate(rows)
    ]
    _check(t, rows, entries)
    after = [mounting.top(mounting.here(), place) for place in (plain, strict)]
    t.check("mounts.opt.bind", after == before, f"sources as before: {before}", after)


@test("mounts.opt.bind", "mounts.opt.rbind", needs=("root",))
def bind_and_rbind(t: Case) -> None:
    """bind shows the source's own file system, rbind also what is mounted below it."""
    source = mounting.make_tree(t.folder / "source")
    entries = [bind(source, f"/mnt/{how}", how=how) for how in ("bind", "rbind")]
    commands = [f"read /mnt/{how}/{name}" for how in ("bind", "rbind") for name in ("name", "below/name")]
    seen = t.run(mounting.add(t, *entries), *commands, files=mounting.points(*entries))
    found = [seen.answer(command).get("result", seen.error(command)) for command in commands]
    t.equal("mounts.opt.bind", found[:2], ["source", "ENOENT"])
    t.equal("mounts.opt.rbind", found[2:], ["source", "below"])


@test("mounts.opt.remount")
def remount(t: Case) -> None:
    """remount changes a mount that is there: its flags, and with it no other mount is put on top."""
    first = tmpfs("/mnt/place", "nosuid")
    changed: Entry = {**tmpfs("/mnt/place", "remount", "nosuid", "noexec"), "source": "none"}
    seen = t.run(mounting.add(t, first, changed), "mounts", "list /mnt/place", files=mounting.points(first))
    there = [mount for mount in mounting.of(seen) if mount.point == "/mnt/place"]
    t.check(
        "mounts.opt.remount",
        len(there) == 1 and there[0].kind == "tmpfs" and {"nosuid", "noexec"} <= there[0].flags,
        "one mount at its destination, with nosuid and noexec",
        [sorted(mount.flags) for mount in there],
    )
