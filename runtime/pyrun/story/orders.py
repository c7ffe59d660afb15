"""What stage 2 is told, and what it reports: the other half of kernel/stage2.c.

Hot module. Orders are 64-bit numbers in the machine's byte order, and texts: their size, then their bytes padded to
eight. stage2.c reads them in exactly the order in which they are written here.
"""

from __future__ import annotations

import posix
import sys

from pyrun.base.errors import PROGRAM_WORDS, PyrunError
from pyrun.features import environment
from pyrun.features.hooks import describe_status, last_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

UNSET = (1 << 64) - 1

# enum about of stage2.c: what a report is about -> JSON path, what could not be done
READY, GOING = 0, 1
NOT_FOUND, HOOK, SECCOMP, EXECUTE, BORN, CWD = 10, 12, 13, 14, 17, 23
LABELS = (21, 22)
# Engines take a bad working directory for a bad program, and find their status 126 or 127 by these words.
ABOUT = (
    ("", ""),
    ("", ""),
    ("process.capabilities.inheritable", "setting the inheritable capabilities"),
    ("process.capabilities.bounding", "dropping capability {index} from the bounding set"),
    ("process.user.additionalGids", "setting the supplementary groups"),
    ("process.user.gid", "becoming this group"),
    ("process.user.uid", "becoming this user"),
    ("process.capabilities", "setting the capabilities"),
    ("process.capabilities.ambient", "raising capability {index} in the ambient set"),
    ("process.noNewPrivileges", "setting no_new_privs"),
    ("process.args[0]", ""),
    ("", "waiting for start"),
    ("hooks.startContainer[{index}]", ""),
    ("linux.seccomp", "loading the filter"),
    ("process.args[0]", ""),
    ("", "reading the orders"),
    ("process.rlimits[{index}]", "setting this limit"),
    ("", ""),
    ("", "making a process in the container's PID namespace"),
    ("process.terminal", "taking the terminal"),
    ("linux.cgroupsPath", "entering the container's cgroup v1 number {index}"),
    ("process.apparmorProfile", ""),
    ("process.selinuxLabel", ""),
    ("process.cwd", "entering it as the program's user"),
    ("process.cwd", "it is outside of the container"),
)


class Orders:
    """A growing list of numbers and texts."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def number(self, value: int) -> None:
        """One 64-bit number; a negative one as two's complement."""
        self.parts.append((value & UNSET).to_bytes(8, sys.byteorder))

    def data(self, data: bytes) -> None:
        """Bytes with their size."""
        self.number(len(data))
        self.parts.append(data + b"\0" * (-len(data) % 8))

    def text(self, value: str) -> None:
        """A NUL-terminated text."""
        self.data(value.encode("utf-8", "surrogateescape") + b"\0")

    def texts(self, values: Sequence[str]) -> None:
        """A vector of texts."""
        self.number(len(values))
        for value in values:
            self.text(value)

    def finish(self, sync: int) -> bytes:
        """The whole file: its size and the descriptor of `sync` stand first."""
        body = b"".join(self.parts)
        return (len(body) + 16).to_bytes(8, sys.byteorder) + sync.to_bytes(8, sys.byteorder) + body


def candidates(process: dict[str, Any]) -> list[str]:
    """Where args[0] may be: itself if it has a slash, else in each folder of the container's PATH: execvp(3)."""
    program = process["args"][0]
    if "/" in program or not program:  # "" is a file in no folder: below each of PATH it would be that folder
        return [program]
    return [f"{folder or '.'}/{program}" for folder in search_path(process).split(":")]


def search_path(process: dict[str, Any]) -> str:
    """PATH of the container's environment, or execvp's default."""
    path = environment.value(process.get("env") or [], "PATH")
    return "/bin:/usr/bin" if path is None else path


def understand(report: bytes, hooks: Sequence[dict[str, Any]] = ()) -> tuple[int, PyrunError | None]:
    """Read a report: what it is about, and the error if it is one; `hooks` are those of startContainer."""
    about, index = _int(report, 0), _int(report, 4)
    error = _int(report, 8)
    if error >= 1 << 31:
        error -= 1 << 32
    if about in (READY, GOING, BORN):
        return about, None
    if about >= len(ABOUT):
        return about, PyrunError("stage 2 sent a report that makes no sense")
    path, doing = ABOUT[about]
    path = path.format(index=index)
    if about == HOOK:
        said = last_words(report[16 : 16 + _int(report, 12)])
        return about, PyrunError(f"{hooks[index]['path']} {_hook_failure(error)}{said}", path, kind="hook")
    if about in LABELS:
        from pyrun.features import labels

        return about, labels.explain(
            about, error, report[16 : 16 + _int(report, 12)].decode("utf-8", "replace")
        )
    if about in (NOT_FOUND, EXECUTE):
        return about, PyrunError("", path, kind=f"program {error}")
    why = PROGRAM_WORDS.get(error, posix.strerror(error)) if about == CWD else posix.strerror(error)
    return about, PyrunError(f"{doing.format(index=index)}: {why}", path)


def born(report: bytes) -> int:
    """The pid in a report about BORN."""
    return _int(report, 4)


def _hook_failure(error: int) -> str:
    if error < 0:
        return describe_status(-error)
    if error == 110:
        return "did not end within its timeout and was killed"
    return f"can't be executed: {posix.strerror(error) if error not in (2, 13) else 'it is missing or closed to us'}"


def _int(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], sys.byteorder)
