"""process.apparmorProfile, process.selinuxLabel, linux.mountLabel: what a Linux security module shall make of the
program, its keys, and the file systems that are made for it.

Hot module, loaded if one is asked for. A process can only name a label for what it executes next, and only by its own
hand. So stage 2 writes it, in a file of a procfs whose descriptor was checked before the root file system was seen:
what an image has at /proc gets no word (CVE-2019-16884). Sources: config.md, Linux Process; config-linux.md, Mount
Label; proc(5), /proc/PID/attr; apparmor(7), aa_change_onexec(2), setexeccon(3), setkeycreatecon(3), mount(8), context=.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError, failed
from pyrun.features import crun_annotations
from pyrun.features.mounts import filesystem
from pyrun.kernel import stage2
from pyrun.paths import proc_files, under_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from oci_spec import types
    from pyrun.story.last import Last
    from pyrun.story.making import Inside, Making

APPARMOR, SELINUX = "process.apparmorProfile", "process.selinuxLabel"
MOUNTS = "linux.mountLabel"
# The kernel labels what is in these, file by file; cgroups are the host's, and queues may be (see label_queues).
UNLABELLED = ("proc", "sysfs", "cgroup", "cgroup2", "mqueue")
UNCONFINED = "unconfined"
LONGEST_SHOWN = 200  # characters


class Labels:
    """The labels that stage 2 is to write, "" for none; and the procfs that it does it by."""

    __slots__ = ("apparmor", "apparmor_file", "proc", "selinux")

    def __init__(self) -> None:
        self.proc = proc_files.open_proc()
        self.apparmor = self.apparmor_file = self.selinux = ""


def refusals(program: types.Process) -> Iterator[PyrunError]:
    """What a process document asks of a security module that isn't active on this host."""
    if program.get("apparmorProfile") not in (None, "", UNCONFINED) and not is_apparmor_active():
        hint = "leave the profile out (podman: --security-opt apparmor=unconfined)"
        yield PyrunError("AppArmor isn't active on this host", APPARMOR, hint)
    if program.get("selinuxLabel"):
        yield from selinux_refusals(SELINUX)


def add_apparmor(making: Making) -> None:
    """Have stage 2 write the profile. Raises PyrunError if AppArmor isn't active, unless it asks for nothing."""
    program = making.plan.program
    for refusal in refusals(program):
        raise refusal
    if is_apparmor_active():
        labels = _labels(making)
        labels.apparmor, labels.apparmor_file = program["apparmorProfile"], _apparmor_file()


def add_selinux(making: Making) -> None:
    """Have stage 2 write the label. Raises PyrunError if SELinux isn't active."""
    check_selinux(SELINUX)
    _labels(making).selinux = making.plan.program["selinuxLabel"]


def _labels(making: Making) -> Labels:
    if making.inside.labels is None:
        making.inside.labels = Labels()
    return making.inside.labels


def confine(last: Last) -> None:
    """process.apparmorProfile, for the next program that stage 2 executes."""
    labels = last.inside.labels
    if not labels or not labels.apparmor:
        return
    short = labels.apparmor[:LONGEST_SHOWN]
    missing = (
        errno.ENOENT,
        f"the AppArmor profile {short!r} is not loaded",
        "apparmor_parser loads one, and aa-status shows those that are",
    )
    last.label(APPARMOR, f"confining the program by {short!r}", missing)
    text = f"exec {labels.apparmor}".encode("utf-8", "surrogateescape")
    last.orders.write(last.proc, labels.apparmor_file, text)


def label_program(last: Last) -> None:
    """process.selinuxLabel, for the next program that stage 2 executes."""
    assert last.inside.labels is not None
    text = last.inside.labels.selinux
    unknown = (errno.EINVAL, "", "the policy doesn't know it")
    last.label(SELINUX, f"labelling the program {text[:LONGEST_SHOWN]!r}", unknown)
    last.orders.write(last.proc, "self/attr/exec", text.encode("utf-8", "surrogateescape"))


def close(last: Last) -> None:
    """Nobody needs the procfs any more."""
    last.orders.try_call(stage2.NR_CLOSE, last.proc)


def selinux_refusals(json_path: str) -> Iterator[PyrunError]:
    """A label is refused where SELinux isn't active: nobody would heed it."""
    if not is_selinux_active():
        yield PyrunError("SELinux isn't active on this host", json_path, "leave the label out")


def check_selinux(json_path: str) -> None:
    """Raises PyrunError if SELinux isn't active."""
    for refusal in selinux_refusals(json_path):
        raise refusal


def label_mounts(making: Making) -> None:
    """linux.mountLabel: have the new file systems labelled for which the configuration says no other `context`. What is
    bound keeps its labels. Raises PyrunError if SELinux isn't active, or knows no such label."""
    label = making.plan.linux["mountLabel"]
    check_selinux(MOUNTS)
    if not _is_known(label):
        raise PyrunError(f"SELinux' policy doesn't know the label {label!r}", MOUNTS)
    kind = (making.plan.config.get("annotations") or {}).get(crun_annotations.MOUNT_CONTEXT) or "context"
    for mount in making.plan.mounts:
        options = mount.options
        if not mount.kind or options.bind or options.remount or mount.kind in UNLABELLED:
            continue
        if not [item for item in options.data if item.partition("=")[0].endswith("context")]:
            mount.label, mount.label_kind = label, kind


def _is_known(label: str) -> bool:
    """Has the policy such a label? Who may not ask it hears of that from the kernel, when a mount is made."""
    try:
        fd = posix.open("/sys/fs/selinux/context", posix.O_RDWR | posix.O_CLOEXEC)
        try:
            posix.write(fd, label.encode())
        finally:
            posix.close(fd)
    except OSError as error:
        return error.errno != errno.EINVAL
    return True


def label_queues(inside: Inside) -> None:
    """Label the root of the mqueue of a new ipc namespace, whoever mounts it later: its mount takes no label in a user
    namespace, and the root still belongs to who made the namespace, the host's root. Raises PyrunError."""
    plan, label = inside.plan, inside.plan.linux["mountLabel"]
    if not plan.has_new("ipc") or not [mount for mount in plan.mounts if mount.kind == "mqueue"]:
        return
    try:
        mount = filesystem.new("mqueue", "mqueue", [], 0)
        folder = under_root.open_in(mount, ".", posix.O_RDONLY | posix.O_DIRECTORY)
        posix.setxattr(folder, "security.selinux", label.encode() + b"\0")
        posix.close(folder)
        posix.close(mount)
    except OSError as error:
        raise failed("labelling /dev/mqueue", error, MOUNTS) from None


def label_keys(labels: Labels) -> None:
    """Let the next keyring have the program's label, as its program couldn't search it otherwise. The kernel forgets it
    when stage 2 is executed. Raises PyrunError."""
    if not labels.selinux:
        return
    try:
        fd = proc_files.open_own(labels.proc, "attr/keycreate", posix.O_WRONLY)
        try:
            posix.write(fd, labels.selinux.encode())
        finally:
            posix.close(fd)
    except OSError as error:
        hint = "the policy doesn't know it, or forbids it; --no-new-keyring does without"
        raise failed(f"labelling the session keyring {labels.selinux!r}", error, SELINUX, hint) from None


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
