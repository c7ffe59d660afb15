"""A file system that shows a folder read-only: `python fuse_folder.py FOLDER PLACE OPTIONS`, to have roots on FUSE.

It mounts itself on PLACE in a mount namespace of its own, prints a line, and lives until it is killed.
Source: Documentation/filesystems/fuse.
"""

from __future__ import annotations

import errno
import os
import struct
import sys

import fuse_server

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
        return fuse_server.directory(
            (name, os.lstat(f"{path}/{name}").st_mode >> 12) for name in sorted(os.listdir(path))
        )

    def answer(self, code, node, body):
        """The reply to a request, but for its header."""
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


def main(folder, place, options):
    """Mount it, say so, and serve."""
    fd = fuse_server.mount("folder", place, options)
    print("mounted", flush=True)
    fuse_server.serve(fd, Folder(folder).answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
