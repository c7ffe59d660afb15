"""What happens in exec: the parent's side, from a process document to a program that runs in the container.

Hot module. It goes create's way, with another child (story/inside_exec.py): same stage 2, same protocol. It makes no
mount and takes no lock, so that many can go on in one container. The configuration is the one that the container was
made with.
"""

from __future__ import annotations

import errno
import posix

from oci_spec import config as oci_config
from pyrun.base import jsontext
from pyrun.base.errors import PyrunError, failed
from pyrun.cgroups import driver, entrance
from pyrun.cgroups.controllers import table
from pyrun.container import states, store
from pyrun.features import cpu_affinity, intel_rdt, io_priority, labels, rlimits, scheduler
from pyrun.features.namespaces import NAMESPACES
from pyrun.features.seccomp import notify
from pyrun.features.seccomp import profile as seccomp
from pyrun.kernel import calls, process
from pyrun.story import birth, carried, facts, handles, plan, process_document, step, talk
from pyrun.story.inside_exec import INSIDE
from pyrun.story.inside_exec import run as be_the_process
from pyrun.story.last import LAST
from pyrun.story.making import Making

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values
    from pyrun.container.store import Container
    from pyrun.story.step import Row

NAMESPACE_FILES = {"network": "net", "mount": "mnt"}


def _look(making: Making) -> None:
    """Pin the container's process, and find its root and the namespaces that we aren't in."""
    inside, record = making.inside, making.container.record
    target = making.target = record["pid"]
    try:
        inside.pidfd = process.pidfd_open(target)
        if inside.pidfd < 0 or states.process_state(target)[1] != record["pidStart"]:
            raise PyrunError(f'container "{making.id}" has just stopped')
        # What /proc says of the pid is about the process that the pidfd pins, as long as that has not ended.
        inside.root_fd = posix.open(
            f"/proc/{target}/root", calls.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC
        )
        inside.root_node = None if making.mounts_joined else record.get("rootNode")
        inside.join = _foreign_namespaces(target)
        if "user" not in making.plan.namespaces:
            inside.join &= ~process.CLONE_NEWUSER  # one that the init's program has made for itself
    except (FileNotFoundError, ProcessLookupError):
        raise PyrunError(f'container "{making.id}" has just stopped') from None
    except OSError as error:
        raise failed(f'looking at container "{making.id}"', error) from None


def _foreign_namespaces(pid: int) -> int:
    """CLONE_NEW* of the namespaces in which process `pid` is and we are not."""
    kinds = 0
    for kind, flag in NAMESPACES.items():
        name = NAMESPACE_FILES.get(kind, kind)
        try:
            theirs = posix.stat(f"/proc/{pid}/ns/{name}")
        except FileNotFoundError:
            continue  # a kernel without this kind
        ours = posix.stat(f"/proc/self/ns/{name}")
        if (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino):
            kinds |= flag
    return kinds


def _find_seat(making: Making) -> None:
    making.cgroup = making.container.record["cgroup"]
    if not making.below and (moved := entrance.seat_of_init(making.cgroup, making.target)):
        making.below = {"": moved}
    entrance.check_places(making.cgroup, making.below)
    making.driver = driver.of(making.cgroup)
    making.inside.cgroup_entrance = making.driver.tasks(making.cgroup, making.below)
    making.seat = making.driver.seat(making.cgroup, making.below)


def _clone(making: Making) -> None:
    making.sync, theirs = calls.socketpair()
    try:
        pid = process.clone3(0, making.seat)
    except OSError as error:
        # An ordinary user's session may not reach into the user's systemd's cgroups: that one can move processes.
        if error.errno != errno.EACCES or "unit" not in making.cgroup:
            raise failed(f'entering container "{making.id}"', error) from None
        pid, making.seat = process.clone3(0), -1
    if pid == 0:
        try:
            posix.close(making.sync)
            be_the_process(making.inside, theirs)
        finally:  # never back into the parent's story
            posix._exit(1)
    posix.close(theirs)
    making.pid = pid
    if making.inside.join & process.CLONE_NEWPID:
        making.unborn = process.pidfd_open(pid)


def _ask_for_move(making: Making) -> None:
    if making.seat < 0 and "unit" in making.cgroup:
        making.driver.attach(making.cgroup, making.pid, making.below.get("", ""))


