"""A program on a real pseudo-terminal, driven as a person would: type, read, resize."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from types import TracebackType


class Terminal:
    """Context manager: `argv` runs as session leader on a terminal of `rows` by `columns`."""

    def __init__(
        self, argv: list[str], environment: dict[str, str], rows: int = 33, columns: int = 99
    ) -> None:
        self.output = ""
        self.exit_status: int | None = None
        # The child mustn't start before the terminal has its size: it waits for a byte.
        ready, go = os.pipe()
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                os.read(ready, 1)
                os.execvpe(argv[0], argv, environment)
            finally:
                os._exit(127)
        self.resize(rows, columns)
        os.write(go, b"x")
        os.close(ready)
        os.close(go)

    def resize(self, rows: int, columns: int) -> None:
        """Change the size; the kernel sends SIGWINCH to the foreground processes."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def settings(self) -> list[object]:
        """The terminal's settings as `termios.tcgetattr` has them."""
        return list(termios.tcgetattr(self.master))

    def enter(self, text: str) -> None:
        """Type this text."""
        os.write(self.master, text.encode())

    def read_until(self, text: str, timeout: float = 20.0) -> str:
        """Read until `text` appears in what has not been returned yet; return up to and with it."""
        if not self.sees(text, timeout):
            raise AssertionError(f"no {text!r} on the terminal, only {self.output!r}")
        before, _, self.output = self.output.partition(text)
        return before + text

    def sees(self, text: str, timeout: float) -> bool:
        """Whether `text` appears within some seconds."""
        deadline = time.monotonic() + timeout
        while text not in self.output:
            if not self._read_some(deadline):
                return False
        return True

    def wait(self, timeout: float = 20.0) -> int:
        """Read on until the program ends; return its exit status (-n for signal n)."""
        deadline = time.monotonic() + timeout
        while self._read_some(deadline):
            pass
        while self.exit_status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                raise AssertionError(f"the program didn't end; the terminal has {self.output!r}")
            else:
                time.sleep(0.01)
        return self.exit_status

    def _read_some(self, deadline: float) -> bool:
        """Append what comes next; false at the end of the output or at the deadline."""
        readable, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: the last process on the other side closed it
            return False
        self.output += data.decode(errors="replace")
        return bool(data)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.exit_status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)
