"""pyrun.base.errors: one line, whatever is in it, and words that no engine takes for a missing program."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrun.base.errors import PyrunError, failed, joined, printable, render, words

# By these engines tell exit status 126 and 127: ../docs/engines.md
RESERVED = ("no such file or directory", "permission denied", "executable file not found")


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_words_are_never_those_of_a_missing_program(number: int) -> None:
    for error in (
        OSError(number, f"open: {os.strerror(number)}", "/x"),
        OSError(number, os.strerror(number), "/x"),
        OSError(number, os.strerror(number)),
    ):
        text = words(error)
        assert text
        assert not [phrase for phrase in RESERVED if phrase in text.lower()]


def test_words_name_call_and_path() -> None:
    assert (
        words(OSError(errno.EBUSY, "mount: Device or resource busy", "/x"))
        == "mount /x: Device or resource busy"
    )
    assert words(OSError(errno.ENOENT, "No such file or directory", "/x")) == "/x: does not exist"
    assert words(OSError("odd")) == "odd"


def test_render() -> None:
    error = failed(
        "mounting", OSError(errno.EPERM, "fsopen: Operation not permitted", "tmpfs"), "mounts[0]", "do so"
    )
    assert render(error) == "mounts[0]: mounting: fsopen tmpfs: not permitted (do so)"
    assert render(PyrunError("plain")) == "plain"


@given(st.text(st.characters()), st.text(st.characters()), st.text(st.characters()))
def test_render_is_one_printable_line(sentence: str, path: str, hint: str) -> None:
    text = render(PyrunError(sentence, path, hint))
    assert text.isprintable()
    text.encode()


def test_printable() -> None:
    assert printable("a\n\x1b[31m\udcffé") == "a\\u000a\\u001b[31m\\udcffé"


def test_joined() -> None:
    assert [joined(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
