"""The part of a seccomp program that libseccomp can't write, or writes wrong: it stands before libseccomp's.

Cold module. Two things:

- Numbers above a limit fail with ENOSYS: libseccomp has no rule about numbers.
- System calls that have several rules with conditions. libseccomp merges them into one tree and loses some:
  by 2.5.4, of "kill if a0 > 0" and "kill if a0 >= 0 and a1 == 0" the call (0, 0) is let through. Here they
  are asked one after the other, in the profile's order, and the first that holds decides.

An instruction is (code, jump if true, jump if false, k): struct sock_filter, linux/filter.h; jumps count from
the next instruction. What a program sees is struct seccomp_data, linux/seccomp.h.
"""

from __future__ import annotations

import errno
import sys
from struct import pack

Instruction = tuple[int, int, int, int]
Condition = tuple[int, int, int, int]  # as for libseccomp: argument, operator, value or mask, second value
Rule = tuple[int, list[Condition]]  # the action, and what must all hold for it

LOAD, AND, JUMP, RETURN = 0x20, 0x54, 0x05, 0x06  # code: BPF_LD|BPF_W|BPF_ABS, BPF_ALU|BPF_AND, …
IF_EQUAL, IF_GREATER, IF_GREATER_OR_EQUAL = 0x15, 0x25, 0x35
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
LOW, HIGH = (0, 4) if sys.byteorder == "little" else (4, 0)

PASS, FAIL = -1, -2  # jumps to the next condition, and to the next rule
NE, LT, LE, EQ, GE, GT, MASKED_EQ = range(1, 8)  # enum scmp_compare, seccomp.h
TESTS = {
    EQ: IF_EQUAL,
    NE: IF_EQUAL,
    MASKED_EQ: IF_EQUAL,
    GT: IF_GREATER,
    LE: IF_GREATER,
    GE: IF_GREATER_OR_EQUAL,
    LT: IF_GREATER_OR_EQUAL,
}
NEGATED = (NE, LT, LE)

RET_ERRNO = 0x00050000


def assemble(code: list[Instruction]) -> bytes:
    """The program as the kernel reads it."""
    return b"".join(pack("=HBBI", *instruction) for instruction in code)


def for_architecture(audit: int, body: list[Instruction]) -> list[Instruction]:
    """`body`, with the number loaded, for calls of one AUDIT_ARCH_*; others go on behind it."""
    body = [(LOAD, 0, 0, NUMBER), *body]
    return [(LOAD, 0, 0, ARCHITECTURE), *_only_if_equal(audit, body)]


def no_such_calls(first: int, end: int) -> list[Instruction]:
    """ENOSYS for numbers from `first` up to `end`, exclusive."""
    answer = (RETURN, 0, 0, RET_ERRNO | errno.ENOSYS)
    return [(IF_GREATER_OR_EQUAL, 0, 2, first), (IF_GREATER_OR_EQUAL, 1, 0, end), answer]


def call(number: int, rules: list[Rule], otherwise: int, wide: bool) -> list[Instruction]:
    """All about one system call: the action of the first rule that holds. `wide`: arguments have 64 bits."""
    body = [instruction for rule in rules for instruction in _rule(*rule, wide)]
    return _only_if_equal(number, [*body, (RETURN, 0, 0, otherwise)])


def _only_if_equal(value: int, body: list[Instruction]) -> list[Instruction]:
    return [(IF_EQUAL, 1, 0, value), (JUMP, 0, 0, len(body)), *body]


def _rule(action: int, conditions: list[Condition], wide: bool) -> list[Instruction]:
    parts = [_condition(*condition, wide) for condition in conditions]
    size = sum(map(len, parts))
    code: list[Instruction] = []
    for part in parts:
        after = len(code) + len(part)
        for operation, if_true, if_false, k in part:
            ways = {PASS: after - len(code) - 1, FAIL: size - len(code)}  # FAIL jumps over the return too
            code.append((operation, ways.get(if_true, if_true), ways.get(if_false, if_false), k))
    return [*code, (RETURN, 0, 0, action)]


def _condition(argument: int, operator: int, value: int, second: int, wide: bool) -> list[Instruction]:
    mask = None
    if operator == MASKED_EQ:
        mask, value = value, second & value
    test = TESTS[operator]
    yes, no = (FAIL, PASS) if operator in NEGATED else (PASS, FAIL)
    at = ARGUMENTS + 8 * argument
    code: list[Instruction] = []
    if wide:
        code = _load(at + HIGH, mask and mask >> 32)
        if test != IF_EQUAL:
            code.append((IF_GREATER, yes, 0, value >> 32))
        code.append((IF_EQUAL, 0, no, value >> 32))
    return [*code, *_load(at + LOW, mask), (test, yes, no, value & 0xFFFFFFFF)]


def _load(offset: int, mask: int | None) -> list[Instruction]:
    load = (LOAD, 0, 0, offset)
    return [load] if mask is None else [load, (AND, 0, 0, mask & 0xFFFFFFFF)]
