"""The process document of exec: --process FILE, or the container's own process, with what the options change.

Hot module. What a document leaves out comes from the container's own process, as far as both peers or one of them have
it so: see docs/deviations.md, exec. A document of docker, podman or containerd is whole, and stays as it is.
"""

from __future__ import annotations

import errno
import posix

from oci_spec import config as oci_config
from oci_spec import rules
from oci_spec.fields import LARGEST_ID, ConfigError
from oci_spec.names import CAPABILITIES
from pyrun.base import jsontext
from pyrun.base.errors import PyrunError, failed
from pyrun.kernel import calls
from pyrun.story import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.commandline.parse import Values
    from pyrun.features import users

# Absent from a document, they are the container's: rights and limits (runc), who and with what (crun).
FROM_CONTAINER = (
    "user",
    "env",
    "capabilities",
    "rlimits",
    "apparmorProfile",
    "selinuxLabel",
    "oomScoreAdj",
    "scheduler",
    "ioPriority",
    "execCPUAffinity",
)
REGULAR, FIFO = 0o100000, 0o010000
PATIENCE = 10_000  # milliseconds that a pipe may bring nothing


def of(values: Values, arguments: list[str], configured: dict[str, Any]) -> dict[str, Any]:
    """Return what is to run; `configured` is the container's own process. Raises PyrunError for a faulty document."""
    path = str(values.get("process", ""))
    if path:
        if arguments:
            raise PyrunError("--process brings the program: none can be given besides")
        found = _completed(_read(path), configured)
    elif not arguments:
        raise PyrunError("a program to run is missing")
    else:
        found = dict(configured)
        found["args"] = arguments
        found["terminal"] = False
    _change(found, values)
    try:
        oci_config.parse_process(found)
    except ConfigError as error:  # its path begins in the document
        raise PyrunError(error.sentence(), f"process.{error.path}") from None
    for fault in rules.process_faults(found):
        raise PyrunError(fault.sentence(), fault.path)
    return found


def user(values: Values) -> users.Asked | None:
    """Return what --user and --additional-gids ask for, to be looked up in the container; None without --user.

    Raises PyrunError for a group that is no id.
    """
    return (str(values["user"]), _added_groups(values)) if "user" in values else None


def _completed(document: dict[str, Any], configured: dict[str, Any]) -> dict[str, Any]:
    for name in FROM_CONTAINER:
        if document.get(name) is None and configured.get(name) is not None:
            document[name] = configured[name]
    who, umask = document.get("user"), (configured.get("user") or {}).get("umask")
    if umask is not None and isinstance(who, dict) and who.get("umask") is None:
        document["user"] = {**who, "umask": umask}
    if document.get("cwd") is None:
        document["cwd"] = "/"
    return document


def _read(path: str) -> dict[str, Any]:
    try:
        found = jsontext.decode(calls.read_all(0, plan.LARGEST_CONFIG) if path == "-" else _read_file(path))
    except jsontext.JSONError as error:
        raise PyrunError(f"--process: {path} is not valid JSON: {error}") from None
    except OSError as error:
        raise failed(f"--process: reading {path}", error) from None
    if not isinstance(found, dict):
        raise PyrunError(f"--process: {path} holds no JSON object")
    return found


def _read_file(path: str) -> bytes:
    """Return the bytes of a file or of a pipe, as a shell's <(...) is.

    Raises PyrunError if it is anything else, or if the pipe's other end brings nothing: exec would hang without a word.
    """
    fd = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | calls.O_CLOEXEC)
    try:
        kind = posix.fstat(fd).st_mode & 0o170000
        if kind == REGULAR:
            return calls.read_all(fd, plan.LARGEST_CONFIG)
        if kind != FIFO:
            raise PyrunError(f"--process: {path} is neither a file nor a pipe")
        parts: list[bytes] = []
        size = 0
        while True:
            if not calls.poll([fd], PATIENCE):
                raise PyrunError(f"--process: nobody writes to {path}")
            part = posix.read(fd, 1 << 16)
            if not part:
                return b"".join(parts)
            parts.append(part)
            size += len(part)
            if size > plan.LARGEST_CONFIG:
                raise calls.failure("read", errno.EFBIG)
    finally:
        posix.close(fd)


def _change(found: dict[str, Any], values: Values) -> None:
    """What the options say over the document: as in runc, each only if it is given."""
    if values.get("tty"):
        found["terminal"] = True
    if "cwd" in values:
        found["cwd"] = values["cwd"]
    if values.get("no-new-privs"):
        found["noNewPrivileges"] = True
    if values.get("env"):
        found["env"] = [*(found.get("env") or []), *many(values, "env")]
    if values.get("additional-gids") and "user" not in values:
        user = dict(found.get("user") or {"uid": 0, "gid": 0})
        user["additionalGids"] = [*(user.get("additionalGids") or []), *_added_groups(values)]
        found["user"] = user
    if values.get("cap"):
        for name in many(values, "cap"):
            if name not in CAPABILITIES:
                raise PyrunError(f'--cap: "{name}" is not a capability')
        sets = dict(found.get("capabilities") or {})
        for kind in ("bounding", "effective", "permitted"):  # inheritable never, ambient neither
            sets[kind] = [*(sets.get(kind) or []), *many(values, "cap")]
        found["capabilities"] = sets
    for option, key in (("process-label", "selinuxLabel"), ("apparmor", "apparmorProfile")):
        if values.get(option):
            found[key] = values[option]


def _added_groups(values: Values) -> list[int]:
    gids = many(values, "additional-gids") if values.get("additional-gids") else []
    for gid in gids:
        if not (gid.isascii() and gid.isdigit() and len(gid) < 11 and int(gid) <= LARGEST_ID):
            raise PyrunError(f'--additional-gids: "{gid}" is not a group id', hint=f"0 to {LARGEST_ID}")
    return [int(gid) for gid in gids]


def many(values: Values, option: str) -> list[str]:
    """The values of an option that may be given several times."""
    found = values[option]
    return found if isinstance(found, list) else [str(found)]
