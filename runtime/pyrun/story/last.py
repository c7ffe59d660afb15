"""The last steps of every process that becomes a container's: its identity, its working directory, stage 2.

Hot module. Two stories end here: a container's init (story/inside.py) and a process of exec (story/inside_exec.py).
"""

from __future__ import annotations

import errno
import posix
import sys

from oci_spec.names import RLIMITS
from pyrun.base import jsontext, protocol
from pyrun.base.errors import PyrunError, failed
from pyrun.features import capabilities, environment, stdio
from pyrun.kernel import calls, process
from pyrun.paths import under_root
from pyrun.story import orders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from pyrun.features.labels import Labels
    from pyrun.features.net_devices import Devices
    from pyrun.story.plan import Plan

UMASK = 0o022  # where none is configured: runc's and crun's, whatever their caller's is

# The signals that end a created container, as a mask: those that people and engines stop containers with. They are
# blocked until stage 2, as pid 1, reads them.
ENDING = sum(1 << signal - 1 for signal in (process.SIGHUP, process.SIGINT, process.SIGQUIT, process.SIGTERM))


CAP_SETGID = 1 << 6

# Stands for the pid that stage 2 will have, and will write over it.
UNBORN = 10**15


class Init:
    """What the parent hands over at birth, by memory: to a container's init, or to a process of exec (which has no
    listen_fd and created_fd, but a pidfd of the init, its root, and by which device
    and inode the container's root is known)."""

    __slots__ = (
        "cgroup_entrance",
        "cgroup_view",
        "console_socket",
        "created_fd",
        "join",
        "joins_pid",
        "labels",
        "listen_fd",
        "net_devices",
        "nodes_fd",
        "pidfd",
        "plan",
        "root_fd",
        "root_node",
        "seccomp",
        "stage2_fd",
        "state",
        "time_proc",
    )

    def __init__(self, plan: Plan, state: dict[str, Any]) -> None:
        self.plan = plan
        self.state = state
        self.cgroup_entrance: list[int] = []
        self.cgroup_view: list[tuple[str, str, str, list[str]]] = []
        self.console_socket = self.listen_fd = self.created_fd = self.stage2_fd = -1
        self.nodes_fd = self.pidfd = self.root_fd = self.time_proc = -1
        self.join = 0
        self.joins_pid = False  # create's: a PID namespace is joined, and we aren't in there yet
        self.root_node: list[int] | None = None
        self.net_devices: Devices | None = None  # create's, of its parent
        self.seccomp: tuple[int, bytes] | None = None
        self.labels: Labels | None = None


def or_say_why(story: Callable[[Init, int], NoReturn], init: Init, sync: int) -> NoReturn:
    """Run the child's story; should it fail, send the parent the one sentence that says why."""
    try:
        story(init, sync)
    except PyrunError as error:
        _give_up(sync, error)
    except OSError as error:
        _give_up(sync, failed("setting up the process", error))
    except BaseException as error:  # a bug of ours must still be one sentence
        _give_up(sync, PyrunError(f"internal error in the container: {type(error).__name__}: {error}"))


def _give_up(sync: int, error: PyrunError) -> NoReturn:
    try:
        protocol.send(sync, protocol.pack_error(error))
    finally:
        posix._exit(1)


def become_root() -> None:
    """Root of the user namespace, without the groups that came along."""
    try:
        posix.setresgid(0, 0, 0)
        posix.setresuid(0, 0, 0)
    except OSError as error:
        raise failed("becoming root in the user namespace", error, "linux.uidMappings") from None
    process.prctl(process.PR_SET_PDEATHSIG, process.SIGKILL)  # a change of identity had cleared it,
    process.prctl(process.PR_SET_DUMPABLE, 0)  # and may have ended this (fs.suid_dumpable)
    try:
        posix.setgroups([])
    except OSError:
        pass  # denied by the namespace's setgroups file; stage 2 reports it if groups are asked for


def _groups(plan: Plan, user: dict[str, Any], rights: int, warn: Callable[[str], None]) -> list[int] | None:
    """The groups that stage 2 sets, or None if those that there are can't be changed: the user namespace denies
    setgroups(2) to its root. They are gone then already, or the container's user is the caller, who keeps them. Without
    the right to set groups stage 2 tries all the same, and reports that it can't."""
    groups: list[int] = user.get("additionalGids") or []
    try:
        posix.setgroups([])
    except OSError:
        if not rights & CAP_SETGID:
            return groups if groups or "user" not in plan.namespaces else None
        if groups:
            warn("process.user.additionalGids: left out: this user namespace has given up setgroups(2)")
        return None
    return groups


def make_cwd(root: int, program: dict[str, Any]) -> None:
    """Make process.cwd where it is missing, while everything that it may be in can be written to. What goes wrong is
    said by those who enter it, perhaps as another user."""
    if program["cwd"].strip("/"):
        try:
            posix.close(under_root.make(root, program["cwd"], under_root.DIRECTORY))
        except OSError:
            pass


def enter_cwd(slash: int, program: dict[str, Any], make: bool) -> str:
    """process.cwd, made if it is missing and `make` says so. It is reached without magic links, so that
    /proc/self/fd/N can't lead out of the container (CVE-2024-21626), and what we stand in is then checked to be below
    our root.

    Where root is refused (a user namespace doesn't have the owner, NFS takes root for nobody), the path is returned:
    stage 2 tries again as the program's user. Else it is "".
    """
    cwd = program["cwd"]
    try:
        if make:
            fd = under_root.make(slash, cwd, under_root.DIRECTORY)
        else:
            fd = under_root.lookup(slash, cwd, posix.O_DIRECTORY)
        posix.fchdir(fd)
        posix.close(fd)
        where = posix.getcwd()  # the kernel answers "(unreachable)/…" for a place outside of the root
    except PermissionError:
        return str(cwd)
    except OSError as error:
        why = orders.PROGRAM_WORDS.get(error.errno or 0)
        if why:
            raise PyrunError(f"entering {cwd}: {why}", "process.cwd") from None
        raise failed(f"entering {cwd}", error, "process.cwd") from None
    if where[:1] != "/":
        raise PyrunError(f"{cwd} is outside of the container", "process.cwd")
    return ""


