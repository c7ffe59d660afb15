"""A stand-in for systemd on hosts that run without it: it listens on a socket, speaks D-Bus by another codec than
pyrun's, and makes the cgroups of transient scopes. What it was asked is kept, to be looked at."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from jeepney.low_level import Endianness, Header, HeaderFields, Message, MessageType, Parser


class SystemdStandIn:
    """`path` is its socket, `mount` the cgroup2 file system in which it works."""

    def __init__(self, path: Path, mount: str) -> None:
        self.path = path
        self.mount = mount
        self.calls: list[tuple[str, Any]] = []
        self.properties: dict[str, dict[str, Any]] = {}  # of the units that there are
        self.ever: dict[str, dict[str, Any]] = {}  # of all that there were
        self.result = "done"  # of the next job
        self.refusal = ""  # the error's name that the next unit, or change of one, is answered with
        self.kills_first = (
            False  # the next unit's create is killed when it asks, and its process dies with it
        )
        self.taken = False  # the next unit is made by somebody else before it is asked for
        self.other: subprocess.Popen[bytes] | None = None  # who is in that one
        self.mounts = [Path(mount)]  # where it makes a unit's cgroups
        self.asked = ""  # the unit of the last GetUnit
        self.makes_cgroups = True
        self.unknown = ""  # a property that it doesn't know
        self.connections = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and remove the units' cgroups."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for unit in list(self.properties):
            self._remove(unit)
        if self.other:
            self.other.wait()

    def use_v1(self) -> None:
        """Have systemd's controllers of cgroup v1 as well, and its own hierarchy."""
        names = ("cpu", "cpuacct", "cpu,cpuacct", "memory", "blkio", "devices", "pids", "systemd")
        self.mounts += [path for name in names if (path := Path(f"/sys/fs/cgroup/{name}")).is_dir()]

    def cgroups(self, unit: str) -> list[Path]:
        """The cgroups of a unit, in each hierarchy that it is made in."""
        below = self.cgroup(unit).relative_to(self.mount)
        return [mount / below for mount in self.mounts]

    def cgroup(self, unit: str) -> Path:
        """The cgroup of a unit in cgroup v2."""
        own = unit.removesuffix(".slice")
        if own != unit:
            parts = own.split("-")
            return Path(self.mount, *["-".join(parts[: count + 1]) + ".slice" for count in range(len(parts))])
        slice_ = self.ever[unit]["Slice"].removesuffix(".slice")
        parts = [] if slice_ == "-" else slice_.split("-")
        folders = ["-".join(parts[: count + 1]) + ".slice" for count in range(len(parts))]
        return Path(self.mount, *folders, unit)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with (
            connection,
            contextlib.suppress(BrokenPipeError, ConnectionResetError),
        ):  # who called may be killed
            data = b""
            while b"BEGIN\r\n" not in data:
                part = connection.recv(4096)
                if not part:
                    return
                data += part
            assert data.startswith(b"\0AUTH EXTERNAL\r\nDATA\r\n"), data
            connection.sendall(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n")
            parser = Parser()
            messages = parser.feed(data.partition(b"BEGIN\r\n")[2])
            while True:
                for message in messages:
                    for answer in self._answer(message):
                        connection.sendall(answer.serialise(serial=1))
                part = connection.recv(65536)
                if not part:
                    return
                messages = parser.feed(part)

    def _answer(self, message: Message) -> list[Message]:
        member = message.header.fields[HeaderFields.member]
        body = message.body
        self.calls.append((member, body))
        serial = message.header.serial
        if member == "StartTransientUnit":
            if self.refusal:
                name, self.refusal = self.refusal, ""
                return [_error(serial, name, "refused by the stand-in")]
            unit, _, properties, _ = body
            if self.unknown in [name for name, _ in properties]:
                return [self._unknown(serial)]
            if self.kills_first:
                self.kills_first = False
                _kill_creator(dict(properties)["PIDs"][1][0])
            if self.taken:
                self.taken = False
                self._make_anothers(unit, {name: value for name, (_, value) in properties})
            if unit in self.properties:
                return [_error(serial, "org.freedesktop.systemd1.UnitExists", f"{unit} was already loaded")]
            self.properties[unit] = {name: value for name, (_, value) in properties}
            self.ever[unit] = self.properties[unit]
            self._make(unit)
            return self._job(serial, unit)
        if member == "StopUnit":
            unit = body[0]
            if unit not in self.properties:
                return [_error(serial, "org.freedesktop.systemd1.NoSuchUnit", "not loaded")]
            self._remove(unit)
            return self._job(serial, unit)
        if member == "SetUnitProperties":
            if self.refusal:
                name, self.refusal = self.refusal, ""
                return [_error(serial, name, "refused by the stand-in")]
            unit, _, properties = body
            if self.unknown in [name for name, _ in properties]:
                return [self._unknown(serial)]
            self.properties[unit].update({name: value for name, (_, value) in properties})
            return [_return(serial)]
        if member == "ResetFailedUnit":
            return [_error(serial, "org.freedesktop.systemd1.NoSuchUnit", "not loaded")]
        if (member, body) == ("Get", ("org.freedesktop.systemd1.Manager", "ControlGroup")):
            return [_return(serial, "v", (("s", ""),))]
        if member == "GetUnit":
            if body[0] not in self.properties:
                return [_error(serial, "org.freedesktop.systemd1.NoSuchUnit", "not loaded")]
            self.asked = body[0]
            return [_return(serial, "o", ("/org/freedesktop/systemd1/unit/x",))]
        if (member, body) == ("Get", ("org.freedesktop.systemd1.Unit", "Description")):
            return [_return(serial, "v", (("s", self.properties[self.asked]["Description"]),))]
        return [_error(serial, "org.freedesktop.DBus.Error.UnknownMethod", member)]

    def _unknown(self, serial: int) -> Message:
        text = f"Cannot set property {self.unknown}, or unknown property."
        return _error(serial, "org.freedesktop.DBus.Error.PropertyReadOnly", text)

    def _job(self, serial: int, unit: str) -> list[Message]:
        job = f"/org/freedesktop/systemd1/job/{len(self.calls)}"
        result, self.result = self.result, "done"
        return [
            _signal("JobRemoved", "uoss", (1, "/some/other/job", "other.service", "done")),
            _return(serial, "o", (job,)),
            _signal("JobRemoved", "uoss", (2, job, unit, result)),
        ]

    def _make_anothers(self, unit: str, properties: dict[str, Any]) -> None:
        self.other = subprocess.Popen(["sleep", "1000"])
        self.properties[unit] = self.ever[unit] = {**properties, "PIDs": [self.other.pid]}
        self._make(unit)

    def _make(self, unit: str) -> None:
        if not self.makes_cgroups:
            return
        for folder in self.cgroups(unit):
            folder.mkdir(parents=True, exist_ok=True)
            for pid in self.properties[unit].get("PIDs", ()):
                with contextlib.suppress(ProcessLookupError):
                    (folder / "cgroup.procs").write_text(str(pid))

    def _remove(self, unit: str) -> None:
        folders = self.cgroups(unit)
        del self.properties[unit]
        if folders[0].exists():
            (folders[0] / "cgroup.kill").write_text("1")
        for mount, folder in zip(self.mounts, folders, strict=True):
            self._clear(mount, folder)

    def _clear(self, mount: Path, folder: Path) -> None:
        end = time.monotonic() + 10
        while folder.exists() and time.monotonic() < end:
            try:
                for below, _, _ in os.walk(folder, topdown=False):
                    os.rmdir(below)
            except OSError:
                time.sleep(0.01)
        for parent in folder.parents:
            if parent == mount or not parent.name.endswith(".slice"):
                break
            try:
                parent.rmdir()
            except OSError:
                break


def _kill_creator(pid: int) -> None:
    """Kill the parent of a process, and wait until that has died, too."""
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.01)


def _message(
    kind: MessageType, fields: dict[Any, Any], signature: str = "", body: tuple[Any, ...] = ()
) -> Message:
    if signature:
        fields[HeaderFields.signature] = signature
    return Message(Header(Endianness.little, kind, 0, 1, 0, 1, fields), body)


def _return(serial: int, signature: str = "", body: tuple[Any, ...] = ()) -> Message:
    return _message(MessageType.method_return, {HeaderFields.reply_serial: serial}, signature, body)


def _error(serial: int, name: str, text: str) -> Message:
    fields = {HeaderFields.reply_serial: serial, HeaderFields.error_name: name}
    return _message(MessageType.error, fields, "s", (text,))


def _signal(member: str, signature: str, body: tuple[Any, ...]) -> Message:
    fields = {
        HeaderFields.path: "/org/freedesktop/systemd1",
        HeaderFields.interface: "org.freedesktop.systemd1.Manager",
        HeaderFields.member: member,
    }
    return _message(MessageType.signal, fields, signature, body)
