"""Seccomp programs loaded into real processes: what the kernel makes of each action and flag."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

try:
    from pyrun.features.seccomp import compiler
except Exception as reason:  # libseccomp or pyseccomp isn't installed
    pytest.skip(f"the seccomp compiler can't be used: {reason}", allow_module_level=True)

from pyrun.features.seccomp import profile as seccomp

Json = dict[str, Any]
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER = 1

libc = ctypes.CDLL(None, use_errno=True)


def number(name: str) -> int:
    return int(compiler.lib.resolve_syscall(0, name))


class Program(ctypes.Structure):
    """struct sock_fprog, linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def load(program: bytes, flags: int) -> int:
    """Load a filter into this process; 0 or an errno."""
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    argument = Program(len(program) // 8, program)
    failed = libc.syscall(number("seccomp"), SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(argument))
    return ctypes.get_errno() if failed else 0


def call(name: str, *args: int) -> int:
    """A system call's errno, 0 if it succeeds."""
    ctypes.set_errno(0)
    return ctypes.get_errno() if libc.syscall(number(name), *map(ctypes.c_ulong, args)) == -1 else 0


def under(profile: Json, body: Callable[[], int]) -> int:
    """The exit status of a process that loads a profile and exits with `body`'s answer; -N for signal N."""
    program, flags = compiler.compile_profile(profile), seccomp.flags(profile)
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            status = 200 if load(program, flags) else body()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def rule(name: str, action: str, **more: Any) -> Json:
    return {"names": [name], "action": f"SCMP_ACT_{action}", **more}


def allow(*rules: Json, **more: Any) -> Json:
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules), **more}


def test_errno() -> None:
    assert under(allow(rule("getppid", "ERRNO")), lambda: call("getppid")) == errno.EPERM
    assert under(allow(rule("getppid", "ERRNO", errnoRet=77)), lambda: call("getppid")) == 77
    assert under(allow(rule("getppid", "ERRNO", errnoRet=0)), lambda: call("getppid")) == 0
    assert under(allow(rule("getppid", "ERRNO")), lambda: call("getpid")) == 0


@pytest.mark.parametrize("action", ["KILL", "KILL_THREAD", "KILL_PROCESS"])
def test_kill(action: str) -> None:
    assert under(allow(rule("getppid", action)), lambda: call("getppid")) == -signal.SIGSYS
    assert under(allow(rule("getppid", action)), lambda: call("getpid")) == 0


def test_trap() -> None:
    def catch() -> int:
        signal.signal(signal.SIGSYS, lambda signum, frame: os._exit(9))
        call("getppid")
        return 1

    profile = allow(rule("getppid", "TRAP"))
    assert under(profile, catch) == 9
    assert under(profile, lambda: call("getppid")) == -signal.SIGSYS


def test_trace_without_a_tracer() -> None:
    assert under(allow(rule("getppid", "TRACE")), lambda: call("getppid")) == errno.ENOSYS


def test_trace_tells_the_tracer_its_number() -> None:
    """PTRACE_EVENT_SECCOMP with errnoRet as the event's message."""
    traceme, cont, setoptions, geteventmsg, option, event = 0, 7, 0x4200, 0x4201, 0x80, 7
    program = compiler.compile_profile(allow(rule("getppid", "TRACE", errnoRet=1234)))
    pid = os.fork()
    if pid == 0:
        libc.ptrace(traceme, 0, None, None)
        load(program, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(call("getppid"))
    os.waitpid(pid, 0)
    libc.ptrace(setoptions, pid, None, ctypes.c_void_p(option))
    libc.ptrace(cont, pid, None, None)
    _, status = os.waitpid(pid, 0)
    message = ctypes.c_ulong()
    libc.ptrace(geteventmsg, pid, None, ctypes.byref(message))
    libc.ptrace(cont, pid, None, None)
    exit_code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert (status >> 8, message.value, exit_code) == (signal.SIGTRAP | event << 8, 1234, 0)


def test_log() -> None:
    assert under(allow(rule("getppid", "LOG")), lambda: call("getppid")) == 0


@pytest.mark.parametrize("default", ["ALLOW", "LOG"])
def test_defaults_that_let_through(default: str) -> None:
    assert under({"defaultAction": f"SCMP_ACT_{default}"}, lambda: call("getppid")) == 0


def test_a_profile_of_what_is_allowed() -> None:
    """As engines have it: hundreds of names, three architectures, the default is EPERM."""
    names = []
    for index in range(number("openat2") + 1):
        try:
            names.append(compiler.lib.resolve_syscall(0, index).decode())
        except ValueError:
            continue
    names.remove("getppid")
    names.remove("personality")
    architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    equal = [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"} for value in (0, 8, 0xFFFFFFFF)]
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": architectures if number("getpid") == 39 else ["SCMP_ARCH_AARCH64"],
        "syscalls": [
            {"names": [*names, "no_such_call"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": equal},
        ],
    }

    def body() -> int:
        with open("/proc/self/status") as file:
            loaded = "Seccomp:\t2" in file.read()
        answers = (
            call("getppid"),
            call("personality", 0xFFFFFFFF),
            call("personality", 1),
            call("faccessat2", (1 << 64) - 100, 0, 0, 0),
        )
        return 0 if loaded and answers == (errno.EPERM, 0, errno.EPERM, errno.ENOSYS) else 1

    assert under(profile, body) == 0


def test_arguments_have_64_bits() -> None:
    high = {"index": 1, "value": 1 << 32 | 5, "op": "SCMP_CMP_EQ"}
    profile = allow(rule("getppid", "ERRNO", errnoRet=5, args=[high]))
    assert under(profile, lambda: call("getppid", 0, 1 << 32 | 5)) == 5
    assert under(profile, lambda: call("getppid", 0, 5)) == 0


def test_conditions_that_libseccomp_loses() -> None:
    """Of two rules for one call both count, also where their conditions overlap."""
    above = {"index": 0, "value": 0, "op": "SCMP_CMP_GT"}
    both = [{"index": 0, "value": 0, "op": "SCMP_CMP_GE"}, {"index": 1, "value": 0, "op": "SCMP_CMP_EQ"}]
    profile = allow(rule("getppid", "KILL", args=[above]), rule("getppid", "KILL", args=both))
    assert under(profile, lambda: call("getppid", 0, 0)) == -signal.SIGSYS
    assert under(profile, lambda: call("getppid", 1, 1)) == -signal.SIGSYS
    assert under(profile, lambda: call("getppid", 0, 1)) == 0


@pytest.mark.parametrize(
    "names", [[], ["TSYNC"], ["LOG"], ["SPEC_ALLOW"], ["TSYNC", "LOG"], ["WAIT_KILLABLE_RECV"]]
)
def test_flags_are_accepted(names: list[str]) -> None:
    profile = allow(rule("getppid", "ERRNO"), flags=[f"SECCOMP_FILTER_FLAG_{name}" for name in names])
    assert under(profile, lambda: call("getppid")) == errno.EPERM
