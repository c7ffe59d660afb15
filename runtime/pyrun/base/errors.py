"""The one exception for what a user can cause, and its one sentence.

Hot module. A kernel function raises OSError with the system call's name in its text and the path as filename; the
step that knows the JSON path wraps it once, by `failed`; `render` is the only place that makes the final sentence.

Engines classify what went wrong by words: "executable file not found", "no such file or directory" and "permission
denied" mean that the container's *program* could not be executed (exit status 127 or 126). So `words` says the same
things otherwise for everything else.
"""

from __future__ import annotations

import errno
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_SAFE_WORDS = {
    errno.ENOENT: "does not exist",
    errno.EACCES: "access refused",
    errno.EPERM: "not permitted",
    errno.ENOTDIR: "a component is not a directory",
}


# The words of execve(2)'s errors, which are said of the container's program and its working directory alone.
PROGRAM_WORDS = {errno.ENOENT: "no such file or directory", errno.EACCES: "permission denied"}


class PyrunError(Exception):
    """What a user can cause and mend.

    `sentence` says what failed and why, `json_path` which property of config.json asked for it ("" if none did), `hint`
    what to do ("" if we don't know). `kind` lets callers tell a few cases apart without reading text; so does `errno`,
    0 if no system call failed. None of these changes once it is raised.
    """

    def __init__(
        self, sentence: str, json_path: str = "", hint: str = "", kind: str = "", errno: int = 0
    ) -> None:
        Exception.__init__(self, sentence)
        self.sentence = sentence
        self.json_path = json_path
        self.hint = hint
        self.kind = kind
        self.errno = errno

    def at(self, json_path: str, doing: str = "") -> PyrunError:
        """Return the same error as one of this property, and of what was being done, for who knows more than the place
        where it was raised."""
        sentence = f"{doing}: {self.sentence}" if doing else self.sentence
        return PyrunError(sentence, json_path, self.hint, self.kind, self.errno)


def words(error: OSError, path: str = "") -> str:
    """Return the reason of an OSError: "openat2 /x: does not exist". No engine takes it for a missing program. `path`
    is the object, where the call knew a descriptor only."""
    number = error.errno or 0
    call, _, said = (error.strerror or "").partition(": ")
    call = call if said else ""
    reason = _SAFE_WORDS.get(number) or (posix.strerror(number) if number else str(error))
    if number == errno.EFBIG and call:
        reason = said  # with the limit
    path = path or error.filename or ""
    where = f"{call} {path}" if call and path else call or path
    return f"{where}: {reason}" if where else reason


def failed(doing: str, error: OSError, json_path: str = "", hint: str = "", path: str = "") -> PyrunError:
    """Return an OSError as the user's sentence. `doing` is a gerund phrase, such as "mounting tmpfs on /dev"; `path` as
    for `words`."""
    return PyrunError(f"{doing}: {words(error, path)}", json_path, hint, errno=error.errno or 0)


def render(error: PyrunError) -> str:
    """Return the sentence as stderr and the log have it: one line, printable."""
    text = error.sentence
    if error.json_path:
        text = f"{error.json_path}: {text}"
    if error.hint:
        text = f"{text} ({error.hint})"
    return printable(text)


def printable(text: str) -> str:
    """Replace everything in `text` that could end a line or drive a terminal by an escape."""
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() else f"\\u{ord(c):04x}" for c in text])


def joined(items: Sequence[str]) -> str:
    """A list for a sentence: "a, b and c"."""
    return ", ".join(items[:-1]) + " and " + items[-1] if len(items) > 1 else "".join(items)
