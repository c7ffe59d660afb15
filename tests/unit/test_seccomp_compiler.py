"""The seccomp compiler: its tables, its errors, and its programs.

The programs are run by a small BPF machine and compared with a direct reading of the profile.
"""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyrun.base.errors import PyrunError

try:
    from pyrun.features.seccomp import compiler
except Exception as reason:  # libseccomp or pyseccomp isn't installed
    pytest.skip(f"the seccomp compiler can't be used: {reason}", allow_module_level=True)

from seccomp_model import (
    AARCH64,
    ALLOW,
    ARM,
    ERRNO,
    KILL,
    NATIVE,
    TRACE,
    X32_BIT,
    X86,
    X86_64,
    Json,
    action_value,
    expected,
    holds,
    run,
)

needs_known_machine = pytest.mark.skipif(not NATIVE, reason="a machine that the test doesn't know")


def compiled(profile: Json) -> bytes:
    return compiler.compile_profile(profile)


def deny(*syscalls: Json, **more: Any) -> Json:
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(syscalls), **more}


def allow(*syscalls: Json, **more: Any) -> Json:
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(syscalls), **more}


def entry(*names: str, action: str = "SCMP_ACT_ALLOW", args: list[Json] | None = None, **more: Any) -> Json:
    return {"names": list(names), "action": action, **({"args": args} if args is not None else {}), **more}


def number(name: str) -> int:
    return int(compiler.lib.resolve_syscall(0, name))


def ask(profile: Json, name: str, *args: int) -> int:
    return run(compiled(profile), (NATIVE, number(name), (*args, *[0] * (6 - len(args)))))


def refused(profile: Json) -> tuple[str, str]:
    with pytest.raises(PyrunError) as caught:
        compiled(profile)
    return caught.value.json_path, caught.value.sentence


# Actions


@needs_known_machine
@pytest.mark.parametrize("action", sorted(compiler.ACTIONS))
def test_actions(action: str) -> None:
    assert ask({"defaultAction": action}, "getpid") == action_value(action, None)
    other = "SCMP_ACT_LOG" if action == "SCMP_ACT_ALLOW" else "SCMP_ACT_ALLOW"
    profile = {"defaultAction": other, "syscalls": [entry("getpid", action=action)]}
    assert ask(profile, "getpid") == action_value(action, None)
    assert ask(profile, "getuid") == action_value(other, None)


@needs_known_machine
def test_errno() -> None:
    assert ask(deny(), "getpid") == ERRNO | errno.EPERM
    assert ask(deny(defaultErrnoRet=38), "getpid") == ERRNO | 38
    assert ask(deny(defaultErrnoRet=0), "getpid") == ERRNO
    assert ask(allow(entry("getpid", action="SCMP_ACT_ERRNO", errnoRet=4094)), "getpid") == ERRNO | 4094
    assert ask(allow(entry("getpid", action="SCMP_ACT_TRACE", errnoRet=0xFFFF)), "getpid") == TRACE | 0xFFFF


@pytest.mark.parametrize("action", sorted(set(compiler.ACTIONS) - {"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"}))
def test_errno_where_none_is_taken(action: str) -> None:
    profile = {"defaultAction": action, "defaultErrnoRet": 1}
    assert refused(profile) == ("linux.seccomp.defaultErrnoRet", f"{action} takes no errno")
    profile = deny(entry("getpid"), entry("getuid", action=action, errnoRet=0))
    assert refused(profile) == ("linux.seccomp.syscalls[1].errnoRet", f"{action} takes no errno")


@pytest.mark.parametrize(
    ("action", "value"), [("SCMP_ACT_ERRNO", 4095), ("SCMP_ACT_TRACE", 65536), ("SCMP_ACT_ERRNO", -1)]
)
def test_errno_out_of_range(action: str, value: int) -> None:
    path, sentence = refused({"defaultAction": action, "defaultErrnoRet": value})
    assert path == "linux.seccomp.defaultErrnoRet"
    assert str(value) in sentence


