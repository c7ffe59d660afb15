"""What happens inside: the container's init, from its birth to stage 2.

Hot module, and the child's half of the story that lifecycle/create.py tells. Everything that it needs was imported
by the parent before the clone: from the moment the root file system can be seen, nothing is imported, loaded or
looked up by name services (DESIGN: lockdown). Any failure is sent to the parent as one sentence.
"""

from __future__ import annotations

import posix
import sys

from oci_spec.names import RLIMITS
from pyrun import jsontext, protocol
from pyrun.cgroups import manager
from pyrun.errors import PyrunError, failed
from pyrun.features import capabilities, hooks
from pyrun.init import devices, masks, mount, orders, proc_files, rootfs, under_root
from pyrun.kernel import calls, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from pyrun.lifecycle.plan import Plan


class Init:
    """What the parent hands over at birth, by memory."""

    __slots__ = (
        "cgroup_entrance",
        "cgroup_view",
        "console_socket",
        "created_fd",
        "listen_fd",
        "plan",
        "seccomp",
        "stage2_fd",
        "state",
    )

    def __init__(self, plan: Plan, state: dict[str, Any]) -> None:
        self.plan = plan
        self.state = state
        self.cgroup_entrance: list[int] = []
        self.cgroup_view: list[tuple[str, str]] = []
        self.console_socket = self.listen_fd = self.created_fd = self.stage2_fd = -1
        self.seccomp: tuple[int, bytes] | None = None


def preload(plan: Plan) -> None:
    """Import, in the parent, what this plan needs beyond the ordinary: features load by the configuration's keys."""
    if plan.linux.get("sysctl"):
        import pyrun.features.sysctl
    if plan.terminal:
        import pyrun.init.console
    import pyrun.init.old_kernel

    if [planned for planned in plan.mounts if planned.options.tmpcopyup]:
        import pyrun.features.tmpcopyup  # noqa: F401


def run(init: Init, sync: int) -> NoReturn:
    """Be the container's init. Never returns: becomes stage 2, or exits having said why not."""
    try:
        _run(init, sync)
    except PyrunError as error:
        _give_up(sync, error)
    except OSError as error:
        _give_up(sync, failed("setting up the container", error))
    except BaseException as error:  # a bug of ours must still be one sentence
        _give_up(sync, PyrunError(f"internal error in the container's init: {type(error).__name__}: {error}"))


def _give_up(sync: int, error: PyrunError) -> NoReturn:
    try:
        protocol.send(sync, protocol.pack_error(error))
    finally:
        posix._exit(1)


def _run(init: Init, sync: int) -> NoReturn:
    plan = init.plan
    process.prctl(process.PR_SET_PDEATHSIG, process.SIGKILL)
    posix.setsid()
    umask = posix.umask(0)
    in_user_namespace = "user" in plan.namespaces
    waiting = True

    def join_cgroups() -> None:
        """Wait until the parent has mapped our ids and limited our devices; then into the cgroups. As late as can be:
        until then, both work at once."""
        nonlocal waiting
        if waiting and protocol.receive(sync) != protocol.GO:
            posix._exit(1)
        if waiting:
            manager.enter(init.cgroup_entrance)
            if plan.has_new("cgroup"):
                process.unshare(process.CLONE_NEWCGROUP)
        waiting = False

    if in_user_namespace:
        join_cgroups()

    # While we are still the host's root: everything that is the host's.
    sysctl = plan.linux.get("sysctl")
    proc = proc_files.open_proc() if sysctl else -1
    null = devices.open_host("/dev/null", devices.CHARACTER, 1, 3)
    propagation = plan.linux.get("rootfsPropagation") or ""
    rootfs.separate(propagation)
    folder = rootfs.open_root(plan.rootfs)
    mount.open_sources(plan.mounts)
    if in_user_namespace:
        _become_root()

    # The environment, made from outside the root file system.
    root = rootfs.mount_root(folder, propagation in ("shared", "rshared"))
    own_cgroups = plan.has_new("cgroup")
    kernels = mount.make_all(root, plan.mounts, join_cgroups, init.cgroup_view, own_cgroups)
    if not (_dev_is_bound(plan) or devices.is_host_dev(root)):
        devices.make_default(root, in_user_namespace)
        devices.make_links(root)
    for index, device in enumerate(plan.linux.get("devices") or ()):
        try:
            devices.make(root, device, in_user_namespace)
        except PyrunError as error:
            error.json_path = f"linux.devices[{index}]"
            raise
    _name_host(plan)
    if sysctl:
        from pyrun.features import sysctl as feature

        feature.apply(proc, sysctl)
    terminal = -1
    if plan.terminal:
        from pyrun.init import console

        assert plan.process is not None
        terminal = console.make(root, init.console_socket, plan.process.get("consoleSize"))
    join_cgroups()
    places = masks.Places(root, kernels)
    masks.make_readonly(places, plan.linux.get("readonlyPaths") or [])
    masks.mask(places, plan.linux.get("maskedPaths") or [], null)

    # Hooks: the runtime's own first, then those that run in here; all before pivot_root.
    if plan.hooks("prestart") or plan.hooks("createRuntime"):
        protocol.send(sync, protocol.MOUNTED)
        if protocol.receive(sync) != protocol.RESUME:
            posix._exit(1)
    if plan.hooks("createContainer"):
        inside = dict(init.state)
        inside["pid"] = posix.getpid()
        posix.umask(umask)  # a hook's files are not to be writable for all
        hooks.run_all("createContainer", plan.hooks("createContainer"), inside)
        posix.umask(0)

    # Inside.
    rootfs.enter(root, plan.pivot, propagation in ("shared", "rshared"))
    slash = rootfs.finish(propagation, bool(plan.config["root"].get("readonly")))
    if terminal >= 0:
        console.take(terminal, (plan.process or {}).get("user", {}).get("uid", 0))
    if plan.new_keyring:
        process.new_session_keyring()
    if plan.process:
        _enter_cwd(slash, plan.process)
    _become_stage2(init, sync, umask)


