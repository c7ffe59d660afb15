"""Mount options (config.md#linux-mount-options): each name and what it sets and clears.

Numbers are those of linux/mount.h, the same on every architecture. An option in none of these tables goes to
the file system as data, comma-joined (the specification's SHOULD).
"""

from __future__ import annotations

MS_RDONLY = 1 << 0
MS_NOSUID = 1 << 1
MS_NODEV = 1 << 2
MS_NOEXEC = 1 << 3
MS_SYNCHRONOUS = 1 << 4
MS_REMOUNT = 1 << 5
MS_MANDLOCK = 1 << 6
MS_DIRSYNC = 1 << 7
MS_NOSYMFOLLOW = 1 << 8
MS_NOATIME = 1 << 10
MS_NODIRATIME = 1 << 11
MS_BIND = 1 << 12
MS_REC = 1 << 14
MS_SILENT = 1 << 15
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_I_VERSION = 1 << 23
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70  # the field that holds one of the next three
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

# Flags for mount(2): option -> (set, clear).
FLAGS = {
    "async": (0, MS_SYNCHRONOUS),
    "atime": (0, MS_NOATIME),
    "bind": (MS_BIND, 0),
    "defaults": (0, 0),
    "dev": (0, MS_NODEV),
    "diratime": (0, MS_NODIRATIME),
    "dirsync": (MS_DIRSYNC, 0),
    "exec": (0, MS_NOEXEC),
    "iversion": (MS_I_VERSION, 0),
    "lazytime": (MS_LAZYTIME, 0),
    "loud": (0, MS_SILENT),
    "mand": (MS_MANDLOCK, 0),
    "noatime": (MS_NOATIME, 0),
    "nodev": (MS_NODEV, 0),
    "nodiratime": (MS_NODIRATIME, 0),
    "noexec": (MS_NOEXEC, 0),
    "noiversion": (0, MS_I_VERSION),
    "nolazytime": (0, MS_LAZYTIME),
    "nomand": (0, MS_MANDLOCK),
    "norelatime": (0, MS_RELATIME),
    "nostrictatime": (0, MS_STRICTATIME),
    "nosuid": (MS_NOSUID, 0),
    "nosymfollow": (MS_NOSYMFOLLOW, 0),
    "rbind": (MS_BIND | MS_REC, 0),
    "relatime": (MS_RELATIME, 0),
    "remount": (MS_REMOUNT, 0),
    "ro": (MS_RDONLY, 0),
    "rw": (0, MS_RDONLY),
    "silent": (MS_SILENT, 0),
    "strictatime": (MS_STRICTATIME, 0),
    "suid": (0, MS_NOSUID),
    "symfollow": (0, MS_NOSYMFOLLOW),
    "sync": (MS_SYNCHRONOUS, 0),
}

# A second mount(2) with these flags alone, after the mount is there: option -> flags.
PROPAGATION = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "rshared": MS_SHARED | MS_REC,
    "rslave": MS_SLAVE | MS_REC,
    "runbindable": MS_UNBINDABLE | MS_REC,
    "shared": MS_SHARED,
    "slave": MS_SLAVE,
    "unbindable": MS_UNBINDABLE,
}

# The options of FLAGS that concern one mount rather than its file system, as attributes for mount_setattr(2):
# option -> (set, clear). The kernel wants the whole access time field cleared to set any of it.
ATTRIBUTES = {
    "atime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
    "dev": (0, MOUNT_ATTR_NODEV),
    "diratime": (0, MOUNT_ATTR_NODIRATIME),
    "exec": (0, MOUNT_ATTR_NOEXEC),
    "noatime": (MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME),
    "nodev": (MOUNT_ATTR_NODEV, 0),
    "nodiratime": (MOUNT_ATTR_NODIRATIME, 0),
    "noexec": (MOUNT_ATTR_NOEXEC, 0),
    "norelatime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
    "nostrictatime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
    "nosuid": (MOUNT_ATTR_NOSUID, 0),
    "nosymfollow": (MOUNT_ATTR_NOSYMFOLLOW, 0),
    "relatime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
    "ro": (MOUNT_ATTR_RDONLY, 0),
    "rw": (0, MOUNT_ATTR_RDONLY),
    "strictatime": (MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
    "suid": (0, MOUNT_ATTR_NOSUID),
    "symfollow": (0, MOUNT_ATTR_NOSYMFOLLOW),
}

# Attributes for mount_setattr(2) with AT_RECURSIVE: option -> (set, clear). Where the kernel has no opposite
# (rnorelatime, rnostrictatime) its default is what remains: relatime.
RECURSIVE = {
    "ratime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
    "rdev": (0, MOUNT_ATTR_NODEV),
    "rdiratime": (0, MOUNT_ATTR_NODIRATIME),
    "rexec": (0, MOUNT_ATTR_NOEXEC),
    "rnoatime": (MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME),
    "rnodev": (MOUNT_ATTR_NODEV, 0),
    "rnodiratime": (MOUNT_ATTR_NODIRATIME, 0),
    "rnoexec": (MOUNT_ATTR_NOEXEC, 0),
    "rnorelatime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
    "rnostrictatime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
    "rnosuid": (MOUNT_ATTR_NOSUID, 0),
    "rnosymfollow": (MOUNT_ATTR_NOSYMFOLLOW, 0),
    "rrelatime": (MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME),
    "rro": (MOUNT_ATTR_RDONLY, 0),
    "rrw": (0, MOUNT_ATTR_RDONLY),
    "rstrictatime": (MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
    "rsuid": (0, MOUNT_ATTR_NOSUID),
    "rsymfollow": (0, MOUNT_ATTR_NOSYMFOLLOW),
}

# Done by the runtime itself: idmapped mounts (one mount, a whole tree), and a tmpfs that starts with a copy
# of what it covers.
IDMAP = ("idmap", "ridmap")
OTHER = ("tmpcopyup",)


def known() -> list[str]:
    """Every option of the tables, sorted (features.md#mount-options)."""
    return sorted([*FLAGS, *PROPAGATION, *RECURSIVE, *IDMAP, *OTHER])
