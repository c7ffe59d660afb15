"""Mount options for a mount and all that is below it (config.md#linux-mount-options, mount_setattr(2)).

Each is given for a recursive bind mount of a tree of two mounts. The trees differ in the flags that they have, so that
every option has something to change.
"""

from __future__ import annotations

from oci_conformance.core import kernel
from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import bind
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

NEEDS = ("root", "kernel:5.12")
CLOSED = (
    mounting.MS_RDONLY
    | kernel.MS_NOSUID
    | kernel.MS_NODEV
    | kernel.MS_NOEXEC
    | mounting.MS_NOATIME
    | mounting.MS_NODIRATIME
    | mounting.MS_NOSYMFOLLOW
)
TREES = {"open": 0, "closed": CLOSED, "strict": mounting.MS_STRICTATIME}
# option -> the tree, what both mounts then have, what they don't have
ROWS = {
    "rro": ("open", "ro", ""),
    "rrw": ("closed", "rw", "ro"),
    "rnosuid": ("open", "nosuid", ""),
    "rsuid": ("closed", "", "nosuid"),
    "rdev": ("closed", "", "nodev"),
    "rnoexec": ("open", "noexec", ""),
    "rexec": ("closed", "", "noexec"),
    "rnodiratime": ("open", "nodiratime", ""),
    "rdiratime": ("closed", "", "nodiratime"),
    "rnoatime": ("open", "noatime", ""),
    "ratime": ("closed", "", "noatime"),
    "rrelatime": ("strict", "relatime", "noatime"),
    "rnorelatime": ("open", "", "noatime ro"),  # the kernel's default is relatime, which may remain
    "rstrictatime": ("open", "", "relatime noatime"),
    "rnostrictatime": ("strict", "relatime", "noatime"),
    "rnosymfollow": ("open", "nosymfollow", ""),
    "rsymfollow": ("closed", "", "nosymfollow"),
}
# options that aren't recursive, by a tree in which they change something
ALONE = {
    "open": ("ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "strictatime"),
    "closed": ("rw", "suid", "dev", "exec", "atime", "diratime", "relatime"),
}


@test(*(f"mounts.opt.{option}" for option in ROWS), needs=NEEDS)
def recursive(t: Case) -> None:
    """The option holds for the mount and for the one below it. What becomes of other flags isn't said."""
    trees = {name: mounting.make_tree(t.folder / name, flags) for name, flags in TREES.items()}
    entries = [bind(trees[row[0]], f"/mnt/{option}", option, how="rbind") for option, row in ROWS.items()]
    for (option, row), answer in zip(ROWS.items(), mounting.attempt(t, entries), strict=True):
        id = f"mounts.opt.{option}"
        tree, has, lacks = row
        wanted, unwanted = {*has.split()}, {*lacks.split()}
        if not isinstance(answer, tuple):
            t.unsupported(id, str(answer))
            continue
        if mounting.lacks(t, option):
            t.unsupported(id, "the runtime's features doesn't list it")
            continue
        for point in (f"/mnt/{option}", f"/mnt/{option}/below"):
            mount = mounting.top(answer[0], point)
            t.check(
                id,
                mount is not None and wanted <= mount.own and not unwanted & mount.own,
                f"{option} of {tree} mounts: {point} with {sorted(wanted)}, without {sorted(unwanted)}",
                "no mount there" if mount is None else sorted(mount.own),
            )


@test(*(f"mounts.opt.{option}" for options in ALONE.values() for option in options), needs=NEEDS)
def not_recursive(t: Case) -> None:
    """Without r in front an option leaves the mounts below as they are, also of a recursive bind mount."""
    trees = {name: mounting.make_tree(t.folder / name, TREES[name]) for name in ALONE}
    rows = [(tree, option) for tree, options in ALONE.items() for option in options]
    entries = [bind(trees[tree], f"/mnt/{option}", option, how="rbind") for tree, option in rows]
    for (tree, option), answer in zip(rows, mounting.attempt(t, entries), strict=True):
        id = f"mounts.opt.{option}"
        if not isinstance(answer, tuple):
            t.check(id, False, f"a recursive bind mount with {option}", str(answer))
            continue
        source = mounting.top(mounting.here(), trees[tree] / "below")
        below = mounting.top(answer[0], f"/mnt/{option}/below")
        wanted = sorted(source.own) if source else []
        t.check(
            id,
            below is not None and sorted(below.own) == wanted,
            f"below it: {wanted}",
            below and sorted(below.own),
        )
