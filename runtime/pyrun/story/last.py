"""The last step of every process that becomes a container's: what stage 2 is told, and becoming it.

Hot module. Two stories end here: a container's init (story/inside.py) and a process of exec (story/inside_exec.py).
"""

from __future__ import annotations

import errno
import posix
import sys

from oci_spec.names import RLIMITS
from pyrun.base import jsontext
from pyrun.base.errors import failed
from pyrun.features import capabilities, environment, stdio
from pyrun.kernel import calls, process
from pyrun.story import orders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from pyrun.story.making import Inside
    from pyrun.story.plan import Plan

UMASK = 0o022  # where none is configured: runc's and crun's, whatever their caller's is

# The signals that end a created container, as a mask: those that people and engines stop containers with. They are
# blocked until stage 2, as pid 1, reads them.
ENDING = sum(1 << signal - 1 for signal in (process.SIGHUP, process.SIGINT, process.SIGQUIT, process.SIGTERM))


CAP_SETGID = 1 << 6

# Stands for the pid that stage 2 will have, and will write over it.
UNBORN = 10**15


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


def become_stage2(init: Inside) -> NoReturn:
    """Write the orders, keep what stage 2 and the program are to have open, and become stage 2."""
    sync, slash, cwd = init.sync, init.slash, init.cwd
    plan = init.plan
    program = plan.process or {}
    user = program.get("user") or {}
    stdio.settle(slash, user.get("uid", 0))
    first = 3 + plan.preserve_fds
    proc = init.labels.proc if init.labels else -1
    kept = [_above(fd, first) for fd in (sync, init.listen_fd, init.created_fd, init.stage2_fd, proc)]
    sync, listen_fd, created_fd, stage2_fd, proc = kept

    all_capabilities = process.permitted_capabilities()
    sets, warnings = capabilities.masks(program.get("capabilities") or {}, all_capabilities)
    for text in warnings:
        init.warn(text)

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
    groups = _groups(plan, user, all_capabilities, init.warn)
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
