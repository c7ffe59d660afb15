"""What happens in create: the parent's side, from config.json to a container that waits for start.

Hot module. Read the tables from top to bottom. The child's half is story/inside.py, what comes last is story/last.py,
and what they say to each other is base/protocol.py.
"""

from __future__ import annotations

from pyrun.base.errors import PyrunError
from pyrun.container import roots, store
from pyrun.features import (
    crun_annotations,
    device_nodes,
    hooks,
    id_maps,
    intel_rdt,
    io_priority,
    labels,
    namespaces,
    net_devices,
    oom_score,
    rlimits,
    scheduler,
    sdnotify,
    time_offsets,
)
from pyrun.features.mounts import idmap
from pyrun.features.seccomp import notify
from pyrun.features.seccomp import profile as seccomp
from pyrun.story import birth, carried, destroy, facts, groups, handles, plan, record, step, talk
from pyrun.story.inside import INSIDE
from pyrun.story.last import LAST
from pyrun.story.making import Making

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values
    from pyrun.container.store import Container
    from pyrun.story.step import Row


def _make_root(making: Making) -> None:
    roots.make_root(making.root)


# Before there is anything to be taken back.
PREPARE: tuple[Row[Making], ...] = (
    (facts.JOINED_NAMESPACE, "opening the namespaces that are joined", namespaces.open_joined),
    (facts.ALWAYS, "finding out where the terminal goes", handles.find_console),
    ("linux.seccomp", "making the folder of all containers", _make_root),
    ("linux.seccomp", "preparing the seccomp filter", seccomp.prepare),
    (facts.SECCOMP_AGENT, "finding the seccomp agent", notify.find),
    ("process.apparmorProfile", "asking AppArmor", labels.add_apparmor),
    ("process.selinuxLabel", "asking SELinux", labels.add_selinux),
    ("linux.mountLabel", "labelling mounts", labels.label_mounts),
    ("linux.netDevices", "looking up network devices", net_devices.find),
    ("linux.intelRdt", "looking up the class of resctrl", intel_rdt.find),
    (facts.HOOK_FILES, "opening files for hooks", crun_annotations.open_hook_files),
)

# From the first row on, `delete --force` finds whatever is made.
PARENT: tuple[Row[Making], ...] = (
    (facts.ALWAYS, "writing down what will be made", record.begin),
    (facts.NOTIFY_SOCKET, "making the folder of sd_notify", sdnotify.prepare),
    (facts.ALWAYS, "making the cgroups", groups.make),
    ("linux.intelRdt", "making groups of resctrl", intel_rdt.make),
    (facts.ALWAYS, "listening for start", birth.listen),
    (facts.ALWAYS, "making the file of stage 2", birth.make_stage2),
    (facts.DEVICES_FOR_USERS, "making device nodes", device_nodes.prepare),
    ("linux.timeOffsets", "opening /proc for clocks", time_offsets.prepare),
    (facts.IDMAPPED_MOUNTS, "making user namespaces for mounts", idmap.prepare),
    (facts.ALWAYS, "starting the container's init", birth.clone),
    (facts.HOOKS_BEFORE_START, "writing down the init's pid", record.born),
    (facts.ALWAYS, "closing what the init has", birth.close_handed),
    (facts.NEW_USER_NAMESPACE, "mapping ids", id_maps.write),
    ("process.oomScoreAdj", "setting the OOM score", oom_score.write),
    ("process.ioPriority", "setting the I/O priority", io_priority.write),
    ("process.rlimits", "raising hard limits", rlimits.raise_hard),
    (facts.ALWAYS, "asking for a unit", groups.begin),
    # Device rules before the init may enter the cgroups: it must not meet them half written.
    (facts.ALWAYS, "limiting devices", groups.limit_devices),
    ("linux.netDevices", "moving network devices", net_devices.move),
    ("linux.intelRdt", "entering groups of resctrl", intel_rdt.enter),
    (facts.ALWAYS, "letting the init go on", talk.let_go_on),
    ("linux.resources", "limiting resources", groups.limit),
    (facts.HOOKS_OF_THE_RUNTIME, "waiting for the mounts", talk.wait_for_mounts),
    ("hooks.prestart", "running prestart hooks", hooks.prestart),
    ("hooks.createRuntime", "running createRuntime hooks", hooks.create_runtime),
    (facts.HOOKS_OF_THE_RUNTIME, "letting the init resume", talk.resume),
    (facts.ALWAYS, "waiting for stage 2", talk.wait_for_stage2),
    ("process.scheduler", "setting the scheduler", scheduler.set_),
    (facts.IDMAPPED_MOUNTS, "closing user namespaces of mounts", idmap.close_all),
    (facts.HOOK_FILES, "closing files for hooks", crun_annotations.close_hook_files),
    ("linux.resources", "limiting memory", groups.limit_in_the_end),
    ("--pid-file", "writing the pid file", handles.write_pid_file),
    ("--pidfd-socket", "sending a pidfd", handles.send_pidfd),
    (facts.PIDFD_RECEIVER, "sending a pidfd to its receiver", handles.send_pidfd_to_receiver),
    (facts.ALWAYS, "writing down that it is created", record.finish),
    ("linux.netDevices", "closing network namespaces", net_devices.close),
    ("linux.seccomp", "keeping the seccomp program", seccomp.keep),
)


# Properties of the spec that have no row yet.
NOT_YET = carried.left(PREPARE, PARENT, INSIDE, LAST)


def create(root: str, container_id: str, options: Values, console_socket: int = -1) -> Container:
    """Create a container and return it, locked.

    `console_socket` is where the terminal's master goes if --console-socket doesn't say. Raises PyrunError if a step
    fails; then nothing is left of the container.
    """
    roots.check_id(container_id)
    planned, data = plan.of_bundle(f"{root}/{container_id}", options, NOT_YET)
    making = Making(root, container_id, planned, options)
    making.console_socket = console_socket
    making.data = data
    step.walk(PREPARE, planned.asked, making)
    making.container = store.claim(root, container_id)
    try:
        step.walk(PARENT, planned.asked, making)
    except BaseException as error:
        net_devices.put_back(making)
        destroy.undo(
            making.container, options, ran_hooks=isinstance(error, PyrunError) and error.kind == "hook"
        )
        raise
    return making.container
