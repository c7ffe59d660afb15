"""What the file systems of tests share that live in a process: mounting by FUSE, and the loop that answers.

Source: Documentation/filesystems/fuse, linux/fuse.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

FORGOTTEN = (2, 36, 42)  # forget, interrupt: they have no reply
INIT = 26
INITIALIZED = struct.pack("=4I2H2I2HI7I", 7, 31, 65536, 0, 8, 8, 65536, 1, 0, 0, 0, *[0] * 7)


def mount(name, place, options):
    """Mount a new FUSE at a place, in a mount namespace of its own; returns the descriptor that requests come from."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open("/dev/fuse", os.O_RDWR)
    data = f"fd={fd},rootmode=40000,group_id=0,{options}"
    for call in (
        libc.unshare(0x20000),
        libc.mount(None, b"/", None, (1 << 18) | 16384, None),
        libc.mount(name.encode(), place.encode(), b"fuse", 0, data.encode()),
    ):
        if call:
            raise OSError(ctypes.get_errno(), "mounting")
    return fd


def directory(entries):
    """What readdir(3) finds: names with their types, which are the upper four bits of their modes."""
    found = b""
    for place, (name, kind) in enumerate(entries, 1):
        data = name.encode()
        found += struct.pack("=2Q2I", 1, place, len(data), kind) + data + b"\0" * (-len(data) % 8)
    return found


def serve(fd, answer):
    """Answer until the file system is unmounted. `answer(code, node, body)` gives a reply but for its header, or raises
    OSError."""
    while True:
        try:
            data = os.read(fd, 1 << 20)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            continue
        _, code, unique, node = struct.unpack_from("=2I2Q", data)
        if code in FORGOTTEN:
            continue
        try:
            reply, number = INITIALIZED if code == INIT else answer(code, node, data[40:]), 0
        except OSError as error:
            reply, number = b"", error.errno or errno.EIO
        os.write(fd, struct.pack("=IiQ", 16 + len(reply), -number, unique) + reply)
