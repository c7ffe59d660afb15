"""Namespaces that are given by a path: opened once, and refused where the container would change the host.

Hot module. A path says little: engines give the host's own network namespace by a bind mount
of theirs. So the opened descriptor is compared, which is also the one that is joined later.
"""

from __future__ import annotations

import posix

from oci_spec import rules
from pyrun.base.errors import PyrunError, failed
from pyrun.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from oci_spec import types
    from pyrun.story.making import Making

# namespace type -> its CLONE_NEW* flag
NAMESPACES = {
    "user": process.CLONE_NEWUSER,
    "cgroup": process.CLONE_NEWCGROUP,
    "ipc": process.CLONE_NEWIPC,
    "uts": process.CLONE_NEWUTS,
    "network": process.CLONE_NEWNET,
    "pid": process.CLONE_NEWPID,
    "time": process.CLONE_NEWTIME,
    "mount": process.CLONE_NEWNS,
}

# Names in /proc/PID/ns, where they aren't those of the configuration.
FILES = {"network": "net", "mount": "mnt"}

# The first namespaces of a kernel have these numbers: enum init_ns_ino of linux/nsfs.h. Those of the network and of
# mounts have had one since Linux 6.18 only.
FIRST = {"user": 0xEFFFFFFD, "ipc": 0xEFFFFFFF, "uts": 0xEFFFFFFE}


class Join:
    """A namespace to be joined: its type, where it was found, and the descriptor of it."""

    __slots__ = ("fd", "flag", "json_path", "kind", "path")

    def __init__(self, kind: str, path: str, json_path: str) -> None:
        self.kind = kind
        self.path = path
        self.json_path = json_path
        self.flag = NAMESPACES[kind]
        try:
            self.fd = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC)
        except OSError as error:
            raise failed(f"joining the {kind} namespace", error, json_path) from None

    def close(self) -> None:
        """Forget the descriptor."""
        posix.close(self.fd)


def open_joined(making: Making) -> None:
    """Open the namespaces of the configuration that have a path, for the child to join."""
    making.plan.joins = open_all(making.plan.config)


def open_all(config: types.Config) -> list[Join]:
    """Open every namespace that is given by a path, in the order in which they can be joined.

    Raises PyrunError if one isn't there, or is the host's and would be changed.
    """
    found = []
    for index, entry in enumerate((config.get("linux") or {}).get("namespaces") or ()):
        if entry.get("path"):
            join = Join(entry["type"], entry["path"], f"linux.namespaces[{index}].path")
            for refusal in refusals(config, join):
                raise refusal
            found.append(join)
    # The user namespace is joined last: until then we have our rights over all the others, whoever owns them.
    found.sort(key=_user_last)
    return found


def _user_last(join: Join) -> bool:
    return join.kind == "user"


def refusals(config: types.Config, join: Join) -> Iterator[PyrunError]:
    """What the configuration would change in this namespace, if it is one of the host's."""
    would_change = list(_changes(config, join))
    if not would_change or not is_hosts(join.kind, join.fd):
        return
    for json_path, what, hint in would_change:
        yield PyrunError(f"the {join.kind} namespace {join.path} is the host's: {what}", json_path, hint)


def _changes(config: types.Config, join: Join) -> Iterator[tuple[str, str, str]]:
    """What is done in a namespace of this kind: the property's JSON path, what it would do to the host, a remedy."""
    own = f"leave it out, or give the container a {join.kind} namespace of its own"
    if join.kind == "mount":
        yield join.json_path, "the host's mounts would be changed", own
    if join.kind == "user":
        yield join.json_path, "it can't be joined by those who are in it", "leave the entry out to share it"
    if join.kind == "uts":
        for name in ("hostname", "domainname"):
            if config.get(name):
                yield name, f"the host's {name} would be changed", own
    if join.kind == "network":
        for name in (config.get("linux") or {}).get("netDevices") or ():
            yield f'linux.netDevices["{name}"]', "the device would stay the host's", own
    for key in (config.get("linux") or {}).get("sysctl") or ():
        if rules.sysctl_namespace(key) == join.kind:
            yield f'linux.sysctl["{key}"]', f"the host's {key} would be changed", own


def is_hosts(kind: str, fd: int) -> bool:
    """Is the namespace of an open descriptor the caller's own, or that of the host's first process?

    Raises PyrunError if we can't find out for want of /proc.
    """
    found = posix.fstat(fd)
    if found.st_ino == FIRST.get(kind):
        return True
    name = FILES.get(kind, kind)
    for owner in ("self", "1"):
        try:
            own = posix.stat(f"/proc/{owner}/ns/{name}")
        except PermissionError:
            continue  # pid 1 is out of reach, as it is for a user who isn't root
        except OSError as error:
            if owner == "1":
                continue  # hidden by a mount option of /proc
            raise failed(f"comparing the {kind} namespace with the host's", error) from None
        if (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino):
            return True
    return False
