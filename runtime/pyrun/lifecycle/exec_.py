"""What happens in exec: the parent's side, from a process document to a program that runs in the container.

Hot module. It goes create's way, with another child (init/enter.py): same stage 2, same protocol. It makes no mount
and takes no lock, so that many can go on in one container. The configuration is the one that the container was made
with.
"""

from __future__ import annotations

import posix

from oci_spec import config as oci_config
from oci_spec import rules
from oci_spec.fields import LARGEST_ID, ConfigError
from oci_spec.names import CAPABILITIES
from pyrun import diagnose, jsontext, log, protocol
from pyrun.cgroups import entrance, manager
from pyrun.errors import PyrunError, failed
from pyrun.features import hooks
from pyrun.init import enter, orders
from pyrun.init.handover import Init
from pyrun.kernel import calls, process
from pyrun.lifecycle import answers, create, plan, stage2_file
from pyrun.lifecycle import container as containers
from pyrun.lifecycle.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.fastargs import Values

NAMESPACE_FILES = {"network": "net", "mount": "mnt"}


def exec_(root: str, values: Values, arguments: list[str], console_socket: int = -1) -> int:
    """Run a program in a running container; returns its pid on the host once it is executed. PyrunError.

    `arguments` are the container's id and the program's argv, if --process doesn't bring one; `console_socket` is where
    the terminal's master goes if --console-socket doesn't say.
    """
    preserve_fds, listen_fds = create.preserved_fds(values)
    container = containers.find(root, arguments[0], lock=False)
    _check_status(container, bool(values.get("ignore-paused")))
    config = jsontext.decode(container.config)
    oci_config.parse(config)
    config["process"] = process_of(values, arguments[1:], config.get("process") or {})
    config["hooks"] = {}
    joined = []
    for namespace in (config.get("linux") or {}).get("namespaces") or ():
        if namespace.pop("path", None):  # by now it may be gone, or another's: the init's are joined
            joined.append(namespace["type"])
    planned = plan.make(config, container.record["bundle"])
    planned.preserve_fds, planned.listen_fds = preserve_fds, listen_fds
    init = Init(planned, containers.oci_state(container.record, containers.RUNNING))
    init.seccomp = create.seccomp_of(planned, container.root)
    init.labels = create.labels_of(planned)
    init.console_socket = answers.console_of(planned, values, console_socket)
    user = str(values["user"]) if "user" in values else None
    enter.preload(init, user)
    container.close()
    pid = _make(container, planned, init, user, places(values), "mount" in joined)
    answers.write_pid_file(str(values.get("pid-file", "")), pid)
    answers.send_pidfd(str(values.get("pidfd-socket", "")), pid)
    return pid


def _check_status(container: Container, ignore_paused: bool) -> None:
    status = containers.status(container)
    if status not in (containers.CREATED, containers.RUNNING, "paused"):
        raise PyrunError(f'container "{container.id}" is {status}, and exec needs a running one')
    if not ignore_paused and manager.frozen(container.record["cgroup"]):
        raise PyrunError(
            f'container "{container.id}" is paused',
            hint="resume it, or use --ignore-paused to wait until it is resumed",
        )


def process_of(values: Values, arguments: list[str], configured: dict[str, Any]) -> dict[str, Any]:
    """The process document: --process FILE, or the container's own with the options' changes. PyrunError."""
    path = str(values.get("process", ""))
    if path:
        if arguments:
            raise PyrunError("--process brings the program: none can be given besides")
        found = _read_process(path)
    elif not arguments:
        raise PyrunError("a program to run is missing")
    else:
        found = dict(configured)
        found["args"] = arguments
        found["terminal"] = False
    _change(found, values)
    try:
        oci_config.parse_process(found)
    except ConfigError as error:  # its path begins in the document
        raise PyrunError(error.sentence(), f"process.{error.path}") from None
    for fault in rules.process_faults(found):
        raise PyrunError(fault.sentence(), fault.path)
    return found


def _read_process(path: str) -> dict[str, Any]:
    try:
        data = calls.read_all(0, plan.LARGEST_CONFIG) if path == "-" else plan.read(posix.getcwd(), path)
        found = jsontext.decode(data)
    except jsontext.JSONError as error:
        raise PyrunError(f"--process: {path} is not valid JSON: {error}") from None
    except OSError as error:
        raise failed("--process: reading it", error) from None
    if not isinstance(found, dict):
        raise PyrunError(f"--process: {path} holds no JSON object")
    return found


