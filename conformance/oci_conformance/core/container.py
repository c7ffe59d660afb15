"""A container under test: its bundle, the operations on it, and what can be seen of it from outside."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from pathlib import Path
from typing import IO, Any

from oci_conformance.core import bundle, kernel, probe
from oci_conformance.core.bundle import Json
from oci_conformance.core.cgroup import Cgroups
from oci_conformance.core.console import Console
from oci_conformance.core.runtime import Call, Runtime

POLL = 0.005  # seconds between two looks
LARGEST_PID = 1 << 22  # PID_MAX_LIMIT of the kernel


class Refused(Exception):
    """The runtime answered an operation with an error."""

    def __init__(self, call: Call) -> None:
        super().__init__(f"{call.operation} was refused: {call.sentence}")
        self.call = call


class Broken(Exception):
    """The runtime answered with something that no runtime may answer, or didn't do what it said it did."""


class Container:
    """A container from the bundle to its end. Methods that do an operation raise Refused when the runtime does."""

    def __init__(self, runtime: Runtime, id: str, folder: Path, config: Any, *, serve: bool) -> None:
        self.runtime = runtime
        self.id = id
        self.bundle = folder
        self.rootfs = folder / "rootfs"
        self.config = config
        self.created = False  # create was called, so there may be something to delete
        self.existed = False  # and it succeeded
        self.console: Console | None = None
        self.exit_code: int | None = (
            None  # of the container's process, once it has ended and could be awaited
        )
        self.signal: int | None = None
        self._pid = 0
        self._since = 0.0  # when create was called
        self._gone = False
        self._stdout: IO[bytes] = (folder / "stdout").open("a+b")
        self._stderr: IO[bytes] = (folder / "stderr").open("a+b")
        self._to_probe = self._from_probe = -1
        self._answers = b""
        self._ends: list[int] = []  # the container's ends of the pipes, for create
        if serve:
            theirs, self._to_probe = os.pipe()
            self._from_probe, answers = os.pipe()
            self._ends = [theirs, answers]

    # operations

    def call(self, operation: str, *, cwd: Path | None = None, **values: str) -> Call:
        """An operation, whatever comes of it. `cwd` is the runtime's working directory."""
        if not operation.startswith("create"):
            if operation.startswith("delete"):
                self.reap()
            return self.runtime.call(operation, self.id, values, cwd=cwd)
        self.created = True
        self._since = self._since or kernel.now()
        values.setdefault("bundle", str(self.bundle))
        if self.console is not None:
            operation = "create-terminal"
            values["socket"] = str(self.console.path)
        stdin, out = self._ends or (None, self._stdout.fileno())
        call = self.runtime.call(
            operation, self.id, values, stdin=stdin, stdout=out, stderr=self._stderr.fileno(), cwd=cwd
        )
        for end in self._ends:
            os.close(end)
        self._ends = []
        self.existed = self.existed or call.ok
        if call.ok and self.console is not None and not self.console.receive(self.runtime.limit):
            raise Broken("create succeeded, but sent no terminal to the console socket")
        return call

    def operate(self, operation: str, **values: str) -> Call:
        """An operation that has to succeed."""
        call = self.call(operation, cwd=None, **values)
        if not call.ok:
            raise Refused(call)
        return call

    def create(self) -> None:
        """Create it."""
        self.operate("create")

    def start(self) -> None:
        """Start its program."""
        self.pid  # noqa: B018 - while it surely exists
        self.operate("start")

    def state(self) -> Json:
        """What `state` answers."""
        call = self.operate("state")
        try:
            answer = json.loads(call.stdout)
        except ValueError:
            raise Broken(f"state printed no JSON: {call.stdout[:200]!r}") from None
        if not isinstance(answer, dict):
            raise Broken(f"state printed no object: {call.stdout[:200]!r}")
        return answer

    def kill(self, name: str | int = "TERM") -> None:
        """Send a signal by the runtime."""
        self.operate("kill", signal=str(name))

    def delete(self, *, force: bool = False) -> None:
        """Delete it."""
        self.operate("delete-force" if force else "delete")

    # its process

    @property
    def pid(self) -> int:
        """The container's process as the runtime's state names it, in this process's PID namespace."""
        if not self._pid:
            pid = self.state().get("pid")
            if not isinstance(pid, int) or isinstance(pid, bool) or not 0 < pid < LARGEST_PID:
                raise Broken(f"state has no usable pid: {pid!r}")
            began = kernel.born(pid)
            before = began is not None and began < self._since
            # We may be as young as create, to a hundredth of a second.
            if before or pid == os.getpid() or kernel.is_below(os.getpid(), pid):
                raise Broken(f"state names the pid {pid}, of a process that was there before create")
            self._pid = pid
        return self._pid

    def send(self, number: int) -> None:
        """Send its process a signal, without the runtime. Raises Broken unless that process is surely the container's.

        What a runtime prints is no reason to signal a process: it has to be below this one, or in this test's cgroup,
        and younger than the call of create.
        """
        try:
            handle = os.pidfd_open(self.pid)  # from here on no other process takes its place
        except OSError as error:
            raise Broken(
                f"process {self.pid}, the pid in its state, can't be signalled: {error.strerror}"
            ) from None
        try:
            began = kernel.born(self.pid)
            if began is None or began < self._since or not self._is_ours():
                raise Broken(f"process {self.pid}, the pid in its state, isn't known to be the container's")
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)

    def _is_ours(self) -> bool:
        """Is the process below this one, or in a cgroup with our name, since systemd may have started it?"""
        if kernel.is_below(self._pid, os.getpid()):
            return True
        try:
            return f"oci-conformance-{os.getpid()}" in Path(f"/proc/{self._pid}/cgroup").read_text()
        except OSError:
            return False

    def reap(self) -> bool:
        """Take note of the process's end if it has ended. True once it is gone."""
        if self._gone or not self._pid:
            return self._gone
        try:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:  # not ours: the runtime keeps it
            self._gone = not self._alive()
            return self._gone
        if pid:
            self._gone = True
            if os.WIFSIGNALED(status):
                self.signal = os.WTERMSIG(status)
            else:
                self.exit_code = os.WEXITSTATUS(status)
        return self._gone

    def _alive(self) -> bool:
        try:
            stat = Path(f"/proc/{self._pid}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] not in "ZX"

    def wait(self, seconds: float = 10.0) -> None:
        """Wait until its process has ended."""
        self.pid  # noqa: B018 - before it is gone
        until = time.monotonic() + seconds
        while not self.reap():
            if self.console is not None:
                self.console.drain()
            if time.monotonic() > until:
                raise Broken(f"its process did not end within {seconds:g} s")
            time.sleep(POLL)
        if self.console is not None:
            self.console.drain(0.05)

    def until(self, status: str, seconds: float = 5.0) -> bool:
        """Ask for its state until that is `status`. False if it doesn't become so in time."""
        end = time.monotonic() + seconds
        while True:
            self.reap()
            if self.state().get("status") == status:
                return True
            if time.monotonic() > end:
                return False
            time.sleep(10 * POLL)

    # what the probe says

    @property
    def stdout(self) -> str:
        """What its process wrote to standard output, or to its terminal."""
        if self.console is not None:
            self.console.drain()
            return self.console.output.decode("utf-8", "replace")
        return (self.bundle / "stdout").read_text("utf-8", "replace")

    @property
    def output(self) -> int:
        """The descriptor of the file that is its standard output, for who calls `create` himself."""
        return self._stdout.fileno()

    @property
    def stderr(self) -> str:
        """What its process, and create before it, wrote to standard error."""
        return (self.bundle / "stderr").read_text("utf-8", "replace")

    def results(self) -> list[Json]:
        """The probe's answers so far."""
        return probe.parse(self.stdout)

    def tell(self, command: str) -> None:
        """Have a serving probe do one command, whose answer is awaited later."""
        assert self._to_probe >= 0, "the last command of this container isn't `serve`"
        try:
            os.write(self._to_probe, command.encode() + b"\n")
        except BrokenPipeError:
            raise Broken(f"the probe is gone, so it can't be asked {command!r}") from None

    def ask(self, command: str, seconds: float = 10.0) -> Json:
        """Have a serving probe do one command."""
        self.tell(command)
        return self.answer(command, seconds)

    def answer(self, command: str, seconds: float = 10.0) -> Json:
        """The next line that the probe prints."""
        until = time.monotonic() + seconds
        while b"\n" not in self._answers:
            ready, _, _ = select.select([self._from_probe], [], [], max(0.0, until - time.monotonic()))
            data = os.read(self._from_probe, 1 << 16) if ready else b""
            if not data:
                why = "ended" if ready else f"did not answer within {seconds:g} s"
                raise Broken(f"the probe {why} when asked {command!r}")
            self._answers += data
        line, _, self._answers = self._answers.partition(b"\n")
        return probe.parse(line)[0]

    def hang_up(self) -> None:
        """Close the pipes to a serving probe, which then ends."""
        for descriptor in (self._to_probe, self._from_probe, *self._ends):
            if descriptor >= 0:
                os.close(descriptor)
        self._to_probe = self._from_probe = -1
        self._ends = []

    # what can be seen from outside

    def proc(self, name: str) -> str:
        """A file of /proc/PID of the container's process, or what a link there points to. Raises Broken without it."""
        path = Path(f"/proc/{self.pid}/{name}")
        try:
            return os.readlink(path) if path.is_symlink() else path.read_text()
        except OSError as error:
            raise Broken(f"{path} of the pid in its state can't be read: {error.strerror}") from None

    def cgroup(self, controller: str) -> Path | None:
        """The directory of the cgroup that its process is in, for a controller (v1) or the unified hierarchy."""
        return Cgroups.of(self.pid).directory(controller)

    def limit(self, controller: str, *, v1: str, v2: str) -> str:
        """What a limit's file says, by whichever version the controller is in. Raises Broken if it isn't there."""
        groups = Cgroups.of(self.pid)
        directory = groups.directory(controller)
        name = v2 if groups.unified(controller) else v1
        try:
            assert directory is not None
            return (directory / name).read_text().strip()
        except (OSError, AssertionError):
            raise Broken(f"the container's {controller} cgroup {directory} has no {name}") from None

    # the end

    def clean(self) -> None:
        """Remove all that may be left, and close what the suite holds. Errors don't matter here."""
        self.hang_up()
        if self._pid and not self._gone:
            self.reap()
        if self.created:
            self.runtime.call("delete-force", self.id)
        if self.console is not None:
            self.console.close()
        self._stdout.close()
        self._stderr.close()
        with contextlib.suppress(OSError, Broken):
            if self._pid and not self.reap():
                self.send(signal.SIGKILL)


def prepare(
    runtime: Runtime, id: str, folder: Path, config: Any, program: Path, *, serve: bool, terminal: bool
) -> Container:
    """A bundle in `folder`, and the container that will be made of it. Nothing is called yet."""
    bundle.make_rootfs(folder / "rootfs", program)
    bundle.write(folder, config)
    container = Container(runtime, id, folder, config, serve=serve)
    if terminal:
        container.console = Console(folder / "console")
    return container
