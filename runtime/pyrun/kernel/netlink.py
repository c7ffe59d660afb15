"""rtnetlink(7): one request to the kernel's network and its answers; no policy. Hot module, loaded only when needed."""

from __future__ import annotations

import errno
import posix
import sys

from _pyrun_kernel import lib

from pyrun.kernel.calls import check, failure

RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR = 16, 18, 20, 22
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x300, 0x200, 0x400
IFLA_IFNAME, IFLA_NET_NS_FD = 3, 28
IFF_UP, IFF_LOOPBACK = 1, 8
LARGEST = 1 << 16  # bytes of one answer

_sent = 0  # requests of this process, by which an answer that comes too late is known


def number(value: int, size: int = 4) -> bytes:
    """An unsigned integer of `size` bytes, as this machine has it."""
    return value.to_bytes(size, sys.byteorder)


def read(data: bytes, offset: int, size: int = 4) -> int:
    """The unsigned integer of `size` bytes at an offset."""
    return int.from_bytes(data[offset : offset + size], sys.byteorder)


def connect() -> int:
    """A socket to the kernel, in this process's network namespace; it stays in that."""
    return check(lib.k_netlink(), "socket(AF_NETLINK)")


def attribute(kind: int, data: bytes) -> bytes:
    """An attribute, padded: rtnetlink(3)."""
    return number(4 + len(data), 2) + number(kind, 2) + data + b"\0" * (-len(data) % 4)


def attributes(data: bytes) -> list[tuple[int, bytes]]:
    """The attributes of a message, behind its fixed part."""
    found = []
    while len(data) >= 4:
        size = max(read(data, 0, 2), 4)
        found.append((read(data, 2, 2) & 0x3FFF, data[4:size]))
        data = data[(size + 3) & ~3 :]
    return found


def link(index: int, flags: int = 0, change: int = 0) -> bytes:
    """struct ifinfomsg."""
    return number(0) + number(index) + number(flags) + number(change)


def request(sock: int, kind: int, flags: int, body: bytes, call: str) -> list[bytes]:
    """Send a request and wait for its end: the answers without their headers. OSError names `call`."""
    global _sent
    _sent += 1
    flags |= NLM_F_REQUEST if flags == NLM_F_DUMP else NLM_F_REQUEST | NLM_F_ACK
    posix.write(
        sock, number(16 + len(body)) + number(kind, 2) + number(flags, 2) + number(_sent) + number(0) + body
    )
    found: list[bytes] = []
    while True:
        data = posix.read(sock, LARGEST)
        while len(data) >= 16:
            size = read(data, 0)
            if size < 16:
                raise failure(call, errno.EBADMSG)
            kind, sequence, content = read(data, 4, 2), read(data, 8), data[16:size]
            data = data[(size + 3) & ~3 :]
            if sequence != _sent:
                continue
            if kind == NLMSG_DONE:
                return found
            if kind == NLMSG_ERROR:
                result = -read(content, 0) & 0xFFFFFFFF
                if result:
                    raise failure(call, result)
                return found
            found.append(content)
