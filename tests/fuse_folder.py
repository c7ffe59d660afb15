"""A file system that shows a folder read-only: `python fuse_folder.py FOLDER PLACE OPTIONS`, to have roots on FUSE.

It mounts itself on PLACE in a mount namespace of its own, prints a line, and lives until it is killed.
Source: Documentation/filesystems/fuse.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

READING = os.O_RDONLY


class Folder:
    """The folder, and the numbers of what is in it."""

    def __init__(self, top):
        self.paths = {1: top}
        self.numbers = {top: 1}

    def number(self, path):
        """The number of a path, which it keeps."""
        if path not in self.numbers:
            self.numbers[path] = len(self.numbers) + 1
            self.paths[self.numbers[path]] = path
        return self.numbers[path]

    def attributes(self, path):
        """struct fuse_attr"""
        s = os.lstat(path)
        times = [int(s.st_atime), int(s.st_mtime), int(s.st_ctime), 0, 0, 0]
        return struct.pack(
            "=6Q10I",
            self.number(path),
            s.st_size,
            s.st_blocks,
            *times,
            s.st_mode,
            1,
            s.st_uid,
            s.st_gid,
            0,
            4096,
            0,
        )

    def entries(self, path):
        """What readdir(3) finds."""
        found = b""
        for place, name in enumerate(sorted(os.listdir(path)), 1):
            data = name.encode()
            kind = os.lstat(f"{path}/{name}").st_mode >> 12
            found += struct.pack("=2Q2I", 1, place, len(data), kind) + data + b"\0" * (-len(data) % 8)
        return found

    def answer(self, code, node, body):
        """The reply to a request, but for its header; None: there is none."""
        if code in (2, 36, 42):  # forget, interrupt
            return None
        if code == 26:  # init
            return struct.pack("=4I2H2I2HI7I", 7, 31, 65536, 0, 8, 8, 65536, 1, 0, 0, 0, *[0] * 7)
        path = self.paths.get(node, "")
        if code == 1:  # lookup
            child = f"{path}/{body[:-1].decode()}"
            attributes = self.attributes(child)
            return struct.pack("=4Q2I", self.number(child), 0, 60, 60, 0, 0) + attributes
        if code == 3:  # getattr
            return struct.pack("=Q2I", 60, 0, 0) + self.attributes(path)
        if code == 5:  # readlink
            return os.readlink(path).encode()
        if code == 14:  # open
            return struct.pack("=Q2I", os.open(path, READING), 0, 0)
        if code == 15:  # read
            file, offset, size = struct.unpack_from("=2QI", body)
            return os.pread(file, size, offset)
        if code == 18:  # release
            os.close(struct.unpack_from("=Q", body)[0])
            return b""
        if code == 27:  # opendir
            return bytes(16)
        if code == 28:  # readdir
            return self.entries(path) if struct.unpack_from("=Q", body, 8)[0] == 0 else b""
        if code == 17:  # statfs
            return bytes(80)
        if code in (20, 25, 29, 38):  # fsync, flush, releasedir, destroy
            return b""
        raise OSError(errno.EROFS if code in (4, 6, 8, 9, 10, 11, 12, 13, 16, 35, 45) else errno.ENOSYS, "")

    def serve(self, fd):
        """Answer until the file system is unmounted."""
        while True:
            try:
                data = os.read(fd, 1 << 20)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                continue
            _, code, unique, node = struct.unpack_from("=2I2Q", data)
            try:
                reply, number = self.answer(code, node, data[40:]), 0
            except OSError as error:
                reply, number = b"", error.errno or errno.EIO
            if reply is not None:
                os.write(fd, struct.pack("=IiQ", 16 + len(reply), -number, unique) + reply)


def main(folder, place, options):
    """Mount it, say so, and serve."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open("/dev/fuse", os.O_RDWR)
    data = f"fd={fd},rootmode=40000,group_id=0,{options}"
    for call in (
        libc.unshare(0x20000),
        libc.mount(None, b"/", None, (1 << 18) | 16384, None),
        libc.mount(b"folder", place.encode(), b"fuse", 0, data.encode()),
    ):
        if call:
            raise OSError(ctypes.get_errno(), "mounting")
    print("mounted", flush=True)
    Folder(folder).serve(fd)


if __name__ == "__main__":
    main(*sys.argv[1:])
