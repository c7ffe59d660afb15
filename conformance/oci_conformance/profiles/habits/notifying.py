"""sd_notify(3): what a program says to its service manager reaches it through the runtime."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from oci_conformance.profiles.habits import tools
from oci_conformance.run.case import Case, Container
from oci_conformance.run.registry import test

PLACE = "/tmp"  # whatever TMPDIR is: see `manager`


class Manager:
    """A socket such as systemd's. Descriptors that come are closed, which is what a BARRIER waits for."""

    def __init__(self, path: Path) -> None:
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o777)
        self._socket.settimeout(0.05)
        self._ended = False
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._ended:
            with contextlib.suppress(TimeoutError):
                data, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 8)
                self.lines += data.decode("utf-8", "replace").splitlines()
                for each in descriptors:
                    os.close(each)

    def end(self) -> None:
        """No more is listened to."""
        self._ended = True
        self._thread.join()
        self._socket.close()


@contextlib.contextmanager
def manager(t: Case) -> Iterator[Manager]:
    """The runtime's calls have the socket of a service manager in their environment.

    The names of sockets are short (unix(7)), so the runtime's records are in a folder of a short name meanwhile.
    """
    before = t.runtime.root
    with tempfile.TemporaryDirectory(prefix="oc-", dir=PLACE if os.access(PLACE, os.W_OK) else None) as place:
        t.runtime.root = Path(place) / "root"
        t.runtime.root.mkdir()
        listening = Manager(Path(place) / "s")
        try:
            with mock.patch.dict(os.environ, {"NOTIFY_SOCKET": str(Path(place) / "s")}):
                yield listening
        finally:
            listening.end()
            for each in t.containers:
                each.call("delete-force")
                each.created = False
            t.runtime.root = before


def _serve(t: Case, *commands: str) -> Container:
    container = t.create({}, *commands, "pause")
    container.start()
    return container


@test("habits.notify")
def notify(t: Case) -> None:
    """The program sends READY=1 to the socket that its NOTIFY_SOCKET names: the caller's gets it."""
    with manager(t) as seen:
        container = _serve(t, "env", "notify READY=1")
        sent = tools.eventually(lambda: tools.result(container.stdout, "notify READY=1") is not None)
        tools.eventually(lambda: not sent or "READY=1" in seen.lines)
    variables = [
        each for each in tools.result(container.stdout, "env") or [] if each.startswith("NOTIFY_SOCKET=")
    ]
    t.check("habits.notify", len(variables) == 1, "NOTIFY_SOCKET in the program's environment", variables)
    t.equal("habits.notify", tools.result(container.stdout, "notify READY=1"), True)
    t.check("habits.notify", "READY=1" in seen.lines, "READY=1 at the caller's socket", seen.lines)


@test("habits.notify-mainpid")
def main_pid(t: Case) -> None:
    """The caller's socket gets MAINPID=, the process of the container as its state names it."""
    with manager(t) as seen:
        container = _serve(t, "notify READY=1")
        wanted = f"MAINPID={container.pid}"
        tools.eventually(lambda: wanted in seen.lines)
    t.check("habits.notify-mainpid", wanted in seen.lines, wanted, seen.lines)


@test("habits.notify-start")
def start_waits(t: Case) -> None:
    """The program makes a file before it is ready: when start has returned, the file is there."""
    with manager(t) as seen:
        container = _serve(t, "sleep 300", "write /made x", "notify READY=1")
        made = (container.rootfs / "made").exists()
        tools.eventually(lambda: tools.result(container.stdout, "notify READY=1") is not None)
        ready = tools.result(container.stdout, "notify READY=1")
    t.equal("habits.notify-start", ready, True)
    t.check("habits.notify-start", made, "start returns when the program is ready", f"before; {seen.lines}")
