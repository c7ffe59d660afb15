"""Machines that forbid executable files of memory: sysctl vm.memfd_noexec=2. Each PID namespace has its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import needs
import pytest
from bundles import CALLER

SWITCH = Path("/proc/sys/vm/memfd_noexec")


@pytest.fixture
def forbidden(pyrun):
    """Runs a script in a PID namespace of its own, where executable files of memory are forbidden: `rt` is the runtime,
    with a root of its own. What it writes on stdout and stderr."""
    needs.program("unshare")
    if not SWITCH.exists():
        pytest.skip("needs Linux 6.3 for vm.memfd_noexec")
    before = SWITCH.read_text()

    def run(script: str) -> str:
        rt = f'rt() {{ "{pyrun.runtime}" --root "{pyrun.folder}/inner" "$@"; }}\n'
        argv = ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-ec", f"echo 2 > {SWITCH}\n{rt}{script}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=CALLER, check=False)
        return done.stdout + done.stderr

    yield run
    assert SWITCH.read_text() == before


@pytest.mark.parametrize("user_namespace", [False, True], ids=["root", "user-namespace"])
def test_a_container_runs(forbidden, pyrun, bundle, user_namespace):
    """Containers are made, hooks get their state, and programs run."""
    needs.user_namespaces()
    one = bundle(sh=f"cat {SWITCH}; echo ran")
    if user_namespace:
        one.user_namespace()
    one.hook("createRuntime", "grep -q ociVersion").hook("startContainer", "grep -q ociVersion")
    assert forbidden(f"rt run -b {one.path} {pyrun.id()}") == "2\nran\n"


def test_exec_runs(forbidden, pyrun, bundle):
    """exec, too."""
    one, name = bundle().args("sleep", "1000"), pyrun.id()
    script = f"rt run -d -b {one.path} {name} </dev/null >/dev/null 2>&1; rt exec {name} echo ran; rt delete -f {name}"
    assert forbidden(script) == "ran\n"


def test_the_file_cant_be_written(forbidden, pyrun, bundle):
    """/proc/PID/exe of a created container is on a file system that is read-only for good, and nobody's to mount."""
    one, name = bundle(), pyrun.id()
    pid = pyrun.folder / "pid"
    script = f"""
    rt create -b {one.path} --pid-file {pid} {name} </dev/null >/dev/null 2>&1
    exe=/proc/$(cat {pid})/exe
    stat -Lc %a $exe
    sh -c ": 3<>$exe" 2>&1 || echo refused
    mount -o remount,rw $exe /mnt 2>/dev/null || echo refused
    rt delete -f {name}
    """
    lines = forbidden(script).splitlines()
    assert lines[0] == "111"
    assert lines[-2:] == ["refused", "refused"], lines
    assert "Read-only file system" in lines[1], lines
