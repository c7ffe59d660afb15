"""Disturb a command of the runtime at one system call: fault.c, and what is measured with it.

A point is (process, call): the call-th system call of the process-th process, 0 being the command itself. `record`
finds how many there are, `points` chooses among them.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundles import CALLER, Bundle, Config, Pyrun

TIME_LIMIT = 30.0
Point = tuple[int, int]


def points_wanted(ordinary: int) -> int:
    """How many points a test takes: `ordinary`, or what $PYRUN_CRASH_POINTS says (a number or "all")."""
    text = os.environ.get("PYRUN_CRASH_POINTS", "")
    return 1 << 30 if text == "all" else int(text) if text else ordinary


@functools.cache
def call_numbers() -> dict[str, int]:
    """System call name -> number on this machine, from the C library's headers."""
    source = "#include <sys/syscall.h>\n"
    text = subprocess.run(
        ["gcc", "-E", "-dM", "-"], input=source, capture_output=True, text=True, check=True
    ).stdout
    return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)\n", text)}


@functools.cache
def _call_names() -> dict[int, str]:
    return {number: name for name, number in call_numbers().items()}


def call_name(number: int) -> str:
    """The name of a system call."""
    return _call_names().get(number, str(number))


@dataclass
class Ended:
    """How a disturbed command ended, and the names of its system calls by process."""

    code: int
    err: str
    calls: list[list[str]]

    def at(self, point: Point) -> str:
        """The system call at a point, for messages."""
        process, call = point
        return (
            self.calls[process][call - 1]
            if process < len(self.calls) and call <= len(self.calls[process])
            else "?"
        )


class Faults:
    """Runs command lines of the runtime under fault.c."""

    def __init__(self, program: Path, pyrun: Pyrun, folder: Path) -> None:
        self.program = program
        self.pyrun = pyrun
        self.log = folder / "calls.log"
        self.err = folder / "stderr"

    def _run(self, how: Sequence[str], arguments: Sequence[str], pyrun: Pyrun | None = None) -> Ended:
        pyrun = pyrun or self.pyrun
        argv = [
            *pyrun.wrapper,
            str(self.program),
            str(self.log),
            *how,
            str(pyrun.runtime),
            "--root",
            str(pyrun.root),
            *arguments,
        ]
        with self.err.open("wb") as err:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err, env=CALLER
            )
            try:
                process.wait(TIME_LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError(f"{how} {arguments}: not done after {TIME_LIMIT} s") from None
        assert process.returncode != 125, "fault.c failed"
        return Ended(process.returncode, self.err.read_text(errors="replace"), self._calls())

    def _calls(self) -> list[list[str]]:
        calls: list[list[str]] = []
        for line in self.log.read_text().splitlines():
            process, number = map(int, line.split())
            while len(calls) <= process:
                calls.append([])
            calls[process].append(call_name(number))
        return calls

    def record(self, *arguments: str) -> Ended:
        """Run a command undisturbed."""
        return self._run(["-1", "0", "none"], arguments)

    def at(self, point: Point, action: str, *arguments: str) -> Ended:
        """Run a command, and do `action` ("kill", "signal:15", "error:28") at a point."""
        return self._run([str(point[0]), str(point[1]), action], arguments)

    def without(self, errors: dict[str, int], *arguments: str) -> Ended:
        """Run a command on a kernel whose calls of these names fail with these errnos."""
        text = ",".join(f"{call_numbers()[name]}={number}" for name, number in errors.items())
        return self._run(["always", text], arguments)


# Not worth a point: they neither change anything nor can fail in life.
DULL = ("brk", "exit_group", "exit", "rt_sigreturn", "getpid", "gettid", "clock_gettime", "getrandom")


def points(calls: list[list[str]], wanted: int, skip: Sequence[str] = DULL) -> list[Point]:
    """Choose points: of hooks up to execve (what follows is not ours); each kind of call once
    at least, the rest spread evenly. The processes get shares by their length."""
    possible: list[Point] = []
    first: list[Point] = []
    for process, names in enumerate(calls):
        begin = names.index("execve") + 1 if process == 0 and "execve" in names else 0
        end = ("execve", "execveat") if process > 1 else ("execve",)
        seen = set()
        for at in range(begin, len(names)):
            name = names[at]
            if name not in skip:
                possible.append((process, at + 1))
                if name not in seen:
                    seen.add(name)
                    first.append((process, at + 1))
            if name in end:
                break
    if wanted >= len(possible):
        return possible
    spread = [possible[number * len(possible) // wanted] for number in range(wanted)]
    if len(first) > wanted // 2:
        first = first[:: 2 * len(first) // wanted + 1]
    chosen = set(first) | set(spread[:: max(1, wanted // max(1, wanted - len(first)))])
    return sorted(chosen)


def rich_config(container_id: str, marks: Path) -> Callable[[Config], None]:
    """A change that makes a configuration use all kinds of things that could be left behind."""

    def hook(kind: str) -> list[Config]:
        if kind == "startContainer":
            return [{"path": "/bin/sh", "args": ["sh", "-c", "exit 0"], "timeout": 20}]
        # argv[0] has the id, so that a hook that is left behind is found
        return [
            {"path": "/bin/sh", "args": [f"{container_id} ", "-c", f"echo {kind} >> {marks}"], "timeout": 20}
        ]

    def change(config: Config) -> None:
        kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
        config["hooks"] = {kind: hook(kind) for kind in kinds}
        linux = config["linux"]
        # the folders above are made too, and must go too
        linux["cgroupsPath"] = f"/{container_id}/below/{container_id}"
        linux.setdefault("resources", {}).update(
            memory={"limit": 64 << 20}, cpu={"shares": 512}, pids={"limit": 100}
        )
        linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
        linux["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]
        config["root"]["readonly"] = True

    return change


def one_sentence(text: str) -> bool:
    """Is this what a failing command may say: one line, and none of a bug?"""
    lines = [line for line in text.splitlines() if not line.startswith("pyrun: warning: ")]
    return (
        len(lines) == 1
        and lines[0].startswith("pyrun: ")
        and "internal error" not in text
        and "Traceback" not in text
    )


def temporary_files(pyrun: Pyrun, bundle: Bundle) -> list[str]:
    """Files that were to be renamed or removed: beside pid file and configuration, and in the root folder."""
    folders = [bundle.path, pyrun.root, pyrun.root / ".seccomp"]
    found = [path for folder in folders if folder.exists() for path in folder.iterdir()]
    usual = {"rootfs", "config.json", "pid", ".seccomp"}
    return [
        str(path)
        for path in found
        if path.name not in usual
        and (path.parent.name != ".seccomp" or "." in path.name or "new" in path.name)
    ]
