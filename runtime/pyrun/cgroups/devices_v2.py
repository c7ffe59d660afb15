"""Device rules for cgroup v2: an eBPF program that the kernel asks at each mknod and open. Hot module.

Program type BPF_PROG_TYPE_CGROUP_DEVICE; its argument is a struct bpf_cgroup_dev_ctx: kind of device and
requested access in one word, major, minor. It returns 1 to allow. Rules are tested from the last to the
first: each takes those accesses that it decides off the request, until one is denied or none is left. The
kernel's verifier checks it, and the program lives as long as the cgroup that it is attached to: no
descriptor stays open.
"""

from __future__ import annotations

import errno
import posix
import sys

from pyrun.base.errors import PyrunError, failed
from pyrun.cgroups import files
from pyrun.cgroups.devices import ANY, PATH
from pyrun.kernel.calls import O_CLOEXEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrun.cgroups.devices import Rule

NAME = "pyrun_devices"
MOST_INSTRUCTIONS = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS, which the verifier may reach sooner
_KINDS = {"b": 1, "c": 2}  # the kernel's BPF_DEVCG_DEV_*

# linux/bpf.h and bpf_common.h: instruction = class | operation | source
_LOAD_WORD = 0x61  # BPF_LDX | BPF_MEM | BPF_W
_MOVE, _MOVE_REGISTER = 0xB4, 0xBC  # BPF_ALU | BPF_MOV, of 32 bits
_AND, _SHIFT_RIGHT = 0x54, 0x74  # BPF_ALU | BPF_AND, BPF_RSH
_UNLESS_EQUAL, _IF_EQUAL = 0x55, 0x15  # BPF_JMP | BPF_JNE, BPF_JEQ
_EXIT = 0x95
_RESULT, _CONTEXT, _KIND, _ASKED, _MAJOR, _MINOR, _SCRATCH = 0, 1, 2, 3, 4, 5, 6  # registers


def program(allowed: bool, rules: Sequence[Rule]) -> bytes:
    """Return the instructions for rules in order (see devices.ordered), 8 bytes each. Raises PyrunError if too many."""
    code = [
        _instruction(_LOAD_WORD, _KIND, _CONTEXT),
        _instruction(_MOVE_REGISTER, _ASKED, _KIND),
        _instruction(_AND, _KIND, value=0xFFFF),
        _instruction(_SHIFT_RIGHT, _ASKED, value=16),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, offset=4),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, offset=8),
        *_answer_if_decided(),
    ]
    decided: dict[tuple[str, int, int], int] = {}  # by rules that come later in the configuration
    for allow, kind, major, minor, access, _ in reversed(rules):
        before = decided.get((kind, major, minor), 0)
        if access & ~before:
            decided[kind, major, minor] = before | access
            code += _rule(allow, _KINDS[kind], major, minor, access & ~before)
    code += _answer(allowed)
    if len(code) > MOST_INSTRUCTIONS:
        raise PyrunError(
            f"the {len(rules)} rules make a program of {len(code)} instructions, and the kernel takes "
            f"{MOST_INSTRUCTIONS}",
            PATH,
        )
    return b"".join(code)


def _rule(allow: bool, kind: int, major: int, minor: int, access: int) -> list[bytes]:
    if allow:
        body = [_instruction(_AND, _ASKED, value=~access & 7), *_answer_if_decided()]
    else:
        body = [
            _instruction(_MOVE_REGISTER, _SCRATCH, _ASKED),
            _instruction(_AND, _SCRATCH, value=access),
            _instruction(_IF_EQUAL, _SCRATCH, offset=2),
            *_answer(False),
        ]
    tests = [(_KIND, kind)]
    if major != ANY:
        tests.append((_MAJOR, major))
    if minor != ANY:
        tests.append((_MINOR, minor))
    beyond = len(body) + len(tests)
    jumps = [
        _instruction(_UNLESS_EQUAL, register, offset=beyond - 1 - i, value=number)
        for i, (register, number) in enumerate(tests)
    ]
    return jumps + body


def _answer_if_decided() -> list[bytes]:
    return [_instruction(_UNLESS_EQUAL, _ASKED, offset=2), *_answer(True)]


def _answer(allow: bool) -> list[bytes]:
    return [_instruction(_MOVE, _RESULT, value=int(allow)), _instruction(_EXIT)]


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """struct bpf_insn; its two registers share a byte, in the machine's order of bits."""
    registers = target | source << 4 if sys.byteorder == "little" else target << 4 | source
    return (
        bytes((code, registers))
        + offset.to_bytes(2, sys.byteorder, signed=True)
        + value.to_bytes(4, sys.byteorder, signed=value < 0)
    )


def apply(directory: str, allowed: bool, rules: Sequence[Rule]) -> None:
    """Put the rules into effect in a cgroup, atomically in the place of an earlier program of ours.

    Raises PyrunError if the kernel refuses them, of kind "rights" if bpf(2) isn't for us.
    """
    from pyrun.kernel import bpf

    cgroup = ours = new = -1
    doing = f"limiting devices for {directory}"
    try:
        cgroup = posix.open(directory, posix.O_RDONLY | posix.O_DIRECTORY | O_CLOEXEC)
        ours = _ours(cgroup)
        if not allowed or not all(rule[0] for rule in rules):
            new = bpf.load_device_program(program(allowed, rules), NAME)
            bpf.attach(cgroup, new, ours)
        elif ours >= 0:
            bpf.detach(cgroup, ours)
    except OSError as error:
        hint = ""
        if error.errno == errno.E2BIG:
            hint = f"{len(rules)} rules are too many: the kernel's verifier takes {MOST_INSTRUCTIONS} steps at most"
        refusal = failed(doing, error, PATH, hint)
        refusal.kind = files.RIGHTS if error.errno == errno.EPERM else ""
        raise refusal from None
    finally:
        _close(cgroup, ours, new)


def detach(directory: str) -> None:
    """Take our program from a cgroup that will stay, if it has one. Raises PyrunError if the kernel refuses."""
    from pyrun.kernel import bpf

    cgroup = ours = -1
    try:
        cgroup = posix.open(directory, posix.O_RDONLY | posix.O_DIRECTORY | O_CLOEXEC)
        ours = _ours(cgroup)
        if ours >= 0:
            bpf.detach(cgroup, ours)
    except OSError as error:
        from pyrun.kernel import process

        if error.errno == errno.EPERM and process.is_ordinary():
            return  # none is ours: see limits.py
        raise PyrunError(f"taking the device rules from {directory}: {files.reason(error)}") from None
    finally:
        _close(cgroup, ours)


def _ours(cgroup: int) -> int:
    """A descriptor of the program that we attached before, or -1; systemd's and others' are left alone."""
    from pyrun.kernel import bpf

    for number in bpf.attached(cgroup):
        fd = bpf.by_id(number)
        if bpf.name_of(fd) == NAME:
            return fd
        posix.close(fd)
    return -1


def _close(*fds: int) -> None:
    for fd in fds:
        if fd >= 0:
            posix.close(fd)
