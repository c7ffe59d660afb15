"""What the steps of the build share: running commands, compiling C, and the one way to fail."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path


class Failed(Exception):
    """A step that can't be done; the text says why and, where known, what to install."""


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def run(command: list[str]) -> str:
    """Run a command; its output, or Failed with its last words."""
    try:
        done = subprocess.run(
            command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        raise Failed(f"{shlex.join(command)}\n{done.stdout}")
    return done.stdout


class Compiler:
    """A C compiler with its flags, that compiles only what changed."""

    def __init__(self, work: Path, flags: list[str]) -> None:
        self.work = work
        self.command = [*shlex.split(os.environ.get("CC") or "gcc"), *flags]

    def compile(self, path: Path, flags: list[str], depends: list[Path], name: str = "") -> Path:
        """The object file of a C or assembler source."""
        target = self.work / f"{name or path.stem}.o"
        key = hashlib.sha256(repr([self.command, flags, sys.version]).encode())
        for file in [path, *depends]:
            key.update(file.read_bytes())
        stamp = target.with_suffix(".stamp")
        if not target.is_file() or not stamp.is_file() or stamp.read_text() != key.hexdigest():
            say(f"compiling {path.name}")
            run([*self.command, *flags, "-c", "-o", str(target), str(path)])
            stamp.write_text(key.hexdigest())
        return target
