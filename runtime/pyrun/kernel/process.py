"""Processes, namespaces and signals: one function per system call, no policy. Hot module."""

from __future__ import annotations

import errno
import posix

from _pyrun_kernel import ffi, lib

from pyrun.kernel.calls import check, failure, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLONE_NEWTIME = 0x80
CLONE_PARENT = 0x8000
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36

SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGTERM, SIGCHLD, SIGURG, SIGWINCH = 1, 2, 3, 9, 15, 17, 23, 28
SIGPIPE, SIGTTIN, SIGTTOU = 13, 21, 22
ALL_SIGNALS = (1 << 64) - 1


def clone3(flags: int, cgroup_fd: int = -1) -> int:
    """clone3(2) like fork: 0 in the child, the pid in the parent; -1 or a cgroup to be born in (cgroup v2)."""
    return check(lib.k_clone3(flags, cgroup_fd), "clone3")


def unshare(flags: int) -> None:
    """unshare(2)."""
    check(lib.k_unshare(flags), "unshare")


def setns(fd: int, kind: int, path: str) -> None:
    """setns(2); `kind` is the CLONE_NEW* flag that the namespace must be of, `path` is for the message."""
    check(lib.k_setns(fd, kind), "setns", path)


def join(pidfd: int, kinds: int) -> None:
    """Join all of a process's namespaces of these kinds (CLONE_NEW*) at once: setns(2) with a pidfd, Linux 5.8."""
    check(lib.k_setns(pidfd, kinds), "setns")


def pidfd_open(pid: int) -> int:
    """pidfd_open(2), or -1 if there is no such process."""
    result = lib.k_pidfd_open(pid)
    return -1 if result == -errno.ESRCH else check(result, "pidfd_open")


def pidfd_send_signal(pidfd: int, signal: int) -> bool:
    """pidfd_send_signal(2); False if the process has ended."""
    result = lib.k_pidfd_send_signal(pidfd, signal)
    if result == -errno.ESRCH:
        return False
    check(result, "pidfd_send_signal")
    return True


def _vector(items: list[str]) -> Any:
    texts = [ffi.new("char[]", item.encode("utf-8", "surrogateescape")) for item in items]
    return texts, ffi.new("char *[]", [*texts, ffi.NULL])


def execveat(dirfd: int, path: str, argv: list[str], envp: list[str]) -> OSError:
    """Call execveat(2) with exactly these vectors; returns only on failure. "" as `path` is the file `dirfd` itself."""
    _keep_argv, argv_data = _vector(argv)
    _keep_envp, envp_data = _vector(envp)
    result = lib.k_execveat(dirfd, path.encode(), argv_data, envp_data, 0 if path else 0x1000)
    return failure("execve", -result, path or None)


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument."""
    check(lib.k_prctl(option, value, 0, 0, 0), "prctl")


def raise_hard_limit(pid: int, resource: int, hard: int) -> None:
    """Make sure that another process's hard limit is not below `hard`: prlimit(2)."""
    check(lib.k_raise_hard_limit(pid, resource, hard), "prlimit")


def all_cpus() -> None:
    """Run on every CPU that the cpuset allows, whatever our caller was pinned to: sched_setaffinity(2).

    A refusal is no failure.
    """
    lib.k_all_cpus()


def sched_setattr(pid: int, attributes: bytes) -> None:
    """sched_setattr(2); `attributes` are a struct sched_attr."""
    check(lib.k_sched_setattr(pid, attributes), "sched_setattr")


def ioprio_set(pid: int, priority: int) -> None:
    """ioprio_set(2) for one process."""
    check(lib.k_ioprio_set(pid, priority), "ioprio_set")


def permitted_capabilities() -> int:
    """Return this process's permitted set as a bit mask: capget(2)."""
    mask = ffi.new("unsigned long long *")
    check(lib.k_permitted_capabilities(mask), "capget")
    return int(mask[0])


def in_user_namespace() -> bool:
    """Is our user namespace another than the machine's? Then its map of ids isn't the identity: user_namespaces(7)."""
    return read_file("/proc/self/uid_map").split() != [b"0", b"0", b"4294967295"]


def is_ordinary() -> bool:
    """Do we lack the rights of the machine's root, as an ordinary user or as root of a user namespace?"""
    return posix.geteuid() != 0 or in_user_namespace()


def sethostname(name: str) -> None:
    """sethostname(2)."""
    data = name.encode()
    check(lib.k_sethostname(data, len(data)), "sethostname")


def setdomainname(name: str) -> None:
    """setdomainname(2)."""
    data = name.encode()
    check(lib.k_setdomainname(data, len(data)), "setdomainname")


def set_up_interface(name: str) -> None:
    """Set a network interface up, without any other flag: netdevice(7)."""
    check(lib.k_set_up_interface(name.encode()), "ioctl SIOCSIFFLAGS", name)


def new_session_keyring() -> None:
    """Join a new session keyring without a name: keyctl(KEYCTL_JOIN_SESSION_KEYRING).

    By a name we would join whoever made a keyring of that name before. A kernel without keyrings, or a full quota, is
    no failure.
    """
    result = lib.k_join_session_keyring(ffi.NULL)
    if result not in (-errno.ENOSYS, -errno.EDQUOT):
        check(result, "keyctl")


def default_signals(blocked: int = 0) -> None:
    """Give every signal its default action and block exactly those of `blocked`: what a new program expects."""
    check(lib.k_default_signals(blocked), "sigprocmask")


def own_signals() -> None:
    """Ignore SIGPIPE and SIGXFSZ, so that a closed reader gives EPIPE, and a file that is too long EFBIG.

    SIGCHLD gets its default action: a caller may ignore it, which we inherit, and we would wait for children in vain.
    """
    check(lib.k_own_signals(), "sigaction")


def signal_mask(mask: int) -> None:
    """Block exactly the signals of `mask`."""
    check(lib.k_signal_mask(mask), "sigprocmask")


def signalfd(mask: int) -> int:
    """Return a descriptor to read the blocked signals of `mask` from: signalfd(2), 128 bytes each, number first."""
    return check(lib.k_signalfd(mask), "signalfd")


def seccomp_knows(flags: int) -> bool:
    """Does this kernel know these flags of seccomp(2)?"""
    return bool(lib.k_seccomp_knows(flags))
