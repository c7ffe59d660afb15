"""What device rules mean, said simply; what v1's kernel makes of its files; an interpreter of BPF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from pyrun.cgroups.devices import ANY, MKNOD, READ, WRITE

if TYPE_CHECKING:
    from pyrun.cgroups import devices_v1

LETTERS = {"m": MKNOD, "r": READ, "w": WRITE}
KINDS = ("c", "b")
MAJORS = (1, 60, 61)
MINORS = (3, 4)

config_rules = st.lists(
    st.fixed_dictionaries(
        {"allow": st.booleans()},
        optional={
            "type": st.sampled_from("acb"),
            "major": st.sampled_from((-1, *MAJORS)),
            "minor": st.sampled_from((-1, *MINORS)),
            "access": st.sampled_from(("r", "w", "m", "rw", "rm", "wm", "rwm", "mwr", "")),
        },
    ),
    max_size=8,
)


def covers(rule: dict[str, Any], kind: str, major: int, minor: int, letter: str) -> bool:
    return (
        rule.get("type", "a") in ("a", kind)
        and rule.get("major", -1) in (-1, major)
        and rule.get("minor", -1) in (-1, minor)
        and letter in (rule.get("access") or "rwm")
    )


def is_default(kind: str, major: int, minor: int, letter: str) -> bool:
    if letter == "m":
        return True
    return kind == "c" and (
        (major == 1 and minor in (3, 5, 7, 8, 9)) or (major == 5 and minor in (0, 1, 2)) or major == 136
    )


def allowed(config: list[dict[str, Any]], kind: str, major: int, minor: int, access: str) -> bool:
    """The last rule that covers an access decides; all that is asked for must be allowed."""
    for letter in access:
        verdict = False
        for rule in config:
            if covers(rule, kind, major, minor, letter):
                verdict = rule["allow"]
        if not (verdict or is_default(kind, major, minor, letter)):
            return False
    return True


def v1_allows(
    allow_all: bool, found: devices_v1.Exceptions, device: tuple[str, int, int], access: int
) -> bool:
    """The kernel's security/device_cgroup.c: one exception must match all (or, from "all", any) of it."""
    kind, major, minor = device
    for (its_kind, its_major, its_minor), (bits, _) in found.items():
        if its_kind == kind and its_major in (ANY, major) and its_minor in (ANY, minor):
            if allow_all and bits & access:
                return False
            if not allow_all and bits & access == access:
                return True
    return allow_all


def run(code: bytes, kind: int, major: int, minor: int, access: int) -> int:
    """The result of a device program: the instructions that devices_v2 uses, no more."""
    context = (access << 16 | kind, major, minor)
    registers: list[int] = [0] * 11
    at = 0
    while True:
        opcode, pair = code[8 * at], code[8 * at + 1]
        target, source = pair & 15, pair >> 4
        offset = int.from_bytes(code[8 * at + 2 : 8 * at + 4], "little", signed=True)
        value = int.from_bytes(code[8 * at + 4 : 8 * at + 8], "little")
        at += 1
        if opcode == 0x61:
            registers[target] = context[offset // 4]
        elif opcode == 0xB4:
            registers[target] = value
        elif opcode == 0xBC:
            registers[target] = registers[source]
        elif opcode == 0x54:
            registers[target] &= value
        elif opcode == 0x74:
            registers[target] >>= value
        elif opcode in (0x15, 0x55):
            if (registers[target] == value) == (opcode == 0x15):
                at += offset
        elif opcode == 0x95:
            return registers[0]
        else:
            raise AssertionError(f"instruction {opcode:#x}")
