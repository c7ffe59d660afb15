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

from pyrun.base.errors import PyrunError, failed
from pyrun.features.mounts import attributes, causes, filesystem
from pyrun.kernel import mounts
from pyrun.paths import under_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrun.story.making import Inside

MOST = 10000  # read-only paths: to bind one, the kernel looks at all that were made before
ABSENT = (errno.ENOENT, errno.ENOTDIR)


class Places:
    """Where a path is. Below /proc and /sys it is looked up from the mount itself: another container that has the same
    root file system may rename /proc meanwhile, and what is hidden must be hidden wherever the mount goes."""

    __slots__ = ("kernels", "root")

    def __init__(self, root: int, kernels: list[tuple[str, int]]) -> None:
        self.root = root
        self.kernels = [
            (destination.rstrip("/") + "/", fd, self._is_seen(destination, fd)) for destination, fd in kernels
        ]

    def _is_seen(self, destination: str, fd: int) -> bool:
        try:
            found = under_root.lookup(self.root, destination)
        except OSError:
            return False
        seen = posix.fstat(found).st_dev == posix.fstat(fd).st_dev
        posix.close(found)
        return seen

    def find(self, path: str) -> list[int]:
        """O_PATH descriptors of what `path` is: one if it exists, two if a mount that it leads into is not seen."""
        found = []
        for prefix, fd, seen in self.kernels:
            if path.startswith(prefix) and path != prefix:
                found += _look(fd, path[len(prefix) :])
                if seen:
                    return found
        return found + _look(self.root, path)


def _look(root: int, path: str) -> list[int]:
    try:
        return [under_root.lookup(root, path)]
    except OSError as error:
        if error.errno in ABSENT:
            return []
        raise


def _places(inside: Inside) -> Places:
    if inside.places is None:
        inside.places = Places(inside.root, inside.kernels)
    return inside.places


def mask(inside: Inside) -> None:
    """linux.maskedPaths: cover each path that exists."""
    places, paths, null = _places(inside), inside.plan.linux["maskedPaths"], inside.null
    empty = -1
    settings: list[tuple[str, str | None]] = [("mode", "555")]
    if label := inside.plan.linux.get("mountLabel"):
        settings.append(("context", label))
    for index, target in _all(places, paths, "masking", "linux.maskedPaths"):
        path = paths[index]
        try:
            if not under_root.is_directory(target):
                tree = mounts.clone_tree(null, recursive=False)
            elif empty < 0:
                # The first folder gets the empty file system itself, the others clones of it: to close a mount that
                # was never attached costs milliseconds, as the kernel then waits for all others to look away (RCU).
                tree = filesystem.new("tmpfs", "tmpfs", settings, mounts.MOUNT_ATTR_RDONLY)
            else:
                tree = mounts.clone_tree(empty, recursive=False)
            mounts.move_mount(tree, target)
            attributes.change(tree, False, mounts.MOUNT_ATTR_RDONLY, 0)
            if empty < 0 and under_root.is_directory(target):
                empty = tree
            else:
                posix.close(tree)
        except OSError as error:
            raise failed(f"masking {path}", error, f"linux.maskedPaths[{index}]", _cause(error)) from None
        finally:
            posix.close(target)
    if empty >= 0:
        posix.close(empty)


def _all(places: Places, paths: list[str], doing: str, json_path: str) -> Iterator[tuple[int, int]]:
    """Index and descriptor of each path that exists, once, however often it is named."""
    done = set()
    for index in range(len(paths)):
        if paths[index] in done:
            continue
        done.add(paths[index])
        try:
            found = places.find(paths[index])
        except OSError as error:
            raise failed(f"{doing} {paths[index]}", error, f"{json_path}[{index}]") from None
        for target in found:
            yield index, target


def _cause(error: OSError) -> str:
    return {errno.ENOSPC: causes.TOO_MANY, errno.EBUSY: causes.BUSY}.get(error.errno or 0, "")


def make_readonly(inside: Inside) -> None:
    """linux.readonlyPaths: bind each path that exists over itself, read-only, mounts below it included."""
    places, paths = _places(inside), inside.plan.linux["readonlyPaths"]
    for count, (index, target) in enumerate(_all(places, paths, "making read-only", "linux.readonlyPaths")):
        if count == MOST:
            raise PyrunError(f"more than {MOST} of the paths exist, which is the most", "linux.readonlyPaths")
        path = paths[index]
        try:
            tree = mounts.clone_tree(target, recursive=True)
            mounts.move_mount(tree, target)
            attributes.change(tree, True, mounts.MOUNT_ATTR_RDONLY, 0)
            posix.close(tree)
        except OSError as error:
            path = f"linux.readonlyPaths[{index}]"
            raise failed(f"making {paths[index]} read-only", error, path, _cause(error)) from None
        finally:
            posix.close(target)
