"""The program's environment, and what of it or of the arguments the kernel finds too long.

Hot module. Source: config.md, Process (env has the semantics of environ in IEEE Std 1003.1-2008); execve(2).
"""

from __future__ import annotations

from pyrun.base.errors import PyrunError
from pyrun.features import users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci_spec import types

LONGEST = (128 << 10) - 1  # bytes of one text: MAX_ARG_STRLEN of linux/binfmts.h, which counts the NUL


def of(program: types.Process, slash: int) -> list[str]:
    """process.env, each variable once, and HOME; `slash` is the container's root."""
    entries = once(program.get("env") or [])
    if lacks_home(program):
        entries = [entry for entry in entries if entry != "HOME="]
        user = program.get("user")
        entries.append(f"HOME={users.home(slash, user['uid'] if user else 0)}")
    return entries


def once(entries: list[str]) -> list[str]:
    """Each variable once, at the place and with the value of its last entry, as runc and crun have it: engines append
    what is to override, while getenv(3) takes the first. An entry without "=" is no variable's."""
    found: dict[str, str] = {}
    for entry in entries:
        name, equals, _ = entry.partition("=")
        found.pop(name + equals, None)
        found[name + equals] = entry
    return list(found.values())


def value(entries: list[str], name: str) -> str | None:
    """What a variable is, None if it isn't there: the last entry counts."""
    start = f"{name}="
    for entry in reversed(entries):
        if entry.startswith(start):
            return entry[len(start) :]
    return None


def lacks_home(program: types.Process) -> bool:
    """Is HOME missing, or empty? Engines leave it to the runtime then."""
    return bool(program) and not value(program.get("env") or [], "HOME")


def too_long(program: types.Process) -> PyrunError:
    """The sentence for E2BIG of execve(2): which text is too long by itself, or that all are together."""
    total = 0
    for kind, texts in (("args", program["args"]), ("env", program.get("env") or [])):
        for index, text in enumerate(texts):
            size = len(text.encode("utf-8", "surrogateescape"))
            total += size + 9  # with its NUL and its pointer
            if size > LONGEST:
                return PyrunError(
                    f"{size} bytes are too many for execve, which takes {LONGEST} in one text",
                    f"process.{kind}[{index}]",
                )
    return PyrunError(
        f"args and env have {total} bytes together, more than execve takes",
        "process",
        "a quarter of the soft limit of RLIMIT_STACK, and 6 MiB at most",
    )
