"""What happens inside: the container's init, from its birth to stage 2.

Hot module, and the child's half of the story that story/create.py tells. Everything that it needs was imported
by the parent before the clone: from the moment the root file system can be seen, nothing is imported, loaded or
looked up by name services (DESIGN: lockdown). Any failure is sent to the parent as one sentence.
"""

from __future__ import annotations

import posix

from pyrun.base import protocol
from pyrun.base.errors import failed
from pyrun.cgroups import entrance
from pyrun.features import devices, environment, hooks, protected_paths, rootfs
from pyrun.features.mounts import make as make_mounts
from pyrun.features.mounts import sources
from pyrun.kernel import mounts, process
from pyrun.paths import proc_files
from pyrun.story import last

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrun.story.last import Init
    from pyrun.story.plan import Plan

NAMING = {1: "that needs CAP_SYS_ADMIN in the user namespace that the uts namespace belongs to"}


def preload(plan: Plan) -> None:
    """Import, in the parent, what this plan needs beyond the ordinary: features load by the configuration's keys."""
    if plan.linux.get("sysctl"):
        import pyrun.features.sysctl
    if plan.terminal:
        import pyrun.features.terminal
    if environment.lacks_home(plan.process or {}):
        import pyrun.features.users
    import pyrun.features.mounts.old_kernel

    if [planned for planned in plan.mounts if planned.kind == "overlay"]:
        import pyrun.features.mounts.overlay
    if [planned for planned in plan.mounts if planned.options.tmpcopyup]:
        import pyrun.features.mounts.tmpcopyup  # noqa: F401


def run(init: Init, sync: int) -> NoReturn:
    """Be the container's init. Never returns: becomes stage 2, or exits having said why not."""
    last.or_say_why(_run, init, sync)


def _run(init: Init, sync: int) -> NoReturn:
    plan = init.plan
    process.prctl(process.PR_SET_PDEATHSIG, process.SIGKILL)
    posix.setsid()
    if init.time_proc >= 0:
        from pyrun.features import time_offsets

        time_offsets.apply(init.time_proc, plan.linux["timeOffsets"], plan.has_new("time"))
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
            entrance.enter(init.cgroup_entrance)
            if plan.has_new("cgroup"):
                process.unshare(process.CLONE_NEWCGROUP)
        waiting = False

    def warn(text: str) -> None:
        protocol.send(sync, protocol.WARNING + text[:4096].encode())

    if in_user_namespace or plan.linux.get("netDevices"):  # sysctls may be of network devices that come to us
        join_cgroups()

    # While we are still the host's root: everything that is the host's.
    sysctl = plan.linux.get("sysctl")
    proc = proc_files.open_proc() if sysctl else -1
    null = devices.open_host("/dev/null", devices.CHARACTER, 1, 3)
    propagation = plan.linux.get("rootfsPropagation") or ""
    rootfs.separate(propagation)
    folder = rootfs.open_root(plan.rootfs)
    sources.open_all(plan.mounts, plan.rootfs, folder, sync if in_user_namespace else -1)
    configured = plan.linux.get("devices") or []
    nodes = [-1] * len(configured)
    if init.nodes_fd >= 0:
        from pyrun.features import device_nodes

        nodes = device_nodes.take(folder, init.nodes_fd, len(configured))
    mount_label: str = plan.linux.get("mountLabel") or ""
    if mount_label and plan.has_new("ipc") and [mount for mount in plan.mounts if mount.kind == "mqueue"]:
        from pyrun.features import labels

        labels.label_queues(mount_label)
    if in_user_namespace:
        last.become_root()

    # The environment, made from outside the root file system.
    root = rootfs.mount_root(folder, propagation in ("shared", "rshared"))
    own_cgroups = plan.has_new("cgroup")
    parent = sync if in_user_namespace else -1
    kernels, late = make_mounts.make_all(
        root, plan.mounts, join_cgroups, init.cgroup_view, own_cgroups, parent
    )
    devices.make_all(root, configured, in_user_namespace, nodes, _dev_is_bound(plan), warn)
    _name_host(plan)
    if plan.has_new("network"):
        _set_up_loopback()
    if sysctl:
        from pyrun.features import sysctl as feature

        feature.apply(proc, sysctl)
    slave = -1
    if plan.terminal:
        from pyrun.features import terminal

        assert plan.process is not None
        slave = terminal.make(
            root, init.console_socket, plan.process.get("consoleSize"), True, plan.plain_terminal
        )
    join_cgroups()
    if plan.process:
        last.make_cwd(root, plan.process)
    places = protected_paths.Places(root, kernels)
    protected_paths.make_readonly(places, plan.linux.get("readonlyPaths") or [])
    protected_paths.mask(places, plan.linux.get("maskedPaths") or [], null, mount_label)

    # Hooks: the runtime's own first, then those that run in here; all before pivot_root.
    if plan.hooks("prestart") or plan.hooks("createRuntime"):
        protocol.send(sync, protocol.MOUNTED)
        if protocol.receive(sync) != protocol.RESUME:
            posix._exit(1)
    if plan.hooks("createContainer"):
        inside = dict(init.state)
        inside["pid"] = posix.getpid()
        posix.umask(umask)  # a hook's files are not to be writable for all
        hooks.run_all("createContainer", plan.hooks("createContainer"), inside, folder=root)
        posix.umask(0)

    make_mounts.finish(root, late)

    # Inside.
    rootfs.enter(root, plan.pivot, propagation in ("shared", "rshared"))
    slash = rootfs.finish(propagation, bool(plan.config["root"].get("readonly")))
    if slave >= 0:
        give = terminal.put_on_stdio if init.joins_pid else terminal.take
        give(slave, (plan.process or {}).get("user", {}).get("uid", 0))
    if plan.new_keyring:
        last.make_keyring(init)
    cwd = last.enter_cwd(slash, plan.process, make=True) if plan.process else ""
    if init.joins_pid and not in_user_namespace:  # else that is done, while we had the right to it
        process.join(mounts.pid_namespace, process.CLONE_NEWPID)
    last.become_stage2(init, sync, slash, cwd)


def _dev_is_bound(plan: Plan) -> bool:
    """Is /dev a bind mount, however its name is written? Then it is the caller's, and we make nothing in it."""
    bound = [m.destination.split("/") for m in plan.mounts if m.options.bind]
    return any([part for part in parts if part not in ("", ".")] == ["dev"] for parts in bound)


def _name_host(plan: Plan) -> None:
    try:
        if plan.config.get("hostname"):
            process.sethostname(plan.config["hostname"])
    except OSError as error:
        raise failed("setting the hostname", error, "hostname", NAMING.get(error.errno or 0, "")) from None
    try:
        if plan.config.get("domainname"):
            process.setdomainname(plan.config["domainname"])
    except OSError as error:
        raise failed(
            "setting the domainname", error, "domainname", NAMING.get(error.errno or 0, "")
        ) from None


def _set_up_loopback() -> None:
    """A new network namespace has its loopback interface down; up, it gets 127.0.0.1 and ::1."""
    try:
        process.set_up_interface("lo")
    except OSError as error:
        hint = "setting it up needs CAP_NET_ADMIN" if error.errno == 1 else ""
        raise failed("setting up the loopback interface", error, "linux.namespaces", hint) from None
