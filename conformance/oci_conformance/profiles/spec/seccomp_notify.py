"""linux.seccomp's listener, and what is sent to it (config-linux.md#seccomp, #the-container-process-state)."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oci_conformance.core.bundle import Json
from oci_conformance.profiles.spec.seccomp import ACTIONS, ERRNO, KEY, VICTIM, outcome, profile, rule
from oci_conformance.profiles.support.claims import may_lack
from oci_conformance.run.case import DELETE, Broken, Case, Container, Refused
from oci_conformance.run.registry import test

NOTIFY = "SCMP_ACT_NOTIFY"
METADATA = 'opaque ünïcode "text"\n{}'
SECONDS = 5.0  # within which what a runtime does at create or start has to be seen
# linux/seccomp.h: _IOWR('!', 0, struct seccomp_notif) and _IOWR('!', 1, struct seccomp_notif_resp).
RECEIVE, SEND = 0xC0502100, 0xC0182101
EDOM = 33  # what the listener answers; no system call that is tried here gives it by itself


@dataclass
class Connection:
    """What came over one connection, from its beginning to its end."""

    payload: bytes = b""
    descriptors: list[list[int]] = field(default_factory=list)  # of each message, in order
    closed: bool = False  # by the other side, in time

    @property
    def received(self) -> list[int]:
        """All descriptors that came."""
        return [descriptor for each in self.descriptors for descriptor in each]

    def states(self) -> list[Any]:
        """The JSON documents of the payload, one after the other."""
        decoder, text = json.JSONDecoder(), self.payload.decode("utf-8", "replace")
        found: list[Any] = []
        while text := text.strip():
            try:
                document, end = decoder.raw_decode(text)
            except ValueError:
                return [*found, text]
            found.append(document)
            text = text[end:]
        return found

    @property
    def state(self) -> Json:
        """The first document, or nothing if it isn't an object."""
        states = self.states()
        return states[0] if states and isinstance(states[0], dict) else {}


