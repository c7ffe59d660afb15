"""The folder that holds the state of all containers, and the names in it. Hot module."""

from __future__ import annotations

import posix

from pyrun.base import jsontext
from pyrun.base.errors import PyrunError


def root_folder(option: str) -> str:
    """Return the folder of all state: --root, or /run/pyrun, or $XDG_RUNTIME_DIR/pyrun for a user who isn't root.

    Root of a user namespace isn't root in this sense, unless $USER is root (`unshare -r` sets it so). Raises PyrunError
    if an ordinary user has no such folder.
    """
    if option:
        return option if option[0] == "/" else f"{posix.getcwd()}/{option}"
    runtime_dir = _session_folder()
    if not runtime_dir and posix.geteuid() != 0:
        raise PyrunError(
            "an ordinary user's containers are kept below $XDG_RUNTIME_DIR, which is not set",
            hint="a login sets it, or for good `loginctl enable-linger USER`; or give --root DIR",
        )
    if runtime_dir and (posix.geteuid() != 0 or _is_root_of_a_user_namespace()):
        return runtime_dir + "/pyrun"
    return "/run/pyrun"


def _session_folder() -> str:
    return posix.environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape")


def _is_root_of_a_user_namespace() -> bool:
    if posix.environ.get(b"USER") == b"root":
        return False
    from pyrun.kernel import process

    return process.in_user_namespace()


def check_id(container_id: str) -> str:
    """Return the id. Raises PyrunError if it can't be one.

    An id has letters, digits and _ + - . in ASCII, at most 255. It doesn't begin with a dot: such names are our own.
    """
    if not is_id(container_id):
        raise PyrunError(
            f"container ID {jsontext.quote(container_id)} is not valid",
            hint="letters, digits and _ + - . are allowed, 255 at most, the first no dot",
        )
    return container_id


def is_id(name: str) -> bool:
    """Can this be the id of a container?"""
    plain = name.replace("_", "a").replace("+", "a").replace("-", "a").replace(".", "a")
    return plain.isascii() and plain.isalnum() and name[0] != "." and len(name) <= 255


def make_root(root: str) -> None:
    """Make the folder that holds the state of all containers, if it isn't there. Raises OSError.

    In a session's folder it gets the sticky bit, by which the programs that clean there leave it alone (XDG Base
    Directory Specification).
    """
    at = root.find("/", 1)
    while at > 0:
        try:
            posix.mkdir(root[:at], 0o755)
        except FileExistsError:
            pass
        at = root.find("/", at + 1)
    session = _session_folder()
    try:
        posix.mkdir(root, 0o1700 if session and root.startswith(session + "/") else 0o700)
    except FileExistsError:
        pass


def ids(root: str) -> list[str]:
    """Return the ids of all containers under `root`, sorted. Other files there are none of ours."""
    try:
        with posix.scandir(root) as entries:
            return sorted(
                [one.name for one in entries if is_id(one.name) and one.is_dir(follow_symlinks=False)]
            )
    except FileNotFoundError:
        return []
