"""The conformance suite as a user calls it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import needs
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SUITE = REPOSITORY / "build/bin/oci-conformance"
# A pure v2 host on a hybrid one: only the command and what it starts see it.
V2_HOST = 'umount --lazy /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'


@dataclass(frozen=True)
class Ran:
    """A finished run of the suite."""

    code: int
    records: list[dict[str, Any]]
    stderr: str

    @property
    def header(self) -> dict[str, Any]:
        return self.records[0]

    @property
    def footer(self) -> dict[str, Any]:
        return self.records[-1]

    def results(self, *statuses: str) -> dict[str, str]:
        """test:id -> what is said of it, for results of these statuses."""
        return {
            f"{record['test']}:{result['id']}": result.get("reason") or result.get("seen", "")
            for record in self.records
            if record["type"] == "test"
            for result in record["results"]
            if result["status"] in statuses
        }


def environment(tmp_path: Path) -> dict[str, str]:
    """Everything that the suite makes is below `tmp_path`."""
    return {**os.environ, "TMPDIR": str(tmp_path)}


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that other users may enter, as containers with a user namespace have to; pytest's own nobody may."""
    with tempfile.TemporaryDirectory(prefix="o-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., Ran]:
    """Run the suite against a runtime; `v2` puts it on a host that has cgroup v2 alone."""
    needs.root()

    def run(runtime: Path | str, *arguments: str, v2: bool = False, timeout: float = 250) -> Ran:
        command = [str(SUITE), "run", "--runtime", str(runtime), "--format", "json", *arguments]
        if v2:
            command = ["unshare", "-m", "--propagation", "private", "sh", "-c", V2_HOST, "sh", *command]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=environment(tmp_path), check=False
        )
        records = [json.loads(line) for line in done.stdout.splitlines()]
        return Ran(done.returncode, records, done.stderr)

    return run


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Neither files nor processes nor cgroups of the suite are there after a test."""
    before = cgroups()
    yield
    assert not list(tmp_path.glob("oci-conformance-*"))
    assert not processes(str(tmp_path))
    assert not cgroups() - before


def cgroups() -> set[str]:
    """Cgroups of workers that aren't alive; other runs of the suite may be under way."""
    return {
        f"{folder}/{name}"
        for folder, names, _ in os.walk("/sys/fs/cgroup")
        for name in names
        if name.startswith("oci-conformance-") and not Path(f"/proc/{name.split('-')[2]}").exists()
    }


def processes(text: str) -> list[int]:
    """Processes with a text in their command line, but for this one's ancestors."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if text in line and "pytest" not in line:
            found.append(int(path.parent.name))
    return found
