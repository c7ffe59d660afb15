"""A cgroup's directory: whose it is, its processes, the cgroups below, and how they go. The same for v1 and v2.

Hot module. A container can nest cgroups deeper than a path may be long, so everything below is reached by
descriptors.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError
from pyrun.cgroups import files
from pyrun.kernel import calls
from pyrun.kernel.calls import O_CLOEXEC, read_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIGKILL = 9
# An attribute of directories. A container's cgroup (in the main hierarchy) has its id: no other may have the path until
# it is deleted. One above that pyrun made has an empty one: whoever removes the last container removes it too.
MARK = "trusted.pyrun"
_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | O_CLOEXEC


def mark(directory: str, owner: str) -> None:
    """Write down whose a cgroup is."""
    try:
        posix.setxattr(directory, MARK, owner.encode())
    except OSError:
        pass  # only root of the machine may; then the plan alone tells what is ours


def owner_of(directory: str) -> str | None:
    """The container that a cgroup belongs to, "" for one above that pyrun made, None for others."""
    try:
        return posix.getxattr(directory, MARK).decode()
    except OSError:
        return None


def processes(directory: str) -> list[int]:
    """The processes of a cgroup and of those below it; none if it is gone.

    A process of a PID namespace that can't be seen from here is listed as 0 by the kernel and left out.
    """
    try:
        fd = posix.open(directory, _DIRECTORY)
    except OSError:
        return []
    try:
        found = _listed(fd, "cgroup.procs")
        if _links(fd) > 2:
            for parent, name in below(directory):
                found += _listed(parent, f"{name}/cgroup.procs")
    finally:
        posix.close(fd)
    return found


def _listed(dirfd: int, name: str) -> list[int]:
    try:
        fd = posix.open(name, posix.O_RDONLY | O_CLOEXEC, dir_fd=dirfd)
    except OSError:
        return []
    try:
        return [int(line) for line in read_all(fd, 1 << 26).split() if line != b"0"]
    except OSError:
        return []  # a threaded cgroup: its domain above lists the process
    finally:
        posix.close(fd)


def has_children(directory: str) -> bool:
    """Whether there are cgroups below."""
    return posix.stat(directory).st_nlink > 2


def _links(fd: int) -> int:
    return posix.fstat(fd).st_nlink


def _children(fd: int) -> list[str]:
    if _links(fd) <= 2:  # kernfs counts them: no need to look through the files
        return []
    with posix.scandir(fd) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]


def below(directory: str) -> Iterator[tuple[int, str]]:
    """(descriptor of the parent, name) of each cgroup below, children before parents; open only while it is
    used.
    """
    fd = posix.open(directory, _DIRECTORY)
    try:
        names: list[str] = []
        waiting = [_children(fd)]
        while True:
            if waiting[-1]:
                name = waiting[-1].pop()
                try:
                    child = posix.open(name, _DIRECTORY, dir_fd=fd)
                except OSError:
                    continue  # gone meanwhile
                names.append(name)
                waiting.append(_children(child))
            else:
                waiting.pop()
                if not names:
                    return
                name = names.pop()
                child = posix.open("..", _DIRECTORY, dir_fd=fd)
                posix.close(fd)
                fd = child
                yield fd, name
                continue
            posix.close(fd)
            fd = child
    finally:
        posix.close(fd)


def kill_all(pids: Sequence[int]) -> None:
    """SIGKILL to each but the caller; those that ended meanwhile are fine."""
    own = posix.getpid()
    for pid in pids:
        if pid > 0 and pid != own:
            try:
                posix.kill(pid, SIGKILL)
            except ProcessLookupError:
                pass


def move(pids: Sequence[int], directory: str) -> None:
    """Move processes into a cgroup; those that ended meanwhile are fine. Raises OSError."""
    for pid in pids:
        try:
            files.put(directory, "cgroup.procs", str(pid))
        except ProcessLookupError:
            pass


def remove_below(directory: str) -> bool:
    """Remove the cgroups below, deepest first; False if one is still in use."""
    done = True
    try:
        for parent, name in below(directory):
            try:
                posix.rmdir(name, dir_fd=parent)
            except OSError as error:
                done = done and error.errno == errno.ENOENT
    except FileNotFoundError:
        pass  # the whole directory is gone
    return done


def rmdir(directory: str) -> bool:
    """Remove one cgroup; False if it is in use. One that is gone is fine. Raises PyrunError if we may not remove it."""
    try:
        posix.rmdir(directory)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        if error.errno != errno.ENOENT and calls.exists(
            directory
        ):  # a read-only file system says EROFS of anything
            text = f"removing the cgroup {directory}: {files.reason(error)}"
            raise PyrunError(text, errno=error.errno or 0) from None
    return True
