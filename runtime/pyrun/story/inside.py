"""What happens inside: the container's init, from its birth to stage 2.

Hot module, and the child's half of the story that story/create.py tells. Everything that it needs was imported by the
parent before the clone: from the moment the root file system can be seen, nothing is imported, loaded or looked up by
name services (docs/architecture.md, Lockdown). Any failure is sent to the parent as one sentence.
"""

from __future__ import annotations

import posix

from pyrun.base import protocol
from pyrun.cgroups import entrance
from pyrun.features import (
    cwd,
    device_nodes,
    devices,
    domainname,
    hooks,
    hostname,
    id_maps,
    keyring,
    labels,
    loopback,
    protected_paths,
    rootfs,
    sysctl,
    terminal,
    time_offsets,
)
from pyrun.features.mounts import make as make_mounts
from pyrun.features.mounts import sources
from pyrun.kernel import mounts, process
from pyrun.story import facts, last, talk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pyrun.story.making import Inside
    from pyrun.story.step import Row


def _begin(inside: Inside) -> None:
    process.prctl(process.PR_SET_PDEATHSIG, process.SIGKILL)
    posix.setsid()
    inside.umask = posix.umask(0)


def _enter_cgroups(inside: Inside) -> None:
    """Wait until the parent has mapped our ids and limited our devices; then enter the cgroups. As late as can be:
    until then, both work at once."""
    if not inside.waits:
        return
    if protocol.receive(inside.sync) != protocol.GO:
        posix._exit(1)
    entrance.enter(inside.cgroup_entrance)
    if inside.plan.has_new("cgroup"):
        process.unshare(process.CLONE_NEWCGROUP)
    inside.waits = False


def _open_null(inside: Inside) -> None:
    inside.null = devices.open_host("/dev/null", devices.CHARACTER, 1, 3)


def _separate_mounts(inside: Inside) -> None:
    rootfs.separate(inside.plan.propagation)


def _leave_mounts_alone(inside: Inside) -> None:
    """From here on no call of ours can change one (kernel/mounts.py)."""
    del inside
    mounts.is_forbidden = True


def _open_root(inside: Inside) -> None:
    inside.folder = rootfs.open_root(inside.plan.rootfs)


def _open_sources(inside: Inside) -> None:
    sources.open_all(inside.plan.mounts, inside.plan.rootfs, inside.folder, inside.parent())


def _mount_root(inside: Inside) -> None:
    inside.root = rootfs.mount_root(inside.folder, inside.plan.is_shared())


def _take_root(inside: Inside) -> None:
    inside.root = inside.folder


def _make_mounts(inside: Inside) -> None:
    inside.kernels, inside.late = make_mounts.make_all(
        inside.root,
        inside.plan.mounts,
        lambda: _enter_cgroups(inside),
        inside.cgroup_view,
        inside.plan.has_new("cgroup"),
        inside.parent(),
    )


def _make_devices(inside: Inside) -> None:
    configured = inside.plan.linux.get("devices") or []
    nodes = inside.nodes or [-1] * len(configured)
    user_namespace = "user" in inside.plan.namespaces
    devices.make_all(inside.root, configured, user_namespace, nodes, _is_dev_bound(inside), inside.warn)


def _is_dev_bound(inside: Inside) -> bool:
    """Is /dev a bind mount, however its name is written? Then it is the caller's, and we make nothing in it."""
    bound = [m.destination.split("/") for m in inside.plan.mounts if m.options.bind]
    return any([part for part in parts if part not in ("", ".")] == ["dev"] for parts in bound)


def _wait_for_hooks(inside: Inside) -> None:
    protocol.send(inside.sync, protocol.MOUNTED)
    if protocol.receive(inside.sync) != protocol.RESUME:
        posix._exit(1)


def _finish_mounts(inside: Inside) -> None:
    make_mounts.finish(inside.root, inside.late)


