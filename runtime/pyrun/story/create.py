"""What happens in create: the parent's side, from config.json to a container that waits for start.

Hot module. Read `create` from top to bottom; the child's half is story/inside.py, what they say to each other is
protocol.py, and what comes last is kernel/stage2.c.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base import jsontext, log, protocol
from pyrun.base.errors import PyrunError, failed, words
from pyrun.cgroups import driver
from pyrun.cgroups.controllers import table
from pyrun.container import roots, states, store
from pyrun.container.store import Container
from pyrun.features import hooks
from pyrun.features.mounts import sources
from pyrun.kernel import calls, process
from pyrun.story import birth, destroy, diagnose, handles, orders, plan, stage2_file
from pyrun.story import inside as init_main
from pyrun.story.last import Init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.driver import Record
    from pyrun.commandline.parse import Values
    from pyrun.features.labels import Labels


LATER_HOOKS = ("startContainer", "poststart", "poststop")  # start and delete need them, or their names


def create(root: str, container_id: str, options: Values, console_socket: int = -1) -> Container:
    """Create a container and return it, locked; PyrunError if that fails, and then nothing is left of it.

    `console_socket` is where the terminal's master goes if --console-socket doesn't say.
    """
    roots.check_id(container_id)
    bundle = plan.absolute(str(options.get("bundle", "")))
    if not jsontext.is_text(bundle):
        raise PyrunError("the bundle's path is not UTF-8, as the state document must be (glossary, JSON)")
    config, data = plan.load(bundle, str(options.get("config", "")))
    notifies = b"NOTIFY_SOCKET" in posix.environ and bool(config.get("process"))
    if notifies:
        from pyrun.features import sdnotify

        sdnotify.add_to(config, f"{root}/{container_id}")
    planned = plan.make(config, bundle)
    take_options(planned, options)
    if any(planned.namespaces.values()):
        from pyrun.features import namespaces

        planned.joins = namespaces.open_all(config)
    console_socket = handles.console_of(planned, options, console_socket)
    init = Init(planned, {})
    if planned.linux.get("netDevices"):
        from pyrun.features import net_devices

        init.net_devices = net_devices.find(planned.linux["netDevices"])
    unsaved: list[tuple[str, str, bytes]] = []  # a seccomp program for the cache
    init.seccomp = seccomp_of(planned, root, unsaved)
    init.labels = labels_of(planned)
    if label := planned.linux.get("mountLabel"):
        from pyrun.features import labels

        labels.label_mounts(planned.mounts, label)
    init_main.preload(planned)

    container = store.claim(root, container_id)
    try:
        # from here on, `delete --force` finds whatever we make
        container.add(_first_record(planned, container_id, options), data)
        if notifies:
            sdnotify.make_folder(container.dirfd)
        _make(container, planned, init, console_socket, options)
    except BaseException as error:
        if init.net_devices:
            net_devices.put_back(init.net_devices)
        destroy.undo(container, options, ran_hooks=isinstance(error, PyrunError) and error.kind == "hook")
        if isinstance(error, OSError):
            raise failed("creating the container", error) from None
        raise
    if unsaved:  # not before: the container may need the room
        from pyrun.features.seccomp import profile as seccomp

        seccomp.store(*unsaved[0])
    return container


def _make(container: Container, planned: plan.Plan, init: Init, console_socket: int, options: Values) -> None:
    record = container.record
    cgroup = record["cgroup"]
    owner = planned.cgroup_owner()
    planned_groups = cgroup["hierarchies"]
    cgroups = driver.named(str(options.get("cgroup-manager", "")))
    cgroups.create(cgroup, str(options.get("rootless", "auto")) if planned.may_lack_cgroups() else "false")
    if cgroup["hierarchies"] is not planned_groups:
        container.add({"cgroup": cgroup})
    if owner > 0:
        cgroups.give(cgroup, owner)
    log.debug(f"cgroups are made: {cgroup['path']}")
    init.state = states.oci_state(record, states.CREATING)
    init.cgroup_view = cgroups.view(cgroup)
    init.cgroup_entrance = cgroups.tasks(cgroup)
    init.listen_fd = calls.listen(container.dirfd, "start.sock")
    init.created_fd = container.hold_for_init()
    init.stage2_fd = stage2_file.make("pyrun-init")
    init.console_socket = console_socket
    if "user" in planned.namespaces and planned.linux.get("devices"):
        from pyrun.features import device_nodes

        init.nodes_fd = device_nodes.prepare(planned)
    if planned.linux.get("timeOffsets"):
        from pyrun.features import time_offsets

        init.time_proc = time_offsets.prepare()

    mapped = [mount for mount in planned.mounts if mount.is_idmapped]
    if mapped:
        from pyrun.features.mounts import idmap

        idmap.prepare(mapped)

    sync, pid = birth.clone(planned, init, cgroups.seat(cgroup), container.dirfd)
    # Until the last line, nothing but the init's death with its parent, and its cgroup, holds its pid for others.
    born = {"pid": pid, "pidStart": states.process_state(pid)[1]}
    record.update(born)
    log.debug(f"init is process {pid}, in new namespaces ({', '.join(planned.namespaces)})")
    if [kind for kind in ("prestart", "createRuntime", "createContainer") if planned.hooks(kind)]:
        container.add(born)  # hooks may ask for the state
    proc = init.labels.proc if init.labels else -1
    handed = (
        init.listen_fd,
        init.created_fd,
        init.stage2_fd,
        init.nodes_fd,
        init.time_proc,
        console_socket,
        proc,
    )
    for fd in (*handed, *init.cgroup_entrance):
        if fd >= 0:
            posix.close(fd)
    if planned.has_new("user"):
        from pyrun.features import id_maps

        for kind in ("uid", "gid"):
            id_maps.write(pid, kind, planned.linux.get(f"{kind}Mappings") or [])
    set_oom_score(planned, pid)
    raise_hard_limits(planned, pid)
    # Device rules before init may enter the cgroups: it must not meet them half written. The other limits while it
    # makes its mounts; that on memory when only stage 2 is left to count.
    resources = table.upgrade(planned.linux.get("resources") or {}, planned.config["ociVersion"])
    if cgroups.begin(cgroup, pid, resources, planned.config.get("annotations") or {}, owner):
        container.add({"cgroup": cgroup})  # from here on it is ours to take away
    cgroups.limit_devices(cgroup, resources.get("devices") or [])
    if init.net_devices:
        from pyrun.features import net_devices

        net_devices.move(init.net_devices, pid)
    protocol.tell(sync, protocol.GO)
    log.debug("ids are mapped and devices limited: init may go on")
    unborn = process.pidfd_open(pid) if init.joins_pid else -1
    late = ("memory", "pids") if init.joins_pid else ("memory",)  # there are two processes until the end
    cgroups.limit(cgroup, {key: value for key, value in resources.items() if key not in ("devices", *late)})
    if (last := _follow(sync, pid, unborn, planned, record)) != pid:
        pid = last
        born = {"pid": pid, "pidStart": states.process_state(pid)[1]}
        record.update(born)
    if mapped:
        idmap.close_all(mapped)
    for key in late:
        if resources.get(key):
            cgroups.limit(cgroup, {key: resources[key]})
    handles.write_pid_file(str(options.get("pid-file", "")), pid)
    handles.send_pidfd(str(options.get("pidfd-socket", "")), pid)
    container.add({**born, "status": states.CREATED})
    if init.net_devices:
        init.net_devices.close()


def take_options(planned: plan.Plan, options: Values) -> None:
    """What the command line adds to the plan. PyrunError."""
    planned.pivot = not options.get("no-pivot")
    planned.new_keyring = not options.get("no-new-keyring")
    planned.preserve_fds, planned.listen_fds = preserved_fds(options)


def preserved_fds(options: Values) -> tuple[int, int]:
    """How many of the caller's descriptors after stderr are passed on, and how many of them are $LISTEN_FDS;
    PyrunError if one isn't open. To be called first before anything of ours can have the number of one that isn't."""
    wanted = int(str(options.get("preserve-fds", 0)))
    listening = 0
    listen_fds = posix.environ.get(b"LISTEN_FDS", b"")
    own = str(posix.getpid()).encode()
    if listen_fds.isdigit() and posix.environ.get(b"LISTEN_PID", own) == own:
        listening = int(listen_fds)
    for fd in range(3, 3 + wanted + listening):
        try:
            posix.fstat(fd)
        except OSError:
            raise PyrunError(f"--preserve-fds: file descriptor {fd} is not open") from None
    return wanted + listening, listening


def labels_of(planned: plan.Plan) -> Labels | None:
    """What security modules shall make of the program, or None. Raises PyrunError."""
    program = planned.process or {}
    if not (program.get("apparmorProfile") or program.get("selinuxLabel")):
        return None
    from pyrun.features import labels

    return labels.prepare(program)


def seccomp_of(
    planned: plan.Plan, root: str, later: list[tuple[str, str, bytes]] | None = None
) -> tuple[int, bytes] | None:
    """Flags and program of the seccomp filter, or None; what is to be cached `later`, or else now. PyrunError."""
    profile = planned.linux.get("seccomp")
    if not profile or not planned.process:
        return None
    from pyrun.features.seccomp import profile as seccomp

    seccomp.check_execve(profile)
    roots.make_root(root)  # the cache is in there
    return seccomp.flags(profile), seccomp.program(profile, root + "/.seccomp", later)


def _first_record(planned: plan.Plan, container_id: str, options: Values) -> dict[str, Any]:
    """state.json as it is before the first side effect: what will be made, and what later commands need."""
    config = planned.config
    return {
        "id": container_id,
        "status": states.CREATING,
        "pid": 0,
        "pidStart": 0,
        "bundle": planned.bundle,
        "rootfs": planned.rootfs,
        "rootNode": _node(planned.rootfs),
        "created": states.timestamp(),
        "owner": posix.geteuid(),
        "annotations": config.get("annotations") or {},
        "cgroup": _plan_cgroups(planned, container_id, str(options.get("cgroup-manager", ""))),
        "configVersion": config["ociVersion"],
        "devices": (planned.linux.get("resources") or {}).get("devices") or [],
        "hasProcess": planned.process is not None,
        "ownPids": planned.has_new("pid"),
        "smallMemory": planned.has_small_memory(),
        "hooks": {kind: planned.hooks(kind) for kind in LATER_HOOKS if planned.hooks(kind)},
        "program": {"args": planned.process["args"], "env": planned.process.get("env") or []}
        if planned.process
        else {},
    }


def _plan_cgroups(planned: plan.Plan, container_id: str, option: str) -> Record:
    if option == "disabled" and planned.asks_for_limits():
        raise PyrunError("limits need cgroups, and --cgroup-manager is disabled", "linux.resources")
    annotations = planned.config.get("annotations") or {}
    return driver.named(option).plan(planned.linux.get("cgroupsPath"), container_id, annotations)


def set_oom_score(planned: plan.Plan, pid: int) -> None:
    """process.oomScoreAdj of a process. PyrunError."""
    score = (planned.process or {}).get("oomScoreAdj")
    if score is None:
        return
    try:
        calls.write_file(f"/proc/{pid}/oom_score_adj", str(score))
    except OSError as error:
        hint = "lowering it needs CAP_SYS_RESOURCE" if error.errno == errno.EACCES else ""
        raise failed(f"writing {score}", error, "process.oomScoreAdj", hint) from None


def raise_hard_limits(planned: plan.Plan, pid: int) -> None:
    """Stage 2 sets the limits, as the program's user and just before it is the program. It has no right to raise hard
    ones (in a user namespace nobody has), so that is done from outside, while the init is still ours."""
    limits = (planned.process or {}).get("rlimits") or []
    if not limits:
        return
    from oci_spec.names import RLIMITS

    for index, limit in enumerate(limits):
        try:
            process.raise_hard_limit(pid, RLIMITS.index(limit["type"]), limit["hard"])
        except OSError as error:
            hint = "raising a hard limit needs CAP_SYS_RESOURCE" if error.errno == errno.EPERM else ""
            if limit["type"] == "RLIMIT_NOFILE":
                hint += ", and more than /proc/sys/fs/nr_open can't be had" if hint else ""
            raise failed(f"setting {limit['type']}", error, f"process.rlimits[{index}]", hint) from None


def _follow(sync: int, pid: int, unborn: int, planned: plan.Plan, record: dict[str, Any]) -> int:
    """Listen to the init until stage 2 is ready; run the runtime's hooks when the mounts are made. Returns the pid: it
    is another one if the init, whose pidfd is `unborn` then, has stayed out of a PID namespace that is joined."""
    while message := birth.receive_while_alive(sync, unborn):
        kind = message[:1]
        if kind == protocol.WARNING:
            log.warn(message[1:].decode())
        elif kind == protocol.ERROR:
            raise protocol.unpack_error(message)
        elif kind == protocol.SOURCE:
            sources.lend(sync, pid, planned.mounts[int(message[1:])].source)
        elif kind == protocol.IDMAP:
            from pyrun.features.mounts import idmap

            idmap.answer(sync, pid, planned.mounts[int(message[1:])])
        elif kind == protocol.MOUNTED:
            log.debug("mounts are made; next are prestart and createRuntime hooks")
            for name in ("prestart", "createRuntime"):
                hooks.run_all(name, planned.hooks(name), states.oci_state(record, states.CREATING))
            protocol.tell(sync, protocol.RESUME)
        else:
            about, error = orders.understand(message)
            if error is None and about == orders.READY:
                log.debug("stage 2 waits for start")
                posix.close(sync)
                return pid
            if about == orders.BORN:
                posix.waitpid(pid, 0)
                pid, unborn = orders.born(message), -1
                protocol.tell(sync, protocol.GO)
            if error is not None:
                places = diagnose.Places(planned.rootfs, planned.bundle, planned.config.get("mounts") or [])
                raise diagnose.explain(error, planned.process or {}, places)
    status = posix.waitpid(pid, 0)[1]
    from pyrun.cgroups import oom

    text = f"the container's init {hooks.describe_status(status)} before it was ready"
    raise PyrunError(text, hint=oom.killed_for_memory(record["cgroup"]))


def _node(path: str) -> list[int]:
    """Device and inode of a folder, by which exec knows it again; the init says why if it isn't there."""
    try:
        found = posix.stat(path)
    except OSError:
        return []
    return [found.st_dev, found.st_ino]


def _undo(container: Container, options: Values, ran_hooks: bool) -> None:
    """Take back a create that failed. After a failed hook the life cycle goes on at its last steps, so that poststop
    hooks run; otherwise there never was a container."""
    # Nothing of it is needed any more, but perhaps we had run out of descriptors.
    if not options.get("pipes"):  # run has put its own stdin, stdout and stderr aside
        posix.closerange(3, container.dirfd)
    posix.closerange(container.dirfd + 1, 1024)
    try:
        destroy.destroy(container, with_hooks=ran_hooks)
    except (PyrunError, OSError) as error:
        text = error.sentence if isinstance(error, PyrunError) else words(error)
        log.warn(f"cleaning up after the failure: {text}; delete --force {container.id} tries again")
