"""Mount options for a mount and all that is below it (config.md#linux-mount-options, mount_setattr(2)).

Each is given for a recursive bind mount of a tree of two mounts. The trees differ in the flags that they have, so that
every option has something to change.
"""

from __future__ import annotations

from oci_conformance import kernel, mounting
from oci_conformance.case import Case
from oci_conformance.mounting import bind
from oci_conformance.registry import test

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
# what an option must leave as it is, where it isn't what the option is about
KEPT = {
    "open": ("", "ro nosuid nodev noexec noatime nodiratime nosymfollow"),
    "closed": ("ro nosuid nodev noexec nodiratime nosymfollow", ""),
    "strict": ("", "ro nosuid nodev noexec noatime nodiratime nosymfollow"),
}


@test(*(f"mounts.opt.{option}" for option in ROWS), needs=NEEDS)
def recursive(t: Case) -> None:
    """The option holds for the mount and for the one below it, and changes nothing else."""
    trees = {name: mounting.make_tree(t.folder / name, flags) for name, flags in TREES.items()}
    entries = [bind(trees[row[0]], f"/mnt/{option}", option, how="rbind") for option, row in ROWS.items()]
    for (option, row), answer in zip(ROWS.items(), mounting.attempt(t, entries), strict=True):
        id = f"mounts.opt.{option}"
        tree, has, lacks = row
        about = {*has.split(), *lacks.split()}
        kept, never = ({*flags.split()} - about for flags in KEPT[tree])
        wanted, unwanted = {*has.split()} | kept, {*lacks.split()} | never
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


@test("mounts.opt.ro", "mounts.opt.rro", needs=NEEDS)
def not_recursive(t: Case) -> None:
    """ro makes only the mount itself read-only, rro also the one below it."""
    tree = mounting.make_tree(t.folder / "tree")
    for option in ("ro", "rro"):
        (answer,) = mounting.attempt(t, [bind(tree, "/mnt/place", option, how="rbind")])
        id = f"mounts.opt.{option}"
        if not isinstance(answer, tuple):
            t.unsupported(id, str(answer))
            continue
        if option == "rro" and mounting.lacks(t, option):
            t.unsupported(id, "the runtime's features doesn't list it")
            continue
        found = [mounting.top(answer[0], f"/mnt/place{name}") for name in ("", "/below")]
        seen = ["ro" if mount is not None and "ro" in mount.own else "rw" for mount in found]
        t.equal(id, seen, ["ro", "rw"] if option == "ro" else ["ro", "ro"])
