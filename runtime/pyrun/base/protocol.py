"""Every message between the runtime and a container's init, and their order. Hot module.

One SOCK_SEQPACKET connection, so one write is one message; its first byte says what it is:

    runtime                                   init
       |  <------------- "P" pid ----------    the intermediate process that joined namespaces made the init
       |  -------------- "G" ------------->    ids are mapped, the cgroups joined: go
       |  <------------- "W" text ---------    a warning for the log (any number, at any time)
       |  <------------- "D" text ---------    a step that begins, with --debug
       |  <------------- "S" number -------    the source of this mount, which the init may not open, is wanted
       |  -------------- "S" ------------->    with the descriptor, if there is one
       |  <------------- "I" number -------    the ids of this mount are to be mapped; its descriptor comes next
       |  -------------- "I" ------------->    they are
       |  <------------- "M" --------------    mounts are made; only sent if runtime hooks wait for this
       |  -------------- "R" ------------->    prestart and createRuntime hooks have run: resume
       |  <------------- "E" error --------    what failed, as JSON; the init exits
       |  <------ report of stage 2 --------    first byte 0: ready; else what failed (story/orders.py)
       |  <------------- closed -----------    stage 2 waits for start (after ready), or the init died

A process of exec (story/inside_exec.py) speaks the same way: "G" to it, then warnings, an error, or stage 2's
reports. One of them is the pid of the process that it has made in the container's PID namespace, which waits for a
"G" of its own; the last is that this one is going to execute the program.

An end that finds the other closed gives up: an init never outlives a create that was killed.
"""

from __future__ import annotations

import posix

from pyrun.base import jsontext
from pyrun.base.errors import PyrunError

GO, RESUME = b"G", b"R"
MOUNTED, WARNING, ERROR, PID, SOURCE, IDMAP, STEP = b"M", b"W", b"E", b"P", b"S", b"I", b"D"
LONGEST = 65536


def send(sock: int, message: bytes) -> None:
    """Send one message."""
    posix.write(sock, message)


def tell(sock: int, message: bytes) -> None:
    """Send one message to a child that may have exited. Its last message can still be received."""
    try:
        posix.write(sock, message)
    except BrokenPipeError:
        pass


def receive(sock: int) -> bytes:
    """Return the next message, or b"" if the other end is closed."""
    for _ in range(2):
        try:
            return posix.read(sock, LONGEST)
        except ConnectionResetError:
            pass  # it has closed its end with something of ours unread; what it said before comes next
    return b""


def pack_error(error: PyrunError) -> bytes:
    """Return an error as a message."""
    # cut, so that it fits into LONGEST even if each character becomes twelve in JSON
    parts = [error.sentence[:4096], error.json_path[:512], error.hint[:512], error.kind, error.errno]
    return ERROR + jsontext.encode(parts).encode()


def unpack_error(message: bytes) -> PyrunError:
    """Return the error that a message brings."""
    return PyrunError(*jsontext.decode(message[1:]))