class Listener:
    """The seccomp agent's socket: AF_UNIX, SOCK_STREAM."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()
        self._connections: list[Connection] = []

    def accept(self, seconds: float = SECONDS) -> Connection | None:
        """The next connection with all that is sent over it, or None if nobody connects in time."""
        if not select.select([self._socket], [], [], seconds)[0]:
            return None
        connection = Connection()
        self._connections.append(connection)
        accepted, _ = self._socket.accept()
        until = time.monotonic() + SECONDS
        with accepted:
            while not connection.closed:
                if not select.select([accepted], [], [], max(0.0, until - time.monotonic()))[0]:
                    break
                data, ancillary, _, _ = accepted.recvmsg(1 << 20, socket.CMSG_SPACE(16 * 4))
                connection.payload += data
                connection.closed = not data
                if data or ancillary:
                    connection.descriptors.append(_rights(ancillary))
        return connection

    def close(self) -> None:
        """Close it, and the descriptors that came."""
        self._socket.close()
        for connection in self._connections:
            for descriptor in connection.received:
                with contextlib.suppress(OSError):
                    os.close(descriptor)


def _rights(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return [*found]


@contextlib.contextmanager
def listening(t: Case, name: str = "agent") -> Iterator[Listener]:
    """A listener while a test needs it."""
    listener = Listener(t.folder / name)
    try:
        yield listener
    finally:
        listener.close()


def notifying(path: Path, **more: Any) -> dict[Any, Any]:
    """The change that has a listener asked for one system call."""
    return profile(rule(NOTIFY, VICTIM), listenerPath=str(path), **more)


def _running(t: Case, listener: Listener, **more: Any) -> tuple[Container, Connection]:
    """A running container, and the connection that the runtime made at create or at start."""
    try:
        container = t.serve(notifying(listener.path, **more))
    except Refused as error:
        may_lack(t, error, NOTIFY, *ACTIONS)
        raise
    connection = listener.accept()
    if connection is None:
        raise Broken("the runtime made no connection to listenerPath by the end of start")
    return container, connection


@test(
    "seccomp.listener-socket",
    "seccomp.listener-one-state",
    "seccomp.listener-closed",
    "seccomp.listener-no-reuse",
    "seccomp.state-payload",
    "seccomp.state-sendmsgs",
    "seccomp.state-fds-first",
    "seccomp.listener-fd",
    may_refuse=True,
)
def connection(t: Case) -> None:
    """The runtime connects, sends one state as JSON with the descriptors in the first message, and closes."""
    with listening(t) as listener:
        _, first = _running(t, listener)
        t.check("seccomp.listener-socket", True, "a connection to a stream socket", "")
        states = first.states()
        t.check("seccomp.listener-one-state", len(states) == 1, "one JSON document", states)
        t.check("seccomp.state-payload", bool(first.state), "a JSON object", states)
        t.check("seccomp.state-payload", bool(first.received), "descriptors by SCM_RIGHTS", "none")
        t.check(
            "seccomp.state-sendmsgs", bool(first.state), "one state, however many messages it takes", states
        )
        late = [each for each in first.descriptors[1:] if each]
        t.check(
            "seccomp.state-fds-first", not late, "descriptors in the first message only", f"{len(late)} later"
        )
        t.check(
            "seccomp.listener-closed", first.closed, f"the connection closed within {SECONDS} s", "it is open"
        )
        names = first.state.get("fds")
        t.check(
            "seccomp.listener-fd", isinstance(names, list) and "seccompFd" in names, "seccompFd in fds", names
        )

        _, second = _running(t, listener)  # of another container
        one_each = [len(first.states()), len(second.states())]
        t.equal("seccomp.listener-no-reuse", one_each, [1, 1])
        t.check(
            "seccomp.listener-no-reuse",
            first.closed and second.closed,
            "both connections closed",
            "one is open",
        )
        third = listener.accept(0.05)
        t.check("seccomp.listener-one-state", third is None, "one connection for each container", third)


@test(
    "seccomp.state-ociVersion",
    "seccomp.state-pid",
    "seccomp.state-state",
    "seccomp.metadata-sent",
    may_refuse=True,
)
def state(t: Case) -> None:
    """The state names its version, the container's process, the container's state, and the metadata."""
    with listening(t) as listener:
        container, connection = _running(t, listener, listenerMetadata=METADATA)
        sent = connection.state
        version = sent.get("ociVersion")
        numbers = version.split("-")[0].split("+")[0].split(".") if isinstance(version, str) else []
        good = len(numbers) == 3 and all(each.isdecimal() for each in numbers)
        t.check("seccomp.state-ociVersion", good, "a version of the specification", version)
        t.equal("seccomp.state-pid", sent.get("pid"), container.pid)
        inner = sent.get("state")
        inner = inner if isinstance(inner, dict) else {}
        known = {"id": inner.get("id"), "bundle": inner.get("bundle"), "pid": inner.get("pid", container.pid)}
        wanted = {"id": container.id, "bundle": str(container.bundle), "pid": container.pid}
        t.equal("seccomp.state-state", known, wanted)
        status = inner.get("status")
        t.check(
            "seccomp.state-state", isinstance(status, str) and bool(status), "a state with a status", inner
        )
        t.check(
            "seccomp.state-state", isinstance(inner.get("ociVersion"), str), "a state with ociVersion", inner
        )
        t.equal("seccomp.metadata-sent", sent.get("metadata"), METADATA)

        _, connection = _running(t, listener)
        t.check(
            "seccomp.metadata-sent", not connection.state.get("metadata"), "no metadata", connection.state
        )


@test("seccomp.actions", "seccomp.state-fds-index", "seccomp.listener-fd", may_refuse=True)
def answered(t: Case) -> None:
    """The descriptor at seccompFd's index is the listener's: it hears of the calls, and its answer is theirs."""
    with listening(t) as listener:
        container, connection = _running(t, listener)
        names = connection.state.get("fds")
        names = names if isinstance(names, list) else []
        received = connection.received
        t.equal("seccomp.state-fds-index", [len(names), len(received)], [len(received), len(names)])
        index = names.index("seccompFd") if "seccompFd" in names else -1
        if not 0 <= index < len(received):
            for id in ("seccomp.listener-fd", "seccomp.state-fds-index", "seccomp.actions"):
                t.check(id, False, "seccompFd in fds, and its descriptor", [names, len(received)])
            return
        descriptor = received[index]
        link = os.readlink(f"/proc/self/fd/{descriptor}")
        notifier = t.check("seccomp.listener-fd", "seccomp notify" in link, "seccomp's notifier", link)
        if not t.check(
            "seccomp.state-fds-index", notifier, "seccomp's notifier at the index of its name", link
        ):
            t.check("seccomp.actions", False, "a notification for the call", "no notifier")
            return
        container.tell(f"try {VICTIM} buffer")
        heard = _answer(descriptor)
        t.check("seccomp.actions", heard, "a notification for the call", "none")
        t.equal("seccomp.actions", outcome(container.answer(f"try {VICTIM} buffer", 15)), "EDOM")
        t.equal("seccomp.actions", outcome(container.ask("try times buffer")), "returned")


def _answer(notifier: int) -> bool:
    """Wait for one notification and answer it with EDOM. False if none comes."""
    poll = select.poll()
    poll.register(notifier, select.POLLIN)
    if not poll.poll(SECONDS * 1000):
        return False
    notification = bytearray(80)
    fcntl.ioctl(notifier, RECEIVE, notification)
    (number,) = struct.unpack_from("Q", notification)
    fcntl.ioctl(notifier, SEND, bytearray(struct.pack("QqiI", number, 0, -EDOM, 0)))
    return True


@test("seccomp.listener-fail-error", "seccomp.listener-socket", may_refuse=True)
def nobody_listens(t: Case) -> None:
    """Where nothing can be sent to listenerPath, create or start is an error."""
    with listening(t) as listener:
        _running(t, listener)  # the control: this host and this runtime can do it
    deaf = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    deaf.bind(str(t.folder / "deaf"))
    other = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    other.bind(str(t.folder / "other-type"))
    other.listen()
    (t.folder / "file").touch()
    with deaf, other:
        for name in ("none", "deaf", "file", "other-type"):
            id = "seccomp.listener-socket" if name == "other-type" else "seccomp.listener-fail-error"
            container = t.prepare(notifying(t.folder / name), "ids")
            t.is_refused(
                id, container, at="start", expected=f"an error, as {name} is no listening stream socket"
            )
            answers = container.results()
            t.check(id, not answers, "the program doesn't run", answers)


@test("seccomp.listener-ignored")
def ignored(t: Case) -> None:
    """Without SCMP_ACT_NOTIFY in the profile listenerPath means nothing, whether somebody listens or not."""
    with listening(t) as listener:
        for path in (str(listener.path), str(t.folder / "none")):
            changes = profile(rule(ERRNO, VICTIM), listenerPath=path)
            seen = t.run(changes, f"try {VICTIM} buffer")
            t.equal("seccomp.listener-ignored", outcome(seen.answer("try")), "EPERM")
        t.check("seccomp.listener-ignored", listener.accept(0.05) is None, "no connection", "a connection")


@test("seccomp.metadata-needs-path")
def metadata_alone(t: Case) -> None:
    """listenerMetadata without listenerPath is an error."""
    base = profile(rule(ERRNO, VICTIM), listenerPath=str(t.folder / "none"), listenerMetadata="text")
    t.run(base, "ids")  # which is valid, and nobody is told anything
    t.is_refused("seccomp.metadata-needs-path", t.prepare({**base, f"{KEY}.listenerPath": DELETE}, "ids"))
    with listening(t) as listener:
        notified = notifying(listener.path, listenerMetadata="text")
        if t.prepare(notified, "ids").call("create").ok:
            alone = t.prepare({**notified, f"{KEY}.listenerPath": DELETE}, "ids")
            t.is_refused("seccomp.metadata-needs-path", alone, at="start")
