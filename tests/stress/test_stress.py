"""Nothing is lost or left when the runtime is killed at random under load: the stress program, short."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import needs
import pytest
from bench.__main__ import V2_HOST
from bundles import Bundle, Pyrun

from . import census

REPOSITORY = Path(__file__).resolve().parents[2]
TIME_LIMIT = 200.0  # seconds until it is stopped, which it must never need
CONTAINERS, WORKERS, ALIVE = 60, 4, 20


@pytest.mark.parametrize("mode", ["host", "v2"])
def test_killed_at_random_under_load(mode: str, runtime: Path, tmp_path: Path) -> None:
    """Each living container is listed, has its state, takes execs; afterwards there is no cgroup, mount, process,
    descriptor, file, BPF program or keyring."""
    needs.root()
    needs.busybox()
    needs.program("busybox", "unshare")
    file = tmp_path / "result.json"
    count = CONTAINERS if mode == "host" else CONTAINERS // 2
    words = ["--containers", count, "--workers", WORKERS, "--alive", ALIVE, "--seconds", 20, "--kills", 0.3]
    argv = [*map(str, words), "--no-figures", "--runtime", str(runtime), "--json", str(file)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.stress", *argv, *["--v2"] * (mode == "v2")],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        process.terminate()  # it cleans up
        output, _ = process.communicate()
    print(output)  # has the seed
    assert process.returncode == 0, output
    result = json.loads(file.read_text())["killed"]
    assert sum(result["kills"].values()) > 5
    assert result["made"] >= count or result["seconds"] >= 20


def test_the_census_sees_what_a_container_has(pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    """So that "nothing is left" means something: all of it is seen while the container lives, and not afterwards."""
    before = census.keyrings()
    container = pyrun.start(bundle(sh="sleep 1000"))
    assert census.cgroups(container.id)
    assert [line for line in census.processes(container.id, []) if "sleep 1000" in line]
    assert census.files(pyrun.root, [".seccomp"])
    assert census.keyrings() - before
    container.delete("--force")
    assert not census.cgroups(container.id)
    assert not census.files(pyrun.root, [".seccomp"])
    assert not census.patiently(lambda: census.processes(container.id, [os.getpid()]))


SEES_PROGRAMS = """
import sys
sys.path.insert(0, "tests/stress")
import census
print(*sorted(census.bpf_programs()), sep=",")
"""


def test_the_census_sees_device_programs(pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    """Those of a container on a host with cgroup v2."""
    script = f'{V2_HOST.rpartition(" && ")[0]} && "$@" && {sys.executable} -c "$CENSUS"'
    pyrun.wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    environment = {"PATH": os.environ["PATH"], "CENSUS": SEES_PROGRAMS}
    container_id = pyrun.id()
    words = ["create", "--bundle", str(bundle(sh="sleep 1000").path), container_id]
    result = pyrun(*words, env=environment, cwd=REPOSITORY)
    assert "BPF program" in result.out, result
    assert pyrun("delete", "--force", container_id, env=environment, cwd=REPOSITORY).code == 0
