"""THE way from a path of the container to a descriptor.

Hot module. Two thirds of the known container escapes are one mistake: a path text, resolved twice, in a tree that
belongs to the attacker. So nothing else in pyrun opens, makes or mounts by a path inside the root file system: this
module resolves it once, in the kernel, as if the root file system were "/" (openat2, RESOLVE_IN_ROOT: symbolic links
and ".." can't leave it, magic links are refused), and everyone else works on the O_PATH descriptor. What is missing is
made component by component, each on the descriptor of its parent.
"""

from __future__ import annotations

import errno
import posix

from pyrun.kernel.calls import (
    O_CLOEXEC,
    O_PATH,
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    failure,
    openat2,
    read_all,
)

MAX_LINKS = 40  # as the kernel has it: path_resolution(7)
DIRECTORY, FILE, CHARACTER = 0o40000, 0o100000, 0o20000


def lookup(root: int, path: str, flags: int = 0) -> int:
    """Return an O_PATH descriptor of what `path` is in the container. Raises OSError if it isn't there."""
    return openat2(root, path or "/", O_PATH | flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def open_in(parent: int, name: str, flags: int) -> int:
    """Open one component below a descriptor. It must not be a symbolic link."""
    return openat2(parent, name, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)


def make(root: int, path: str, kind: int, mode: int = 0o755) -> int:
    """Like `lookup`, and what is missing is made: folders, and at the end an empty FILE or a DIRECTORY.

    A dangling symbolic link is followed, inside the root, and its target made: images have /var/run -> /run without
    /run. New folders are root's, 0755.
    """
    try:
        return lookup(root, path)
    except FileNotFoundError:
        pass
    todo = [part for part in path.split("/") if part not in ("", ".")]
    done: list[str] = []
    links = 0
    while todo:
        name = todo.pop(0)
        parent = lookup(root, "/".join(done))
        try:
            try:
                posix.close(lookup(root, "/".join([*done, name])))
                done.append(name)
                continue
            except FileNotFoundError:
                pass
            if name == "..":  # a parent vanished under us
                raise failure("openat2", errno.ENOENT, path)
            try:
                if todo or kind == DIRECTORY:
                    posix.mkdir(name, 0o755 if todo else mode, dir_fd=parent)
                else:
                    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW | O_CLOEXEC
                    posix.close(posix.open(name, flags, 0o644, dir_fd=parent))
                done.append(name)
            except FileExistsError:  # it can't be looked up, but is there: a dangling link
                links += 1
                if links > MAX_LINKS:
                    raise failure("openat2", errno.ELOOP, path) from None
                target = posix.readlink(name, dir_fd=parent)
                if target[:1] == "/":
                    done = []
                todo = [part for part in target.split("/") if part not in ("", ".")] + todo
        finally:
            posix.close(parent)
    return lookup(root, "/".join(done))


def make_parent(root: int, path: str) -> tuple[int, str]:
    """Return a descriptor of the folder that is to hold `path`, made if missing, and the last component's name."""
    folder, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise failure("openat2", errno.EINVAL, path)
    return make(root, folder or "/", DIRECTORY), name


def read_file(root: int, path: str, limit: int) -> bytes:
    """Return the content of a regular file of the container.

    Raises OSError: EINVAL if it is anything else, EFBIG if it is longer.
    """
    flags = posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY
    fd = openat2(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    try:
        if posix.fstat(fd).st_mode & 0o170000 != FILE:
            raise failure("open", errno.EINVAL, path)
        return read_all(fd, limit)
    finally:
        posix.close(fd)


def open_character_device(root: int, path: str, number: int) -> int:
    """Open the character device `number` at `path` to read and write. Raises OSError: ENXIO if it is anything else.

    We look at it before we open it, since to open a device can do something with it, and again when it is open.
    """
    flags = posix.O_RDWR | posix.O_NONBLOCK | posix.O_NOCTTY
    for how in (O_PATH, flags):
        fd = openat2(root, path, how, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        found = posix.fstat(fd)
        if (found.st_mode & 0o170000, found.st_rdev) != (CHARACTER, number):
            posix.close(fd)
            raise failure("open", errno.ENXIO, path)
        if how == O_PATH:
            posix.close(fd)
    posix.set_blocking(fd, True)
    return fd


def is_directory(fd: int) -> bool:
    """Is the file that `fd` is a folder?"""
    return posix.fstat(fd).st_mode & 0o170000 == DIRECTORY
