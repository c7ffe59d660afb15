"""process.apparmorProfile and process.selinuxLabel: what a Linux security module shall make of the program.

Hot module, loaded if one is asked for. A process can only name a label for what it executes next, and only by its own
hand. So stage 2 writes it, in a file of a procfs whose descriptor was checked before the root file system was seen:
what an image has at /proc gets no word (CVE-2019-16884). Sources: config.md, Linux Process; proc(5), /proc/PID/attr;
apparmor(7), aa_change_onexec(2), setexeccon(3).
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError
from pyrun.paths import proc_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

APPARMOR, SELINUX = "process.apparmorProfile", "process.selinuxLabel"
ABOUT_APPARMOR, ABOUT_SELINUX = 21, 22  # enum about of stage2_calls.h
UNCONFINED = "unconfined"


class Labels:
    """What stage 2 is to write: entries of (what it is about, file below the procfs, text), and the procfs."""

    __slots__ = ("entries", "proc")

    def __init__(self, proc: int, entries: list[tuple[int, str, str]]) -> None:
        self.proc = proc
        self.entries = entries


def prepare(process: dict[str, Any]) -> Labels | None:
    """What a process document asks for, None if that is nothing. Raises PyrunError if its security module isn't
    active."""
    entries = []
    if profile := process.get("apparmorProfile"):
        if is_apparmor_active():
            entries.append((ABOUT_APPARMOR, _apparmor_file(), f"exec {profile}"))
        elif profile != UNCONFINED:
            raise PyrunError(
                "AppArmor isn't active on this host",
                APPARMOR,
                "leave the profile out (podman: --security-opt apparmor=unconfined)",
            )
    if label := process.get("selinuxLabel"):
        if not is_selinux_active():
            raise PyrunError("SELinux isn't active on this host", SELINUX, "leave the label out")
        entries.append((ABOUT_SELINUX, "self/attr/exec", label))
    return Labels(proc_files.open_proc(), entries) if entries else None


def is_apparmor_active() -> bool:
    """Does the kernel confine by AppArmor's profiles?"""
    return _read("/sys/module/apparmor/parameters/enabled")[:1] == b"Y"


def is_selinux_active() -> bool:
    """Does the kernel confine by a policy of SELinux, be it that it only reports?"""
    return bool(_read("/sys/fs/selinux/enforce"))


def _read(path: str) -> bytes:
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return posix.read(fd, 16)
    finally:
        posix.close(fd)


def _apparmor_file() -> str:
    """AppArmor's own file, of Linux 5.8; before, the one that all modules share."""
    try:
        posix.stat("/proc/self/attr/apparmor")
    except OSError:
        return "self/attr/exec"
    return "self/attr/apparmor/exec"


def explain(about: int, number: int, text: str) -> PyrunError:
    """The error for a label, `text`, that stage 2 could not write, for the errno `number`."""
    if about == ABOUT_APPARMOR:
        profile = text.removeprefix("exec ")
        if number == errno.ENOENT:
            return PyrunError(
                f"the AppArmor profile {profile!r} is not loaded",
                APPARMOR,
                "apparmor_parser loads one, and aa-status shows those that are",
            )
        return PyrunError(f"confining the program by {profile!r}: {posix.strerror(number)}", APPARMOR)
    hint = "the policy doesn't know it" if number == errno.EINVAL else ""
    return PyrunError(f"labelling the program {text!r}: {posix.strerror(number)}", SELINUX, hint)
