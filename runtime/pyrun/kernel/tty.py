"""Terminals: one function per ioctl, no policy. Hot module, loaded only when there is a terminal."""

from __future__ import annotations

from _pyrun_kernel import ffi, lib

from pyrun.kernel.calls import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def unlock(master: int) -> None:
    """Let the other side be opened: ioctl_tty(2) TIOCSPTLCK."""
    check(lib.k_pty_unlock(master), "ioctl(TIOCSPTLCK)")


def peer(master: int) -> int:
    """The other side of a pty, opened without any path: ioctl_tty(2) TIOCGPTPEER."""
    return check(lib.k_pty_peer(master), "ioctl(TIOCGPTPEER)")


def set_controlling(fd: int) -> None:
    """Make the terminal `fd` this session's: TIOCSCTTY."""
    check(lib.k_set_controlling_terminal(fd), "ioctl(TIOCSCTTY)")


def set_size(fd: int, rows: int, columns: int) -> None:
    """The terminal's size in characters: TIOCSWINSZ."""
    check(lib.k_set_window_size(fd, min(rows, 65535), min(columns, 65535)), "ioctl(TIOCSWINSZ)")


def copy_size(from_fd: int, to_fd: int) -> bool:
    """Give one terminal the size of another; False if `from_fd` is no terminal."""
    return bool(lib.k_copy_window_size(from_fd, to_fd) >= 0)


def plain(fd: int) -> None:
    """Let lines on this terminal end with a newline alone: no ONLCR (termios(3))."""
    check(lib.k_terminal_plain(fd), "ioctl(TCSETS)")


def raw(fd: int) -> Any:
    """Put the terminal into raw mode and return what `restore` wants, or None if `fd` is no terminal."""
    saved: Any = ffi.new("char[]", 64)
    return saved if lib.k_terminal_raw(fd, saved) >= 0 else None


def restore(fd: int, saved: Any) -> None:
    """Undo `raw`."""
    lib.k_terminal_restore(fd, saved)
