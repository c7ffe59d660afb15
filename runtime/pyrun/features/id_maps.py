"""linux.uidMappings and linux.gidMappings: who is who in a new user namespace.

Hot module, loaded for a new user namespace. Root writes the maps. A user without privileges may map one id alone, the
own one, and only after setgroups(2) is given up; for more there are newuidmap and newgidmap, which give out the ranges
of /etc/subuid and /etc/subgid. Sources: user_namespaces(7), newuidmap(1).
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError, failed
from pyrun.kernel import calls, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci_spec import types
    from pyrun.story.making import Inside, Making

MOST_RANGES = 340  # user_namespaces(7)
LONGEST_MAP = 4096  # bytes: it must be less than a page
PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write(making: Making) -> None:
    """Map the ids of the init, which was born in the new user namespace. Raises PyrunError if that is refused."""
    for kind in ("uid", "gid"):
        if mappings := making.plan.mappings(kind):
            map_ids(making.pid, kind, mappings, f"linux.{kind}Mappings")


def become_root(inside: Inside) -> None:
    """Be root of the user namespace, without the groups that came along, unless they are kept. Raises PyrunError if it
    has no root."""
    try:
        posix.setresgid(0, 0, 0)
        posix.setresuid(0, 0, 0)
    except OSError as error:
        raise failed("becoming root in the user namespace", error, "linux.uidMappings") from None
    process.prctl(process.PR_SET_PDEATHSIG, process.SIGKILL)  # a change of identity had cleared it,
    process.prctl(process.PR_SET_DUMPABLE, 0)  # and may have ended this (fs.suid_dumpable)
    try:
        if not inside.plan.keeps_groups:
            posix.setgroups([])
    except OSError:
        pass  # denied by the namespace's setgroups file; stage 2 reports it if groups are asked for


def map_ids(pid: int, kind: str, mappings: list[types.IdMapping], json_path: str) -> None:
    """Map "uid" or "gid" for a process that was born in a new user namespace. Raises PyrunError if that is refused."""
    if posix.geteuid() == 0:
        _write(pid, kind, mappings, json_path)
    elif _is_own_alone(kind, mappings):
        if kind == "gid":
            _give_up_groups(pid, json_path)
        _write(pid, kind, mappings, json_path)
    else:
        _ask_helper(pid, kind, mappings, json_path)


def _write(pid: int, kind: str, mappings: list[types.IdMapping], json_path: str) -> None:
    lines = [f"{m['containerID']} {m['hostID']} {m['size']}\n" for m in mappings]
    text = "".join(lines)
    try:
        calls.write_file(f"/proc/{pid}/{kind}_map", text)
    except OSError as error:
        hint = "an id of them isn't ours to give away" if error.errno == errno.EPERM else ""
        if len(lines) > MOST_RANGES or len(text) >= LONGEST_MAP:
            most = f"the kernel takes {MOST_RANGES} ranges in {LONGEST_MAP - 1} bytes"
            hint = f"{most}, and these are {len(lines)} in {len(text)}"
        raise failed("mapping ids", error, json_path, hint) from None


def _is_own_alone(kind: str, mappings: list[types.IdMapping]) -> bool:
    own = posix.geteuid() if kind == "uid" else posix.getegid()
    return len(mappings) == 1 and (mappings[0]["hostID"], mappings[0]["size"]) == (own, 1)


def _give_up_groups(pid: int, json_path: str) -> None:
    """Nobody in the namespace may drop a group: one that takes rights away, say. The kernel wants it so."""
    try:
        calls.write_file(f"/proc/{pid}/setgroups", "deny")
    except OSError as error:
        raise failed("giving up setgroups(2)", error, json_path) from None


def _ask_helper(pid: int, kind: str, mappings: list[types.IdMapping], json_path: str) -> None:
    """newuidmap or newgidmap, which is set-user-ID root and checks /etc/subuid or /etc/subgid."""
    name = f"new{kind}map"
    path = _find(name)
    if not path:
        raise PyrunError(
            f"mapping more than the own id needs {name}, which isn't installed",
            json_path,
            "install it (Debian: uidmap), or map the own id alone as `pyrun spec --rootless` does",
        )
    words = [name, str(pid)]
    for mapping in mappings:
        words += [str(mapping[key]) for key in ("containerID", "hostID", "size")]
    reading, writing = posix.pipe2(posix.O_CLOEXEC)
    try:
        helper = posix.posix_spawn(
            path,
            words,
            {b"PATH": PLACES.encode()},
            file_actions=[(posix.POSIX_SPAWN_DUP2, writing, 1), (posix.POSIX_SPAWN_DUP2, writing, 2)],
        )
        posix.close(writing)
        writing = -1
        said = calls.read_all(reading, 1 << 16).decode("utf-8", "replace").strip()
        status = posix.waitpid(helper, 0)[1]
    except OSError as error:
        raise failed(f"running {path}", error, json_path) from None
    finally:
        posix.close(reading)
        if writing >= 0:
            posix.close(writing)
    if status:
        raise PyrunError(
            f"mapping ids: {name} says: {' '.join(said.split())}",
            json_path,
            f"/etc/sub{kind} gives each user a range: usermod --add-sub{kind}s FIRST-LAST USER",
        )


def _find(name: str) -> str:
    for folder in PLACES.split(":"):
        path = f"{folder}/{name}"
        try:
            if posix.access(path, posix.X_OK):
                return path
        except OSError:
            pass
    return ""
