"""maskedPaths, readonlyPaths and a read-only root.

Hot module. What covers a masked file is a mount of the host's null device, opened before the root file system was
touched, and what covers a folder is an empty file system of our own: nothing that the image has at /dev/null can take
their place (CVE-2025-31133). It is mounted read-only, which doesn't matter to a device's readers and writers, but the
host's node keeps its mode and owner. Targets are descriptors: no path is resolved twice (GHSA-3q8j-pf29-vwv8).
Source: config-linux.md, Masked Paths and Readonly Paths.
"""

from __future__ import annotations

import errno
import posix

from pyrun.errors import failed
from pyrun.init import mount, under_root
from pyrun.kernel import mounts

ABSENT = (errno.ENOENT, errno.ENOTDIR)


def mask(root: int, paths: list[str], null: int) -> None:
    """Cover each path that exists; `null` is the host's null device, O_PATH."""
    empty = -1
    for index in range(len(paths)):
        path = paths[index]
        try:
            target = under_root.lookup(root, path)
        except OSError as error:
            if error.errno in ABSENT:
                continue
            raise failed(f"masking {path}", error, f"linux.maskedPaths[{index}]") from None
        try:
            if not under_root.is_directory(target):
                tree = mounts.clone_tree(null, recursive=False)
            elif empty < 0:
                # The first folder gets the empty file system itself, the others clones of it: to close a mount that
                # was never attached costs milliseconds, as the kernel then waits for all others to look away (RCU).
                tree = mount.new_filesystem("tmpfs", "tmpfs", [("mode", "0")], mounts.MOUNT_ATTR_RDONLY)
            else:
                tree = mounts.clone_tree(empty, recursive=False)
            mounts.move_mount(tree, target)
            mount.change(tree, False, mounts.MOUNT_ATTR_RDONLY, 0)
            if empty < 0 and under_root.is_directory(target):
                empty = tree
            else:
                posix.close(tree)
        except OSError as error:
            raise failed(f"masking {path}", error, f"linux.maskedPaths[{index}]") from None
        finally:
            posix.close(target)
    if empty >= 0:
        posix.close(empty)


def make_readonly(root: int, paths: list[str]) -> None:
    """Bind each path that exists over itself, read-only, mounts below it included."""
    for index in range(len(paths)):
        path = paths[index]
        try:
            target = under_root.lookup(root, path)
        except OSError as error:
            if error.errno in ABSENT:
                continue
            raise failed(f"making {path} read-only", error, f"linux.readonlyPaths[{index}]") from None
        try:
            tree = mounts.clone_tree(target, recursive=True)
            mounts.move_mount(tree, target)
            mount.change(tree, True, mounts.MOUNT_ATTR_RDONLY, 0)
            posix.close(tree)
        except OSError as error:
            raise failed(f"making {path} read-only", error, f"linux.readonlyPaths[{index}]") from None
        finally:
            posix.close(target)
