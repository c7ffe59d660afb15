"""Compile `linux.seccomp` of a config to the BPF program that seccomp(2) loads.

Cold module: runs in a full interpreter, as a child, when features/seccomp/profile.py doesn't find the program in the
cache. libseccomp does the work, through the pyseccomp package; this file translates the specification's words
and adds what engines expect of a runtime:

- A name that libseccomp doesn't know is skipped: profiles name system calls of all kernels and architectures.
- A rule that does what the default action does is skipped: libseccomp refuses such rules.
- Where two conditions of one rule look at the same argument, any condition is enough, else all are needed.
  The specification doesn't say; runc and crun do this (runc issue 2735) and profiles are written for it.
- System calls newer than all that the profile names fail with ENOSYS, if the default is to fail with EPERM:
  C libraries try new calls and fall back on ENOSYS only (runc issue 2151). A profile that says another errno,
  or kills, gets exactly what it says.
- A rule without conditions wins over all others for the same system call, and else the first that holds.

Input, on stdin: the JSON object. Output, on stdout: a line with the path of libseccomp, then the program. An
error is one sentence on stderr, "json.path: what is wrong", and exit status 1.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import types
from typing import Any

from pyrun.base import jsontext
from pyrun.base.errors import PyrunError, render
from pyrun.features.seccomp import bpf as seccomp_bpf
from pyrun.features.seccomp import notify

LIBRARY = "libseccomp.so.2"


def _find_library(name: str) -> str:
    return {"c": "libc.so.6", "seccomp": LIBRARY}[name]


def _import_pyseccomp() -> Any:
    """pyseccomp, without ctypes.util, which would start ldconfig and compilers to find what is named here."""
    stand_in = types.ModuleType("ctypes.util")
    stand_in.__dict__["find_library"] = _find_library
    name = "ctypes.util"
    kept = sys.modules.get(name)
    sys.modules[name] = stand_in
    ctypes.__dict__["util"] = stand_in
    try:
        return __import__("pyseccomp")
    except (ImportError, OSError) as error:
        raise PyrunError(f"{LIBRARY} can't be used: {error}", "linux.seccomp") from None
    finally:
        del sys.modules[name], ctypes.__dict__["util"]
        if kept is not None:
            sys.modules[name] = ctypes.__dict__["util"] = kept


lib = _import_pyseccomp()

ERRNO, TRACE = 0x00050000, 0x7FF00000
#: action → SECCOMP_RET_* value, linux/seccomp.h. errnoRet goes into the low 16 bits of ERRNO and TRACE.
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_TRACE": TRACE,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
#: The largest errnoRet: libseccomp's (the kernel has 4095); a tracer gets the 16 bits as they are.
ERRNO_LIMIT = {ERRNO: 4094, TRACE: 0xFFFF}

OPERATORS = {
    "SCMP_CMP_NE": seccomp_bpf.NE,
    "SCMP_CMP_LT": seccomp_bpf.LT,
    "SCMP_CMP_LE": seccomp_bpf.LE,
    "SCMP_CMP_EQ": seccomp_bpf.EQ,
    "SCMP_CMP_GE": seccomp_bpf.GE,
    "SCMP_CMP_GT": seccomp_bpf.GT,
    "SCMP_CMP_MASKED_EQ": seccomp_bpf.MASKED_EQ,
}

_64, _LE, _N32 = 0x80000000, 0x40000000, 0x20000000
X32 = 62 | _LE  # libseccomp's token: the kernel reports x86-64 and a bit in the number
X86_64 = 62 | _64 | _LE
#: architecture → AUDIT_ARCH_* value, linux/audit.h: the ELF machine, word size and byte order.
ARCHITECTURES = {
    "SCMP_ARCH_X86": 3 | _LE,
    "SCMP_ARCH_X86_64": X86_64,
    "SCMP_ARCH_X32": X32,
    "SCMP_ARCH_ARM": 40 | _LE,
    "SCMP_ARCH_AARCH64": 183 | _64 | _LE,
    "SCMP_ARCH_LOONGARCH64": 258 | _64 | _LE,
    "SCMP_ARCH_M68K": 4,
    "SCMP_ARCH_MIPS": 8,
    "SCMP_ARCH_MIPS64": 8 | _64,
    "SCMP_ARCH_MIPS64N32": 8 | _64 | _N32,
    "SCMP_ARCH_MIPSEL": 8 | _LE,
    "SCMP_ARCH_MIPSEL64": 8 | _64 | _LE,
    "SCMP_ARCH_MIPSEL64N32": 8 | _64 | _LE | _N32,
    "SCMP_ARCH_PARISC": 15,
    "SCMP_ARCH_PARISC64": 15 | _64,
    "SCMP_ARCH_PPC": 20,
    "SCMP_ARCH_PPC64": 21 | _64,
    "SCMP_ARCH_PPC64LE": 21 | _64 | _LE,
    "SCMP_ARCH_RISCV64": 243 | _64 | _LE,
    "SCMP_ARCH_S390": 22,
    "SCMP_ARCH_S390X": 22 | _64,
    "SCMP_ARCH_SH": 42 | _LE,
    "SCMP_ARCH_SHEB": 42,
}

X32_BIT = 0x40000000  # set in the number of an x32 system call
UNKNOWN = -1  # __NR_SCMP_ERROR, seccomp.h
NO_CALL = 0xFFFFFFFF  # the number that a tracer sets to skip a call
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS, linux/bpf_common.h
GUARDS = 21  # what stage 2 puts before a program that notifies (kernel/stage2_listener.h)
TREE_FROM = 9  # rules from which libseccomp's binary tree is shorter to walk than its list

Json = dict[str, Any]
Rule = tuple[str, int, list[seccomp_bpf.Condition], str]  # name, action, what must all hold, JSON path


def compile_profile(profile: Json) -> bytes:
    """Return the BPF program of a profile: an array of struct sock_filter, in this machine's byte order.

    Raises PyrunError with the JSON path for what can't be done: an action, operator or architecture that is unknown
    here, an errno where the action takes none, rules that contradict each other.
    """
    lib.set_api(_highest_api())
    default = _action(profile, "defaultAction", "defaultErrnoRet", "linux.seccomp")
    built = lib.SyscallFilter(default)
    tokens = [lib.system_arch()]
    for index, name in enumerate(profile.get("architectures") or []):
        token = _add_architecture(built, name, f"linux.seccomp.architectures[{index}]")
        if token and token not in tokens:
            tokens.append(token)

    rules: list[Rule] = []
    for index, entry in enumerate(profile.get("syscalls") or []):
        rules += _rules(entry, default, f"linux.seccomp.syscalls[{index}]")
    settled = {name for name, _, conditions, _ in rules if not conditions}
    rules = [rule for rule in rules if not rule[2] or rule[0] not in settled]
    for rule in rules:
        _add_rule(built, *rule)
    if len(rules) >= TREE_FROM:
        built.set_attr(lib.Attr.CTL_OPTIMIZE, 2)
    program = _prologue(profile, rules, default, tokens) + _export(built)
    room = MAX_INSTRUCTIONS - (GUARDS if notify.used(profile) else 0)
    if len(program) // 8 > room:
        raise PyrunError(
            f"the profile takes {len(program) // 8} BPF instructions, of the {room} that there may be",
            "linux.seccomp",
            "fewer rules, or only the architectures of this machine",
        )
    return program


def known_architectures() -> list[str]:
    """The architectures that the installed libseccomp can compile for, for the features document."""
    built = lib.SyscallFilter(ACTIONS["SCMP_ACT_ALLOW"])
    known = []
    for name in ARCHITECTURES:
        try:
            _add_architecture(built, name, "")
        except PyrunError:
            continue
        known.append(name)
    return known


def library_path() -> str:
    """The file that libseccomp was loaded from."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            path = line.rstrip("\n").partition("/")[2]
            if os.path.basename(path).startswith("libseccomp.so"):
                return "/" + path
    return ""


