"""A file system that behaves as resctrl does, for hosts whose CPU has none: `python fake_resctrl.py FOLDER`.

It mounts itself by FUSE on FOLDER, in a mount namespace of its own whose mount table it prints, and lives until it is
killed. Its CPU has two L3 caches with 8 bits, 3 classes besides the default one, and monitors 3 groups besides the
classes. Source: Documentation/filesystems/resctrl.rst, Documentation/filesystems/fuse.
"""

from __future__ import annotations

import errno
import struct
import sys
from pathlib import Path

import fuse_server

CLASSES, MONITORED = 3, 3
WHOLE, LEAST, STEP = 0xFF, 10, 10
DIRECTORY, FILE = 0o40755, 0o100644


class Refused(OSError):
    """What the file system answers a request with."""


class Node:
    """A folder or a file."""

    def __init__(self, tree, parent, name, mode):
        self.tree, self.parent, self.name, self.mode = tree, parent, name, mode
        self.children = {}
        self.id = len(tree.nodes) + 1
        tree.nodes[self.id] = self
        if parent:
            parent.children[name] = self

    def read(self):
        """Its content."""
        return self.tree.content(self)


class Tree:
    """All of resctrl."""

    def __init__(self):
        self.nodes = {}
        self.said = "ok"
        self.where = {}  # pid -> its class, and the group that it is monitored in
        self.schemata = {}
        self.top = Node(self, None, "", DIRECTORY)
        self.fill_class(self.top)
        info = Node(self, self.top, "info", DIRECTORY)
        Node(self, info, "last_cmd_status", FILE)
        facts = {
            "L3": {"cbm_mask": "ff", "min_cbm_bits": "1", "num_closids": str(CLASSES + 1)},
            "MB": {"bandwidth_gran": "10", "delay_linear": "1", "min_bandwidth": "10", "num_closids": "4"},
            "L3_MON": {"num_rmids": "8", "mon_features": "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes"},
        }
        self.facts = {}
        for folder, files in facts.items():
            place = Node(self, info, folder, DIRECTORY)
            for name, text in files.items():
                self.facts[Node(self, place, name, FILE).id] = text + "\n"

    def fill_group(self, group):
        """What every group has."""
        Node(self, group, "tasks", FILE)
        data = Node(self, group, "mon_data", DIRECTORY)
        for number in range(2):
            domain = Node(self, data, f"mon_L3_{number:02}", DIRECTORY)
            for name in ("llc_occupancy", "mbm_total_bytes", "mbm_local_bytes"):
                Node(self, domain, name, FILE)

    def fill_class(self, group):
        """What a class has."""
        self.fill_group(group)
        Node(self, group, "schemata", FILE)
        Node(self, group, "mon_groups", DIRECTORY)
        self.schemata[group.id] = {("L3", n): WHOLE for n in "01"} | {("MB", n): 100 for n in "01"}

    def content(self, node):
        if node.id in self.facts:
            return self.facts[node.id]
        if node.name == "last_cmd_status":
            return self.said + "\n"
        if node.name == "schemata":
            values = self.schemata[node.parent.id]
            return "".join(
                f"    {resource}:" + ";".join(f"{n}={values[resource, n]:{base}}" for n in "01") + "\n"
                for resource, base in (("MB", "d"), ("L3", "x"))
            )
        if node.name == "tasks":
            inside = [pid for pid, groups in self.where.items() if node.parent in groups and alive(pid)]
            return "".join(f"{pid}\n" for pid in inside)
        return f"{4096 * (int(node.parent.name[-1]) + 1)}\n"

    def write(self, node, text):
        self.said = "ok"
        if node.name == "schemata":
            self.write_schemata(self.schemata[node.parent.id], text)
        elif node.name == "tasks":
            self.move(node.parent, int(text))
        else:
            raise Refused(errno.EACCES, "")

    def write_schemata(self, values, text):
        new = dict(values)
        for line in text.splitlines():
            resource, colon, domains = line.partition(":")
            for domain in domains.split(";"):
                number, _, value = domain.partition("=")
                if not colon or (resource, number) not in new:
                    self.refuse(f"Unknown or unsupported resource name {resource!r}")
                new[resource, number] = self.value(resource, value)
        values.update(new)

    def value(self, resource, text):
        try:
            number = int(text, 10 if resource == "MB" else 16)
        except ValueError:
            self.refuse(f"Non-hex character in the mask {text}")
        if resource == "MB":
            if not LEAST <= number <= 100:
                self.refuse(f"MB value {number} out of range [10,100]")
            return -(-number // STEP) * STEP
        if not 0 < number <= WHOLE or "01" in bin(number)[2:]:
            self.refuse(f"The mask {text} has non-consecutive 1-bits")
        return number

    def refuse(self, words):
        self.said = words
        raise Refused(errno.EINVAL, "")

    def move(self, group, pid):
        if not alive(pid):
            raise Refused(errno.ESRCH, "")
        if group.id in self.schemata:
            self.where[pid] = (group, group)
        elif self.where.get(pid, (self.top,))[0] is group.parent.parent:
            self.where[pid] = (group.parent.parent, group)
        else:
            self.said = "Can't move task to different control group"
            raise Refused(errno.EINVAL, "")

    def mkdir(self, parent, name):
        if name in parent.children:
            raise Refused(errno.EEXIST, "")
        if parent is self.top:
            if len(self.schemata) > CLASSES:
                raise Refused(errno.ENOSPC, "")
            group = Node(self, parent, name, DIRECTORY)
            self.fill_class(group)
        elif parent.name == "mon_groups":
            if sum(len(n.children) for n in self.nodes.values() if n.name == "mon_groups") >= MONITORED:
                raise Refused(errno.ENOSPC, "")
            group = Node(self, parent, name, DIRECTORY)
            self.fill_group(group)
        else:
            raise Refused(errno.EPERM, "")
        return group

    def rmdir(self, parent, name):
        group = parent.children[name]
        if parent is not self.top and parent.name != "mon_groups":
            raise Refused(errno.EPERM, "")
        del parent.children[name]
        self.schemata.pop(group.id, None)
        for child in group.children.get("mon_groups", Node(self, None, "", 0)).children.values():
            child.name = "gone"
        group.children.pop("mon_groups", None)
        up = self.top if parent is self.top else parent.parent
        self.where = {pid: (up, up) if group in groups else groups for pid, groups in self.where.items()}


def alive(pid):
    """Is there such a process?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def attributes(node):
    """struct fuse_attr"""
    return struct.pack("=6Q10I", node.id, 4096, 0, 0, 0, 0, 0, 0, 0, node.mode, 1, 0, 0, 0, 4096, 0)


def entry(node):
    """struct fuse_entry_out"""
    return struct.pack("=4Q2I", node.id, 0, 0, 0, 0, 0) + attributes(node)


def folder(node):
    """What readdir(3) finds."""
    return fuse_server.directory(
        (name, 4 if child.mode == DIRECTORY else 8) for name, child in node.children.items()
    )


def answer(tree, code, node, body):
    """The reply to one request of FUSE, but for its header."""
    if code == 1:  # lookup
        child = node.children.get(body[:-1].decode())
        if child is None:
            raise Refused(errno.ENOENT, "")
        return entry(child)
    if code in (3, 4):  # getattr, setattr
        return struct.pack("=Q2I", 0, 0, 0) + attributes(node)
    if code == 9:
        return entry(tree.mkdir(node, body[8:-1].decode()))
    if code == 11:
        tree.rmdir(node, body[:-1].decode())
        return b""
    if code in (14, 27):  # open, opendir
        return struct.pack("=Q2I", 0, 1 if code == 14 else 0, 0)
    if code in (15, 28):  # read, readdir
        offset, size = struct.unpack_from("=QI", body, 8)
        if code == 15:
            return node.read().encode()[offset : offset + size]
        return folder(node) if offset == 0 else b""
    if code == 16:
        (size,) = struct.unpack_from("=I", body, 16)
        tree.write(node, body[40 : 40 + size].decode())
        return struct.pack("=2I", size, 0)
    if code == 17:
        return bytes(80)
    if code in (18, 20, 25, 29, 38):  # release, fsync, flush, releasedir, destroy
        return b""
    raise Refused(errno.ENOSYS, "")


def main(place):
    """Mount it, print the table of mounts with it, and serve."""
    tree = Tree()
    fd = fuse_server.mount("resctrl", place, "user_id=0,allow_other")
    lines = Path("/proc/self/mountinfo").read_text()
    (line,) = [each for each in lines.splitlines() if f" {place} " in each]
    before = line.partition(" - ")[0]
    print(lines.replace(line, f"{before} - resctrl resctrl rw"), end="\0", flush=True)
    fuse_server.serve(fd, lambda code, node, body: answer(tree, code, tree.nodes.get(node), body))


if __name__ == "__main__":
    main(sys.argv[1])
