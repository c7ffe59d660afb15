"""Mount options that aren't flags: those of the file system, and a runtime's own (config.md#linux-mount-options)."""

from __future__ import annotations

from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import tmpfs
from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test

# What mount(8) makes of options that are nobody's flag: nothing, or several flags.
OF_MOUNT8 = {
    "user": {"nosuid", "nodev", "noexec"},
    "owner": {"nosuid", "nodev"},
    "auto": set[str](),
    "nofail": set[str](),
    "_netdev": set[str](),
    "x-oci-conformance.note": set[str](),
}
FLAGS = {"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "sync", "dirsync"}


@test("mounts.opt-unknown-as-data")
def data(t: Case) -> None:
    """Options that aren't known otherwise reach the file system, all of them, in any place of the list."""
    entry = tmpfs("/mnt/place", "size=1m", "nosuid", "nr_inodes=77", "noexec", "uid=0", "gid=0", "mode=0711")
    seen = t.run(mounting.add(t, entry), "mounts", "statfs /mnt/place", files=mounting.points(entry))
    mount = mounting.top(mounting.of(seen), "/mnt/place")
    id = "mounts.opt-unknown-as-data"
    t.check(id, mount is not None and {"nosuid", "noexec"} <= mount.own, "a mount with nosuid, noexec", mount)
    size = seen.answer("statfs").get("result") or {}
    found = [size.get("bsize", 0) * size.get("blocks", 0), size.get("files")]
    t.check(id, found == [1 << 20, 77], "1 MiB and 77 inodes", found)


@test("mounts.opt-unknown-as-data")
def nonsense(t: Case) -> None:
    """An option that neither the runtime nor the file system knows is an error of the file system."""
    plain = tmpfs("/mnt/place", "size=1m")
    odd = tmpfs("/mnt/place", "size=1m", "oci_conformance_nonsense=1")
    t.refused("mounts.opt-unknown-as-data", mounting.add(t, plain), mounting.add(t, odd), at="start")


@test("mounts.opt-custom", "mounts.opt-custom-like-mount8")
def custom(t: Case) -> None:
    """Options that mount(8) knows beside the listed ones are refused, or do what they do there."""
    known = False
    for option, wanted in OF_MOUNT8.items():
        (answer,) = mounting.attempt(t, [tmpfs("/mnt/place", option)])
        if isinstance(answer, Refused):
            continue
        known = True
        mount = mounting.top(answer[0], "/mnt/place")
        t.check(
            "mounts.opt-custom-like-mount8",
            mount is not None and mount.flags & FLAGS == wanted,
            f"{option}: a mount with {sorted(wanted) or 'no flags'}, or an error",
            "no mount there" if mount is None else sorted(mount.flags & FLAGS),
        )
    t.check("mounts.opt-custom", True, "some or none", "")
    if not known:
        t.unsupported("mounts.opt-custom-like-mount8", f"none of {', '.join(OF_MOUNT8)} is known")


@test("mounts.opt.tmpcopyup", may_refuse=True)
def tmpcopyup(t: Case) -> None:
    """A tmpfs with tmpcopyup begins with a copy of what it covers."""
    entry = tmpfs("/mnt/place", "tmpcopyup")
    container = t.create(
        mounting.add(t, entry),
        "mounts",
        "read /mnt/place/file",
        "read /mnt/place/deep/file",
        "write /mnt/place/file changed",
        files={"/mnt/place/file": "one", "/mnt/place/deep/file": "two"},
    )
    container.start()
    container.wait()
    answers = {answer["command"]: answer.get("result", answer.get("errno")) for answer in container.results()}
    mount = mounting.top(mounting.parse(answers.get("mounts") or []), "/mnt/place")
    id = "mounts.opt.tmpcopyup"
    t.check(id, mount is not None and mount.kind == "tmpfs", "a tmpfs at its destination", mount)
    found = [answers.get(f"read /mnt/place/{name}") for name in ("file", "deep/file")]
    t.equal(id, found, ["one", "two"])
    t.equal(id, (container.rootfs / "mnt/place/file").read_text(), "one")
