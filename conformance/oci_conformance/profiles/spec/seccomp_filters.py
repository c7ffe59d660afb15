"""linux.seccomp: arguments, architectures and flags (config-linux.md#seccomp)."""

from __future__ import annotations

import ctypes
import operator
import os
import platform
import struct
from collections.abc import Callable
from typing import Any

from oci_conformance.profiles.spec.seccomp import CALLS, ERRNO, KEY, OTHER, VICTIM, outcome, profile, rule
from oci_conformance.profiles.support.claims import may_lack
from oci_conformance.run.case import DELETE, Case, Refused
from oci_conformance.run.registry import test

VALUE = 0x1_0000_0005  # its lower half alone, and as a signed number, compares otherwise
VALUES = (0, 4, 5, 6, VALUE - 1, VALUE, VALUE + 1, 0x2_0000_0005, 0xFFFF_FFFF_FFFF_FFFF)
MASK, MASKED = 0xFF_0000_00F0, 0x12_0000_0030
MASKED_VALUES = (
    MASKED,
    0x12_ABCD_EF3F,
    0x3412_0000_0030,
    0,
    MASK,
    0x12_0000_0020,
    0x13_0000_0030,
    0x30,
    VALUE,
)
# Operator -> what it means, and a system call with the index of its argument. All fail with EBADF if they are let
# through, whatever their other arguments are, as descriptor 99 isn't open; the rules make it EPERM.
OPERATORS: dict[str, tuple[Callable[[int, int], bool], str, int]] = {
    "SCMP_CMP_NE": (operator.ne, "lseek", 1),
    "SCMP_CMP_LT": (operator.lt, "ftruncate", 1),
    "SCMP_CMP_LE": (operator.le, "readahead", 1),
    "SCMP_CMP_EQ": (operator.eq, "fallocate", 2),
    "SCMP_CMP_GE": (operator.ge, "sync_file_range", 2),
    "SCMP_CMP_GT": (operator.gt, "fadvise64", 2),
}
NATIVE = {
    "x86_64": "X86_64", "aarch64": "AARCH64", "ppc64le": "PPC64LE", "s390x": "S390X", "riscv64": "RISCV64",
    "loongarch64": "LOONGARCH64",
}  # fmt: skip
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
PTRACE_ATTACH, PTRACE_DETACH, PTRACE_SECCOMP_GET_METADATA = 16, 17, 0x420D  # linux/ptrace.h


def arg(index: int, op: str, value: int, two: int | None = None) -> dict[str, object]:
    """An entry of a rule's args."""
    entry = {"index": index, "op": op, "value": value}
    return entry if two is None else {**entry, "valueTwo": two}


def _call(name: str, index: int, value: int) -> str:
    arguments = ["99", "0", "0", "0", "0", "0"]
    arguments[index] = str(value)
    return " ".join(("try", name, *arguments))


@test("seccomp.args-ops")
def operators(t: Case) -> None:
    """Each operator compares the argument with the value as unsigned 64-bit numbers; the call's other uses go on."""
    rules = [rule(ERRNO, name, args=[arg(index, op, VALUE)]) for op, (_, name, index) in OPERATORS.items()]
    commands = {
        (op, value): _call(name, index, value)
        for op, (_, name, index) in OPERATORS.items()
        for value in VALUES
    }
    seen = t.run(profile(*rules), *commands.values())
    for op, (compare, _, _) in OPERATORS.items():
        blocked = [value for value in VALUES if outcome(seen.answer(commands[op, value])) == "EPERM"]
        expected = [value for value in VALUES if compare(value, VALUE)]
        t.equal("seccomp.args-ops", f"{op} {VALUE}: {blocked}", f"{op} {VALUE}: {expected}")


@test("seccomp.args-ops")
def masked(t: Case) -> None:
    """SCMP_CMP_MASKED_EQ compares what the value masks of the argument with valueTwo."""
    blocking = rule(ERRNO, "pread64", args=[arg(3, "SCMP_CMP_MASKED_EQ", MASK, MASKED)])
    commands = {value: _call("pread64", 3, value) for value in MASKED_VALUES}
    seen = t.run(profile(blocking), *commands.values())
    blocked = [value for value in MASKED_VALUES if outcome(seen.answer(commands[value])) == "EPERM"]
    t.equal("seccomp.args-ops", blocked, [value for value in MASKED_VALUES if value & MASK == MASKED])


@test("seccomp.args-ops")
def several_arguments(t: Case) -> None:
    """A rule applies when all of its conditions hold; rules for one call apply when one of them does."""
    rules = (
        rule(ERRNO, "splice", args=[arg(5, "SCMP_CMP_EQ", 7), arg(4, "SCMP_CMP_GT", 3)]),
        rule(ERRNO, "splice", args=[arg(0, "SCMP_CMP_EQ", 98)]),
    )
    commands = {
        "try splice 99 0 99 0 4 7": "EPERM",
        "try splice 99 0 99 0 3 7": "EBADF",
        "try splice 99 0 99 0 4 6": "EBADF",
        "try splice 98 0 99 0 4 6": "EPERM",
    }
    # splice(2) looks at the flags before the descriptors, so these are ones that exist.
    seen = t.run(profile(*rules), *commands)
    t.equal("seccomp.args-ops", {each: outcome(seen.answer(each)) for each in commands}, commands)


@test("seccomp.args-ops")
def unknown_operator(t: Case) -> None:
    """An operator that isn't defined, and an argument that no system call has, are errors."""
    base = profile(rule(ERRNO, "lseek", args=[arg(1, "SCMP_CMP_EQ", 1)]))
    place = f"{KEY}.syscalls[0].args[0]"
    faults: tuple[dict[Any, Any], ...] = (
        {f"{place}.op": "SCMP_CMP_NO_SUCH_OP"},
        {f"{place}.op": DELETE},
        {f"{place}.index": 6},
    )
    for fault in faults:
        t.refused("seccomp.args-ops", base, fault)


