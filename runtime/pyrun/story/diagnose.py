"""After a program could not be executed: why. Hot module.

The kernel says ENOENT for a missing program, a missing interpreter and a missing loader alike. This looks, from
outside and with every look resolved below the root file system, and says which. The words "executable file not
found", "no such file or directory" and "permission denied" are those by which engines tell exit status 127 from 126.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError
from pyrun.features import environment
from pyrun.features import program as args
from pyrun.kernel import calls
from pyrun.paths import under_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci_spec import types

JSON_PATH = "process.args[0]"
ST_NOEXEC = 8
NOEXEC = ": its file system is mounted noexec"
# e_machine of ELF -> a name for people
MACHINES = {
    3: "i386",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    21: "ppc64",
    22: "s390x",
    258: "loongarch64",
}


def explain(error: PyrunError, process: types.Process, places: Places) -> PyrunError:
    """If stage 2's report is about a program that can't be executed, the sentence that says why; else the error."""
    if not error.kind.startswith("program "):
        return error
    return program(int(error.kind[8:]), process, places)


class Places:
    """Where the container's files are on the host: its root file system, and what config.json mounts over it."""

    __slots__ = ("bundle", "mounts", "rootfs")

    def __init__(self, rootfs: str, bundle: str, mounts: list[types.Mount]) -> None:
        self.rootfs = rootfs
        self.bundle = bundle
        self.mounts = mounts

    def find(self, path: str) -> tuple[str, str, bool]:
        """A folder or file of the host, the path below it, and whether it is mounted noexec. By the names alone, which
        is enough for a reason; the folder is "" for what is in none of the host's."""
        parts = _parts(path)
        found, below = self.rootfs, "/".join(parts)
        noexec, deepest = False, 0
        for mount in self.mounts:
            over = _parts(mount["destination"])
            if len(over) < deepest or parts[: len(over)] != over:
                continue
            options = mount.get("options") or []
            source = mount.get("source") or ""
            is_bind = "bind" in options or "rbind" in options
            found = (source if source[:1] == "/" else f"{self.bundle}/{source}") if is_bind else ""
            below, noexec, deepest = "/".join(parts[len(over) :]), "noexec" in options, len(over)
        return found, below, noexec


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def program(number: int, process: types.Process, places: Places) -> PyrunError:
    """The sentence for a program that execve (or the search before it) refused with errno `number`."""
    name = process["args"][0]
    if number == errno.E2BIG:
        return environment.too_long(process)
    if number == errno.ENOENT and "/" not in name:
        path = args.search_path(process)
        return PyrunError(f'"{name}": executable file not found in $PATH ({path})', JSON_PATH)
    why, hint = _look(process, places, number)
    if number == errno.ENOENT:
        return PyrunError(f'"{name}": no such file or directory{why}', JSON_PATH, hint)
    if number in (errno.EACCES, errno.EPERM, errno.EISDIR):
        return PyrunError(f'"{name}": permission denied{why}', JSON_PATH, hint)
    if number == errno.ENOEXEC:
        return PyrunError(f'"{name}": exec format error{why}', JSON_PATH, hint)
    return PyrunError(f'executing "{name}": {posix.strerror(number)}{why}', JSON_PATH, hint)


def _look(process: types.Process, places: Places, number: int) -> tuple[str, str]:
    """What can be seen of the program from outside: a reason to add, and a hint. Not to find it means nothing: it may
    be behind a link between mounts, or in a file system that was the container's alone."""
    try:
        root = posix.open(places.rootfs, calls.O_PATH | posix.O_DIRECTORY | calls.O_CLOEXEC)
    except OSError:
        return "", ""
    try:
        candidates = args.candidates(process)
        for path in candidates:
            if path[:1] != "/":
                path = f"{process.get('cwd', '/')}/{path}"
            folder, below, noexec = places.find(path)
            noexec = noexec and number == errno.EACCES
            if noexec and not folder and len(candidates) == 1:
                return NOEXEC, ""
            try:
                fd = _open_below(folder, below)
            except OSError:
                continue
            try:
                return (NOEXEC, "") if noexec else _look_at(root, fd)
            finally:
                posix.close(fd)
        return "", ""
    finally:
        posix.close(root)


def _open_below(folder: str, below: str) -> int:
    start = posix.open(folder, calls.O_PATH | calls.O_CLOEXEC)
    if not below:
        return start
    try:
        return under_root.lookup(start, below)
    finally:
        posix.close(start)


def _look_at(root: int, fd: int) -> tuple[str, str]:
    status = posix.fstat(fd)
    if status.st_mode & 0o170000 != 0o100000:
        return ": it is not a regular file", ""
    if posix.fstatvfs(fd).f_flag & ST_NOEXEC:
        return NOEXEC, ""
    if not status.st_mode & 0o111:
        return ": it is not executable", "chmod +x it in the image"
    head = _read_head(fd)
    if head[:2] == b"#!":
        return _look_at_script(root, head)
    if head[:4] == b"\x7fELF":
        return _look_at_elf(root, head)
    return ": it is neither an ELF program nor a script with #! in its first line", ""


def _read_head(fd: int) -> bytes:
    reading = posix.open(
        f"/proc/self/fd/{fd}", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | calls.O_CLOEXEC
    )
    try:
        return posix.read(reading, 65536)
    finally:
        posix.close(reading)


def _look_at_script(root: int, head: bytes) -> tuple[str, str]:
    line = head[2:].split(b"\n", 1)[0]
    words = line.split()
    interpreter = words[0].decode("utf-8", "replace") if words else ""
    if line.endswith(b"\r"):
        return (
            f": its first line ends in CRLF, so that the interpreter would be {interpreter!r} with a carriage return",
            ("convert it to Unix line ends"),
        )
    return _look_at_needed(root, interpreter, "interpreter")


def _look_at_needed(root: int, path: str, what: str) -> tuple[str, str]:
    try:
        posix.close(under_root.lookup(root, path))
    except OSError:
        return f": its {what} {path} is missing in the container", ""
    return "", ""


def _look_at_elf(root: int, head: bytes) -> tuple[str, str]:
    order = "little" if head[5:6] == b"\1" else "big"
    number = int.from_bytes(head[18:20], order)  # type: ignore[arg-type]
    machine = MACHINES.get(number, f"machine {number}")
    if machine != posix.uname().machine and (machine, posix.uname().machine) != ("i386", "x86_64"):
        return f": it is a program for {machine}, and this machine is {posix.uname().machine}", ""
    wide = head[4:5] == b"\2"
    offset, size, count = (32, 54, 56) if wide else (28, 42, 44)
    start = int.from_bytes(head[offset : offset + (8 if wide else 4)], order)  # type: ignore[arg-type]
    entry = int.from_bytes(head[size : size + 2], order)  # type: ignore[arg-type]
    for i in range(int.from_bytes(head[count : count + 2], order)):  # type: ignore[arg-type]
        header = head[start + i * entry : start + (i + 1) * entry]
        if int.from_bytes(header[:4], order) == 3:  # type: ignore[arg-type]  # PT_INTERP
            at = int.from_bytes(header[8:16] if wide else header[4:8], order)  # type: ignore[arg-type]
            loader = head[at : head.index(b"\0", at)].decode("utf-8", "replace") if b"\0" in head[at:] else ""
            return _look_at_needed(root, loader, "loader")
    return "", ""
