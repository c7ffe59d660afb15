"""Completion scripts, asked by the shells themselves."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrun.commandline.table import COMMANDS, GLOBAL, HIDDEN
from pyrun.commands import completion
from pyrun.commands.kill import NAMES

SHOWN = {name for name in COMMANDS if name not in HIDDEN}
Ask = Callable[[str], set[str]]

FAKE = '#!/bin/sh\n[ "$*" = "--root /r list --quiet" ] && echo in-r || printf "one\\ntwo\\n"\n'
BASH = r"""
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_pyrun
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "file").touch()
    program = tmp_path / "bin/pyrun"
    program.parent.mkdir()
    program.write_text(FAKE)
    program.chmod(0o755)
    return tmp_path


def run(folder: Path, *command: str) -> str:
    path = f"{folder}/bin:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(folder), "LC_ALL": "C"}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def in_bash(folder: Path) -> Ask:
    script = folder / "pyrun.bash"
    script.write_text(completion.bash())

    def ask(line: str) -> set[str]:
        words = line.replace("=", " = ").split(" ")
        if words[-1] == "" and line.endswith("="):  # the cursor is right behind it
            words.pop()
        return set(run(folder, "bash", "--norc", "-c", BASH, "bash", str(script), *words).split())

    return ask


def in_fish(folder: Path) -> Ask:
    script = folder / "pyrun.fish"
    script.write_text(completion.fish())

    def ask(line: str) -> set[str]:
        lines = run(
            folder, "fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"
        ).splitlines()
        return {one.partition("\t")[0].rstrip("/") for one in lines}

    return ask


@pytest.fixture(params=["bash", "fish"])
def ask(request: pytest.FixtureRequest, folder: Path) -> Ask:
    if not shutil.which(request.param):
        pytest.skip(f"needs {request.param}, which is not installed")
    return {"bash": in_bash, "fish": in_fish}[request.param](folder)


def test_commands_and_options(ask: Ask) -> None:
    assert ask("pyrun ") >= SHOWN
    assert not ask("pyrun ") & set(HIDDEN)
    assert ask("pyrun cr") == {"create"}
    assert ask("pyrun --") >= {option[0][0] for option in GLOBAL}
    assert ask("pyrun --debug list --") == {"--format", "--quiet", "--help"}


def test_values(ask: Ask) -> None:
    assert ask("pyrun --log-format ") == {"text", "json"}
    assert ask("pyrun list -f ") == {"table", "json"}
    assert ask("pyrun completion ") == {"bash", "zsh", "fish"}
    assert ask("pyrun help ") >= SHOWN
    assert ask("pyrun kill -a x ") - {"one", "two"} == set(NAMES)  # fish doesn't count arguments


def test_files_and_folders(ask: Ask) -> None:
    assert {"sub", "file"} <= ask("pyrun create -f ")
    assert ask("pyrun create --bundle su") == {"sub"}
    assert ask("pyrun validate su") == {"sub"}
    assert ask("pyrun create --preserve-fds ") == set()


def test_container_ids(ask: Ask) -> None:
    assert ask("pyrun start ") == {"one", "two"}
    assert ask("pyrun --root /r --log x delete -f ") == {"in-r"}


def test_bash_and_equals(folder: Path) -> None:
    ask = in_bash(folder)
    assert ask("pyrun create --bundle=s") == {"sub"}
    assert ask("pyrun create --bundle=") == {"sub", "bin"}
    assert ask("pyrun --root=/r kill ") == {"in-r"}
    assert ask("pyrun --log-format=json li") == {"list"}


def test_bash_script_is_clean(folder: Path) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("needs shellcheck, which is not installed")
    (folder / "pyrun.bash").write_text(completion.bash())
    assert run(folder, "shellcheck", "-s", "bash", "pyrun.bash") == ""


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("pyrun feat", "pyrun features"),
        ("pyrun --debug create --pid-f", "pyrun --debug create --pid-file="),
        ("pyrun list -f js", "pyrun list -f json"),
        ("pyrun --root /r delete in", "pyrun --root /r delete in-r"),
        ("pyrun validate su", "pyrun validate sub/"),
    ],
)
def test_zsh(line: str, completed: str, folder: Path) -> None:
    """zsh completes only where it has a terminal."""
    if not shutil.which("zsh"):
        pytest.skip("needs zsh, which is not installed")
    (folder / "functions").mkdir()
    (folder / "functions/_pyrun").write_text(completion.zsh())
    (folder / ".zshrc").write_text(
        "PS1=; fpath=(~/functions $fpath); autoload -Uz compinit; compinit -D -u; stty cols 200; echo ready\n"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        path = f"{folder}/bin:{os.environ['PATH']}"
        os.execvpe(
            "zsh", ["zsh", "-i"], {"PATH": path, "HOME": str(folder), "ZDOTDIR": str(folder), "TERM": "dumb"}
        )
    try:
        read_until(terminal, "ready")
        os.write(terminal, f"{line}\t".encode())
        read_until(terminal, completed)
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


def read_until(terminal: int, text: str) -> None:
    """Read a terminal until a text has come."""
    seen, end = "", time.monotonic() + 20
    while text not in seen:
        assert select.select([terminal], [], [], max(0, end - time.monotonic()))[0], (
            f"no {text!r} in {seen!r}"
        )
        seen += os.read(terminal, 65536).decode(errors="replace")
