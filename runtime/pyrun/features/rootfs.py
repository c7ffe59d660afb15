"""The root file system: propagation, entering it, read-only.

Hot module. Sources: config.md, Root; config-linux.md, Rootfs Mount Propagation; pivot_root(2).
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError, failed
from pyrun.features.mounts import attributes, causes, mount_tree
from pyrun.kernel import calls, mounts, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from oci_spec import types

MS_UNBINDABLE = 1 << 17
PROPAGATION = {
    "shared": mounts.MS_SHARED,
    "slave": mounts.MS_SLAVE,
    "private": mounts.MS_PRIVATE,
    "unbindable": MS_UNBINDABLE,
    "rshared": mounts.MS_SHARED | mounts.MS_REC,
    "rslave": mounts.MS_SLAVE | mounts.MS_REC,
    "rprivate": mounts.MS_PRIVATE | mounts.MS_REC,
    "runbindable": MS_UNBINDABLE | mounts.MS_REC,
}


NO_NAMESPACE = "the container has no mount namespace, and its mounts would be the host's"
REMEDY = 'add {"type": "mount"} to linux.namespaces, or take it out'


def has_mounts(config: types.Config) -> bool:
    """Has the container mounts of its own, and not the runtime's?"""
    namespaces = (config.get("linux") or {}).get("namespaces") or ()
    return bool([entry for entry in namespaces if entry["type"] == "mount"])


def refusals_without_namespace(config: types.Config) -> Iterator[PyrunError]:
    """What a container that inherits the runtime's mount namespace can't have, since it would change the mounts of the
    host: each with its property. Empty values ask for nothing."""
    linux: types.Linux = config.get("linux") or {}
    root: Any = config.get("root") or {}  # `validate` asks of documents that have none
    for index, _ in enumerate(config.get("mounts") or ()):
        yield PyrunError(NO_NAMESPACE, f"mounts[{index}]", REMEDY)
    for json_path, value in (
        ("root.readonly", root.get("readonly")),
        ("process.terminal", "process" in config and config["process"].get("terminal")),
        ("linux.rootfsPropagation", linux.get("rootfsPropagation")),
        ("linux.maskedPaths", linux.get("maskedPaths")),
        ("linux.readonlyPaths", linux.get("readonlyPaths")),
    ):
        if value:
            yield PyrunError(NO_NAMESPACE, json_path, REMEDY)
    kinds = [entry["type"] for entry in linux.get("namespaces") or ()]
    if linux.get("devices") and "user" in kinds:
        yield PyrunError(f"in a user namespace devices are mounts: {NO_NAMESPACE}", "linux.devices", REMEDY)


def open_root(path: str) -> int:
    """The root file system's folder, O_PATH."""
    try:
        return posix.open(path, calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)
    except OSError as error:
        raise failed("opening the root file system", error, "root.path") from None


def separate(propagation: str) -> None:
    """Set the propagation of all mounts of this new namespace, so that what we do here stays here.

    Slave unless configured: mounts of the host go on to appear inside bind mounts. `shared` must leave peer groups
    alone, or a volume could never pass mounts back to the host; what may not be bound or is private is private.
    """
    flag = PROPAGATION.get(propagation, mounts.MS_SLAVE) & ~mounts.MS_REC
    if flag == MS_UNBINDABLE:
        flag = mounts.MS_PRIVATE
    try:
        mounts.mount(None, "/", None, flag | mounts.MS_REC, None)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise PyrunError(
            "the root directory that pyrun was called in is not a mount point, as in a plain chroot, so that the "
            "container's mounts can't be kept apart from the host's",
            hint="bind it onto itself before the chroot: mount --bind DIR DIR",
        ) from None


def mount_root(folder: int, shared: bool) -> int:
    """Make the root file system a mount of its own over itself, which pivot_root wants; returns its root."""
    try:
        if shared:  # pivot_root refuses a root that stands in a shared mount
            _make_parent_private(folder)
        tree = mounts.clone_tree(folder, recursive=True)
        mounts.move_mount(tree, folder)
    except OSError as error:
        raise failed("mounting the root file system", error, "root.path") from None
    return tree