def make_keyring(init: Init) -> None:
    """A session keyring of the program's own, with its SELinux label."""
    if init.labels:
        from pyrun.features import labels

        labels.label_keys(init.labels)
    process.new_session_keyring()


def become_stage2(init: Init, sync: int, slash: int, cwd: str) -> NoReturn:
    """Write the orders, keep what stage 2 and the program are to have open, and become stage 2; `cwd` is what
    `enter_cwd` has left to it."""
    plan = init.plan
    program = plan.process or {}
    user = program.get("user") or {}
    stdio.settle(slash, user.get("uid", 0))
    first = 3 + plan.preserve_fds
    proc = init.labels.proc if init.labels else -1
    kept = [_above(fd, first) for fd in (sync, init.listen_fd, init.created_fd, init.stage2_fd, proc)]
    sync, listen_fd, created_fd, stage2_fd, proc = kept

    def warn(text: str) -> None:
        protocol.send(sync, protocol.WARNING + text[:4096].encode())

    all_capabilities = process.permitted_capabilities()
    sets, warnings = capabilities.masks(program.get("capabilities") or {}, all_capabilities)
    for text in warnings:
        warn(text)

    out = orders.Orders()
    out.number(listen_fd)
    out.number(created_fd)
    entries = init.labels.entries if init.labels else []
    out.number(proc)
    out.number(len(entries))
    for about, path, label in entries:
        out.number(about)
        out.text(path)
        out.data(label.encode("utf-8", "surrogateescape"))
    umask = user.get("umask")
    out.number(UMASK if umask is None else umask)
    out.number(all_capabilities)
    for name in ("bounding", "effective", "permitted", "inheritable", "ambient"):
        out.number(sets[name])
    out.number(1 if program.get("noNewPrivileges") else 0)
    out.number(1 if init.seccomp else 0)
    if init.seccomp:
        flags, filter_program = init.seccomp
        out.number(flags)
        out.data(filter_program)
    groups = _groups(plan, user, all_capabilities, warn)
    out.number(0 if groups is None else 1)
    out.data(b"".join([gid.to_bytes(4, sys.byteorder) for gid in groups or ()]))
    out.number(user.get("gid", 0))
    out.number(user.get("uid", 0))
    out.text(cwd)
    out.texts(orders.candidates(program) if program else [])
    entered: list[int] = []
    unborn = listen_fd < 0 or init.joins_pid  # stage2_birth.h
    out.number(1 if unborn else 0)
    if unborn:
        entered = [_above(fd, first) for fd in init.cgroup_entrance] if listen_fd < 0 else []
        out.number(1 if init.joins_pid or init.join & process.CLONE_NEWPID else 0)
        out.number(1 if plan.terminal else 0)
        out.number(len(entered))
        for fd in entered:
            out.number(fd)
        out.number(plan.listen_fds)

    start_hooks = plan.hooks("startContainer")
    inside = dict(init.state)
    inside["pid"] = UNBORN if unborn else posix.getpid()
    inside["status"] = "created"
    state = jsontext.encode(inside).encode() if start_hooks else b""
    out.data(state)
    mark = str(UNBORN).encode()
    out.number(state.index(mark, state.index(b'"pid":')) if start_hooks and unborn else orders.UNSET)
    out.number(len(start_hooks))
    for hook in start_hooks:
        out.number(min(hook.get("timeout") or 0, 1 << 31))  # seconds, which stage 2 makes milliseconds of
        out.text(hook["path"])
        out.texts(hook.get("args") or [hook["path"]])
        out.texts(hook.get("env") or [])
    limits = program.get("rlimits") or []
    out.number(len(limits))
    for limit in limits:
        out.number(RLIMITS.index(limit["type"]))
        out.number(limit["soft"])
        out.number(limit["hard"])
    orders_fd = _above(calls.memfd("pyrun-orders", out.finish(sync)), first)

    variables = environment.of(program, slash) if program else []
    if plan.listen_fds:
        pid = UNBORN if unborn else posix.getpid()
        variables += [f"LISTEN_FDS={plan.listen_fds}", f"LISTEN_PID={pid}"]
        variables = environment.once(variables)
    process.all_cpus()
    process.default_signals(ENDING if listen_fd >= 0 else 0)
    calls.close_range_on_exec(first)
    for fd in range(3, first):
        posix.set_inheritable(fd, True)
    for fd in (sync, listen_fd, created_fd, orders_fd, proc, *entered):
        if fd >= 0:
            posix.set_inheritable(fd, True)
    argv = program.get("args") or ["pyrun-init"]
    error = process.execveat(stage2_fd, "", argv, [str(orders_fd), *variables])
    if error.errno == errno.E2BIG:
        raise environment.too_long(program)
    raise failed("executing stage 2", error)


def _above(fd: int, first: int) -> int:
    """`fd`, or a copy of it, with a number that the program's preserved descriptors don't need."""
    held = []
    while 0 <= fd < first:
        held.append(fd)
        fd = posix.dup(fd)
    for number in held:
        posix.close(number)
    return fd
