"""linux.seccomp: actions and errnos (config-linux.md#seccomp)."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from oci_conformance.profiles.support.claims import may_lack
from oci_conformance.run.case import DELETE, Case, Refused, Seen
from oci_conformance.run.registry import test

KEY = "linux.seccomp"
ACTIONS = ("linux", "seccomp", "actions")  # where features lists them
ALLOW, ERRNO, LOG, TRACE = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"
# System calls that neither the probe nor a runtime needs; the first is the one that most tests are about.
VICTIM, OTHER, ANOTHER = "sysinfo", "times", "sched_get_priority_max"
CALLS = {VICTIM: f"try-thread {VICTIM} buffer", OTHER: f"try {OTHER} buffer", ANOTHER: f"try {ANOTHER} 1"}
# What becomes of a call for which the action is taken, as `outcome` tells it. The names are those of libseccomp's
# seccomp.h, where SCMP_ACT_KILL is the older name of SCMP_ACT_KILL_THREAD. Without a tracer SCMP_ACT_TRACE is ENOSYS.
OUTCOMES = {
    "SCMP_ACT_KILL": "thread killed",
    "SCMP_ACT_KILL_THREAD": "thread killed",
    "SCMP_ACT_KILL_PROCESS": "process killed by SIGSYS",
    "SCMP_ACT_TRAP": "trapped",
    ERRNO: "EPERM",
    TRACE: "ENOSYS",
    LOG: "returned",
}
# What runtimes need between loading the filter and execve(2), and the probe after it, on every 64-bit machine.
NEEDED = tuple(
    """
    accept4 bind brk capget capset chdir clock_getres clock_gettime clock_nanosleep clone clone3 close close_range
    connect dup dup3 epoll_create1 epoll_ctl epoll_pwait eventfd2 execve execveat exit exit_group faccessat
    faccessat2 fchdir fchmod fchown fchownat fcntl fstat fstatfs futex getcwd getdents64 getegid geteuid getgid
    getgroups getpgid getpid getppid getrandom getresgid getresuid getrlimit getsid getsockname getsockopt gettid
    getuid ioctl kill listen lseek madvise membarrier memfd_create mkdirat mmap mprotect mremap munmap nanosleep
    newfstatat openat openat2 pidfd_open pidfd_send_signal pipe2 ppoll prctl pread64 prlimit64 pselect6 pwrite64
    read readlinkat readv recvfrom recvmsg restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigreturn
    rt_sigsuspend rt_sigtimedwait sched_getaffinity sched_yield seccomp sendmsg sendto set_robust_list
    set_tid_address setgid setgroups setitimer setresgid setresuid setsid setsockopt setuid shutdown sigaltstack
    socket socketpair statfs statx tgkill tkill umask uname unlinkat wait4 waitid write writev
    """.split()
)
NEEDED_X86_64 = tuple(
    "access alarm arch_prctl dup2 epoll_wait fork getpgrp lstat open pipe poll readlink select stat vfork".split()
)


def rule(action: str, *names: str, **more: Any) -> dict[str, object]:
    """An entry of linux.seccomp.syscalls."""
    return {"names": [*names], "action": action, **more}


def profile(*rules: dict[str, object], default: str = ALLOW, **more: Any) -> dict[Any, Any]:
    """The change that gives a container a seccomp profile."""
    value: dict[str, object] = {"defaultAction": default, **more}
    if rules:
        value["syscalls"] = [*rules]
    return {KEY: value}


def needed(*more: str) -> dict[str, object]:
    """The rule that lets the container run in spite of a default action."""
    return rule(ALLOW, *NEEDED, *(NEEDED_X86_64 if platform.machine() == "x86_64" else ()), *more)


def outcome(answer: Mapping[str, Any]) -> str:
    """What came of a system call that was tried in a thread, or in a child, in a word or two."""
    if "errno" in answer:
        return str(answer["errno"])
    result = answer.get("result")
    if not isinstance(result, dict):
        return "returned"
    name = str(result.get("outcome", "process killed"))
    return f"{name} by SIG{str(result['signal']).removeprefix('SIG')}" if result.get("signal") else name


def _came_of(seen: Seen, *names: str) -> list[str]:
    return [outcome(seen.answer(CALLS[name])) for name in names]


@test("seccomp.actions", may_refuse=True)
def actions(t: Case) -> None:
    """Each action that a rule has is taken for the system call that it names, and for no other."""
    refused = []
    for action, expected in OUTCOMES.items():
        try:
            seen = t.run(profile(rule(action, VICTIM)), CALLS[OTHER], CALLS[VICTIM], CALLS[ANOTHER])
        except Refused as error:
            may_lack(t, error, action, *ACTIONS)
            refused.append(error)
            continue
        seen_outcomes = [action, *_came_of(seen, VICTIM, OTHER, ANOTHER)]
        t.equal("seccomp.actions", seen_outcomes, [action, expected, "returned", "returned"])
    if len(refused) == len(OUTCOMES):
        raise refused[0]


@test("seccomp.actions")
def several_names(t: Case) -> None:
    """A rule is for each system call that it names, and rules for the same action add up."""
    rules = rule(ERRNO, OTHER, ANOTHER), rule(ERRNO, VICTIM)
    seen = t.run(profile(*rules), *CALLS.values())
    t.equal("seccomp.actions", _came_of(seen, VICTIM, OTHER, ANOTHER), ["EPERM"] * 3)


@test("seccomp.actions")
def unknown_action(t: Case) -> None:
    """An action that isn't defined is an error, in a rule and as the default."""
    base = profile(rule(ERRNO, VICTIM))
    for name in ("SCMP_ACT_NO_SUCH_ACTION", "scmp_act_errno", "", DELETE):
        t.refused("seccomp.actions", base, {f"{KEY}.syscalls[0].action": name})
        t.refused("seccomp.actions", base, {f"{KEY}.defaultAction": name})


