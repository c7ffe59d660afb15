"""CVE-2019-5736: the runtime's own binary must not be within the container's reach, by /proc/PID/exe.

A created container's process is stage 2, run from a sealed memfd: it is never the runtime, and can't be written. And
the runtime itself, as long as it is the container's init, can't be looked into from a PID namespace that it joined.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

F_GET_SEALS = 1034
ALL_SEALS = 0xF  # SEAL, SHRINK, GROW, WRITE

OPEN = "exec 3<>/proc/{}/exe && echo opened"
# Looks at every process again and again: which programs, and whose descriptors, can be seen?
LOOK = """
echo looking
while [ ! -e /stop ]; do
    for process in /proc/[0-9]*; do
        readlink $process/exe; readlink $process/fd/*; readlink $process/root; readlink $process/cwd
    done
done 2>/dev/null | sort -u > /seen
"""


def test_created_is_a_sealed_memfd(pyrun, bundle):
    """/proc/PID/exe of a created container: not the runtime, and sealed against every change."""
    container = pyrun.create(bundle())
    assert "memfd:pyrun-init" in os.readlink(f"/proc/{container.pid}/exe")
    fd = os.open(f"/proc/{container.pid}/exe", os.O_RDONLY)
    try:
        assert fcntl.fcntl(fd, F_GET_SEALS) == ALL_SEALS
    finally:
        os.close(fd)
    with pytest.raises(OSError, match=r"busy|not permitted"):
        os.open(f"/proc/{container.pid}/exe", os.O_RDWR)
    assert not [line for line in maps(container.pid) if str(pyrun.runtime) in line]


def maps(pid: int) -> list[str]:
    """What a process has mapped."""
    return Path(f"/proc/{pid}/maps").read_text().splitlines()


def test_not_written_from_inside(pyrun, bundle):
    """Processes of a container can't open for writing what runs as another container's init."""
    victim = pyrun.create(bundle())
    for capabilities in ({}, {"CAP_SYS_PTRACE"}):
        attacker = bundle(sh=OPEN.format(1) + "; readlink /proc/1/exe")
        for kind in ("bounding", "effective", "permitted"):
            attacker.config["process"]["capabilities"][kind] += sorted(capabilities)
        attacker.namespace("pid", f"/proc/{victim.pid}/ns/pid")
        result = pyrun.run(attacker)
        assert "opened" not in result.out, capabilities
        assert str(pyrun.runtime) not in result.out


def test_init_is_not_seen_in_a_joined_pid_namespace(pyrun, bundle):
    """While containers are created in a hostile container's PID namespace, it sees none of the runtime's files."""
    attacker = bundle({"root": {"readonly": False}}, sh=LOOK)
    hostile = pyrun.start(attacker)
    victim = bundle()
    victim.namespace("pid", f"/proc/{hostile.pid}/ns/pid")
    for _ in range(15):
        pyrun.create(victim).delete("--force")
    (attacker.rootfs / "stop").touch()
    hostile.wait()
    seen = (attacker.rootfs / "seen").read_text().split("\n")
    assert "/bin/busybox" in seen  # it did see what it may
    assert not [each for each in seen if str(pyrun.runtime) in each or "pyrun" in each]
    hostile.delete()


@pytest.mark.parametrize("environment", [[], ["3=4"], ["99999999999999999999999"], ["p=1"], ["PATH=/bin"]])
def test_the_program_is_proc_self_exe(pyrun, bundle, environment):
    """A program /proc/self/exe is stage 2 again, with the container's rights only: it ends at once."""
    one = bundle({"process": {"env": environment}}).args("/proc/self/exe", "--version")
    result = pyrun.run(one)
    assert result.code == 127
    assert result.out == ""


def test_an_interpreter_line_of_proc_self_exe(pyrun, bundle):
    """The same by way of a script's first line."""
    one = bundle()
    one.script("/program", "#!/proc/self/exe\n")
    one.args("/program")
    result = pyrun.run(one)
    assert result.code == 127
    assert result.out == ""


def test_binary_is_unchanged_by_all_that(runtime):
    """Nothing here opens the runtime for writing; its file is still a program."""
    assert Path(runtime).read_bytes()[:4] == b"\x7fELF"
