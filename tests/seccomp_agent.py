"""A seccomp agent, as seccomp_unotify(2) describes one: `python seccomp_agent.py SOCKET ANSWER...`.

It listens on SOCKET, takes the container process state and the listener of each connection (config-linux.md, The
Container Process State), and then decides the system calls that the listener asks about. An ANSWER is a call, and how
it is answered:

    mkdir       the agent makes the folder, and a file by-agent in it; the container need not have the right to
    mount       the agent mounts what it knows to be harmless, a tmpfs, in the container's mount namespace; else EPERM
    NUMBER=hold the call with this number is never answered

Any other call goes on as if there were no filter. Each state and each call is a JSON object in a line on stdout.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import select
import socket
import struct
import sys
from typing import Any

# _IOWR('!', 0, struct seccomp_notif), _IOWR('!', 1, struct seccomp_notif_resp), _IOW('!', 2, __u64): linux/seccomp.h
RECEIVE, SEND, IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
CLONE_NEWNS = 0x20000
X86_64 = os.uname().machine == "x86_64"
#: number -> name, and which argument is the first path
CALLS = (
    {83: ("mkdir", 0), 258: ("mkdir", 1), 165: ("mount", 0)}
    if X86_64
    else {34: ("mkdir", 1), 40: ("mount", 0)}
)

libc = ctypes.CDLL(None, use_errno=True)


def say(**what: Any) -> None:
    """One line for whoever started us."""
    print(json.dumps(what), flush=True)


def text(pid: int, address: int) -> str:
    """A NUL-terminated text in a process's memory."""
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(address)
        return memory.read1(4096).split(b"\0")[0].decode("utf-8", "surrogateescape")


def mkdir(pid: int, args: tuple[int, ...], first: int) -> int:
    """Make the folder in the root of the process that asks: 0, or minus errno."""
    path = f"/proc/{pid}/root/{text(pid, args[first])}"
    try:
        os.mkdir(path, args[first + 1])
        with open(f"{path}/by-agent", "x"):
            return 0
    except OSError as error:
        return -(error.errno or errno.EIO)


def mount(pid: int, args: tuple[int, ...], first: int) -> int:
    """Mount a tmpfs for the process that asks: 0, or minus errno."""
    target, kind = text(pid, args[1]), text(pid, args[2])
    if kind != "tmpfs":
        return -errno.EPERM
    with open(f"/proc/{pid}/ns/mnt") as namespace:
        child = os.fork()
        if child == 0:
            done = libc.setns(namespace.fileno(), CLONE_NEWNS) or libc.mount(
                b"by-agent", target.encode(), b"tmpfs", ctypes.c_ulong(0), None
            )
            os._exit(ctypes.get_errno() if done else 0)
        return -os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def decide(listener: int, answers: list[str]) -> None:
    """Receive one notification, and answer it."""
    notification = bytearray(80)
    try:
        fcntl.ioctl(listener, RECEIVE, notification)
    except OSError as error:
        if error.errno == errno.ENOENT:  # who asked was killed meanwhile
            return
        raise
    identifier, pid, _, number, _, _, *args = struct.unpack("=QIIiIQ6Q", notification)
    name, first = CALLS.get(number, ("", 0))
    say(call=number, pid=pid)
    if f"{number}=hold" in answers:
        return
    result, flags = 0, CONTINUE
    if name in answers:
        result, flags = (mkdir if name == "mkdir" else mount)(pid, tuple(args), first), 0
    try:
        fcntl.ioctl(listener, IS_VALID, struct.pack("=Q", identifier))
        fcntl.ioctl(listener, SEND, struct.pack("=QqiI", identifier, 0, result, flags))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EINPROGRESS):
            raise


def accept(listening: socket.socket) -> list[int]:
    """Read a connection to its end: say its text, and return the descriptors."""
    connection, _ = listening.accept()
    data, found = b"", []
    with connection:
        while True:
            part, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 16)
            found += descriptors
            if not part:
                break
            data += part
    say(state=json.loads(data), links=[os.readlink(f"/proc/self/fd/{each}") for each in found])
    return found


def main(path: str, *answers: str) -> None:
    """Listen, for ever."""
    poll = select.poll()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()
        poll.register(listening, select.POLLIN)
        say(listening=path)
        while True:
            for descriptor, events in poll.poll():
                if descriptor == listening.fileno():
                    for each in accept(listening):
                        poll.register(each, select.POLLIN)
                elif events & select.POLLIN:
                    decide(descriptor, [*answers])
                else:  # nobody is under this filter any more
                    poll.unregister(descriptor)
                    os.close(descriptor)


if __name__ == "__main__":
    main(*sys.argv[1:])