@test("seccomp.archs")
def native(t: Case) -> None:
    """Rules hold for the machine's own architecture if it is listed."""
    name = NATIVE.get(platform.machine())
    if name is None:
        t.skip(f"the suite doesn't know what libseccomp calls the architecture {platform.machine()}")
    changes = profile(rule(ERRNO, VICTIM), architectures=[f"SCMP_ARCH_{name}"])
    seen = t.run(changes, CALLS[VICTIM], CALLS[OTHER])
    answers = [outcome(seen.answer(CALLS[each])) for each in (VICTIM, OTHER)]
    t.equal("seccomp.archs", answers, ["EPERM", "returned"])
    t.refused("seccomp.archs", changes, {f"{KEY}.architectures[+]": "SCMP_ARCH_NO_SUCH_MACHINE"})


@test("seccomp.archs", needs=("arch:x86_64",), may_refuse=True)
def x32(t: Case) -> None:
    """Rules hold for x32's system calls if SCMP_ARCH_X32 is listed, whether the kernel has them or not."""
    getitimer = 0x40000000 + 36
    changes = profile(rule(ERRNO, "getitimer"), architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"])
    seen = t.run(changes, f"try {getitimer} 0 buffer", "try getitimer 0 buffer")
    answers = [outcome(answer) for answer in seen.answers]
    t.equal("seccomp.archs", answers, ["EPERM", "EPERM"])


@test("seccomp.archs", needs=("arch:x86_64",), may_refuse=True)
def x86(t: Case) -> None:
    """Rules hold for the system calls of 32-bit programs if SCMP_ARCH_X86 is listed."""
    program = _program_386(47)  # getgid(2)
    container = t.prepare({}, "exec /bin/386", files={"/bin/386": program})
    (container.rootfs / "bin/386").chmod(0o755)
    container.create()
    container.start()
    container.wait()
    answer = container.results()[0]
    if answer.get("result", {}).get("exit") != 0:
        t.skip(f"the kernel runs no 32-bit programs: {answer}")
    changes = profile(rule(ERRNO, "getgid"), architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])
    container = t.prepare(changes, "exec /bin/386", "try getgid", files={"/bin/386": program})
    (container.rootfs / "bin/386").chmod(0o755)
    container.create()
    container.start()
    container.wait()
    first, second = container.results()
    t.equal("seccomp.archs", first.get("result", {}).get("exit"), 1)  # EPERM
    t.equal("seccomp.archs", outcome(second), "EPERM")


def _program_386(number: int) -> bytes:
    """A 32-bit ELF program that makes a system call and exits with its result, or with its errno."""
    code = bytes.fromhex(
        f"b8{number:02x}000000"  # mov eax, number
        "cd80"  # int 0x80
        "85c0 7902 f7d8"  # test eax, eax; jns +2; neg eax
        "89c3"  # mov ebx, eax
        "b801000000"  # mov eax, 1 (exit)
        "cd80"
    )
    base, offset = 0x08048000, 52 + 32
    size = offset + len(code)
    identity = b"\x7fELF\x01\x01\x01" + bytes(9)
    header = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + offset, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 0, base, base, size, size, 5, 4096)
    return identity + header + segment + code


@test("seccomp.flags", may_refuse=True)
def flags(t: Case) -> None:
    """With each flag the profile holds, and the kernel has noted SECCOMP_FILTER_FLAG_LOG with the filter.

    Flags that a runtime or its libseccomp lacks may be refused. The effects of the others show in timing only.
    """
    refused = []
    for names in (*([name] for name in FLAGS), ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"], []):
        try:
            container = t.serve(profile(rule(ERRNO, VICTIM), flags=names))
        except Refused as error:
            for name in names:
                may_lack(t, error, name, "linux", "seccomp", "supportedFlags")
            refused.append(error)
            continue
        t.equal("seccomp.flags", [*names, outcome(container.ask(CALLS[VICTIM]))], [*names, "EPERM"])
        logged = _filter_flags(container.pid)
        if logged is not None:
            wanted = FLAGS["SECCOMP_FILTER_FLAG_LOG"] if "SECCOMP_FILTER_FLAG_LOG" in names else 0
            t.equal("seccomp.flags", [*names, logged], [*names, wanted])
    if len(refused) > len(FLAGS):
        raise refused[0]


def _filter_flags(pid: int) -> int | None:
    """The flags that the kernel remembers of the first filter of a process, or None where it doesn't tell."""
    libc = ctypes.CDLL(None, use_errno=True)
    metadata = (ctypes.c_uint64 * 2)(0, 0)  # struct seccomp_metadata: which filter, its flags
    pointer = ctypes.c_void_p
    if libc.ptrace(PTRACE_ATTACH, pid, pointer(0), pointer(0)):
        return None
    os.waitpid(pid, 0)  # stopped by us; it is a child, as the suite is the subreaper
    size = ctypes.sizeof(metadata)
    told = libc.ptrace(PTRACE_SECCOMP_GET_METADATA, pid, pointer(size), ctypes.byref(metadata))
    libc.ptrace(PTRACE_DETACH, pid, pointer(0), pointer(0))
    return metadata[1] if told == size else None


@test("seccomp.flag-invalid")
def unknown_flag(t: Case) -> None:
    """A flag that isn't defined is an error."""
    base: dict[Any, Any] = profile(rule(ERRNO, VICTIM), flags=[])
    for name in ("SECCOMP_FILTER_FLAG_NO_SUCH_FLAG", "LOG"):
        t.refused("seccomp.flag-invalid", base, {f"{KEY}.flags[+]": name})
