"""A seccomp profile that refuses what stage 2 itself calls at its end: it ends all the same, and says what it can."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import needs
import pytest

ENDS = ["exit_group", "exit"]
REPORTS = ["sendto", "write", "sendmsg", "writev"]


def errno(*names: str, number: int = 1) -> dict[str, object]:
    """A profile by which these calls fail."""
    rule = {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": number}
    return {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}}}


def garbage(bundle, config):
    """A bundle whose program is one that only execve finds unfit."""
    one = bundle(config)
    one.script("/garbage", "\0\1\2 no program\n")
    return one.args("/garbage")


@pytest.mark.parametrize(
    ("seccomp", "path"),
    [
        ({"defaultAction": "SCMP_ACT_ERRNO"}, "linux.seccomp.defaultAction"),
        ({"defaultAction": "SCMP_ACT_KILL_PROCESS"}, "linux.seccomp.defaultAction"),
        (errno("execve")["linux"]["seccomp"], "linux.seccomp.syscalls[0].action"),
    ],
    ids=["errno-by-default", "kill-by-default", "execve-by-name"],
)
def test_execve_refused(pyrun, bundle, seccomp, path):
    """No program can be executed under such a profile: create says so, and nothing waits for ever."""
    sentence = pyrun.refused(bundle({"linux": {"seccomp": seccomp}}))
    assert sentence.startswith(path), sentence
    assert "execve" in sentence
    result = pyrun("validate", str(bundle({"linux": {"seccomp": seccomp}}).path))
    assert result.code == 1
    assert path in result.out + result.err


@pytest.mark.parametrize("number", [1, 0], ids=["EPERM", "success"])
@pytest.mark.parametrize("names", [ENDS, ["exit_group"], ENDS + REPORTS], ids=["ends", "exit_group", "all"])
def test_every_end_ends(pyrun, bundle, names, number):
    """The program can't be executed, and the calls that end a process or tell are refused: the process ends."""
    one = garbage(bundle, errno(*names, number=number))
    container = pyrun.create(one)
    pyrun("start", container.id)
    container.wait()
    container.delete()
    result = pyrun.run(one)
    assert result.code != 0
    if "sendto" not in names:
        assert "exec format error" in result.err


@pytest.mark.parametrize("names", [["sendto"], ["write"]], ids=["sendto", "write"])
def test_a_report_goes_another_way(pyrun, bundle, names):
    """If one call that sends the report is refused, another one takes it."""
    assert "exec format error" in pyrun.run(garbage(bundle, errno(*names))).err


@pytest.mark.parametrize("names", [ENDS + REPORTS], ids=["all"])
def test_every_end_of_exec_ends(pyrun, bundle, names):
    """The same for a process of exec; the container's own program has ended no call of these."""
    one = bundle(errno(*names), sh="while :; do sleep 1000; done")
    one.script("/garbage", "\0\1\2 no program\n")
    container = pyrun.start(one)
    assert container.exec(("/garbage",)).code != 0
    container.delete("--force")


def test_hooks_run_under_the_filter(pyrun, bundle):
    """startContainer hooks run under the container's seccomp filter, as in runc and crun."""
    one = bundle(errno("mkdir", "mkdirat"), sh="mkdir /tmp/a || grep ^Seccomp: /proc/self/status")
    look = "grep ^Seccomp: /proc/self/status >&2; mkdir /tmp/hook || exit 7"
    one.hook("startContainer", look)
    sentence = pyrun.error("run", "-b", str(one.path), pyrun.id())
    assert sentence.startswith("hooks.startContainer[0]: /bin/sh exited with status 7")
    assert "Seccomp: 2" in sentence


@pytest.mark.parametrize("no_new_privileges", [True, False], ids=["nnp", "no-nnp"])
def test_a_hook_that_ends_well_leaves_the_rest(pyrun, bundle, no_new_privileges):
    """The program has one filter, with hooks before it as without them."""
    config = errno("acct")
    config["process"] = {"noNewPrivileges": no_new_privileges}
    one = bundle(config, sh="grep ^Seccomp /proc/self/status")
    without = pyrun.output(one)
    one.hook("startContainer", "true")
    assert pyrun.output(one.write()) == without
    assert "2" in without


# Makes the folder that is its argument, and ends; nothing else is called.
MAKES_A_FOLDER = r"""
#include <sys/syscall.h>
#if defined(__x86_64__)
__asm__(".globl _start\n_start: mov %rsp,%rdi\n and $-16,%rsp\n call begin\n");
static void call(long n, long a, long b)
{
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(0) : "rcx", "r11", "memory");
}
void begin(long *stack)
{
    call(SYS_mkdir, stack[2], 0755);
    call(SYS_exit_group, 0, 0);
    call(SYS_exit, 0, 0);
}
#endif
"""
STAGE_2 = Path(__file__).resolve().parents[2] / "runtime/pyrun/kernel"
CALLS = sorted(
    {
        name
        for path in STAGE_2.glob("stage2*.[ch]")
        for name in re.findall(r"SYS_([a-z]\w+)", path.read_text())
    }
    - {"execve", "seccomp"}
)


@pytest.fixture(scope="session")
def maker(tmp_path_factory) -> bytes:
    """The program that makes a folder."""
    needs.program("gcc")
    if os.uname().machine != "x86_64":
        pytest.skip("needs x86-64, which the little program is written for")
    source = tmp_path_factory.mktemp("maker") / "maker.c"
    source.write_text(MAKES_A_FOLDER)
    program = source.with_suffix("")
    flags = ["-static", "-nostdlib", "-ffreestanding", "-fno-pic", "-no-pie", "-Os", "-fno-stack-protector"]
    subprocess.run(["gcc", *flags, "-o", str(program), str(source)], check=True)
    return program.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("no_new_privileges", [True, False], ids=["nnp", "no-nnp"])
@pytest.mark.parametrize("name", CALLS)
def test_whatever_one_call_is_refused(pyrun, bundle, maker, name, no_new_privileges):
    """A profile needs to allow execve and no other call of stage 2's: hook, program and exec's program are executed."""
    config = errno(name)
    config["process"] = {"noNewPrivileges": no_new_privileges}
    config["root"] = {"readonly": False}
    one = bundle(config).args("/maker", "/program")
    (one.rootfs / "maker").write_bytes(maker)
    (one.rootfs / "maker").chmod(0o755)
    one.config["hooks"] = {"startContainer": [{"path": "/maker", "args": ["maker", "/hook"]}]}
    container = pyrun.create(one.write())
    container.exec(("/maker", "/exec"))
    pyrun("start", container.id)
    container.wait()
    container.delete()
    assert [each for each in ("hook", "program", "exec") if not (one.rootfs / each).is_dir()] == []
