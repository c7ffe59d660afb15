"""Printing what a cold command found. Cold module."""

from __future__ import annotations

from pyrun.kernel import calls


def put(text: str) -> None:
    """Write text to standard output. A reader that has gone away is no error."""
    try:
        calls.write_all(1, text.encode("utf-8", "backslashreplace"))
    except BrokenPipeError:
        pass
