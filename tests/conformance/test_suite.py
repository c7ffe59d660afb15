"""The whole suite against pyrun and runc, on this host and on a pure cgroup v2 one: nothing but what is known fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import needs
import pytest

from .conftest import REPOSITORY, Ran, environment


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("v2", [False, True], ids=["host", "v2"])
@pytest.mark.parametrize("name", ["pyrun", "runc"])
def test_nothing_unexpected(
    suite: Callable[..., Ran],
    runtime: Path,
    tmp_path: Path,
    name: str,
    v2: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name == "runc":
        needs.program("runc")
    path = runtime if name == "pyrun" else Path(shutil.which("runc") or "")
    # What becomes of a runc that is killed depends on the moment.
    chosen = ("spec",) if v2 else ("spec", "hardening", *(("robustness",) if name == "pyrun" else ()))
    profiles = [word for profile in chosen for word in ("--profile", profile)]
    out = tmp_path / "report"
    ran = suite(
        path, *profiles, "--expect", name, "--level", "may", "--out", str(out), "--test-timeout", "200",
        v2=v2, timeout=1150,
    )  # fmt: skip
    assert ran.results("fail", "error", "xpass") == {}
    assert (ran.code, ran.footer["complete"]) == (0, True)
    assert ran.header["host"]["cgroups"] == "v2" or not v2
    assert {path.name for path in out.iterdir()} >= {
        "report.html",
        "junit.xml",
        "results.tap",
        "results.yaml",
    }
    skipped = Counter(ran.results("skip").values())
    with capsys.disabled():  # what this host can't show is part of what CI says
        print(
            f"\n{name} {'v2' if v2 else 'host'}: {ran.footer['seconds']} s, {len(ran.results('pass'))} passed"
        )
        for reason, count in skipped.most_common():
            print(f"  {count} skipped: {reason}")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("v2", [False, True], ids=["host", "v2"])
@pytest.mark.parametrize("name", ["pyrun", "runc"])
def test_habits(suite: Callable[..., Ran], runtime: Path, name: str, v2: bool) -> None:
    """What engines rely on beside the specification: a runtime has it, or it is known not to."""
    if name == "runc":
        needs.program("runc")
    path = runtime if name == "pyrun" else Path(shutil.which("runc") or "")
    ran = suite(
        path, "--profile", "habits", "--expect", name, "--level", "may", "--test-timeout", "200",
        v2=v2, timeout=350,
    )  # fmt: skip
    assert ran.results("fail", "error", "xpass") == {}
    assert (ran.code, ran.footer["complete"]) == (0, True)
    assert len(ran.results("pass")) > 100


def test_installs_alone(tmp_path: Path) -> None:
    """With pip, into an empty environment, without the runtime."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run(
        [
            tmp_path / "venv/bin/pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            REPOSITORY / "conformance",
        ],
        check=True,
        cwd=tmp_path,
    )
    script = (
        "import oci_conformance.main, sys; assert not any(name.startswith('pyrun') for name in sys.modules)"
    )
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([tmp_path / "venv/bin/python", "-c", script], check=True, env=clean, cwd=tmp_path)
    done = subprocess.run(
        [tmp_path / "venv/bin/oci-conformance", "list", "-k", "user.ids"],
        check=True, capture_output=True, text=True, env=clean, cwd=tmp_path,
    )  # fmt: skip
    assert "user.uid" in done.stdout


@pytest.mark.timeout(600)
def test_sample_of_mutants(runtime: Path, tmp_path: Path) -> None:
    """Every mutant of a sample is noticed."""
    needs.root()
    done = subprocess.run(
        [REPOSITORY / "build/bin/oci-conformance", "mutants", "--runtime", runtime, "--sample", "12"],
        capture_output=True, text=True, timeout=550, env=environment(tmp_path), check=False,
    )  # fmt: skip
    survivors = [line for line in done.stdout.splitlines() if line.startswith("survived")]
    assert survivors == []
    assert done.returncode == 0, done.stdout + done.stderr