def test_unknown_words() -> None:
    assert refused({"defaultAction": "SCMP_ACT_PANIC"})[0] == "linux.seccomp.defaultAction"
    path, sentence = refused(deny(architectures=["SCMP_ARCH_X86", "SCMP_ARCH_Z80"]))
    assert (path, sentence) == ("linux.seccomp.architectures[1]", "SCMP_ARCH_Z80: unknown architecture")
    bad = {"index": 0, "value": 0, "op": "SCMP_CMP_LIKE"}
    assert refused(deny(entry("read", args=[bad])))[0] == "linux.seccomp.syscalls[0].args[0].op"


@pytest.mark.parametrize(
    ("key", "value"),
    [("index", 6), ("index", -1), ("value", 1 << 64), ("value", -1), ("valueTwo", 1 << 64), ("valueTwo", -1)],
)
def test_condition_out_of_range(key: str, value: int) -> None:
    arg = {"index": 0, "value": 0, "op": "SCMP_CMP_EQ", key: value}
    path, sentence = refused(deny(entry("read", args=[{"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}, arg])))
    assert path == f"linux.seccomp.syscalls[0].args[1].{key}"
    assert str(value) in sentence


# Names


@needs_known_machine
def test_unknown_names_are_skipped() -> None:
    names = ("no_such_call", "read\0", "", "lesé", "x" * 10_000)
    profile = deny(entry(*names, "getpid"))
    assert ask(profile, "getpid") == ALLOW
    assert ask(profile, "read") == ERRNO | errno.EPERM


@needs_known_machine
def test_a_rule_that_does_what_the_default_does_is_skipped() -> None:
    assert ask(allow(entry("getpid")), "getpid") == ALLOW
    assert ask(deny(entry("getpid", action="SCMP_ACT_ERRNO")), "getpid") == ERRNO | errno.EPERM
    assert ask(deny(entry("getpid", action="SCMP_ACT_ERRNO", errnoRet=2)), "getpid") == ERRNO | 2


@needs_known_machine
def test_names_repeated() -> None:
    assert ask(deny(entry("getpid", "getpid"), entry("getpid")), "getpid") == ALLOW


def test_rules_that_contradict_each_other() -> None:
    arg = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}
    profile = deny(entry("dup", args=[arg]), entry("read", "dup", args=[arg], action="SCMP_ACT_KILL"))
    path, sentence = refused(profile)
    assert path == "linux.seccomp.syscalls[1].names[1]"
    assert sentence == "dup: contradicts an earlier rule for the same system call and arguments"


# Conditions

EDGES = [0, 1, 5, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 32) + 5, 1 << 63, (1 << 64) - 1]


@needs_known_machine
@pytest.mark.parametrize("op", sorted(compiler.OPERATORS))
@pytest.mark.parametrize("index", [0, 5])
def test_operators(op: str, index: int) -> None:
    for value in EDGES:
        arg = {"index": index, "value": value, "op": op, "valueTwo": 5}
        program = compiled(deny(entry("dup3", "getpid", "accept4", "clone3", args=[arg])))
        for given_value in EDGES:
            args = tuple(given_value if i == index else 7 for i in range(6))
            wanted = ALLOW if holds(arg, args) else ERRNO | errno.EPERM
            assert run(program, (NATIVE, number("dup3"), args)) == wanted, (value, given_value)


@needs_known_machine
def test_conditions_on_several_arguments_must_all_hold() -> None:
    args = [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 9, "op": "SCMP_CMP_GT"}]
    profile = deny(entry("dup3", args=args))
    assert [ask(profile, "dup3", *a) for a in ((1, 0, 10), (1, 0, 9), (2, 0, 10))] == [
        ALLOW,
        ERRNO | 1,
        ERRNO | 1,
    ]


@needs_known_machine
def test_of_conditions_on_one_argument_any_is_enough() -> None:
    args = [{"index": i, "value": v, "op": "SCMP_CMP_EQ"} for i, v in ((0, 2), (0, 16), (1, 3))]
    profile = deny(entry("dup3", args=args))
    answers = [ask(profile, "dup3", *a) for a in ((2, 0), (16, 0), (9, 3), (9, 9))]
    assert answers == [ALLOW, ALLOW, ALLOW, ERRNO | 1]


NAMES = ["read", "dup3", "getpid", "openat", "setns", "kcmp", "bpf", "statx", "clone3", "no_such_call"]
ERRNO_ACTIONS = ["SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"]
values = st.one_of(st.sampled_from(EDGES), st.integers(0, (1 << 64) - 1))
conditions = st.fixed_dictionaries(
    {"index": st.integers(0, 5), "value": values, "op": st.sampled_from(sorted(compiler.OPERATORS))},
    optional={"valueTwo": values},
)


@st.composite
def actions(draw: st.DrawFn, action: str, number: str) -> Json:
    chosen: Json = {action: draw(st.sampled_from(sorted(compiler.ACTIONS)))}
    if chosen[action] in ERRNO_ACTIONS and draw(st.booleans()):
        chosen[number] = draw(st.integers(0, 4094))
    return chosen


@st.composite
def profiles(draw: st.DrawFn) -> Json:
    profile = draw(actions("defaultAction", "defaultErrnoRet"))
    profile["syscalls"] = [
        {
            "names": draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6)),
            **draw(actions("action", "errnoRet")),
            **draw(st.fixed_dictionaries({}, optional={"args": st.lists(conditions, max_size=3)})),
        }
        for _ in range(draw(st.integers(0, 5)))
    ]
    return profile


