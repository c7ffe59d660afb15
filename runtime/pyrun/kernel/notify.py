"""Descriptors that tell of events: one function per system call, no policy. Hot module."""

from __future__ import annotations

from _pyrun_kernel import lib

from pyrun.kernel.calls import check

IN_MODIFY = 2


def eventfd() -> int:
    """A counter that starts at 0 and never blocks: eventfd(2)."""
    return check(lib.k_eventfd(), "eventfd")


def inotify(path: str, mask: int) -> int:
    """A descriptor that tells of one file's events and never blocks: inotify(7)."""
    return check(lib.k_inotify(path.encode("utf-8", "surrogateescape"), mask), "inotify_add_watch", path)