def _highest_api() -> int:
    """libseccomp's highest API level: not what this kernel has but what can be expressed. We only compile."""
    for level in range(int(lib.get_api()), 32):
        try:
            lib.set_api(level + 1)
        except OSError:
            return level
    raise PyrunError(f"{LIBRARY} is unknown to us: API level above 32", "linux.seccomp")


def _action(entry: Json, action_key: str, errno_key: str, where: str) -> int:
    """The SECCOMP_RET_* value of an action."""
    path = f"{where}.{action_key}"
    name: str = entry[action_key]
    errno_ret: int | None = entry.get(errno_key)
    if name not in ACTIONS:
        raise PyrunError(f"{name}: unknown action", path)
    value = ACTIONS[name]
    limit = ERRNO_LIMIT.get(value)
    if limit is None:
        if errno_ret is not None:
            raise PyrunError(f"{name} takes no errno", f"{where}.{errno_key}")
        return value
    if errno_ret is None:
        return value | errno.EPERM
    if not 0 <= errno_ret <= limit:
        raise PyrunError(f"{errno_ret} is not an errno: 0 to {limit} is possible", f"{where}.{errno_key}")
    return value | errno_ret


def _add_architecture(built: Any, name: str, path: str) -> int:
    """Make the filter decide for one more architecture; its token, 0 if this kernel can never report it."""
    if name not in ARCHITECTURES:
        raise PyrunError(f"{name}: unknown architecture", path)
    token = ARCHITECTURES[name]
    try:
        built.add_arch(token)
    except OSError as error:
        if error.errno == errno.EDOM:  # the other byte order: no process of this machine can have it
            return 0
        if error.errno != errno.EEXIST:
            raise PyrunError(f"{name}: not known to the installed {LIBRARY}", path) from None
    return token