def _change(found: dict[str, Any], values: Values) -> None:
    """What the options say over the document: as in runc, each only if it is given."""
    if values.get("tty"):
        found["terminal"] = True
    if "cwd" in values:
        found["cwd"] = values["cwd"]
    if values.get("no-new-privs"):
        found["noNewPrivileges"] = True
    if values.get("env"):
        found["env"] = [*(found.get("env") or []), *_many(values, "env")]
    if values.get("additional-gids"):
        user = dict(found.get("user") or {"uid": 0, "gid": 0})
        gids = _many(values, "additional-gids")
        for gid in gids:
            if not (gid.isascii() and gid.isdigit() and len(gid) < 11 and int(gid) <= LARGEST_ID):
                raise PyrunError(f'--additional-gids: "{gid}" is not a group id', hint=f"0 to {LARGEST_ID}")
        user["additionalGids"] = [*(user.get("additionalGids") or []), *[int(gid) for gid in gids]]
        found["user"] = user
    if values.get("cap"):
        for name in _many(values, "cap"):
            if name not in CAPABILITIES:
                raise PyrunError(f'--cap: "{name}" is not a capability')
        sets = dict(found.get("capabilities") or {})
        for kind in ("bounding", "effective", "permitted"):  # inheritable never, ambient neither
            sets[kind] = [*(sets.get(kind) or []), *_many(values, "cap")]
        found["capabilities"] = sets
    for option, key in (("process-label", "selinuxLabel"), ("apparmor", "apparmorProfile")):
        if values.get(option):
            found[key] = values[option]


def _many(values: Values, option: str) -> list[str]:
    found = values[option]
    return found if isinstance(found, list) else [str(found)]


def places(values: Values) -> dict[str, str]:
    """--cgroup [CONTROLLER[,CONTROLLER]:]PATH, each below the container's: controller, or "" for all, -> path."""
    found = {}
    for text in _many(values, "cgroup") if values.get("cgroup") else []:
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
    user: str | None,
    below: dict[str, str],
    mounts_joined: bool,
) -> int:
    record = container.record
    target = record["pid"]
    try:
        init.pidfd = process.pidfd_open(target)
        if init.pidfd < 0 or containers.process_state(target)[1] != record["pidStart"]:
            raise PyrunError(f'container "{container.id}" has just stopped')
        # What /proc says of the pid is about the process that the pidfd pins, as long as that has not ended.
        if (
            mounts_joined
        ):  # else the root of the mount namespace is right, wherever the init's program has chrooted to
            init.root_fd = posix.open(
                f"/proc/{target}/root", calls.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC
            )
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
    init.cgroup_entrance = entrance.tasks(record["cgroup"], below)
    init.stage2_fd = stage2_file.make("pyrun-exec")
    init.join = kinds
    ours, theirs = calls.socketpair()
    try:
        pid = process.clone3(0, entrance.clone_fd(record["cgroup"], below))
    except OSError as error:
        raise failed(f'entering container "{container.id}"', error) from None
    if pid == 0:
        try:
            posix.close(ours)
            enter.run(init, theirs, user)
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
    places = diagnose.Places(record["rootfs"], record["bundle"], planned.config.get("mounts") or [])
    create.set_oom_score(planned, pid)  # these two are inherited
    create.raise_hard_limits(planned, pid)
    protocol.tell(ours, protocol.GO)
    return _follow(ours, pid, planned, places)


def _foreign_namespaces(pid: int) -> int:
    """CLONE_NEW* of the namespaces in which process `pid` is and we are not."""
    kinds = 0
    for kind, flag in plan.NAMESPACES.items():
        name = NAMESPACE_FILES.get(kind, kind)
        try:
            theirs = posix.stat(f"/proc/{pid}/ns/{name}")
        except FileNotFoundError:
            continue  # a kernel without this kind
        ours = posix.stat(f"/proc/self/ns/{name}")
        if (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino):
            kinds |= flag
    return kinds


def _follow(sync: int, pid: int, planned: plan.Plan, places: diagnose.Places) -> int:
    """Listen until the program is executed: stage 2 says that it is going to, and execve closes the connection. Returns
    the program's pid, which is that of a second process if the first one has made it in the container's pid namespace.
    """
    going = False
    while message := protocol.receive(sync):
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
                pid = orders.born(message)
                protocol.tell(sync, protocol.GO)
            going = about == orders.GOING
    posix.close(sync)
    if not going:
        status = posix.waitpid(pid, 0)[1]
        raise PyrunError(f"the process {hooks.describe_status(status)} before its program could be executed")
    return pid