@test("seccomp.default-action", "seccomp.actions", may_refuse=True)
def default_action(t: Case) -> None:
    """The default action is taken for system calls that no rule names, and those with SCMP_ACT_ALLOW are made."""
    refused = []
    for action, expected in OUTCOMES.items():
        try:
            seen = t.run(profile(needed(OTHER), default=action), CALLS[OTHER], CALLS[VICTIM])
        except Refused as error:
            may_lack(t, error, action, *ACTIONS)
            refused.append(error)
            continue
        t.equal("seccomp.default-action", [action, *_came_of(seen, VICTIM)], [action, expected])
        t.equal("seccomp.actions", [action, *_came_of(seen, OTHER)], [action, "returned"])
    if len(refused) == len(OUTCOMES):
        raise refused[0]


@test("seccomp.actions", needs=("root",))
def privileges(t: Case) -> None:
    """The profile holds with and without noNewPrivileges, for root and for another user, and for what they start."""
    for user in (0, 1000):
        for flag in (True, False):
            changes: dict[Any, Any] = {"process.noNewPrivileges": flag, "process.user.uid": user}
            seen = t.run(
                {**changes, **profile(rule(ERRNO, VICTIM))}, "seccomp", CALLS[VICTIM], "exec /probe seccomp"
            )
            t.equal("seccomp.actions", seen["seccomp"]["mode"], 2)
            t.equal("seccomp.actions", _came_of(seen, VICTIM), ["EPERM"])
            children = seen["exec"]["stdout"]
            t.check("seccomp.actions", '"mode":2' in children, "the filter in what it starts", children)


@test("seccomp.errnoret-default")
def default_errno(t: Case) -> None:
    """Without defaultErrnoRet and errnoRet the errno is EPERM."""
    seen = t.run(profile(needed(OTHER), default=ERRNO), CALLS[VICTIM], CALLS[OTHER])
    t.equal("seccomp.errnoret-default", _came_of(seen, VICTIM, OTHER), ["EPERM", "returned"])
    seen = t.run(profile(rule(ERRNO, OTHER)), CALLS[VICTIM], CALLS[OTHER])
    t.equal("seccomp.errnoret-default", _came_of(seen, VICTIM, OTHER), ["returned", "EPERM"])


