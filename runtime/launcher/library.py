"""The folder that the full interpreter runs from: lib/pyrun beside the binary's bin.

It holds our sources, the packages that help, validate and the seccomp compiler want, our kernel module as a shared
library, and a module `_pyrun_build` that tells what the one in the binary tells.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def write_modules(folder: Path, kernel: Path, facts: dict[str, str | bytes]) -> None:
    """Put what is compiled into `folder`: the kernel module, and `_pyrun_build` with the facts of the build."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(kernel, folder / kernel.name)
    lines = [f"{name} = {value!r}" for name, value in facts.items()]
    (folder / "_pyrun_build.py").write_text("\n".join(['"""The facts of this build."""', "", *lines, ""]))


def write_sources(folder: Path, roots: list[Path]) -> None:
    """Copy our packages from `roots`, anew: no file stays that is gone from the tree."""
    for root in roots:
        for package in sorted(path.parent for path in root.glob("*/__init__.py")):
            target = folder / package.name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(package, target, ignore=shutil.ignore_patterns("__pycache__", "*.c", "*.h"))
            for path in (target, *target.rglob("*")):  # a clone made under umask 077 is for its owner alone
                path.chmod(0o755 if path.is_dir() else 0o644)


def write_dependencies(folder: Path, requirements: Path) -> None:
    """Install the pinned packages into `folder`; nothing to do when they are there already."""
    stamp = folder / ".requirements"
    key = sys.version + requirements.read_text()
    if stamp.is_file() and stamp.read_text() == key:
        return
    shutil.rmtree(folder, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
    ]
    subprocess.run([*command, "--target", str(folder), "--requirement", str(requirements)], check=True)
    shutil.rmtree(folder / "bin", ignore_errors=True)
    stamp.write_text(key)


def compile_all(folder: Path) -> None:
    """Write the bytecode of everything, valid without a look at the source: nothing is written there later on."""
    command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder)]
    subprocess.run(command, check=True)
