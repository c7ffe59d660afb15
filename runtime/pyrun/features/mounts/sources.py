"""The sources of bind mounts: what they are, and when and by whom they are opened.

Hot module. They are paths of the host, and opened as such, before anything of the container is mounted. One that lies
in the container's own root file system may be made by an earlier mount: its turn comes with its mount, and it is looked
up from the root, so that no link there leads out. In a user namespace we are root of nothing on the host: what we may
not reach, the parent opens for us.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base import protocol
from pyrun.base.errors import failed
from pyrun.features.mounts import causes
from pyrun.features.mounts.mount import below, plain_folder
from pyrun.kernel import calls
from pyrun.paths import under_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.features.mounts.mount import Mount


def open_all(planned: list[Mount], rootfs: str, folder: int, sync: int) -> None:
    """In the init: open the sources that the host has, as long as / is the host's. `folder` is the root file system at
    the path `rootfs`. Over `sync` we ask the parent, or not at all if it is -1."""
    places: list[str] = []
    for mount in planned:
        if not mount.options.bind or mount.options.remount:
            continue
        if not places:
            places = [plain_folder(rootfs), _real(folder)]
        mount.below_root = below(mount.source, places)
        if mount.below_root:
            continue
        try:
            mount.source_fd = posix.open(mount.source, calls.O_PATH | calls.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.EACCES and sync >= 0:
                mount.source_fd = _borrow(mount, sync)
            if mount.source_fd < 0:
                is_file = error.errno == errno.ENOTDIR
                hint = _file_on_the_way(mount.source) if is_file else causes.known(mount, error)
                doing = f"opening the source of {mount.destination}"
                raise failed(doing, error, mount.json_path + ".source", hint) from None


def _real(folder: int) -> str:
    """The path of the root file system without links, as far as /proc is there to say (in a mount namespace that is
    joined it may not be)."""
    try:
        return posix.readlink(f"/proc/self/fd/{folder}") + "/"
    except OSError:
        return "//"


def _file_on_the_way(path: str) -> str:
    parts = path.split("/")
    for count in range(2, len(parts)):
        part = "/".join(parts[:count])
        try:
            if posix.stat(part).st_mode & 0o170000 != under_root.DIRECTORY:
                return causes.IS_A_FILE.format(part)
        except OSError:
            break
    return ""


def open_in_turn(root: int, mount: Mount) -> int:
    """Return the source of a mount whose turn it is. Raises PyrunError if it can't be opened."""
    if not mount.below_root:
        return mount.source_fd
    try:
        return under_root.lookup(root, mount.below_root)
    except OSError as error:
        hint = causes.file_on_the_way(root, mount.below_root) if error.errno == errno.ENOTDIR else ""
        doing = f"opening the source of {mount.destination} in the root file system"
        raise failed(doing, error, mount.json_path + ".source", hint) from None


def _borrow(mount: Mount, sync: int) -> int:
    """A source that only the host's root may reach; -1 if it may not, either."""
    protocol.send(sync, protocol.SOURCE + str(mount.index).encode())
    try:
        return calls.receive_fd(sync)
    except OSError:
        return -1


def lend(sync: int, pid: int, source: str) -> None:
    """In the parent: open what the init `pid` asks for, in its mount namespace (a mount of ours it could not clone)."""
    try:
        slash = posix.open(f"/proc/{pid}/root", calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)
        try:
            fd = calls.openat2(slash, source, calls.O_PATH, calls.RESOLVE_IN_ROOT)
        finally:
            posix.close(slash)
        calls.send_fd(sync, protocol.SOURCE, fd)
        posix.close(fd)
    except OSError:
        protocol.tell(sync, protocol.SOURCE)  # the init says what it was refused itself