@test("seccomp.errnoret-custom")
def custom_default_errno(t: Case) -> None:
    """defaultErrnoRet is the errno of the default action; 0 lets the call return 0 without being made."""
    for number, name in ((38, "ENOSYS"), (88, "ENOTSOCK")):
        seen = t.run(
            profile(needed(OTHER), default=ERRNO, defaultErrnoRet=number), CALLS[VICTIM], CALLS[OTHER]
        )
        t.equal("seccomp.errnoret-custom", _came_of(seen, VICTIM, OTHER), [name, "returned"])
    seen = t.run(profile(needed(), default=ERRNO, defaultErrnoRet=0), CALLS[ANOTHER])
    t.equal("seccomp.errnoret-custom", seen.answer(CALLS[ANOTHER]).get("result"), 0)
    seen = t.run(
        profile(needed(), default=TRACE, defaultErrnoRet=7), CALLS[VICTIM]
    )  # told to a tracer, if there is one
    t.equal("seccomp.errnoret-custom", _came_of(seen, VICTIM), ["ENOSYS"])


@test("seccomp.rule-errnoret")
def rule_errno(t: Case) -> None:
    """errnoRet is the errno of the rule's system calls; 0 lets the call return 0 without being made."""
    rules = (
        rule(ERRNO, VICTIM, errnoRet=13),
        rule(ERRNO, OTHER, errnoRet=88),
        rule(ERRNO, ANOTHER, errnoRet=0),
        rule(TRACE, "getpriority", errnoRet=7),
    )
    seen = t.run(profile(*rules), *CALLS.values(), "try getpriority 0 0")
    t.equal("seccomp.rule-errnoret", _came_of(seen, VICTIM, OTHER), ["EACCES", "ENOTSOCK"])
    t.equal("seccomp.rule-errnoret", seen.answer(CALLS[ANOTHER]).get("result"), 0)
    t.equal("seccomp.rule-errnoret", outcome(seen.answer("try getpriority 0 0")), "ENOSYS")


def _refused_in_words(t: Case, id: str, base: dict[Any, Any], fault: dict[Any, Any]) -> None:
    """The fault is refused, and the runtime says something of it."""
    if t.refused(id, base, fault):
        call = next(call for call in reversed(t.runtime.calls) if call.operation == "create")
        t.check(
            id, bool(call.stderr.strip() or call.stdout.strip()), "an error in words", "it printed nothing"
        )


@test("seccomp.errnoret-unsupported-error")
def default_errno_unsupported(t: Case) -> None:
    """defaultErrnoRet with a default action that has no errno is an error that is told."""
    for action in (ALLOW, *OUTCOMES):
        if action not in (ERRNO, TRACE):
            base = profile(needed(), default=action) if action != ALLOW else profile()
            _refused_in_words(t, "seccomp.errnoret-unsupported-error", base, {f"{KEY}.defaultErrnoRet": 1})


@test("seccomp.rule-errnoret-unsupported-error")
def rule_errno_unsupported(t: Case) -> None:
    """errnoRet with an action that has no errno is an error that is told."""
    for action in (ALLOW, *OUTCOMES):
        if action not in (ERRNO, TRACE):
            base = profile(rule(action, VICTIM), default=LOG if action == ALLOW else ALLOW)
            fault = {f"{KEY}.syscalls[0].errnoRet": 1}
            _refused_in_words(t, "seccomp.rule-errnoret-unsupported-error", base, {**fault})


@test("seccomp.names-nonempty")
def names(t: Case) -> None:
    """A rule without names is an error."""
    path = f"{KEY}.syscalls[0].names"
    faults: tuple[dict[Any, Any], ...] = ({path: []}, {path: DELETE})
    for fault in faults:
        t.refused("seccomp.names-nonempty", profile(rule(ERRNO, VICTIM)), fault)
