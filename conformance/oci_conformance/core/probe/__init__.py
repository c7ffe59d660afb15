"""The probe: one static C program that the suite runs inside containers, and what it prints.

`binary()` is the program for this machine, compiled when it is first wanted; `parse()` reads its output. The commands
are listed at the end of probe.c.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from oci_conformance.core.bundle import Json

HERE = Path(__file__).parent
SOURCE = HERE / "probe.c"
FLAGS = ("-O2", "-static", "-std=gnu11", "-Wall", "-Wextra")
LINKING = ("-Wl,-z,norelro",)  # so that a program under a seccomp profile without mprotect starts, too
SECONDS = 120  # for compiling
WANTED = "the probe needs a C compiler with a static libc (Debian: gcc libc6-dev)"


class ProbeError(Exception):
    """One sentence: why there is no probe, or why its output can't be read."""


def compiler() -> list[str]:
    """The command of the C compiler: $CC, cc or gcc."""
    named = shlex.split(os.environ.get("CC", ""))
    candidates = [named] if named else [["cc"], ["gcc"]]
    for command in candidates:
        if shutil.which(command[0]):
            return command
    missing = " and no ".join(command[0] for command in candidates)
    raise ProbeError(f"{WANTED}: there is no {missing}")


def build(output: Path) -> None:
    """Compile the probe to `output`, which appears whole or not at all."""
    command = compiler()
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=output.parent) as folder:
        made = Path(folder) / "probe"
        try:
            subprocess.run(
                [*command, *FLAGS, *LINKING, "-o", str(made), str(SOURCE)],
                check=True,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
            )
        except subprocess.CalledProcessError as error:
            said = error.stderr.strip().splitlines()
            raise ProbeError(f"{WANTED}: {command[0]}: {said[-1] if said else error.returncode}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ProbeError(f"compiling the probe with {command[0]}: {error}") from error
        made.chmod(0o755)
        made.rename(output)


def cache() -> Path:
    """The folder for compiled probes, made if it isn't there; only its owner, us, may write into it."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
        folder /= "oci-conformance"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except (OSError, RuntimeError) as error:
        raise ProbeError(f"the cache folder of the probe: {error}") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ProbeError(f"{folder} must be a folder that only its owner, user {os.geteuid()}, can write to")
    return folder


def binary() -> Path:
    """The probe for this machine: the one that was built into the package, or one compiled into the cache."""
    built_in = HERE / f"probe-{platform.machine()}"
    if os.access(built_in, os.X_OK):
        return built_in
    recipe = "\0".join([SOURCE.read_text(), *FLAGS, *LINKING, platform.machine()])
    path = cache() / f"probe-{hashlib.sha256(recipe.encode()).hexdigest()}"
    if not path.exists():
        build(path)
    return path


def parse(output: str | bytes) -> list[Json]:
    """The lines that the probe printed, in order.

    Lines that aren't the probe's own are passed over, as is a last line cut short: whoever shares its standard output,
    or kills it, must not make the rest unreadable. Bytes that aren't UTF-8 come as the characters U+0080 to U+00FF.
    """
    text = output.decode("utf-8", "replace") if isinstance(output, bytes) else output
    lines = text.split("\n")
    found = []
    for number, line in enumerate(lines, 1):
        if not line.startswith('{"command":'):
            continue
        try:
            found.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise ProbeError(f"line {number} of the probe's output isn't JSON: {error}") from error
    return found
