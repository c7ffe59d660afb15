"""A copy of the sources that a test may change and build, as a contributor would: its binary, and its library."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


class Tree:
    """The copy. `path` is its root; `binary` is there after `build`."""

    def __init__(self, path: Path) -> None:
        fetched = REPOSITORY / "build/obj/sources"
        if not fetched.is_dir():
            pytest.skip(f"needs {fetched}, which make downloads")
        self.path = path
        self.binary = path / "build/bin/pyrun"
        for folder in ("runtime", "spec"):
            shutil.copytree(REPOSITORY / folder, path / folder, ignore=shutil.ignore_patterns("__pycache__"))
        # What doesn't depend on our sources: the C sources of others, and installed packages.
        shutil.copytree(fetched, path / "build/obj/sources")
        shutil.copytree(REPOSITORY / "build/lib/pyrun", path / "build/lib/pyrun", symlinks=True)

    def insert(self, file: str, before: str, text: str) -> None:
        """Put a line into a file, before the only one that begins with `before`, and as far from the margin."""
        path = self.path / file
        lines = path.read_text().splitlines(keepends=True)
        (at,) = [number for number, line in enumerate(lines) if line.lstrip().startswith(before)]
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        path.write_text("".join([*lines[:at], indent + text, *lines[at:]]))

    def write(self, file: str, text: str) -> None:
        """Make a file that isn't there yet."""
        with (self.path / file).open("x") as new:
            new.write(text)

    def build(self) -> None:
        """What `make` does."""
        build = [sys.executable, "-X", "no_debug_ranges", self.path / "runtime/launcher/build.py"]
        done = subprocess.run(
            [*build, "--output", self.binary, "--library", self.path / "build/lib/pyrun"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def run(self, *arguments: str) -> str:
        """What the binary prints; it must succeed."""
        done = subprocess.run([self.binary, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout
