"""A container as the host keeps it: `<root>/<id>/` with two files. (Making an inode is the dearest thing that a
small command does, so there are no more.)

Hot module. What lies there:
  state.json  a JSON object a line, each adding to the ones before; behind the first, config.json as it was then. The
              first is written before the first side effect and names all that will be made: whatever interrupts a
              command, this is what `delete --force` works from. The last says that the container is created, and its
              pid. A line without its end counts as none.
              The container's init has this file flocked until it executes the program: the kernel drops that lock at
              execve, so that "created or running?" has one answer, which no crash can make wrong.
  start.sock  the init listens there; `start` connects
The folder itself is flocked for the length of one command that changes the container.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base import jsontext, log
from pyrun.base.errors import PyrunError, failed, words
from pyrun.container import roots, state_file
from pyrun.kernel import calls
from pyrun.kernel.calls import LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, O_CLOEXEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# Why a line can't be written: errno -> what to do.
NO_ROOM = {
    errno.EFBIG: "the limit on the size of files (RLIMIT_FSIZE, ulimit -f) must be higher",
    errno.ENOSPC: "--root is where there must be room",
    errno.EDQUOT: "--root is where there must be room for this user",
}


class Container:
    """An open state folder and what state.json says; `locked` says whether we hold its lock."""

    __slots__ = ("config", "dirfd", "id", "locked", "record", "root")

    def __init__(self, root: str, container_id: str, dirfd: int) -> None:
        self.root = root
        self.id = container_id
        self.dirfd = dirfd
        self.locked = False
        self.record: dict[str, Any] = {}
        self.config = b""

    def add(self, facts: dict[str, Any], config: bytes = b"") -> None:
        """Add a line to state.json, which is made with the first; and the bytes of config.json, for exec.

        Raises PyrunError if there is no room for it.
        """
        self.record.update(facts)
        data = jsontext.encode(facts).encode() + b"\n"
        if config:
            self.config = config
            data += state_file.CONFIG + f"{len(config)}\n".encode() + config + b"\n"
        flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_NOFOLLOW | O_CLOEXEC
        fd = -1
        try:
            fd = posix.open("state.json", flags, 0o600, dir_fd=self.dirfd)
            calls.write_all(fd, data)
        except OSError as error:
            path = f"{self.root}/{self.id}/state.json"
            hint = NO_ROOM.get(error.errno or 0, "")
            raise failed("writing the container's state", error, hint=hint, path=path) from None
        finally:
            if fd >= 0:
                posix.close(fd)

    def load(self) -> None:
        """Read state.json. Without one (create was killed before its first line) the record is empty.

        Raises PyrunError of kind "damaged" if it isn't what we have written; the record is then what we can use of it.
        """
        why = self._read()
        if why == state_file.CUT_OFF:
            # whoever writes it holds the lock, and may have ended the line, and let go, since we read
            why = "" if not self.locked and is_locked(self.dirfd) else self._read()
        if why:
            raise PyrunError(
                f'state.json of container "{self.id}" is damaged: {why}',
                hint=f"pyrun delete --force {self.id}",
                kind="damaged",
            )

    def _read(self) -> str:
        """Set the record and the configuration by state.json; returns what is wrong with it, or ""."""
        self.record = {}
        data = b""
        try:
            fd = self.open_state()
            if fd >= 0:
                try:
                    data = calls.read_all(fd, 1 << 26)
                finally:
                    posix.close(fd)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EISDIR, errno.EFBIG):  # no file that we have written
                raise
            return words(error)
        self.record, self.config, why = state_file.parse(data, self.id)
        if (not data or why == state_file.CUT_OFF) and not self.record:
            # Nothing is made before the first line is written, and the socket is what is made next in the folder.
            return state_file.CUT_OFF if self._has_socket() else ""
        return why

    def _has_socket(self) -> bool:
        try:
            posix.stat("start.sock", dir_fd=self.dirfd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def open_state(self) -> int:
        """Return a descriptor of state.json, to read it or to ask for the init's lock on it; -1 if there is none."""
        try:
            flags = posix.O_RDONLY | posix.O_NONBLOCK | O_CLOEXEC | posix.O_NOFOLLOW
            return posix.open("state.json", flags, dir_fd=self.dirfd)
        except FileNotFoundError:
            return -1

    def hold_for_init(self) -> int:
        """Return a descriptor with the lock that says "created". The init inherits it, and loses it at execve."""
        fd = self.open_state()
        calls.flock(fd, LOCK_EX | LOCK_NB)
        return fd

    def lock(self, force: bool = False) -> None:
        """Wait until no other command changes the container. With `force` we end a holder that takes too long.

        Raises PyrunError if that takes too long, or if the holder waits for us.
        """
        if not calls.flock(self.dirfd, LOCK_EX | LOCK_NB):
            from pyrun.container import locks

            locks.wait(self.dirfd, self.id, force)
        self.locked = True

    def take_part(self) -> None:
        """Lock the container that was found, as `lock` does. Raises PyrunError if it is gone meanwhile.

        If the holder of the lock waits for us, because its hook has called us, we take no lock: nobody else can change
        the container then either.
        """
        try:
            self.lock()
        except PyrunError as error:
            if error.kind != "hook":
                raise
        if not self.is_current():
            raise missing(self.id)

    def unlock(self) -> None:
        """Let others change it."""
        calls.flock(self.dirfd, LOCK_UN)
        self.locked = False

    def is_current(self) -> bool:
        """Is this still the folder of that name? (The command that we waited for may have deleted it.)"""
        try:
            now = posix.stat(f"{self.root}/{self.id}", follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        ours = posix.fstat(self.dirfd)
        return (now.st_dev, now.st_ino) == (ours.st_dev, ours.st_ino)

    def close(self) -> None:
        """Give back the folder's descriptor, and with it the lock."""
        posix.close(self.dirfd)
        self.dirfd = -1

    def is_gone(self) -> bool:
        """Have we given it back, or destroyed it?"""
        return self.dirfd < 0

    def remove(self) -> None:
        """Delete the folder; state.json goes last, so that a killed delete can be repeated. Its files are known:
        a listing would need a descriptor, and there may be none left."""
        self._unlink(("start.sock", "state.json"))
        try:
            posix.rmdir(f"{self.root}/{self.id}")
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            from pyrun.container import leftovers  # of sd_notify, or not ours

            leftovers.empty(self.dirfd)
            posix.rmdir(f"{self.root}/{self.id}")

    def _unlink(self, names: Sequence[str]) -> None:
        for name in names:
            try:
                posix.unlink(name, dir_fd=self.dirfd)
            except FileNotFoundError:
                pass


def missing(container_id: str) -> PyrunError:
    """Return the error for an id that nobody uses."""
    return PyrunError(f'container "{container_id}" does not exist', kind="missing")


def claim(root: str, container_id: str) -> Container:
    """Make the folder for a new container and lock it; an id in use is an error that leaves its owner untouched."""
    try:
        try:
            posix.mkdir(f"{root}/{container_id}", 0o700)
        except FileNotFoundError:
            roots.make_root(root)
            posix.mkdir(f"{root}/{container_id}", 0o700)
    except FileExistsError:
        raise PyrunError(
            f'container ID "{container_id}" is in use', hint="choose another, or delete it"
        ) from None
    except OSError as error:
        raise failed("making the state folder", error) from None
    try:
        container = Container(root, container_id, _open(root, container_id))
        container.lock()
        current = container.is_current()
    except BaseException as error:
        try:
            posix.rmdir(f"{root}/{container_id}")
        except FileNotFoundError:
            raise _taken_away(container_id) from None
        if isinstance(error, PyrunError) and error.kind == "missing":
            raise _taken_away(container_id) from None
        raise
    if not current:  # `delete --force` found the folder between mkdir and lock
        raise _taken_away(container_id)
    return container


def _taken_away(container_id: str) -> PyrunError:
    return PyrunError(
        f'container "{container_id}" was deleted by another command while it was being created',
        kind="missing",
    )


def _open(root: str, container_id: str) -> int:
    flags = posix.O_RDONLY | posix.O_DIRECTORY | O_CLOEXEC | posix.O_NOFOLLOW
    try:
        fd = posix.open(f"{root}/{container_id}", flags)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise missing(container_id) from None
        raise failed("opening the state folder", error) from None
    found = posix.fstat(fd)
    if found.st_uid != posix.geteuid() or found.st_mode & 0o022:
        posix.close(fd)  # what is in there names hooks that we'd run and processes that we'd kill
        raise PyrunError(
            f'the state folder of container "{container_id}" is another user\'s, or others may write there'
        )
    return fd


def find(root: str, container_id: str, lock: bool, force: bool = False) -> Container:
    """Return an existing container, with its record.

    With `force` damage is only a warning, and we end whoever holds the lock too long. Raises PyrunError of kind
    "missing" if there is no such container, of kind "damaged" if its state.json is.
    """
    roots.check_id(container_id)
    while True:
        container = Container(root, container_id, _open(root, container_id))
        if not lock:
            break
        container.lock(force)
        if container.is_current():
            break
        container.close()  # deleted while we waited; perhaps made anew
    try:
        container.load()
    except PyrunError as error:
        if not force:
            container.close()
            raise
        log.warn(f"{error.sentence}; processes and cgroups that it doesn't name may be left")
    return container


def is_locked(fd: int) -> bool:
    """Does another hold the lock of this file or folder? Leaves no lock behind."""
    if not calls.flock(fd, LOCK_SH | LOCK_NB):
        return True
    calls.flock(fd, LOCK_UN)
    return False