def calls_near(profile: Json) -> Iterator[tuple[int, ...]]:
    """Arguments at and beside every value that the profile mentions."""
    yield (0,) * 6
    for syscall in profile["syscalls"]:
        for arg in syscall.get("args", []):
            for value in (arg["value"], arg.get("valueTwo", 0)):
                for near in (value - 1, value, value + 1, value ^ (1 << 32)):
                    yield tuple(near % (1 << 64) if i == arg["index"] else 0 for i in range(6))
        fitting = [0] * 6
        for arg in syscall.get("args", []):
            fitting[arg["index"]] = (
                arg.get("valueTwo", 0) if arg["op"] == "SCMP_CMP_MASKED_EQ" else arg["value"]
            )
        yield tuple(fitting)


def check(profile: Json, more: list[tuple[int, ...]], audit: int, token: int, mask: int) -> None:
    try:
        program = compiled(profile)
    except PyrunError as error:
        assume("contradicts" not in error.sentence)
        raise
    for name in [*NAMES[:-1], "getuid", "openat2"]:
        number = compiler.lib.resolve_syscall(token, name)
        for args in [*calls_near(profile), *more]:
            args = tuple(arg & mask for arg in args)
            assert run(program, (audit, number, args)) == expected(profile, number, args, token, mask), name


@needs_known_machine
@settings(max_examples=300, deadline=None)
@given(profiles(), st.lists(st.tuples(*[values] * 6), max_size=5))
def test_the_program_says_what_the_profile_says(profile: Json, more: list[tuple[int, ...]]) -> None:
    check(profile, more, NATIVE, 0, (1 << 64) - 1)


