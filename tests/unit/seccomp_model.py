"""What a seccomp program must say: a small BPF machine, and a direct reading of profiles."""

from __future__ import annotations

import errno
import platform
import struct
from typing import Any

from pyrun.features.seccomp import compiler

KILL, TRAP, ALLOW, LOG, NOTIFY = 0x00000000, 0x00030000, 0x7FFF0000, 0x7FFC0000, 0x7FC00000
KILL_PROCESS, ERRNO, TRACE = 0x80000000, 0x00050000, 0x7FF00000
X86_64, X86, AARCH64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
X32_BIT = 0x40000000
NATIVE = {"x86_64": X86_64, "aarch64": AARCH64}.get(platform.machine(), 0)

Json = dict[str, Any]
Call = tuple[int, int, tuple[int, ...]]  # architecture, number, six arguments


def run(program: bytes, call: Call) -> int:
    """What the kernel's BPF machine answers for a call: the instructions that seccomp filters may use."""
    architecture, number, args = call
    data = struct.pack("=iIQ6Q", number - (1 << 32) * (number >> 31), architecture, 0, *args)
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator, index, at = 0, 0, 0
    scratch = [0] * 16
    while True:
        op, jt, jf, k = code[at]
        at += 1
        if op == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif op == 0x54:
            accumulator &= k
        elif op == 0x02:
            scratch[k] = accumulator
        elif op == 0x60:
            accumulator = scratch[k]
        elif op == 0x05:
            at += k
        elif op == 0x06:
            return int(k)
        elif op in (0x15, 0x25, 0x35, 0x45):
            taken = (accumulator == k, accumulator > k, accumulator >= k, bool(accumulator & k))[
                (op >> 4) - 1
            ]
            at += jt if taken else jf
        else:
            raise AssertionError(f"instruction {index}: {op:#x} is not for seccomp")


def action_value(name: str, errno_ret: int | None) -> int:
    values = {"KILL": KILL, "KILL_THREAD": KILL, "KILL_PROCESS": KILL_PROCESS, "TRAP": TRAP, "ERRNO": ERRNO}
    values |= {"TRACE": TRACE, "LOG": LOG, "ALLOW": ALLOW, "NOTIFY": NOTIFY}
    value = values[name.removeprefix("SCMP_ACT_")]
    return value | (1 if errno_ret is None else errno_ret) if value in (ERRNO, TRACE) else value


def holds(arg: Json, args: tuple[int, ...], mask: int = (1 << 64) - 1) -> bool:
    """Does a condition hold? `mask`: what the architecture has of an argument's 64 bits."""
    left, right, second = args[arg["index"]] & mask, int(arg["value"]) & mask, int(arg.get("valueTwo", 0))
    return {
        "SCMP_CMP_NE": left != right,
        "SCMP_CMP_LT": left < right,
        "SCMP_CMP_LE": left <= right,
        "SCMP_CMP_EQ": left == right,
        "SCMP_CMP_GE": left >= right,
        "SCMP_CMP_GT": left > right,
        "SCMP_CMP_MASKED_EQ": left & right == second & right,  # libseccomp looks at no bit outside the mask
    }[arg["op"]]


def matches(entry: Json, args: tuple[int, ...], mask: int) -> bool:
    indexes = [arg["index"] for arg in entry.get("args", [])]
    combine = all if len(set(indexes)) == len(indexes) else any
    return combine(holds(arg, args, mask) for arg in entry.get("args", []))


def expected(
    profile: Json, number: int, args: tuple[int, ...], token: int = 0, mask: int = (1 << 64) - 1
) -> int:
    """The answer for a call, by reading the profile. `token`: libseccomp's word for the architecture."""
    names = {name for entry in profile["syscalls"] for name in entry["names"]}
    newest = max((compiler.lib.resolve_syscall(token, name) for name in names), default=-1)
    default = action_value(profile["defaultAction"], profile.get("defaultErrnoRet"))
    if default == ERRNO | errno.EPERM and 0 <= newest < number:
        return ERRNO | errno.ENOSYS
    found = None
    for entry in profile["syscalls"]:
        action = action_value(entry["action"], entry.get("errnoRet"))
        numbers = [compiler.lib.resolve_syscall(token, name) for name in entry["names"]]
        if action == default or number not in numbers:
            continue
        if not entry.get("args"):
            return action
        if found is None and matches(entry, args, mask):
            found = action
    return default if found is None else found
