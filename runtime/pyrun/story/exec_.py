"""What happens in exec: the parent's side, from a process document to a program that runs in the container.

Hot module. It goes create's way, with another child (story/inside_exec.py): same stage 2, same protocol. It makes no
mount and takes no lock, so that many can go on in one container. The configuration is the one that the container was
made with.
"""

from __future__ import annotations

import errno
import posix

from oci_spec import config as oci_config
from pyrun.base import jsontext, log, protocol
from pyrun.base.errors import PyrunError, failed
from pyrun.cgroups import driver, entrance
from pyrun.container import states, store
from pyrun.container.store import Container
from pyrun.features import hooks
from pyrun.features.namespaces import NAMESPACES
from pyrun.kernel import calls, process
from pyrun.story import (
    birth,
    create,
    diagnose,
    handles,
    inside_exec,
    orders,
    plan,
    process_document,
    stage2_file,
)
from pyrun.story.last import Init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values
    from pyrun.features import users

NAMESPACE_FILES = {"network": "net", "mount": "mnt"}


def exec_(root: str, values: Values, arguments: list[str], console_socket: int = -1) -> int:
    """Run a program in a running container; returns its pid on the host once it is executed. PyrunError.

    `arguments` are the container's id and the program's argv, if --process doesn't bring one; `console_socket` is where
    the terminal's master goes if --console-socket doesn't say.
    """
    preserve_fds, listen_fds = create.preserved_fds(values)
    container = store.find(root, arguments[0], lock=False)
    _check_status(container, bool(values.get("ignore-paused")))
    config = jsontext.decode(container.config)
    oci_config.parse(config)
    config["process"] = process_document.of(values, arguments[1:], config.get("process") or {})
    config["hooks"] = {}
    joined = []
    for namespace in (config.get("linux") or {}).get("namespaces") or ():
        if namespace.pop("path", None):  # by now it may be gone, or another's: the init's are joined
            joined.append(namespace["type"])
    planned = plan.make(config, container.record["bundle"])
    planned.preserve_fds, planned.listen_fds = preserve_fds, listen_fds
    init = Init(planned, states.oci_state(container.record, states.RUNNING))
    init.seccomp = create.seccomp_of(planned, container.root)
    init.labels = create.labels_of(planned)
    init.console_socket = handles.console_of(planned, values, console_socket)
    user = process_document.user(values)
    inside_exec.preload(init, user)
    container.close()
    pid = _make(container, planned, init, user, places(values), "mount" in joined)
    handles.write_pid_file(str(values.get("pid-file", "")), pid)
    handles.send_pidfd(str(values.get("pidfd-socket", "")), pid)
    return pid


def _check_status(container: Container, ignore_paused: bool) -> None:
    status = states.status(container)
    if status not in (states.CREATED, states.RUNNING, "paused"):
        raise PyrunError(f'container "{container.id}" is {status}, and exec needs a running one')
    if not ignore_paused and driver.of(container.record["cgroup"]).frozen(container.record["cgroup"]):
        raise PyrunError(
            f'container "{container.id}" is paused',
            hint="resume it, or use --ignore-paused to wait until it is resumed",
        )


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


