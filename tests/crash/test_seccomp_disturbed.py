"""The seccomp compiler and its cache when something goes wrong: nothing runs on, and nothing is left or fails by it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import needs
import pytest
from bundles import Bundle, Config, Pyrun, eventually

Make = Callable[..., Bundle]


def profile(names: int, name: str = "no_such_call") -> Config:
    """A profile with very many names."""
    rule = {"names": [name] * names, "action": "SCMP_ACT_ALLOW"}
    return {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_LOG", "syscalls": [rule]}}}


def compilers(parent: int) -> list[int]:
    """The compiler's processes below one."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and b"seccomp-compile" in Path(f"/proc/{name}/cmdline").read_bytes():
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == parent and fields[0] not in "ZX":
                    found.append(int(name))
        except OSError:
            continue
    return found


def test_the_compiler_dies_with_a_killed_create(pyrun: Pyrun, bundle: Make) -> None:
    """Who compiles for nobody stops at once, however much there is to do."""
    one = bundle(profile(100_000, "read"))  # minutes of work
    process = pyrun.popen(
        "create", "--bundle", str(one.path), pyrun.id(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    (compiler,) = eventually(lambda: compilers(process.pid), "nothing is compiled", 30)
    fd = os.pidfd_open(compiler)
    process.kill()
    process.wait()
    try:
        eventually(lambda: select.select([fd], [], [], 0)[0], "it goes on")
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.close(fd)


SMALL = (
    'mount -t tmpfs -o size="$1"k tmpfs "$2" || exit 99; chmod 700 "$2"; '
    '[ "$3" = cached ] || : > "$2/.seccomp"; '
    '"$4" --root "$2" create --bundle "$5" "$6"; code=$?; '
    'ls -A "$2/.seccomp/" 2>/dev/null | grep -F . | sed s/^/LEFT:/; '
    '"$4" --root "$2" delete --force "$6"; exit $code'
)


@pytest.mark.parametrize("size", range(24, 140, 12))
def test_the_cache_takes_no_room_that_a_container_needs(pyrun: Pyrun, bundle: Make, size: int) -> None:
    """On a state root with little room a create fits with a cache if it fits without, and no half of a file is left."""
    needs.program("unshare", "mount")
    one = bundle(profile(1500))
    pyrun.root.mkdir()
    results = []
    for cached in ("cached", "uncached"):
        container_id = pyrun.id()
        argv = [
            "sh",
            "-c",
            SMALL,
            "sh",
            str(size),
            str(pyrun.root),
            cached,
            str(pyrun.runtime),
            str(one.path),
        ]
        result = subprocess.run(
            ["unshare", "-m", "--propagation", "private", *argv, container_id],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode in (0, 1), result
        assert "LEFT" not in result.stdout, result
        assert "Traceback" not in result.stderr
        pyrun.assert_gone(container_id)
        results.append(result.returncode)
    assert results[0] == results[1]
