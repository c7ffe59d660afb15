"""SCMP_ACT_NOTIFY: the seccomp agent, which decides system calls of the container, and how it gets the listener.

Hot module, loaded with a profile that notifies.

seccomp(2) returns the listener in stage 2, which is in the container and knows nothing of the agent. Stage 2 gives it
to the command that it talks to, `start`, `run` or `exec`, and waits (kernel/stage2_listener.h). We connect to the agent
from the host's side, send the listener with the container process state, close, and only then let stage 2 go on. So the
program never runs without an agent that has its listener, and the container never sees the agent's socket.

The filter is loaded for the program, for each startContainer hook, and for each process of exec; each has a listener,
and a connection, of its own. seccomp(2), seccomp_unotify(2), config-linux.md § Seccomp and § The Container Process
State.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base import jsontext, protocol
from pyrun.base.errors import PyrunError, words
from pyrun.kernel import calls, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from oci_spec import types
    from pyrun.story.making import Making

ACTION = "SCMP_ACT_NOTIFY"
#: The version of the specification that the state for the agent is made by.
OCI_VERSION = "1.3.0"
#: Seconds that an agent may take: to accept us, to take what we send, and to let execve pass if that is asked.
PATIENCE = 10
PATH = "linux.seccomp.listenerPath"
LISTENER = "anon_inode:seccomp notify"

#: SECCOMP_FILTER_FLAG_*, linux/seccomp.h.
TSYNC, NEW_LISTENER, TSYNC_ESRCH, WAIT_KILLABLE_RECV = 1, 8, 16, 32

_S_IFMT, _S_IFSOCK = 0o170000, 0o140000
# Why an agent can't be had: errno -> a remedy.
REMEDIES = {
    errno.ENOENT: "the agent must make its socket, and listen, before the container is created",
    errno.ECONNREFUSED: "nobody listens: is the agent running?",
    errno.EAGAIN: f"the agent hasn't accepted or read anything for {PATIENCE} s",
    errno.EPROTOTYPE: "it must be a stream socket",
    errno.EPIPE: "the agent has closed the connection",
    errno.ECONNRESET: "the agent has closed the connection",
}


def used(profile: Mapping[str, Any]) -> bool:
    """Does a profile have an agent decide anything? Else listenerPath is ignored."""
    return profile["defaultAction"] == ACTION or any(
        [rule["action"] == ACTION for rule in profile.get("syscalls") or ()]
    )


def flags(wanted: int) -> int:
    """The flags for seccomp(2) of a filter that notifies. TSYNC and a listener go together only where a thread that
    can't take the filter is an error without its number."""
    return wanted | NEW_LISTENER | (TSYNC_ESRCH if wanted & TSYNC else 0)


def path_of(profile: types.Seccomp, bundle: str) -> str:
    """Return where the agent listens; a relative path is the bundle's, as with crun. Raises PyrunError without one."""
    path: str = profile.get("listenerPath") or ""
    if not path:
        raise PyrunError(f"not set, and {ACTION} needs an agent that listens there", PATH)
    return path if path[:1] == "/" else f"{bundle}/{path}"


def check_kernel(profile: types.Seccomp, wanted: int) -> None:
    """Raise PyrunError for flags that this kernel doesn't know."""
    if process.seccomp_knows(wanted):
        return
    names = profile.get("flags") or []
    if wanted & WAIT_KILLABLE_RECV and process.seccomp_knows(wanted & ~WAIT_KILLABLE_RECV):
        index = names.index("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")
        raise PyrunError(
            f"it needs Linux 5.19, and this is {posix.uname().release}", f"linux.seccomp.flags[{index}]"
        )
    raise PyrunError(f"this kernel has no listeners for {ACTION}", "linux.seccomp")


class Agent:
    """Whom to send the listeners to."""

    __slots__ = ("asked_last", "metadata", "path", "received")

    def __init__(self, path: str, metadata: str) -> None:
        self.path = path
        self.metadata = metadata
        self.received = -1  # a listener that came with the last report
        self.asked_last = False  # the program's own filter is loaded: what is left is execve

    def check(self) -> None:
        """Raise PyrunError if there is no socket, as far as we can know without a connection: each brings a state."""
        try:
            kind = posix.stat(self.path).st_mode & _S_IFMT
        except OSError as error:
            raise self._failure("looking for the seccomp agent", error) from None
        if kind != _S_IFSOCK:
            raise PyrunError(
                f"{self.path} is not a socket", PATH, "it must be that of a seccomp agent, which listens"
            )

    def receive(self, sock: int) -> bytes:
        """Return what stage 2 says next, like `protocol.receive`; keep a listener that comes along for `give`.

        Raises PyrunError if the agent keeps the program from being executed.
        """
        if self.asked_last and not calls.poll([sock], PATIENCE * 1000):
            raise PyrunError(
                f"the seccomp agent at {self.path} has not let the program be executed for {PATIENCE} s",
                PATH,
                "it is asked about execve",
                kind="agent",
            )
        try:
            data, fd = calls.receive(sock, protocol.LONGEST)
        except ConnectionResetError:
            return protocol.receive(sock)
        if fd >= 0:
            self.received = fd
        return data

    def give(self, sock: int, pid: int, state: dict[str, Any], last: bool) -> None:
        """Send the listener that came over `sock` to the agent, and let stage 2 go on.

        `pid` is that of the process under the filter, `state` the container's; with `last` nothing but execve is left.
        Raises PyrunError if the agent doesn't take it.
        """
        document: dict[str, Any] = {
            "ociVersion": OCI_VERSION,
            "fds": ["seccompFd"],
            "pid": pid,
            "state": state,
        }
        if self.metadata:
            document["metadata"] = self.metadata
        fd, self.received = self.received, -1
        try:
            if fd < 0 or posix.readlink(f"/proc/self/fd/{fd}") != LISTENER:
                raise PyrunError("stage 2 sent no seccomp listener", "linux.seccomp")
            self._send(jsontext.encode(document).encode(), fd)
        finally:
            if fd >= 0:
                posix.close(fd)
        self.asked_last = last
        protocol.tell(sock, protocol.GO)

    def _send(self, data: bytes, fd: int) -> None:
        try:
            sock = calls.connect(self.path, PATIENCE)
        except OSError as error:
            raise self._failure("connecting to the seccomp agent", error) from None
        try:
            calls.write_all(sock, data[calls.send_fd(sock, data, fd) :])
        except OSError as error:
            raise self._failure("sending the listener to the seccomp agent", error) from None
        finally:
            posix.close(sock)

    def _failure(self, doing: str, error: OSError) -> PyrunError:
        number = error.errno or 0
        return PyrunError(
            f"{doing}: {words(error, self.path)}", PATH, REMEDIES.get(number, ""), kind="agent", errno=number
        )


def of_record(record: dict[str, Any]) -> Agent | None:
    """The agent of a container that is created."""
    return Agent(*record["seccompAgent"]) if record.get("seccompAgent") else None


def find(making: Making) -> None:
    """Find the agent before anything is made. Raises PyrunError if it has no socket or this kernel no listeners."""
    profile = making.plan.linux["seccomp"]
    making.agent = Agent(path_of(profile, making.plan.bundle), profile.get("listenerMetadata") or "")
    making.agent.check()
    if making.inside.seccomp:
        check_kernel(profile, making.inside.seccomp[0])
