"""`run --pipes`: the program's stdin, stdout and stderr are pipes of ours, and we copy.

Hot module, loaded with the option. Whoever waits for the end of what `run` prints then waits for `run` and not for the
program: if `run` is killed, by SIGKILL too, the caller's own streams are closed at once. Writing never keeps us from
passing signals on: pipes are written without blocking, and anything else that may block in pieces of PIPE_BUF bytes,
when poll(2) says that it takes them.
"""

from __future__ import annotations

import posix

from pyrun.kernel import calls

LARGEST = 65536  # bytes, what a pipe holds
REGULAR, FIFO = 0o100000, 0o010000
PIPE_BUF = 4096  # limits.h: a pipe that can be written takes so much without blocking


class Pipes:
    """Three streams, each with where it comes from and goes to; a descriptor is -1 when it has ended."""

    __slots__ = ("pending", "piece", "saved", "sources", "targets")

    def __init__(self) -> None:
        self.saved: list[int] = []
        self.sources = [0, -1, -1]
        self.targets = [-1, 1, 2]
        self.pending = [b"", b"", b""]
        self.piece = [LARGEST, PIPE_BUF, PIPE_BUF]  # how much to write at once

    def give(self) -> None:
        """Let the pipes be our own stdin, stdout and stderr, so that the next child has them."""
        self.saved = [posix.dup(number) for number in (0, 1, 2)]
        for number in (0, 1, 2):
            reading, writing = posix.pipe2(posix.O_CLOEXEC)
            theirs, ours = (reading, writing) if number == 0 else (writing, reading)
            posix.dup2(theirs, number)
            posix.close(theirs)
            posix.set_blocking(ours, False)
            (self.targets if number == 0 else self.sources)[number] = ours

    def take_back(self) -> None:
        """Our own stdin, stdout and stderr again; now the pipes end with the program."""
        for number in (0, 1, 2):
            posix.dup2(self.saved[number], number)
            posix.close(self.saved[number])
        for number in (1, 2):
            kind = posix.fstat(number).st_mode & 0o170000
            if kind == REGULAR or (kind == FIFO and self._own_end(number)):
                self.piece[number] = LARGEST

    def _own_end(self, number: int) -> bool:
        """Open the caller's pipe once more, for ourselves: not to block there is nobody else's affair then."""
        try:
            flags = posix.O_WRONLY | posix.O_NONBLOCK | posix.O_CLOEXEC
            self.targets[number] = posix.open(f"/proc/self/fd/{number}", flags)
        except OSError:
            return False
        return True

    def readable(self) -> list[int]:
        """What to wait for: each source whose last piece has been passed on."""
        return [
            source
            for source, rest in zip(self.sources, self.pending, strict=True)
            if source >= 0 and not rest
        ]

    def writable(self) -> list[int]:
        """What to wait for, to write: each target that has something coming."""
        return [target for target, rest in zip(self.targets, self.pending, strict=True) if rest]

    def copy(self, ready: list[int]) -> None:
        """Move what there is."""
        for number in (0, 1, 2):
            if self.pending[number] and self.targets[number] in ready:
                self._write(number)
            elif not self.pending[number] and self.sources[number] in ready:
                self._read(number)

    def end(self) -> None:
        """What the program wrote before it ended, and nothing for it any more."""
        self._stop(0)
        for number in (1, 2):
            while self.sources[number] >= 0 and (self.pending[number] or self._read(number)):
                calls.poll([], -1, [self.targets[number]])
                self._write(number)
            self._stop(number)

    def _read(self, number: int) -> bool:
        """Is there a piece?"""
        try:
            self.pending[number] = posix.read(self.sources[number], LARGEST)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a terminal's stdin in the background, say: as good as closed
        if not self.pending[number]:
            self._stop(number)
        return bool(self.pending[number])

    def _write(self, number: int) -> None:
        try:
            done = posix.write(self.targets[number], self.pending[number][: self.piece[number]])
            self.pending[number] = self.pending[number][done:]
        except BlockingIOError:
            pass
        except OSError:  # nobody reads: let the program know
            self._stop(number)

    def _stop(self, number: int) -> None:
        """End this stream on the program's side."""
        self.pending[number] = b""
        ends = self.targets if number == 0 else self.sources
        if ends[number] >= 0:
            posix.close(ends[number])
        self.sources[number] = -1
        if number == 0:
            self.targets[0] = -1
