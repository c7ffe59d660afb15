"""What the tests of habits share: controls, commands in runc's words, and a caller that is a little different."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from oci_conformance.core import kernel, probe
from oci_conformance.core.bundle import Json
from oci_conformance.core.container import POLL
from oci_conformance.core.runtime import Call
from oci_conformance.profiles.support.mounting import Entry
from oci_conformance.run.case import Broken, Case, Container, Refused, Skip

USER = {"process.user": {"uid": 1000, "gid": 1000}}
NETWORK = {"linux.namespaces[+]": {"type": "network"}}
CGROUP_MOUNT: Entry = {
    "destination": "/sys/fs/cgroup",
    "type": "cgroup",
    "source": "cgroup",
    "options": ["ro"],
}
# A user namespace whose root and users are nobody on the host.
MAPPED: dict[str, object] = {
    "linux.namespaces[+]": {"type": "user"},
    "linux.uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
    "linux.gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
}


@contextlib.contextmanager
def control(t: Case) -> Iterator[None]:
    """What is done here is no part of the habit: where the runtime refuses it, nothing can be said of the habit."""
    try:
        yield
    except (Refused, Broken) as error:
        for id in t.test.ids:
            t.unsupported(id, f"what has to work first doesn't: {error}")
        raise Skip(str(error)) from None


def answers(text: str) -> dict[str, Json]:
    """The probe's answers by their commands."""
    return {each["command"]: each for each in probe.parse(text) if "ready" not in each}


def result(text: str, command: str) -> Any:
    """The result of one of the probe's commands, or how it failed, or None if there is no such answer."""
    answer = answers(text).get(command, {})
    return answer.get("result", answer.get("errno"))


def execute(container: Container, *commands: str, options: Sequence[str] = (), **more: Any) -> Call:
    """`exec` with options: one more probe in a container, which does the commands."""
    return container.runtime.command("exec", *options, container.id, "/probe", *commands, **more)


def execute_document(container: Container, document: Mapping[str, Any], *options: str) -> Call:
    """`exec --process` with a document."""
    path = container.bundle / "process.json"
    path.write_text(json.dumps(document))
    return container.runtime.command("exec", *options, "--process", str(path), container.id)


def executed(container: Container, *commands: str, options: Sequence[str] = ()) -> dict[str, Json]:
    """The answers of `execute`. Raises Refused."""
    call = execute(container, *commands, options=options)
    if not call.ok:
        raise Refused(call)
    return answers(call.stdout)


def paused(t: Case, changes: Mapping[Any, Any] | None = None) -> Container:
    """A running container that does nothing. Raises Refused."""
    container = t.create(dict(changes or {}), "pause")
    container.start()
    return container


def first_line(text: str) -> str:
    """The last line that says something, for a report."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "nothing"


# the caller


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """This process, and so the runtime, has another umask for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def on_cpu(number: int) -> Iterator[None]:
    """This process, and so the runtime, may run on one CPU only for a while."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {number})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """The runtime gets SIGINT with its default action for a while; the suite's workers ignore it."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # of no effect beyond execve(2)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def pipes(count: int) -> Iterator[list[tuple[int, int]]]:
    """Pipes, closed afterwards. Reading from an empty one fails, instead of waiting."""
    made = [os.pipe2(os.O_CLOEXEC) for _ in range(count)]
    try:
        for reading, _ in made:
            os.set_blocking(reading, False)
        yield made
    finally:
        for end in (end for pair in made for end in pair):
            os.close(end)


def create(
    container: Container, *options: str, stdin: int | None = None, stdout: int | None = None, **more: Any
) -> None:
    """`create` with options, and with descriptors for its standard streams if they are given. Raises Refused."""
    container.created = True
    out = container.output if stdout is None else stdout
    call = container.runtime.command(
        "create", "--bundle", str(container.bundle), *options, container.id,
        stdin=stdin, stdout=out, **more,
    )  # fmt: skip
    if not call.ok:
        raise Refused(call)
    container.existed = True


@contextlib.contextmanager
def running(t: Case, *words: str, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A command of the runtime that goes on meanwhile, with what it starts; killed at the end."""
    process = subprocess.Popen(t.runtime.argv(*words), **more)
    try:
        yield process
    finally:
        for pid in (*kernel.descendants(process.pid), process.pid):
            if process.poll() is None or pid != process.pid:
                kernel.kill(pid, signal.SIGKILL)
        process.wait()


def ended(t: Case, process: subprocess.Popen[bytes]) -> int | str:
    """The exit code of a command, awaited for as long as a call may take."""
    try:
        return process.wait(t.runtime.limit)
    except subprocess.TimeoutExpired:
        return "it didn't end"


def eventually(condition: Any, seconds: float = 10.0) -> bool:
    """Wait until something is so; False if it never is."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(POLL)
    return True


def null(place: Path) -> Path:
    """A node of ours that is what /dev/null is, so that the host's own is never touched. Skips where it can't be."""
    try:
        os.mknod(place, 0o666 | 0o020000, os.makedev(1, 3))
        os.chmod(place, 0o666)
        os.close(os.open(place, os.O_RDWR))
    except OSError as error:
        raise Skip(f"this host lacks a folder for device nodes ({place.parent}: {error.strerror})") from None
    return place