def _make(
    container: Container,
    planned: plan.Plan,
    init: Init,
    user: users.Asked | None,
    below: dict[str, str],
    mounts_joined: bool,
) -> int:
    record = container.record
    target = record["pid"]
    try:
        init.pidfd = process.pidfd_open(target)
        if init.pidfd < 0 or states.process_state(target)[1] != record["pidStart"]:
            raise PyrunError(f'container "{container.id}" has just stopped')
        # What /proc says of the pid is about the process that the pidfd pins, as long as that has not ended.
        init.root_fd = posix.open(f"/proc/{target}/root", calls.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        init.root_node = None if mounts_joined else record.get("rootNode")
        kinds = _foreign_namespaces(target)
        if "user" not in planned.namespaces:
            kinds &= ~process.CLONE_NEWUSER  # one that the init's program has made for itself
    except (FileNotFoundError, ProcessLookupError):
        raise PyrunError(f'container "{container.id}" has just stopped') from None
    except OSError as error:
        raise failed(f'looking at container "{container.id}"', error) from None
    if not below and (moved := entrance.seat_of_init(record["cgroup"], target)):
        below = {"": moved}
    entrance.check_places(record["cgroup"], below)
    cgroups = driver.of(record["cgroup"])
    init.cgroup_entrance = cgroups.tasks(record["cgroup"], below)
    init.stage2_fd = stage2_file.make("pyrun-exec")
    init.join = kinds
    ours, theirs = calls.socketpair()
    seat = cgroups.seat(record["cgroup"], below)
    try:
        pid = process.clone3(0, seat)
    except OSError as error:
        # An ordinary user's session may not reach into the user's systemd's cgroups: that one can move processes.
        if error.errno != errno.EACCES or "unit" not in record["cgroup"]:
            raise failed(f'entering container "{container.id}"', error) from None
        pid, seat = process.clone3(0), -1
    if pid == 0:
        try:
            posix.close(ours)
            inside_exec.run(init, theirs, user)
        finally:  # never back into the parent's story
            posix._exit(1)
    proc = init.labels.proc if init.labels else -1
    for fd in (
        theirs,
        init.pidfd,
        init.root_fd,
        init.stage2_fd,
        init.console_socket,
        proc,
        *init.cgroup_entrance,
    ):
        if fd >= 0:
            posix.close(fd)
    if seat < 0 and "unit" in record["cgroup"]:
        cgroups.attach(record["cgroup"], pid, below.get("", ""))
    places = diagnose.Places(record["rootfs"], record["bundle"], planned.config.get("mounts") or [])
    create.set_oom_score(planned, pid)  # these two are inherited
    if (planned.process or {}).get("oomScoreAdj") is None:
        _take_oom_score(target, pid)
    create.raise_hard_limits(planned, pid)
    protocol.tell(ours, protocol.GO)
    unborn = process.pidfd_open(pid) if kinds & process.CLONE_NEWPID else -1
    return _follow(ours, pid, unborn, planned, places)


def _take_oom_score(init: int, pid: int) -> None:
    """Where none is configured, the score is that of the container's process, not of our caller: sshd has -1000."""
    try:
        theirs = calls.read_file(f"/proc/{init}/oom_score_adj")
        if theirs != calls.read_file("/proc/self/oom_score_adj"):
            calls.write_file(f"/proc/{pid}/oom_score_adj", theirs)
    except OSError:
        pass  # it would be lower than ours, and we may not lower it


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


def _follow(sync: int, pid: int, unborn: int, planned: plan.Plan, places: diagnose.Places) -> int:
    """Listen until the program is executed: stage 2 says that it is going to, and execve closes the connection. Returns
    the program's pid, which is that of a second process if the first one, whose pidfd is `unborn`, has made it in the
    container's pid namespace."""
    going = False
    while message := birth.receive_while_alive(sync, unborn):
        kind = message[:1]
        if kind == protocol.WARNING:
            log.warn(message[1:].decode("utf-8", "replace"))
        elif kind == protocol.ERROR:
            posix.waitpid(pid, 0)
            raise protocol.unpack_error(message)
        else:
            about, error = orders.understand(message, [])
            if error is not None:
                posix.waitpid(pid, 0)
                raise diagnose.explain(error, planned.process or {}, places)
            if about == orders.BORN:
                posix.waitpid(pid, 0)
                pid, unborn = orders.born(message), -1
                protocol.tell(sync, protocol.GO)
            going = about == orders.GOING
    posix.close(sync)
    if not going:
        status = posix.waitpid(pid, 0)[1]
        raise PyrunError(f"the process {hooks.describe_status(status)} before its program could be executed")
    return pid
