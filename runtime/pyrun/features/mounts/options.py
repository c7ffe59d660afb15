"""The options of one mount, sorted by who carries them out. Hot module.

Names and numbers come from the contract (oci_spec.mount_options); this decides which call each belongs to.
"""

from __future__ import annotations

from oci_spec.mount_options import (
    ATTRIBUTES,
    FLAGS,
    IDMAP,
    MS_I_VERSION,
    MS_SILENT,
    PROPAGATION,
    RECURSIVE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MS_REC = 1 << 14
# Options of the file system that fsconfig(2) knows by the same name, and those that only mount(2) can say.
SUPERBLOCK = ("sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand")
OLD = ("iversion", "noiversion", "silent", "loud")
ONLY_OLD = MS_SILENT | MS_I_VERSION


class Options:
    """`set` and `clear` are MOUNT_ATTR_* of the mount, `recursive_*` of all mounts below it too; `propagation` has
    (MS_SHARED…, recursive?) in order; `replaces`: more is said of the mount than `ro`; `idmap` is that option or
    ridmap, as it stands there; `superblock` and `data` are for the file system; `old_flags` is what mount(2) is given
    in place of `superblock`, where the new calls can't say it all (see `needs_mount2`)."""

    __slots__ = (
        "bind",
        "clear",
        "data",
        "idmap",
        "old_flags",
        "propagation",
        "recursive_bind",
        "recursive_clear",
        "recursive_set",
        "remount",
        "replaces",
        "set",
        "superblock",
        "tmpcopyup",
    )

    def __init__(self) -> None:
        self.bind = self.recursive_bind = self.remount = self.tmpcopyup = False
        self.idmap = ""
        self.replaces = False
        self.set = self.clear = self.recursive_set = self.recursive_clear = self.old_flags = 0
        self.propagation: list[tuple[int, bool]] = []
        self.superblock: list[tuple[str, str | None]] = []
        self.data: list[str] = []

    @property
    def needs_mount2(self) -> bool:
        """Is there something that only mount(2) can say?"""
        return self.old_flags & ONLY_OLD != 0


def parse(names: Sequence[str]) -> Options:
    """Sort the options of a mount; of contradicting ones the last counts, as in mount(8)."""
    options = Options()
    for name in names:
        if name in ATTRIBUTES:
            set_, clear = ATTRIBUTES[name]
            options.set = options.set & ~clear | set_
            options.clear = options.clear & ~set_ | clear
            options.replaces |= name != "ro"
        elif name in ("bind", "rbind"):
            options.bind = True
            options.recursive_bind = name == "rbind"
        elif name in PROPAGATION:
            flag = PROPAGATION[name]
            options.propagation.append((flag & ~MS_REC, flag & MS_REC != 0))
        elif name in RECURSIVE:
            set_, clear = RECURSIVE[name]
            options.recursive_set = options.recursive_set & ~clear | set_
            options.recursive_clear = options.recursive_clear & ~set_ | clear
        elif name in SUPERBLOCK or name in OLD:
            set_, clear = FLAGS[name]
            options.old_flags = options.old_flags & ~clear | set_
            if name in SUPERBLOCK:
                options.superblock.append((name, None))
        elif name == "remount":
            options.remount = True
        elif name == "tmpcopyup":
            options.tmpcopyup = True
        elif name.partition("=")[0] in IDMAP:
            options.idmap = name
        elif name and name != "defaults":
            options.data.append(name)
    return options
