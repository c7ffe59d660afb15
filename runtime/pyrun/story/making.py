"""What a story knows so far: one object for the parent's side, one for the child's, which inherits it by memory.

Hot module. A field that no row has set yet can't be read (tests/test_story.py, and the interpreter): so the fields
that are here from the beginning are those that a row may find untouched.
"""

from __future__ import annotations

from pyrun.base import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.driver import Driver, Record
    from pyrun.commandline.parse import Values
    from pyrun.container.store import Container
    from pyrun.features.labels import Labels
    from pyrun.features.mounts.make import Late
    from pyrun.features.net_devices import Devices
    from pyrun.features.protected_paths import Places
    from pyrun.features.seccomp.notify import Agent
    from pyrun.features.users import Asked
    from pyrun.story.plan import Plan


class Making:
    """The parent's side of create and exec."""

    __slots__ = (
        "agent",
        "below",
        "cgroup",
        "console_socket",
        "container",
        "data",
        "driver",
        "id",
        "inside",
        "mounts_joined",
        "net_devices",
        "options",
        "owner",
        "pid",
        "plan",
        "rdt",
        "resources",
        "root",
        "seat",
        "sync",
        "target",
        "unborn",
        "unsaved",
    )

    container: Container  # its state folder, locked if we create it
    cgroup: Record
    driver: Driver  # of these cgroups
    rdt: dict[str, Any]  # its class of resctrl, see features/intel_rdt.py
    owner: int  # the host's id of who is to own the cgroup, or -1
    resources: dict[str, Any]  # linux.resources in today's meaning
    seat: int  # the v2 cgroup that the child is born in, or -1
    sync: int  # our end of the connection with the child
    pid: int  # the child's; stage 2's, once that is born in a PID namespace that is joined
    target: int  # exec's: the pid of the container's process

    def __init__(self, root: str, container_id: str, plan: Plan, options: Values) -> None:
        self.root = root
        self.id = container_id
        self.plan = plan
        self.options = options
        self.inside = Inside(plan)
        self.console_socket = -1  # where the terminal's master goes, if --console-socket doesn't say
        self.data = b""  # of config.json
        self.unsaved: list[tuple[str, str, bytes]] = []  # a seccomp program for the cache
        self.unborn = -1  # pidfd of a process that is there until stage 2 is born, or -1
        self.below: dict[str, str] = {}  # exec's --cgroup
        self.agent: Agent | None = None  # who decides system calls by SCMP_ACT_NOTIFY
        self.net_devices: Devices | None = None
        self.mounts_joined = False  # exec's: the container had joined its mount namespace


class Inside:
    """The child's side: what the parent hands over at its birth, and what it finds itself."""

    __slots__ = (
        "cgroup_entrance",
        "cgroup_view",
        "console_socket",
        "created_fd",
        "cwd",
        "folder",
        "hook_files",
        "join",
        "joins_pid",
        "keeps_affinity",
        "kernels",
        "labels",
        "late",
        "listen_fd",
        "nodes",
        "nodes_fd",
        "null",
        "pidfd",
        "places",
        "plan",
        "proc",
        "root",
        "root_fd",
        "root_node",
        "seccomp",
        "slash",
        "slave",
        "stage2_fd",
        "state",
        "sync",
        "time_proc",
        "umask",
        "user",
        "waits",
    )

    sync: int  # the child's end of the connection with the parent
    umask: int  # the caller's
    proc: int  # the host's procfs
    null: int  # the host's /dev/null
    folder: int  # the root file system's, as the host has it
    root: int  # the same as a mount of its own
    slash: int  # the same, when it is "/"
    kernels: list[tuple[str, int]]  # destination and descriptor of each procfs and sysfs
    late: list[Late]  # what is made read-only in the end

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state: dict[str, Any] = {}  # as hooks see it
        self.cgroup_entrance: list[int] = []
        self.cgroup_view: list[tuple[str, str, str, list[str]]] = []
        self.console_socket = self.listen_fd = self.created_fd = self.stage2_fd = -1
        self.nodes_fd = self.pidfd = self.root_fd = self.time_proc = -1
        self.join = 0  # exec's: CLONE_NEW* of the namespaces that are joined
        self.joins_pid = False  # create's: a PID namespace is joined, and we aren't in there yet
        self.root_node: list[int] | None = None
        self.seccomp: tuple[int, bytes] | None = None
        self.labels: Labels | None = None
        self.hook_files = (-1, -1)  # where stdout and stderr of hooks go
        self.user: Asked | None = None  # exec's --user
        self.waits = True  # for the parent's GO
        self.nodes: list[int] = []  # mounts of linux.devices that the parent has made, or -1
        self.slave = -1  # the terminal
        self.places: Places | None = None  # where paths to be masked or read-only are
        self.keeps_affinity = False  # exec's: it was born on the CPUs that are configured
        self.cwd = ""  # that stage 2 is to enter as the program's user

    def parent(self) -> int:
        """The connection by which the host's root is asked for what a user namespace has no right to; else -1."""
        return self.sync if "user" in self.plan.namespaces else -1

    def warn(self, text: str) -> None:
        """Have the parent log a warning."""
        protocol.send(self.sync, protocol.WARNING + text[:4096].encode())