PARENT: tuple[Row[Making], ...] = (
    (facts.ALWAYS, "finding out where the terminal goes", handles.find_console),
    ("linux.seccomp", "preparing the seccomp filter", seccomp.prepare),
    (facts.SECCOMP_AGENT, "finding the seccomp agent", notify.find),
    ("process.apparmorProfile", "asking AppArmor", labels.add_apparmor),
    ("process.selinuxLabel", "asking SELinux", labels.add_selinux),
    (facts.ALWAYS, "looking at the container", _look),
    (facts.ALWAYS, "finding the cgroup", _find_seat),
    (facts.ALWAYS, "making the file of stage 2", birth.make_stage2),
    ("process.execCPUAffinity", "running on the initial CPUs", cpu_affinity.begin),
    (facts.ALWAYS, "starting the process", _clone),
    (facts.ALWAYS, "closing what the process has", birth.close_handed),
    (facts.ALWAYS, "asking for a move into the unit", _ask_for_move),
    # These are inherited by the process that stage 2 makes.
    ("linux.intelRdt", "entering groups of resctrl", intel_rdt.enter),
    ("process.ioPriority", "setting the I/O priority", io_priority.write),
    ("process.rlimits", "raising hard limits", rlimits.raise_hard),
    # From here on its pid is the program's.
    (facts.ALWAYS, "letting the process be born inside", talk.let_be_born),
    ("process.scheduler", "setting the scheduler", scheduler.set_),
    (facts.ALWAYS, "letting the process go on", talk.let_go_on),
    (facts.ALWAYS, "waiting for the program", talk.wait_for_program),
    ("--pid-file", "writing the pid file", handles.write_pid_file),
    ("--pidfd-socket", "sending a pidfd", handles.send_pidfd),
    ("linux.seccomp", "keeping the seccomp program", seccomp.keep),
)


# Properties of a process that have no row yet.
NOT_YET = frozenset([path for path in carried.left(PARENT, INSIDE, LAST) if path[:8] == "process."])


def exec_(root: str, values: Values, arguments: list[str], console_socket: int = -1) -> int:
    """Run a program in a running container; returns its pid on the host once it is executed.

    `arguments` are the container's id and the program's argv, if --process doesn't bring one; `console_socket` is where
    the terminal's master goes if --console-socket doesn't say. Raises PyrunError if the program can't be executed.
    """
    preserved = handles.preserved_fds(values)
    container = store.find(root, arguments[0], lock=False)
    status = _check_status(container, bool(values.get("ignore-paused")))
    config = jsontext.decode(container.config)
    table.forget_unset(config)
    oci_config.parse(config)
    config["process"] = process_document.of(values, arguments[1:], config.get("process") or {})
    config["hooks"] = {}
    joined = []
    for namespace in (config.get("linux") or {}).get("namespaces") or ():
        if namespace.pop("path", None):  # by now it may be gone, or another's: the init's are joined
            joined.append(namespace["type"])
    planned = plan.make(config, container.record["bundle"], NOT_YET)
    planned.preserve_fds, planned.listen_fds = preserved
    planned.asked = facts.of(planned, values)
    making = Making(container.root, container.id, planned, values)
    making.container = container
    making.console_socket = console_socket
    making.below = places(values)
    making.mounts_joined = "mount" in joined
    making.inside.user = process_document.user(values)
    making.inside.state = states.oci_state(container.record, status)
    container.close()
    step.walk(PARENT, planned.asked, making)
    return making.pid


def _check_status(container: Container, ignore_paused: bool) -> str:
    status = states.status(container)
    if status not in (states.CREATED, states.RUNNING, "paused"):
        raise PyrunError(f'container "{container.id}" is {status}, and exec needs a running one')
    if not ignore_paused and driver.of(container.record["cgroup"]).frozen(container.record["cgroup"]):
        raise PyrunError(
            f'container "{container.id}" is paused',
            hint="resume it, or use --ignore-paused to wait until it is resumed",
        )
    return status


def places(values: Values) -> dict[str, str]:
    """--cgroup [CONTROLLER[,CONTROLLER]:]PATH, each below the container's: controller, or "" for all, -> path."""
    found = {}
    for text in process_document.many(values, "cgroup") if values.get("cgroup") else []:
        controllers, _, path = text.rpartition(":")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise PyrunError(f'--cgroup: "{text}" leads out of the container\'s cgroup')
        for controller in controllers.split(","):
            found[controller] = "/".join(parts)
    return found