@pytest.mark.parametrize("name", ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_RISCV64"])
@pytest.mark.skipif(NATIVE not in (X86_64, AARCH64), reason="little-endian architectures only")
@settings(max_examples=100, deadline=None)
@given(profile=profiles(), more=st.lists(st.tuples(*[values] * 6), max_size=5))
def test_on_another_architecture(name: str, profile: Json, more: list[tuple[int, ...]]) -> None:
    token = compiler.ARCHITECTURES[name]
    audit = X86_64 if name == "SCMP_ARCH_X32" else token
    mask = (1 << 64 if token & 0x80000000 else 1 << 32) - 1
    check({**profile, "architectures": [name, "SCMP_ARCH_X86_64"]}, more, audit, token, mask)


# Architectures


@needs_known_machine
def test_other_architectures_are_killed_unless_named() -> None:
    foreign = X86 if NATIVE == X86_64 else ARM
    assert run(compiled(allow()), (foreign, 20, (0,) * 6)) == KILL


@pytest.mark.skipif(NATIVE != X86_64, reason="x86-64 only")
def test_x86_family() -> None:
    named = deny(
        entry("getpid", "mmap2"), architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    )
    program = compiled(named)
    zeros = (0,) * 6
    assert run(program, (X86_64, 39, zeros)) == ALLOW
    assert run(program, (X86_64, X32_BIT | 39, zeros)) == ALLOW
    assert run(program, (X86, 20, zeros)) == ALLOW  # getpid
    assert run(program, (X86, 192, zeros)) == ALLOW  # mmap2, which the other two don't have
    assert run(program, (X86, 39, zeros)) == ERRNO | errno.EPERM
    assert run(program, (AARCH64, 172, zeros)) == KILL
    only_native = compiled(deny(entry("getpid")))
    assert run(only_native, (X86_64, X32_BIT | 39, zeros)) == KILL


@pytest.mark.parametrize("name", sorted(compiler.ARCHITECTURES))
def test_every_architecture(name: str) -> None:
    profile = deny(entry("getpid"), architectures=[name])
    if name not in compiler.known_architectures():
        assert name.endswith(("LOONGARCH64", "M68K", "SH", "SHEB"))
        sentence = f"{name}: not known to the installed {compiler.LIBRARY}"
        assert refused(profile) == ("linux.seccomp.architectures[0]", sentence)
        return
    token = compiler.ARCHITECTURES[name]
    getpid = compiler.lib.resolve_syscall(token, "getpid")
    answer = run(compiled(profile), (X86_64 if name.endswith("X32") else token, getpid, (0,) * 6))
    other_order = token & 0x40000000 != (0x40000000 if sys.byteorder == "little" else 0)
    assert answer == (KILL if other_order else ALLOW)


def test_too_many_instructions() -> None:
    arg = {"index": 0, "op": "SCMP_CMP_EQ"}
    many = [entry("dup3", args=[{**arg, "value": value}], action="SCMP_ACT_ERRNO") for value in range(3000)]
    path, sentence = refused(allow(*many))
    assert path == "linux.seccomp"
    assert "4096" in sentence


# System calls newer than the profile


@needs_known_machine
def test_newer_calls_do_not_exist() -> None:
    profile = deny(entry("getpid", "openat2"))
    program = compiled(profile)
    zeros = (0,) * 6
    newest = number("openat2")
    assert run(program, (NATIVE, newest, zeros)) == ALLOW
    assert run(program, (NATIVE, newest - 1, zeros)) == ERRNO | errno.EPERM
    for newer in (newest + 1, 1000, 0x3FFFFFFF):
        assert run(program, (NATIVE, newer, zeros)) == ERRNO | errno.ENOSYS


@needs_known_machine
@pytest.mark.parametrize(
    "default",
    [{"defaultErrnoRet": 2}, {"defaultAction": "SCMP_ACT_KILL_PROCESS"}, {"defaultAction": "SCMP_ACT_TRAP"}],
)
def test_any_other_default_is_for_newer_calls_too(default: Json) -> None:
    profile = deny(entry("getpid"), **default)
    wanted = action_value(profile["defaultAction"], profile.get("defaultErrnoRet"))
    assert run(compiled(profile), (NATIVE, 1000, (0,) * 6)) == wanted


@needs_known_machine
def test_a_profile_without_names_knows_no_newest_call() -> None:
    assert run(compiled(deny(entry("no_such_call"))), (NATIVE, 1000, (0,) * 6)) == ERRNO | errno.EPERM


# The command


def command(text: bytes, **options: Any) -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-m", "pyrun.features.seccomp.compiler"]
    return subprocess.run(argv, input=text, capture_output=True, timeout=60, **options)


def test_command() -> None:
    done = command(b'{"defaultAction": "SCMP_ACT_ALLOW"}')
    library, _, program = done.stdout.partition(b"\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert Path(library.decode()).is_file()
    assert program == compiled(allow())


def test_command_says_what_is_wrong() -> None:
    done = command(b'{"defaultAction": "SCMP_ACT_SLEEP"}')
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"linux.seccomp.defaultAction: SCMP_ACT_SLEEP: unknown action\n"


def test_finding_libraries_is_left_as_it_was() -> None:
    import ctypes.util

    assert ctypes.util.find_library.__module__ == "ctypes.util"
    assert compiler.lib.__name__ == "pyseccomp"
