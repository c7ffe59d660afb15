"""The birth of a container's init: in new namespaces, and in those that are joined by path.

Hot module. The parent's side is create.py's, what the init does is story/inside.py.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base import log, protocol
from pyrun.base.errors import PyrunError, failed
from pyrun.kernel import calls, mounts, process
from pyrun.story import record, stage2_file
from pyrun.story.inside import run as be_init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrun.features import namespaces
    from pyrun.story.making import Inside, Making
    from pyrun.story.plan import Plan

# Why namespaces can't be made or joined: errno -> a remedy.
MAKING = {
    errno.EPERM: "that needs CAP_SYS_ADMIN, or a user namespace among the new ones, which a chroot forbids",
    errno.ENOSPC: "as many as /proc/sys/user/max_*_namespaces allows are there, or user namespaces 32 deep",
    errno.EUSERS: "as many as /proc/sys/user/max_*_namespaces allows are there, or user namespaces 32 deep",
    errno.EINVAL: "this kernel lacks a kind of namespace: /proc/self/ns has those that there are",
    errno.EAGAIN: "a limit of processes is reached: RLIMIT_NPROC, or pids.max of a cgroup above",
}
JOINING = {
    errno.EPERM: "that needs CAP_SYS_ADMIN in the user namespace that it belongs to",
    errno.EINVAL: "the file is of another type of namespace",
}


def listen(making: Making) -> None:
    """Make the socket that start connects to, and the lock that says "created": the init inherits both."""
    making.inside.listen_fd = calls.listen(making.container.dirfd, "start.sock")
    making.inside.created_fd = making.container.hold_for_init()


def make_stage2(making: Making) -> None:
    """Make the file that stage 2 is executed from; its name is what ps shows."""
    making.inside.stage2_fd = stage2_file.make("pyrun-init" if making.inside.listen_fd >= 0 else "pyrun-exec")


def close_handed(making: Making) -> None:
    """Close what was for the child alone."""
    inside = making.inside
    proc = inside.labels.proc if inside.labels else -1
    handed = (inside.listen_fd, inside.created_fd, inside.stage2_fd, inside.nodes_fd, inside.time_proc)
    for fd in (*handed, inside.console_socket, inside.pidfd, inside.root_fd, proc, *inside.cgroup_entrance):
        if fd >= 0:
            posix.close(fd)


def clone(making: Making) -> None:
    """Bring the init to life in its namespaces, with a connection to us.

    The cgroup namespace comes later (story/inside.py): its root is the cgroup that one is in at that moment.
    Children let go of the lock: should we be killed while they are stuck, `delete --force` must get it.

    Nobody may look into the init, and that must hold from its first moment, so we are like that before: who is uid 0
    on the host is the owner of a new user namespace and has all capabilities over whoever is in it, though it be in a
    container with the host's PID namespace. The init still stands on the host's root folder. (An ordinary user is the
    owner himself, and may write the id maps of none but who can be looked into.)
    """
    if making.plan.joins or posix.geteuid() == 0:
        process.prctl(process.PR_SET_DUMPABLE, 0)
    making.sync, making.pid = _clone(making.plan, making.inside, making.seat, making.container.dirfd)
    if making.inside.joins_pid:
        making.unborn = process.pidfd_open(making.pid)
    record.note_birth(making)


def _clone(planned: Plan, init: Inside, cgroup_fd: int, dirfd: int) -> tuple[int, int]:
    flags = planned.new_namespaces() & ~process.CLONE_NEWCGROUP
    if planned.linux.get("timeOffsets"):
        flags &= ~process.CLONE_NEWTIME  # whoever is in it can't set them any more: features/time_offsets.py
    ours, theirs = calls.socketpair()
    if not planned.joins:
        try:
            pid = process.clone3(flags, cgroup_fd)
        except OSError as error:
            hint = MAKING.get(error.errno or 0, "")
            raise failed("making the container's namespaces", error, "linux.namespaces", hint) from None
        if pid == 0:
            try:
                posix.close(dirfd)
                posix.close(ours)
                be_init(init, theirs)
            finally:  # never back into the parent's story
                posix._exit(1)
        posix.close(theirs)
        return ours, pid
    if stays_outside(planned, init.stage2_fd):
        return _join_and_stay(planned, init, flags, cgroup_fd, dirfd, ours, theirs)
    middle = posix.fork()
    if middle == 0:
        try:
            posix.close(dirfd)
            posix.close(ours)
            _join_and_clone(planned, init, theirs, flags, cgroup_fd)
        finally:
            posix._exit(1)
    posix.close(theirs)
    for join in planned.joins:
        join.close()
    posix.waitpid(middle, 0)
    # The helper has exited: its message is queued by now, or will never come. An init that it made then gives up
    # when we close our end.
    message = _first_word(ours) if calls.poll([ours], 0) else b""
    if message[:1] == protocol.ERROR:
        raise protocol.unpack_error(message)
    if message[:1] != protocol.PID:
        raise PyrunError("the process that joins the container's namespaces died")
    return ours, int(message[1:])


def stays_outside(planned: Plan, stage2_fd: int) -> bool:
    """Is a PID namespace joined, and can the init stay out of it until stage 2 is born in there? Whoever lives in it
    may have CAP_SYS_PTRACE, which nothing keeps from looking into us. It takes a kernel that mounts the procfs of a
    PID namespace from outside (Linux 6.17), or contexts of procfs that were opened inside."""
    joins = [join for join in planned.joins if join.kind == "pid"]
    if not joins or posix.geteuid() != 0:
        return False
    wanted = [mount for mount in planned.mounts if mount.kind == "proc"]
    if [mount for mount in wanted if mount.options.needs_mount2]:
        return False  # these are of mount(2), which can't
    try:
        mounts.pid_namespace = joins[0].fd
        posix.close(mounts.fsopen("proc"))
        return True
    except OSError:
        pass
    finally:
        mounts.pid_namespace = -1
    if not wanted:
        return True
    from pyrun.features.mounts import joined_procfs

    mounts.procfs_contexts = joined_procfs.contexts(joins[0].fd, len(wanted), stage2_fd, joins[0].json_path)
    return bool(mounts.procfs_contexts)


def _join_and_stay(
    planned: Plan, init: Inside, flags: int, cgroup_fd: int, dirfd: int, ours: int, theirs: int
) -> tuple[int, int]:
    """The init joins what is to be joined, and makes its new namespaces itself. Its PID namespace is for children, and
    comes last where it may: they are stage 2 alone, and none that helps with a mount or is a hook."""
    try:
        pid = process.clone3(0, cgroup_fd)
    except OSError as error:
        raise failed("making the container's process", error) from None
    if pid == 0:
        try:
            posix.close(dirfd)
            posix.close(ours)
            process.prctl(process.PR_SET_PDEATHSIG, process.SIGKILL)
            init.joins_pid = True
            join = next(join for join in planned.joins if join.kind == "pid")
            mounts.pid_namespace = posix.dup(join.fd)
            later = None if "user" in planned.namespaces else join
            _join(planned, theirs, -1, lambda: process.unshare(flags), later)
            protocol.send(theirs, protocol.PID + str(posix.getpid()).encode())
            be_init(init, theirs)
        finally:  # never back into the parent's story
            posix._exit(1)
    init.joins_pid = True
    posix.close(theirs)
    for join in planned.joins:
        join.close()
    while mounts.procfs_contexts:
        posix.close(mounts.procfs_contexts.pop())
    message = _first_word(ours)
    if message[:1] == protocol.ERROR:
        posix.waitpid(pid, 0)
        raise protocol.unpack_error(message)
    if message[:1] != protocol.PID:
        raise PyrunError("the process that joins the container's namespaces died")
    return ours, pid


def _join_and_clone(planned: Plan, init: Inside, sync: int, flags: int, cgroup_fd: int) -> None:
    """In a process between: join the namespaces given by path, then make the init as our own sibling in them.

    Those who live in the joined namespaces can't look into it, nor into the init (PR_SET_DUMPABLE is inherited); the
    groups of the host's root are dropped here, as a joined user namespace may forbid it.
    """
    # Where namespaces are borders (nsdelegate, cgroups(7)), nobody gets into the cgroup from a joined one: go before.
    before, seat = (cgroup_fd, -1) if planned.namespaces.get("cgroup") else (-1, cgroup_fd)
    pid = _join(planned, sync, before, lambda: process.clone3(flags | process.CLONE_PARENT, seat))
    if pid == 0:
        be_init(init, sync)
    protocol.send(sync, protocol.PID + str(pid).encode())
    posix._exit(0)


def _join(
    planned: Plan,
    sync: int,
    cgroup_fd: int,
    make: Callable[[], Any],
    later: namespaces.Join | None = None,
) -> Any:
    """Enter a v2 cgroup (-1: none), join the namespaces given by path but the one for `later`, and `make` the new ones:
    its result. A failure is told, and ends us."""
    at = None
    try:
        if planned.namespaces.get("user") and posix.geteuid() == 0 and not planned.keeps_groups:
            posix.setgroups([])
        if cgroup_fd >= 0:
            procs = posix.open("cgroup.procs", posix.O_WRONLY | posix.O_CLOEXEC, dir_fd=cgroup_fd)
            posix.write(procs, b"0")
            posix.close(procs)
        for at in planned.joins:
            if at is not later:
                process.setns(at.fd, at.flag, at.path)
                at.close()
        at = None
        return make()
    except OSError as error:
        doing = f"joining the {at.kind} namespace" if at else "making the container's namespaces"
        hint = (JOINING if at else MAKING).get(error.errno or 0, "")
        place = at.json_path if at else "linux.namespaces"
        protocol.send(sync, protocol.pack_error(failed(doing, error, place, hint)))
        posix._exit(1)


def _first_word(sock: int) -> bytes:
    """The first message that isn't for --debug: the init, too, may have begun to talk."""
    while (message := protocol.receive(sock))[:1] == protocol.STEP:
        log.debug(message[1:].decode("utf-8", "replace"))
    return message
