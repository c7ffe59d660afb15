"""A failure can be made again, by the command that the report names, and looked at while everything is in place."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import REPOSITORY, SUITE, Ran, environment


@pytest.fixture
def broken(tmp_path: Path, runtime: Path) -> Path:
    """pyrun, but for deletion."""
    path = tmp_path / "broken"
    path.write_text(
        f'#!/bin/sh\ncase " $* " in *" delete oc-"*) echo boom >&2; exit 3;; esac\nexec {runtime} "$@"\n'
    )
    path.chmod(0o755)
    return path


def test_a_failure_is_made_again_by_its_command(
    suite: Callable[..., Ran], broken: Path, tmp_path: Path
) -> None:
    ran = suite(broken, "-k", "=user.umask and not combinations", "--jobs", "1")
    (record,) = [each for each in ran.records if each.get("test") == "user.umask"]
    command = shlex.split(record["repeat"][0])
    assert command[:2] == ["oci-conformance", "repeat"]
    with subprocess.Popen(
        [SUITE, *command[1:]],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(tmp_path), cwd=REPOSITORY,
    ) as again:  # fmt: skip
        assert again.stdin is not None
        assert again.stdout is not None
        lines = list(iter(again.stdout.readline, "# Press Enter to clean up.\n"))
        (result,) = record["results"]
        assert f"expected  {result['expected']}\n" in lines
        assert f"seen      {result['seen']}\n" in lines
        assert any(" delete oc-" in line and line.endswith("# exit code 3\n") for line in lines)
        (folder,) = [line[3:].strip() for line in lines if line.startswith("cd ")]
        assert (Path(folder) / "0/config.json").exists()
        again.stdin.write("\n")
        again.stdin.close()
        assert again.wait(60) == 1
    assert not Path(folder).exists()


def test_what_passes_is_told(runtime: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [SUITE, "repeat", "user.umask", "--test", "user.umask", "--runtime", runtime],
        capture_output=True, text=True, timeout=60, env=environment(tmp_path), check=False, input="",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "user.umask: pass\n")


def test_an_unknown_requirement_is_named(runtime: Path) -> None:
    done = subprocess.run(
        [SUITE, "repeat", "no.such", "--runtime", runtime], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no test of 'no.such'" in done.stderr
