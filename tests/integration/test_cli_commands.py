"""The binary's commands of the full interpreter, and the way there and back."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import Bundle, Pyrun

from oci_spec import defaults, features

Make = Callable[..., Bundle]


@pytest.fixture
def run(runtime: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the binary in an empty environment, in a folder of planted modules."""
    for name in ("os", "json", "re", "click", "pyrun", "oci_spec"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')")

    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PYTHONPATH": str(tmp_path),
            "PYTHONHOME": "/nonexistent",
            "LD_PRELOAD": "/nonexistent",
            **more,
        }
        return subprocess.run(
            [runtime, *arguments],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return call


def test_alone_it_explains_itself(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    alone, help_ = run(), run("--help")
    assert (alone.returncode, alone.stderr) == (0, "")
    assert alone.stdout.startswith("Usage: pyrun [GLOBAL OPTIONS] COMMAND")
    assert help_.stdout == alone.stdout == run("help").stdout
    assert run("create", "--help").stdout == run("help", "create").stdout != alone.stdout


def test_usage_errors(run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    done = run("--log", f"{tmp_path}/log", "--log-format", "json", "create", "--bundel", "b", "x")
    assert (done.returncode, done.stdout) == (1, "")
    sentence = "create: no such option: --bundel (did you mean --bundle?)"
    assert done.stderr == f"pyrun: {sentence}\n"
    record = json.loads((tmp_path / "log").read_text())
    assert (record["level"], record["msg"]) == ("error", sentence)


def test_version_among_other_words(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert run("--debug", "-v", "create").stdout == run("--version").stdout


def test_spec(run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    done = run("spec", "--bundle", str(bundle))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert json.loads((bundle / "config.json").read_text()) == defaults.document()
    again = run("spec", "--rootless", "-b", str(bundle))
    assert again.returncode == 1
    assert (
        again.stderr == f"pyrun: {bundle}/config.json exists already and stays as it is (remove it first)\n"
    )
    assert json.loads((bundle / "config.json").read_text()) == defaults.document()
    printed = run("spec", "--rootless", "--file", "-")
    assert json.loads(printed.stdout) == defaults.document((os.geteuid(), os.getegid()))
    assert run("spec", "-b", f"{tmp_path}/no").stderr.startswith("pyrun: writing the configuration: ")


def test_spec_does_not_follow_a_link(
    run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "config.json").symlink_to(tmp_path / "elsewhere")
    assert run("spec").returncode == 1
    assert not (tmp_path / "elsewhere").exists()


def test_features(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = run("features")
    assert (done.returncode, done.stderr) == (0, "")
    features.parse(json.loads(done.stdout))


def test_validate(run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    assert run("spec").returncode == 0
    (tmp_path / "rootfs").mkdir()
    done = run("validate")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path}/config.json is valid\n", "")
    (tmp_path / "config.json").write_text("{}")
    done = run("validate", "--format", "json", str(tmp_path))
    assert done.returncode == 1
    assert {one["path"] for one in json.loads(done.stdout)} >= {"ociVersion", "root"}


@pytest.mark.parametrize("line", ["--help", "features", "spec --file -", "completion bash", "help run"])
def test_a_reader_that_goes_away(runtime: Path, line: str) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as pipe:
        done = subprocess.run([runtime, *line.split()], stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert done.stderr == b""


def test_unusual_but_right_lines_run(pyrun: Pyrun, bundle: Make) -> None:
    """Through click and back to the binary; signals that the full interpreter ignores are as they were."""
    made = bundle(sh="grep SigIgn /proc/self/status; echo $PYRUN_BINARY; ls /proc/self/fd")
    plain = pyrun.output(made)
    container_id = pyrun.id()
    unusual = pyrun("run", f"-b{made.path}", container_id)
    assert (unusual.code, unusual.err) == (0, "")
    assert unusual.out == plain
    assert "SigIgn:\t0000000000000000" in plain


def test_hostile_binary_variable(pyrun: Pyrun, bundle: Make) -> None:
    container_id = pyrun.id()
    environment = {"PYRUN_BINARY": "/nonexistent", "PATH": "/bin"}
    done = pyrun("run", f"-b{bundle(sh='echo right').path}", container_id, env=environment)
    assert (done.code, done.out, done.err) == (0, "right\n", "")


def test_regex(pyrun: Pyrun, bundle: Make) -> None:
    made = bundle(sh="sleep 1000")
    first, second = pyrun.start(made), pyrun.start(made)
    pyrun.ok("kill", "--regex", f"^{first.id}$", "KILL")
    first.wait()
    assert second.status == "running"
    assert (
        pyrun.error("kill", "-r", "pyrun-test", "KILL") == f'container not running: "{first.id}" is stopped'
    )
    second.wait()
    pyrun.ok("delete", "--regex", "^pyrun-.*t")
    pyrun.assert_gone(first.id, second.id)
    assert pyrun.error("delete", "--regex", "^pyrun") == '--regex: "^pyrun" is found in no container\'s id'
    pyrun.ok("delete", "--force", "--regex", "^pyrun")
    assert pyrun.error("kill", "--regex", "(").startswith('--regex: "(" is not a regular expression: ')
