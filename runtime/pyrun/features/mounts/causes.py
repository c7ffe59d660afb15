"""Why mount calls fail, in words: the kernel has one number for many causes.

Hot module. `explain` turns what a mount of the configuration ran into, into the sentence that its user reads. The words
"not a directory" are those that docker looks for, to ask if a file and a folder were confused.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError, failed
from pyrun.paths import under_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.features.mounts.mount import Mount

IS_A_FILE = "{} is a file"
BIND, REMOUNT, PROPAGATION, ANY = "a bind mount", "a remount", "a change of propagation", ""

NAMESPACE = (
    "it shows a {0} namespace, and the container's user namespace owns none: add a {0} namespace, or bind {1}"
)
NO_CGROUPS = "a user namespace may not mount cgroups without a cgroup namespace of its own"
LOCKED = "a user namespace can't take away the flags that the host's mount has, nor change its access times"
OF_ANOTHER = "the root file system is FUSE of another user: mount it with allow_other"
NOT_THERE = "nothing is mounted there"
TOO_MANY = "a mount namespace has fs.mount-max mounts at most"
BUSY = "files in it are open for writing"

# type of file system or kind of mount, error, system call (or any), cause and remedy
CAUSES = (
    (
        "proc",
        errno.EPERM,
        "",
        NAMESPACE.format("pid", "/proc; nor may anything cover parts of the caller's /proc"),
    ),
    ("mqueue", errno.EPERM, "", NAMESPACE.format("ipc", "/dev/mqueue")),
    ("cgroup", errno.EPERM, "", NO_CGROUPS),
    ("cgroup2", errno.EPERM, "", NO_CGROUPS),
    (BIND, errno.EPERM, "mount_setattr", LOCKED),
    (REMOUNT, errno.EPERM, "", LOCKED),
    (ANY, errno.EPERM, "", "a user namespace may mount few types itself: bind what the host has mounted"),
    (BIND, errno.EINVAL, "open_tree", "the source is in another mount namespace, or an unbindable mount"),
    (REMOUNT, errno.EINVAL, "mount_setattr", NOT_THERE),
    (PROPAGATION, errno.EINVAL, "mount_setattr", NOT_THERE),
    (
        ANY,
        errno.EINVAL,
        "mount",
        "the file system doesn't take an option or its value; the kernel's log may say which",
    ),
    ("devpts", errno.EINVAL, "fsconfig", "an option is unknown, or the user namespace has no such id"),
    (ANY, errno.EBUSY, "mount_setattr", BUSY),
    (ANY, errno.EBUSY, "fsconfig", f"{BUSY}, or its source is mounted with other options"),
    (ANY, errno.ENOSPC, "move_mount", TOO_MANY),
    (ANY, errno.ENOSPC, "open_tree", TOO_MANY),
    (ANY, errno.EMFILE, "", "raise the caller's RLIMIT_NOFILE, or have fewer mounts"),
    (ANY, errno.ELOOP, "", "the destination has links that lead in a circle, or through /proc"),
    (ANY, errno.EROFS, "", "its place is missing, and can't be made in what is read-only"),
    (ANY, errno.ENOTBLK, "", "the source must be a block device"),
)


def explain(mount: Mount, root: int, error: OSError, doing: str = "") -> PyrunError:
    """The error of making `mount` below `root`, or of `doing` something else with it, with its cause and remedy where
    they are known."""
    hint = file_on_the_way(root, mount.destination) if error.errno == errno.ENOTDIR else known(mount, error)
    if error.errno == errno.EACCES and not _lets_us_in(root):
        hint = OF_ANOTHER
    return failed(doing or mount.describe(), error, mount.json_path, hint)


def _lets_us_in(root: int) -> bool:
    """FUSE keeps everybody out but the user who mounted it, root as well, though a descriptor can be had."""
    try:
        posix.fstat(root)
    except PermissionError:
        return False
    return True


def known(mount: Mount, error: OSError) -> str:
    """Cause and remedy by the table; "" if it has none."""
    call = (error.strerror or "").partition(": ")[0]
    for kind, number, where, words in CAUSES:
        if number == error.errno and kind in (ANY, _kind(mount)) and where in ("", call):
            return words
    return ""


def _kind(mount: Mount) -> str:
    if mount.options.remount:
        return REMOUNT
    if mount.options.bind:
        return BIND
    return mount.kind or PROPAGATION


def file_on_the_way(root: int, path: str) -> str:
    """Which component of a path in the container is no folder, as the path is looked up."""
    parts = [part for part in path.split("/") if part]
    for count in range(1, len(parts) + 1):
        part = "/" + "/".join(parts[:count])
        try:
            found = under_root.lookup(root, part)
        except OSError:
            break
        is_folder = under_root.is_directory(found)
        posix.close(found)
        if not is_folder:
            return IS_A_FILE.format(part)
    return ""


def confused(mount: Mount, source: int, target: int) -> PyrunError | None:
    """The error of a file that is bound on a folder, or the reverse; None if it isn't that."""
    from_folder, to_folder = under_root.is_directory(source), under_root.is_directory(target)
    if from_folder == to_folder:
        return None
    words = ("folder", "file") if from_folder else ("file", "folder")
    return PyrunError(
        f"{mount.describe()}: not a directory: the source is a {words[0]}, and the destination a {words[1]}",
        mount.json_path,
    )
