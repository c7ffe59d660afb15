"""Files, sockets and descriptors: one function per system call, no policy.

Hot module. Everything here raises OSError(errno, "call: reason", path). Constants carry the kernel's names. What
`posix` has already is called from there by those who need it.
"""

from __future__ import annotations

import errno
import posix

from _pyrun_kernel import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

AT_FDCWD = -100
RESOLVE_NO_XDEV = 1
RESOLVE_NO_MAGICLINKS = 2
RESOLVE_NO_SYMLINKS = 4
RESOLVE_BENEATH = 8
RESOLVE_IN_ROOT = 16
LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN = 1, 2, 4, 8
CLOSE_RANGE_CLOEXEC = 4
MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_EXEC = 1, 2, 0x10
POLLIN, POLLOUT = 1, 4
O_PATH = 0o10000000
O_CLOEXEC = posix.O_CLOEXEC


def failure(call: str, number: int, path: str | None = None) -> OSError:
    """Return the exception for a system call that returned -number."""
    return OSError(number, f"{call}: {posix.strerror(number)}", path)


def check(result: int, call: str, path: str | None = None) -> int:
    """Return `result`, or raise the exception for it if it is negative."""
    if result < 0:
        raise failure(call, -result, path)
    return result


def openat2(dirfd: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    """openat2(2); O_CLOEXEC is always added."""
    return check(
        lib.k_openat2(dirfd, path.encode("utf-8", "surrogateescape"), flags | O_CLOEXEC, mode, resolve),
        "openat2",
        path,
    )


def statfs_type(fd: int) -> int:
    """The file system's magic number: fstatfs(2)."""
    return check(lib.k_statfs_type(fd), "fstatfs")


def flock(fd: int, operation: int) -> bool:
    """flock(2); False if LOCK_NB was asked for and another holds the lock."""
    result = lib.k_flock(fd, operation)
    if result == -errno.EWOULDBLOCK:
        return False
    check(result, "flock")
    return True


def sealed_memfd(name: str, content: bytes, mode: int) -> int:
    """Return a file of memory that holds `content` and can never be changed: memfd_create(2), F_ADD_SEALS."""
    flags = MFD_CLOEXEC | MFD_ALLOW_SEALING
    result = lib.k_memfd_create(name.encode(), flags | MFD_EXEC)
    if result == -errno.EINVAL:  # MFD_EXEC is of Linux 6.3
        result = lib.k_memfd_create(name.encode(), flags)
    fd = check(result, "memfd_create", name)
    write_all(fd, content)
    posix.fchmod(fd, mode)
    check(lib.k_seal(fd), "fcntl(F_ADD_SEALS)", name)
    return fd


def memfd(name: str, content: bytes) -> int:
    """Return a file of memory positioned at its start, for another process to read."""
    fd = check(lib.k_memfd_create(name.encode(), MFD_CLOEXEC), "memfd_create", name)
    write_all(fd, content)
    posix.lseek(fd, 0, 0)
    return fd


def write_all(fd: int, data: bytes) -> None:
    """write(2) until all is written."""
    while data:
        data = data[posix.write(fd, data) :]


def exists(path: str) -> bool:
    """Is there something of this name on the host, that we may look at?"""
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def read_all(fd: int, limit: int) -> bytes:
    """Return all that `fd` holds. Raises OSError(EFBIG) if that is more than `limit` bytes."""
    parts = []
    left = limit
    while part := posix.read(fd, min(left + 1, 1 << 15)):
        parts.append(part)
        left -= len(part)
        if left < 0:
            raise OSError(errno.EFBIG, f"read: larger than {limit >> 20} MiB, which is the most that is read")
    return b"".join(parts)


def read_file(path: str, limit: int = 1 << 24) -> bytes:
    """Return the content of a file on the host (trusted: /proc, /sys, our state)."""
    fd = posix.open(path, posix.O_RDONLY | O_CLOEXEC)
    try:
        return read_all(fd, limit)
    finally:
        posix.close(fd)


def write_file(path: str, data: str | bytes) -> None:
    """One write(2) to an existing file on the host, as kernel files want it; the OSError names the path."""
    fd = posix.open(path, posix.O_WRONLY | O_CLOEXEC)
    try:
        posix.write(fd, data.encode() if isinstance(data, str) else data)
    except OSError as error:
        raise failure("write", error.errno or 0, path) from None
    finally:
        posix.close(fd)


def replace_file(dirfd: int, name: str, data: bytes, mode: int = 0o600) -> None:
    """Write a file whole or not at all: write a new one, then rename(2).

    A killed command may have left a file of the new one's name, or another user put it there. We don't write to it.
    """
    temporary = f".{name}.new"
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | O_CLOEXEC
    try:
        fd = posix.open(temporary, flags, mode, dir_fd=dirfd)
    except FileExistsError:
        posix.unlink(temporary, dir_fd=dirfd)
        fd = posix.open(temporary, flags, mode, dir_fd=dirfd)
    try:
        try:
            write_all(fd, data)
        finally:
            posix.close(fd)
        posix.rename(temporary, name, src_dir_fd=dirfd, dst_dir_fd=dirfd)
    except OSError:
        posix.unlink(temporary, dir_fd=dirfd)
        raise


def close_range_on_exec(first: int) -> None:
    """Mark every descriptor from `first` on to be closed by execve."""
    result = lib.k_close_range(first, 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC)
    if result in (-errno.ENOSYS, -errno.EINVAL):  # the flag is of Linux 5.11
        for name in posix.listdir("/proc/self/fd"):
            if int(name) >= first:
                try:
                    posix.set_inheritable(int(name), False)
                except OSError:
                    pass  # the listing's own descriptor, closed by now
    else:
        check(result, "close_range")


def poll(fds: list[int], milliseconds: int, writable: list[int] | None = None) -> list[int]:
    """Return those of `fds` that can be read or were hung up, then those of `writable` that can be written: poll(2).

    -1 ms waits without end.
    """
    both = [*fds, *(writable or ())]
    count = len(both)
    array: Any = ffi.new("struct pollfd[]", count)
    for i, fd in enumerate(both):
        array[i].fd = fd
        array[i].events = POLLIN if i < len(fds) else POLLOUT
    result = lib.k_poll(array, count, milliseconds)
    if result == -errno.EINTR:
        return []
    check(result, "poll")
    return [array[i].fd for i in range(count) if array[i].revents]


def socketpair() -> tuple[int, int]:
    """Return two ends of an AF_UNIX SOCK_SEQPACKET connection: one write is one message."""
    fds: Any = ffi.new("int[2]")
    check(lib.k_socketpair(fds), "socketpair")
    return fds[0], fds[1]


def listen(dirfd: int, name: str) -> int:
    """Return a listening AF_UNIX socket in a folder given by descriptor (which also keeps the address short)."""
    return check(lib.k_listen(f"/proc/self/fd/{dirfd}/{name}".encode()), "bind", name)


def connect(path: str, seconds: int = 0) -> int:
    """Return a connection to the AF_UNIX socket at `path`, of any length.

    Raises OSError(EAGAIN) if its queue is full for so many seconds; 0 waits without end.
    """
    data = path.encode("utf-8", "surrogateescape")
    if len(data) < 108:
        return check(lib.k_connect(data, seconds), "connect", path)
    folder, _, name = path.rpartition("/")
    fd = posix.open(folder or "/", O_PATH | O_CLOEXEC)
    try:
        data = f"/proc/self/fd/{fd}/{name}".encode("utf-8", "surrogateescape")
        return check(lib.k_connect(data, seconds), "connect", path)
    finally:
        posix.close(fd)


def datagram_listen(path: str) -> int:
    """Return a socket for datagrams at a short `path`, read without blocking."""
    return check(lib.k_datagram(path.encode("utf-8", "surrogateescape"), 1), "bind", path)


def datagram_connect(path: str) -> int:
    """Return a socket that sends datagrams to `path`, or to an abstract address, which begins with "@"."""
    return check(lib.k_datagram(path.encode("utf-8", "surrogateescape"), 0), "connect", path)


def send_fd(sock: int, data: bytes, fd: int) -> int:
    """Send one descriptor along with `data`: SCM_RIGHTS, unix(7). How much of the data went along, if it is long."""
    return check(lib.k_send_fd(sock, data, len(data), fd), "sendmsg")


def receive(sock: int, size: int) -> tuple[bytes, int]:
    """What comes next (b"" if the other end is closed), and the descriptor that it brings, or -1."""
    data: Any = ffi.new("char[]", size)
    fd: Any = ffi.new("int *")
    length = check(lib.k_receive(sock, data, size, fd), "recvmsg")
    return ffi.buffer(data, length)[:], fd[0]


def receive_fd(sock: int) -> int:
    """Return the descriptor that the next message brings. Raises OSError(ENOMSG) if it brings none."""
    _, fd = receive(sock, 4096)
    return check(fd if fd >= 0 else -errno.ENOMSG, "recvmsg")
