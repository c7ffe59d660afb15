"""The runtime under test: its command line, called with a time limit, each call kept for the report.

Differences between command lines are in adapters/*.toml. A runtime that hangs is killed by its pid, with all that it
started; one that can't be executed, or prints rubbish, gives a `Call` that says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from oci_conformance.core import kernel
from oci_conformance.core.bundle import Json
from oci_conformance.core.records import CallRecord

LIMIT = 10.0  # seconds for one call, unless --timeout says otherwise
OUTPUT = 1 << 20  # bytes that are read of what a call prints
NOT_EXECUTED = -1000  # code of a call whose program could not be started
TIMED_OUT = -1001  # code of a call that was killed because it took too long


class AdapterError(Exception):
    """An adapter that can't be used, in one sentence."""


@dataclass(frozen=True)
class Call:
    """One call of the runtime."""

    operation: str
    argv: tuple[str, ...]
    code: int  # exit code; negative: the signal, or one of the two above
    stdout: str
    stderr: str
    seconds: float

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def sentence(self) -> str:
        """What the runtime said of a failure, in one line."""
        if self.code == TIMED_OUT:
            return f"it did not return within {self.seconds:.0f} s and was killed"
        lines = [line for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        said = lines[-1].strip()[:500] if lines else "it said nothing"
        return f"{said} (exit code {self.code})" if self.code >= 0 else f"{said} (signal {-self.code})"

    def record(self) -> CallRecord:
        """The call as it stands in the stream of results."""
        return {
            "argv": list(self.argv),
            "code": self.code if self.code > NOT_EXECUTED else None,
            "seconds": round(self.seconds, 3),
            "stderr": self.stderr[-2000:],
        }


@dataclass(frozen=True)
class Adapter:
    """How a runtime is called: argument templates by operation."""

    name: str
    before: tuple[str, ...]
    systemd: tuple[str, ...]  # flags for --systemd-cgroup
    rootless: tuple[str, ...]  # flags where the suite runs as an ordinary user
    operations: dict[str, tuple[str, ...]]

    @staticmethod
    def load(name: str) -> Adapter:
        """An adapter by the name of a file of ours, or by the path of one's own."""
        try:
            if "/" in name or name.endswith(".toml"):
                text = Path(name).read_text()
            else:
                text = (resources.files("oci_conformance.core") / "adapters" / f"{name}.toml").read_text()
            table = tomllib.loads(text)
            return Adapter(
                table.get("name", name),
                tuple(table.get("global", ())),
                tuple(table.get("systemd", ())),
                tuple(table.get("rootless", ())),
                {key: tuple(value) for key, value in table["operations"].items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise AdapterError(f"adapter {name}: {error!r}") from None

    def arguments(self, operation: str, flags: tuple[str, ...], values: dict[str, str]) -> list[str]:
        """The arguments of an operation. An element whose {name} has no value is left out, with its option."""
        template = self.operations.get(operation)
        if template is None:
            raise AdapterError(f"adapter {self.name} doesn't say how {operation!r} is called")
        arguments: list[str] = []
        for element in (*self.before, *flags, *template):
            try:
                arguments.append(element.format(**values))
            except KeyError:
                if arguments and arguments[-1].startswith("--"):
                    arguments.pop()
        return arguments


@dataclass
class Runtime:
    """A runtime that can be called."""

    path: str
    adapter: Adapter
    root: Path  # the runtime's state folder
    flags: tuple[str, ...] = ()
    limit: float = LIMIT
    calls: list[Call] = field(default_factory=list)
    inherited: tuple[int, ...] = ()  # descriptors above 2 that calls find open
    through: tuple[str, ...] = ()  # a command that executes the runtime, before its path

    def call(
        self,
        operation: str,
        id: str | None = None,
        values: Mapping[str, str] | None = None,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        cwd: Path | None = None,
    ) -> Call:
        """Do one operation. `stdin`, `stdout` and `stderr` are descriptors for what else is /dev/null or kept here.

        `values` fill the adapter's template: `bundle`, `signal`, `socket`, `process`. What goes to a `stderr` that
        is no file isn't in the answer.
        """
        given = {"root": str(self.root), **({} if id is None else {"id": id}), **(values or {})}
        argv = (self.path, *self.adapter.arguments(operation, self.flags, given))
        return self._do(operation, argv, stdin, stdout, stderr, cwd)

    def command(
        self,
        *words: str,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        cwd: Path | None = None,
    ) -> Call:
        """A command line that engines use, in the words of runc, with the adapter's global options before them.

        The descriptors are as those of `call`.
        """
        return self._do(words[0], self.argv(*words), stdin, stdout, stderr, cwd)

    def argv(self, *words: str) -> tuple[str, ...]:
        """The whole command line of `command`."""
        before = (each.format(root=self.root) for each in self.adapter.before)
        return (self.path, *before, *self.flags, *words)

    def _do(
        self,
        operation: str,
        argv: tuple[str, ...],
        stdin: int | None,
        stdout: int | None,
        stderr: int | None,
        cwd: Path | None,
    ) -> Call:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            errors = err.fileno() if stderr is None else stderr
            before = os.fstat(errors).st_size
            began = time.monotonic()
            code, said = self._wait(argv, stdin, out.fileno() if stdout is None else stdout, errors, cwd)
            call = Call(
                operation,
                argv,
                code,
                _read(out.fileno(), 0),
                said or _read(errors, before),
                time.monotonic() - began,
            )
        self.calls.append(call)
        return call

    def _wait(
        self, argv: tuple[str, ...], stdin: int | None, out: int, err: int, cwd: Path | None
    ) -> tuple[int, str]:
        try:
            process = subprocess.Popen(
                (*self.through, *argv),
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=out,
                stderr=err,
                cwd=cwd,
                pass_fds=self.inherited,
            )
        except OSError as error:
            return NOT_EXECUTED, f"{argv[0]}: {error.strerror}"
        try:
            return process.wait(self.limit), ""
        except subprocess.TimeoutExpired:
            for pid in (*kernel.descendants(process.pid), process.pid):
                kernel.kill(pid, signal.SIGKILL)
            process.wait()
            return TIMED_OUT, ""
        except BaseException:  # the test's own limit, or Ctrl-C
            kernel.kill(process.pid, signal.SIGKILL)
            process.wait()
            raise

    def features(self) -> Json | None:
        """The Features structure, or None where a runtime has no such command or says nothing usable."""
        if "features" not in self.adapter.operations:
            return None
        call = self.call("features")
        try:
            answer = json.loads(call.stdout)
        except ValueError:
            return None
        return answer if call.ok and isinstance(answer, dict) else None

    def version(self) -> str:
        """The first line of what --version prints."""
        if "version" not in self.adapter.operations:
            return ""
        return (self.call("version").stdout.splitlines() or [""])[0]


def find(path: str) -> str:
    """The absolute path of a runtime given by path or name; the path as it is if there is none."""
    found = shutil.which(path)
    return os.path.abspath(found) if found else path


def digest(path: str) -> str:
    """SHA-256 of the runtime's file, or nothing if it can't be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def _read(descriptor: int, start: int) -> str:
    try:
        said = os.pread(descriptor, OUTPUT, start)  # without moving the container's offset
    except OSError:  # a pipe or a terminal: what went there is the test's to read
        return ""
    return said.decode("utf-8", "replace")
