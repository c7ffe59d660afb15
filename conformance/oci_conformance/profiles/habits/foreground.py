"""run and exec in the foreground, and terminals."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oci_conformance.core import probe
from oci_conformance.core.bundle import Json
from oci_conformance.core.runtime import Call
from oci_conformance.profiles.habits import tools
from oci_conformance.profiles.habits.tools import USER
from oci_conformance.run.case import Case, Container
from oci_conformance.run.registry import test

FORWARDED = ("TERM", "INT", "HUP", "USR1", "USR2")


def run(container: Container, *options: str, **more: Any) -> Call:
    """`run` in the foreground."""
    container.created = True
    return container.runtime.command("run", "--bundle", str(container.bundle), *options, container.id, **more)


@test("habits.exit-status")
def exit_status(t: Case) -> None:
    """Programs that end with 0, 7, and by a signal: run and exec end with 0, 7, and 128 and its number."""
    for commands, wanted in ((("exit 0",), 0), (("exit 7",), 7), (("die SEGV",), 128 + signal.SIGSEGV)):
        call = run(t.prepare({}, *commands))
        t.equal("habits.exit-status", f"run, {commands[0]}: {call.code}", f"run, {commands[0]}: {wanted}")
    with tools.control(t):
        container = tools.paused(t)
    for command, wanted in (("exit 0", 0), ("exit 9", 9), ("die TERM", 128 + signal.SIGTERM)):
        call = tools.execute(container, command)
        t.equal("habits.exit-status", f"exec, {command}: {call.code}", f"exec, {command}: {wanted}")


@test("habits.signals-forwarded")
def forwarded(t: Case) -> None:
    """SIGTERM, INT, HUP, USR1 and USR2 to run in the foreground: the program gets each."""
    container = t.prepare({}, *["wait-signal 20"] * 3 * len(FORWARDED))
    container.created = True
    log = t.folder / "output"
    words = ("run", "--bundle", str(container.bundle), container.id)
    with (
        tools.interruptible(),
        log.open("wb") as file,
        tools.running(t, *words, stdin=subprocess.DEVNULL, stdout=file, stderr=file) as process,
    ):
        tools.eventually(lambda: probe.parse(log.read_bytes()) or process.poll() is not None)
        for name in FORWARDED:
            if process.poll() is None:
                process.send_signal(signal.Signals[f"SIG{name}"])
                tools.eventually(lambda name=name: f"SIG{name}" in _got(log))
        container.call("kill", signal="KILL")
        tools.ended(t, process)
    seen = [
        each for each in _got(log) if each.removeprefix("SIG") in FORWARDED
    ]  # runc 1.1 sends SIGURG as well
    t.equal("habits.signals-forwarded", seen, [f"SIG{name}" for name in FORWARDED])


def _got(log: Path) -> list[str]:
    """The signals that the probe has got so far."""
    return [each["result"]["signal"] for each in probe.parse(log.read_bytes()) if "result" in each]


@test("habits.console", needs=("root",))
def console(t: Case) -> None:
    """An ordinary user's terminal: one device thrice and as /dev/console, its size, its owner."""
    size = {"process.terminal": True, "process.consoleSize": {"height": 33, "width": 101}}
    with tools.control(t):
        t.run({"process.terminal": True}, "tty")
    streams = ("fstat 0", "fstat 1", "fstat 2")
    seen = t.run({**USER, **size}, "tty", *streams, "stat /dev/console", "open /dev/console rw")
    t.equal("habits.console", [seen["tty"]["rows"], seen["tty"]["columns"]], [33, 101])
    devices = {_device(seen[each]) for each in streams}
    t.check("habits.console", len(devices) == 1, "the same terminal three times", sorted(devices))
    t.equal("habits.console", seen["fstat 0"]["uid"], 1000)
    t.equal("habits.console", seen.answer("open /dev/console rw").get("errno"), None)
    node = seen["stat /dev/console"]
    if node["type"] == "link":
        t.check(
            "habits.console", node["target"] == seen["tty"]["name"], "a link to the terminal", node["target"]
        )
    else:
        t.equal("habits.console", _device(node), _device(seen["fstat 0"]))


def _device(status: Json) -> str:
    return f"{status['major']}:{status['minor']}"


@test("habits.foreground-newline")
def newline(t: Case) -> None:
    """A program on a terminal prints a line; run, with a terminal as its standard input, writes it into a pipe."""
    container = t.prepare({"process.terminal": True}, "echo a line")
    with _terminal() as ours, tools.pipes(1) as ((reading, writing),):
        call = run(container, stdin=ours, stdout=writing)
        output = os.read(reading, 65536) if call.ok else b""
    t.check("habits.foreground-newline", call.ok, "run succeeds", call.sentence)
    line = next((each for each in output.split(b"\n") if b'"a line"' in each), None)
    t.check(
        "habits.foreground-newline",
        line is not None and not line.endswith(b"\r"),
        "a line that ends with \\n",
        repr(output[-200:]),
    )


@contextlib.contextmanager
def _terminal() -> Iterator[int]:
    """A terminal of ours."""
    master, slave = pty.openpty()
    try:
        yield slave
    finally:
        os.close(slave)
        os.close(master)
