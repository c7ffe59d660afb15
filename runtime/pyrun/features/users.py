"""Users of the container: what its own /etc/passwd and /etc/group say of a name or a number.

Hot module, for `exec --user` and for HOME. Our own strict parser: what it can't understand is an error or is passed
over, never root (CVE-2026-30892); and never NSS, which would load libraries of the container.
"""

from __future__ import annotations

from oci_spec.fields import LARGEST_ID
from pyrun.base.errors import PyrunError, failed
from pyrun.paths import under_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from oci_spec import types
    from pyrun.story.making import Inside

    Asked = tuple[str, list[int]]  # --user, and the groups of --additional-gids

LARGEST_FILE = 1 << 20  # bytes
LONGEST_HOME = 4096  # characters: PATH_MAX of limits.h


def number(text: str) -> int | None:
    """Return a uid or gid written as a decimal number, None for a name. Raises PyrunError for an impossible id."""
    digits = text[1:] if text[:1] in "+-" else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    if text[:1] in "+-" or len(digits) > 10 or int(digits) > LARGEST_ID:
        raise PyrunError(f'--user: "{text}" is not a user or group id', hint=f"0 to {LARGEST_ID}")
    return int(digits)


def find(inside: Inside) -> None:
    """exec --user: have the program run as the user that the container's files know by this name."""
    program = inside.plan.program
    if inside.user is not None:
        text, added = inside.user
        program["user"] = resolve(inside.slash, text, inside.plan.user(), added)


def resolve(slash: int, text: str, user: types.User, added: Sequence[int] = ()) -> types.User:
    """process.user for `--user USER[:GROUP]`, each a name or a number; `slash` is the container's root.

    A number alone keeps the configured groups, as runc has it; a name brings its own. Those of --additional-gids come
    to either: `added`.
    """
    name, colon, group = text.partition(":")
    if not name or (colon and not group) or ":" in group:
        raise PyrunError(f'--user: "{text}" is not USER or USER:GROUP')
    found = user.copy()
    uid = number(name)
    if uid is not None:
        found["uid"] = uid
    else:
        entry = _entry(_lines(slash, "/etc/passwd"), name, 4)
        if entry is None:
            raise PyrunError(f'--user: no user "{name}" in the container\'s /etc/passwd')
        found["uid"], found["gid"] = _id(entry[2], "/etc/passwd"), _id(entry[3], "/etc/passwd")
        found["additionalGids"] = _groups_of(slash, name)
    if colon:
        gid = number(group)
        if gid is None:
            entry = _entry(_lines(slash, "/etc/group"), group, 3)
            if entry is None:
                raise PyrunError(f'--user: no group "{group}" in the container\'s /etc/group')
            gid = _id(entry[2], "/etc/group")
        found["gid"] = gid
    if added:
        found["additionalGids"] = [*(found.get("additionalGids") or []), *added]
    return found


def home(slash: int, uid: int) -> str:
    """The user's home by /etc/passwd, else "/": what HOME is if the configuration doesn't say."""
    try:
        lines = _lines(slash, "/etc/passwd")
    except PyrunError:
        return "/"
    for line in lines:
        fields = line.split(":")
        if len(fields) >= 6 and fields[2] == str(uid) and _is_home(fields[5]):
            return fields[5]
    return "/"


def _is_home(path: str) -> bool:
    return path[:1] == "/" and len(path) < LONGEST_HOME and "\0" not in path


def _lines(slash: int, path: str) -> list[str]:
    try:
        text = under_root.read_file(slash, path, LARGEST_FILE).decode("utf-8", "replace")
    except OSError as error:
        raise failed("looking up the user", error) from None
    return text.split("\n")


def _entry(lines: list[str], name: str, least: int) -> list[str] | None:
    for line in lines:
        fields = line.split(":")
        if fields[0] == name and len(fields) >= least:
            return fields
    return None


def _id(text: str, path: str) -> int:
    value = number(text) if text.isdigit() else None
    if value is None:
        raise PyrunError(f'--user: the container\'s {path} has "{text}" where an id is wanted')
    return value


def _groups_of(slash: int, name: str) -> list[int]:
    try:
        lines = _lines(slash, "/etc/group")
    except PyrunError:
        return []
    found = []
    for line in lines:
        fields = line.split(":")
        if len(fields) >= 4 and name in fields[3].split(","):
            found.append(_id(fields[2], "/etc/group"))
    return found