def _enter_root(inside: Inside) -> None:
    rootfs.enter(inside.root, inside.plan.pivot, inside.plan.is_shared())
    readonly = bool(inside.plan.config["root"].get("readonly"))
    inside.slash = rootfs.finish(inside.plan.propagation, readonly)


def _enter_in_place(inside: Inside) -> None:
    inside.slash = rootfs.enter_in_place(inside.root)


def _join_pid_namespace(inside: Inside) -> None:
    """For children alone: stage 2 is born in there. With a user namespace it is joined before we lost the right to."""
    if inside.joins_pid and "user" not in inside.plan.namespaces:
        process.join(mounts.pid_namespace, process.CLONE_NEWPID)


INSIDE: tuple[Row[Inside], ...] = (
    (facts.ALWAYS, "leading a session that dies with the runtime", _begin),
    ("linux.timeOffsets", "setting the clocks' offsets", time_offsets.apply),
    (facts.USER_NAMESPACE, "waiting for ids", _enter_cgroups),
    ("linux.netDevices", "waiting for network devices", _enter_cgroups),  # sysctls may be of them
    # While we are still the host's root: everything that is the host's.
    ("linux.sysctl", "opening the host's procfs", sysctl.open_proc),
    (facts.ALWAYS, "opening /dev/null", _open_null),
    (facts.MOUNT_NAMESPACE, "separating our mounts from the host's", _separate_mounts),
    (facts.NO_MOUNT_NAMESPACE, "leaving the host's mounts alone", _leave_mounts_alone),
    (facts.ALWAYS, "opening the root file system", _open_root),
    ("mounts", "opening the sources of bind mounts", _open_sources),
    (facts.DEVICES_FOR_USERS, "taking over the device nodes", device_nodes.take),
    ("linux.mountLabel", "labelling message queues", labels.label_queues),
    (facts.USER_NAMESPACE, "becoming root in the user namespace", id_maps.become_root),
    # The environment, made from outside the root file system.
    (facts.MOUNT_NAMESPACE, "mounting the root file system", _mount_root),
    (facts.NO_MOUNT_NAMESPACE, "taking the root file system as it is", _take_root),
    (facts.MOUNT_NAMESPACE, "making the mounts", _make_mounts),
    (facts.ALWAYS, "making devices", _make_devices),
    ("hostname", "setting the hostname", hostname.set_),
    ("domainname", "setting the domainname", domainname.set_),
    (facts.NEW_NETWORK_NAMESPACE, "setting up the loopback interface", loopback.set_up),
    ("linux.sysctl", "writing sysctls", sysctl.apply),
    ("process.terminal", "making the terminal", terminal.make),
    (facts.ALWAYS, "entering the cgroups", _enter_cgroups),
    ("process.cwd", "making the working directory", cwd.make),
    ("linux.readonlyPaths", "making paths read-only", protected_paths.make_readonly),
    ("linux.maskedPaths", "masking paths", protected_paths.mask),
    # Hooks: the runtime's own first, then those that run in here; all before pivot_root.
    (facts.HOOKS_OF_THE_RUNTIME, "waiting for the runtime's hooks", _wait_for_hooks),
    ("hooks.createContainer", "running createContainer hooks", hooks.create_container),
    (facts.MOUNT_NAMESPACE, "making mounts read-only", _finish_mounts),
    # Inside.
    (facts.MOUNT_NAMESPACE, "entering the root file system", _enter_root),
    (facts.NO_MOUNT_NAMESPACE, "entering the root file system by chroot", _enter_in_place),
    ("process.terminal", "taking the terminal", terminal.take),
    (facts.SESSION_KEYRING, "joining a new session keyring", keyring.join_new),
    ("process.cwd", "entering the working directory", cwd.enter),
    (facts.JOINED_NAMESPACE, "joining the PID namespace for stage 2", _join_pid_namespace),
    (facts.ALWAYS, "becoming stage 2", last.become_stage2),
)


def run(inside: Inside, sync: int) -> NoReturn:
    """Be the container's init. Never returns: becomes stage 2, or exits having said why not."""
    talk.be_the_child(INSIDE, inside, sync)
