"""The other end of a container's terminal: a socket that receives the pseudo-terminal's master."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from pathlib import Path


class Console:
    """A listening socket for `create`, then the terminal's master."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.master = -1
        self.output = b""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()

    def receive(self, seconds: float) -> bool:
        """Take the master from the runtime; False if none comes in time."""
        self._listener.settimeout(seconds)
        try:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(seconds)
                _, descriptors, _, _ = socket.recv_fds(connection, 4096, 4)
        except OSError:
            return False
        for extra in descriptors[1:]:
            os.close(extra)
        if descriptors:
            self.master = descriptors[0]
        return bool(descriptors)

    def drain(self, seconds: float = 0.0) -> None:
        """Read what the terminal shows, until nothing more comes for `seconds` or its last user is gone."""
        until = time.monotonic() + seconds
        while self.master >= 0:
            ready, _, _ = select.select([self.master], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                return
            try:
                data = os.read(self.master, 65536)
            except OSError:  # EIO: nobody has the other side open
                return
            if not data:
                return
            self.output += data

    def close(self) -> None:
        """Close both and remove the socket."""
        self._listener.close()
        if self.master >= 0:
            os.close(self.master)
            self.master = -1
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