def _make_parent_private(folder: int) -> None:
    """Find the mount that holds `folder` and make it private."""
    wanted = mount_tree.identity(folder)
    for line in calls.read_file("/proc/self/mountinfo").split(b"\n"):
        fields = line.split(b" ")
        if fields[0] == wanted:
            mounts.mount(None, mount_tree.unescape(fields[4]), None, mounts.MS_PRIVATE, None)


def _leave_chroot() -> None:
    """Stand at the root of this mount namespace, wherever our caller's root is. Of a chroot something would be left
    above the container's root, and who has CAP_SYS_CHROOT climbs there. If we haven't that right, nobody in the
    container has it."""
    pidfd = process.pidfd_open(posix.getpid())
    try:
        process.join(pidfd, process.CLONE_NEWNS)
    except PermissionError:
        pass
    finally:
        posix.close(pidfd)


def enter(root: int, pivot: bool, shared: bool) -> None:
    """Make `root` the root of this process and let go of the host's, whose mounts may be `shared` with the host."""
    try:
        _leave_chroot()
        if pivot:
            old = posix.open("/", calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC) if shared else -1
            posix.fchdir(root)
            mounts.pivot_root(".", ".")
            # The old root now lies over the new one, and unmounting "." takes it away: pivot_root(2), Notes.
            if shared:  # cut its propagation first, so that the host keeps its mounts
                posix.fchdir(old)
                mounts.mount(None, ".", None, mounts.MS_SLAVE | mounts.MS_REC, None)
                posix.close(old)
            mounts.umount_detach(".")
            posix.chdir("/")
        else:
            _enter_without_pivot(root)
    except OSError as error:
        hint = ""
        if pivot and error.errno == errno.EINVAL:
            hint = "on a ramdisk, pivot_root is impossible: use --no-pivot"
        raise failed("entering the root file system", error, "root.path", hint) from None


def _enter_without_pivot(root: int) -> None:
    """For a host whose root is a ramdisk: move the root mount over "/", having hidden what lies there."""
    posix.fchdir(root)
    try:
        lines = calls.read_file("/proc/self/mountinfo").split(b"\n")
    except FileNotFoundError:  # outside of our caller's chroot there is none
        lines = []
    for line in reversed(lines):
        fields = line.split(b" ")
        if len(fields) > 4 and fields[4] in (b"/proc", b"/sys"):
            # a chroot can be left by one who has CAP_SYS_CHROOT; what he would find outside is no procfs or sysfs
            try:
                mounts.umount_detach(fields[4].decode())
            except OSError:
                pass
    slash = posix.open("/", calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)
    mounts.move_mount(root, slash)
    posix.close(slash)
    posix.chroot(".")
    posix.chdir("/")


def enter_in_place(root: int) -> int:
    """Make `root` the root of this process by chroot(2), without a mount that is made or moved; returns a descriptor of
    it. Who has CAP_SYS_CHROOT can leave it, as every chroot. Raises PyrunError."""
    try:
        posix.fchdir(root)
        posix.chroot(".")
        return posix.open("/", calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)
    except OSError as error:
        raise failed("entering the root file system", error, "root.path") from None


def finish(propagation: str, readonly: bool) -> int:
    """The root's final propagation and read-only flag, once it is "/"; returns a descriptor of it."""
    root = posix.open("/", calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)
    try:
        if propagation:
            flag = PROPAGATION[propagation]
            attributes.change(root, flag & mounts.MS_REC != 0, 0, 0, flag & ~mounts.MS_REC)
        if readonly:
            attributes.change(root, False, mounts.MOUNT_ATTR_RDONLY, 0)
    except OSError as error:
        path = "root.readonly" if readonly else "linux.rootfsPropagation"
        hint = causes.BUSY if error.errno == errno.EBUSY else ""
        raise failed("finishing the root file system", error, path, hint) from None
    return root