def _become_root() -> None:
    """Root of the user namespace, without the groups that came along."""
    try:
        posix.setresgid(0, 0, 0)
        posix.setresuid(0, 0, 0)
    except OSError as error:
        raise failed("becoming root in the user namespace", error, "linux.uidMappings") from None
    process.prctl(process.PR_SET_PDEATHSIG, process.SIGKILL)  # a change of identity had cleared it
    try:
        posix.setgroups([])
    except OSError:
        pass  # denied by the namespace's setgroups file; stage 2 reports it if groups are asked for


def _dev_is_bound(plan: Plan) -> bool:
    """Is /dev a bind mount, however its name is written? Then it is the caller's, and we make nothing in it."""
    bound = [m.destination.split("/") for m in plan.mounts if m.options.bind]
    return any([part for part in parts if part not in ("", ".")] == ["dev"] for parts in bound)


def _name_host(plan: Plan) -> None:
    try:
        if plan.config.get("hostname"):
            process.sethostname(plan.config["hostname"])
    except OSError as error:
        raise failed("setting the hostname", error, "hostname") from None
    try:
        if plan.config.get("domainname"):
            process.setdomainname(plan.config["domainname"])
    except OSError as error:
        raise failed("setting the domainname", error, "domainname") from None


def _enter_cwd(slash: int, program: dict[str, Any]) -> None:
    """process.cwd, made if it is missing. It is reached without magic links, so that /proc/self/fd/N can't lead out
    of the container (CVE-2024-21626), and what we stand in is then checked to be below our root."""
    cwd = program["cwd"]
    try:
        fd = under_root.make(slash, cwd, under_root.DIRECTORY)
        posix.fchdir(fd)
        posix.close(fd)
        where = posix.getcwd()  # the kernel answers "(unreachable)/…" for a place outside of the root
    except OSError as error:
        raise failed(f"entering {cwd}", error, "process.cwd") from None
    if where[:1] != "/":
        raise PyrunError(f"{cwd} is outside of the container", "process.cwd")


def _become_stage2(init: Init, sync: int, umask: int) -> NoReturn:
    """Write the orders, keep what stage 2 and the program are to have open, and become stage 2."""
    plan = init.plan
    program = plan.process or {}
    user = program.get("user") or {}
    first = 3 + plan.preserve_fds
    kept = [_above(fd, first) for fd in (sync, init.listen_fd, init.created_fd, init.stage2_fd)]
    sync, listen_fd, created_fd, stage2_fd = kept

    all_capabilities = process.permitted_capabilities()
    sets, warnings = capabilities.masks(program.get("capabilities") or {}, all_capabilities)
    for text in warnings:
        protocol.send(sync, protocol.WARNING + text[:4096].encode())

    out = orders.Orders()
    out.number(listen_fd)
    out.number(created_fd)
    configured = user.get("umask")
    out.number(umask if configured is None else configured)
    out.number(all_capabilities)
    for name in ("bounding", "effective", "permitted", "inheritable", "ambient"):
        out.number(sets[name])
    out.number(1 if program.get("noNewPrivileges") else 0)
    out.number(1 if init.seccomp else 0)
    groups = user.get("additionalGids") or []
    out.number(1 if groups or "user" not in plan.namespaces else 0)
    out.data(b"".join([gid.to_bytes(4, sys.byteorder) for gid in groups]))
    out.number(user.get("gid", 0))
    out.number(user.get("uid", 0))
    out.texts(orders.candidates(program) if program else [])

    start_hooks = plan.hooks("startContainer")
    inside = dict(init.state)
    inside["pid"] = posix.getpid()
    inside["status"] = "created"
    out.data(jsontext.encode(inside).encode() if start_hooks else b"")
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
    if init.seccomp:
        flags, filter_program = init.seccomp
        out.number(flags)
        out.data(filter_program)
    orders_fd = _above(calls.memfd("pyrun-orders", out.finish(sync)), first)

    environment = list(program.get("env") or [])
    if plan.listen_fds:
        environment += [f"LISTEN_FDS={plan.listen_fds}", "LISTEN_PID=1"]
    process.default_signals()
    calls.close_range_on_exec(first)
    for fd in range(3, first):
        posix.set_inheritable(fd, True)
    for fd in (sync, listen_fd, created_fd, orders_fd):
        posix.set_inheritable(fd, True)
    error = process.execveat(
        stage2_fd, "", program.get("args") or ["pyrun-init"], [str(orders_fd), *environment]
    )
    raise failed("executing stage 2", error, "process.args", "arguments and environment may be too long")


def _above(fd: int, first: int) -> int:
    """`fd`, or a copy of it, with a number that the program's preserved descriptors don't need."""
    held = []
    while 0 <= fd < first:
        held.append(fd)
        fd = posix.dup(fd)
    for number in held:
        posix.close(number)
    return fd