def _rules(entry: Json, default: int, where: str) -> list[Rule]:
    """The rules of one entry of `syscalls` that have something to say, for names that libseccomp knows."""
    action = _action(entry, "action", "errnoRet", where)
    args = entry.get("args") or []
    conditions = [_condition(arg, f"{where}.args[{index}]") for index, arg in enumerate(args)]
    if action == default:
        return []
    alternatives = [conditions]
    if len({index for index, *_ in conditions}) < len(conditions):
        alternatives = [[condition] for condition in conditions]
    return [
        (name, action, alternative, f"{where}.names[{index}]")
        for index, name in enumerate(entry["names"])
        if _number(0, name) != UNKNOWN
        for alternative in alternatives
    ]


def _add_rule(built: Any, name: str, action: int, conditions: list[seccomp_bpf.Condition], path: str) -> None:
    try:
        built.add_rule(action, _number(0, name), *(lib.Arg(*condition) for condition in conditions))
    except OSError as error:
        reason = error.strerror
        if error.errno == errno.EEXIST:
            reason = "contradicts an earlier rule for the same system call and arguments"
        raise PyrunError(f"{name}: {reason}", path) from None


def _condition(arg: Json, path: str) -> seccomp_bpf.Condition:
    """A comparison as libseccomp takes it: argument's index, operator, value or mask, second value."""
    if arg["op"] not in OPERATORS:
        raise PyrunError(f"{arg['op']}: unknown operator", f"{path}.op")
    if not 0 <= arg["index"] <= 5:
        raise PyrunError(f"{arg['index']}: a system call has arguments 0 to 5", f"{path}.index")
    for key in ("value", "valueTwo"):
        if not 0 <= arg.get(key, 0) < 1 << 64:
            raise PyrunError(f"{arg[key]} is not a 64-bit unsigned number", f"{path}.{key}")
    return arg["index"], OPERATORS[arg["op"]], arg["value"], arg.get("valueTwo", 0)


def _number(architecture: int, name: str) -> int:
    """A system call's number (architecture 0: this machine's), UNKNOWN if libseccomp doesn't know the name.

    Also negative for one that this architecture doesn't have but another has; libseccomp takes it as a name.
    """
    return int(lib.resolve_syscall(architecture, name)) if name.isascii() and "\0" not in name else UNKNOWN


def _export(built: Any) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    with open(fd, "rb") as file:
        built.export_bpf(file)
        os.lseek(fd, 0, os.SEEK_SET)
        return file.read()


def _prologue(profile: Json, rules: list[Rule], default: int, tokens: list[int]) -> bytes:
    """What stands before libseccomp's filter: calls that are too new, calls that have several conditions."""
    names = {name for entry in profile.get("syscalls") or [] for name in entry["names"]}
    bodies: dict[int, list[seccomp_bpf.Instruction]] = {}
    for token in tokens:
        body = bodies.setdefault(X86_64 if token == X32 else token, [])
        numbers = {name: number for name in names if (number := _number(token, name)) >= 0}
        if default == ERRNO | errno.EPERM and numbers:
            newest = max(numbers.values())
            body += seccomp_bpf.no_such_calls(newest + 1, X32_BIT if token == X86_64 else NO_CALL)
        by_number: dict[int, list[seccomp_bpf.Rule]] = {}
        for name, action, conditions, _ in rules:
            if conditions and name in numbers:
                by_number.setdefault(numbers[name], []).append((action, conditions))
        for number, of_call in by_number.items():
            if len(of_call) > 1:
                body += seccomp_bpf.call(number, of_call, default, token & _64 > 0 and not token & _N32)
    blocks = [seccomp_bpf.for_architecture(audit, body) for audit, body in bodies.items() if body]
    return seccomp_bpf.assemble([instruction for block in blocks for instruction in block])


def main() -> int:
    """stdin to stdout, as the module says."""
    try:
        program = compile_profile(jsontext.decode(sys.stdin.buffer.read()))
    except PyrunError as error:
        sys.stderr.write(render(error) + "\n")
        return 1
    sys.stdout.buffer.write(library_path().encode("utf-8", "surrogateescape") + b"\n" + program)
    return 0


if __name__ == "__main__":
    sys.exit(main())
