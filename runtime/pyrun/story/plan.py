"""From config.json to a plan: what will be done, decided before anything is done.

Hot module. `load` reads and checks the file; `make` refuses by name what this runtime can't do yet, and sorts the
rest. No side effect is in here, so that a refused configuration leaves nothing behind.
"""

from __future__ import annotations

import posix

from oci_spec import config as oci_config
from oci_spec import rules
from oci_spec.fields import ConfigError
from pyrun.base import jsontext, log
from pyrun.base.errors import PyrunError, failed
from pyrun.cgroups.controllers import table
from pyrun.features import crun_annotations, rootfs, sdnotify
from pyrun.features.mounts import mount
from pyrun.features.namespaces import NAMESPACES
from pyrun.kernel import calls
from pyrun.story import carried, facts, handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from oci_spec import types
    from pyrun.commandline.parse import Values
    from pyrun.features.namespaces import Join

LARGEST_CONFIG = 16 << 20  # bytes

SMALL_MEMORY = 4 << 20


class Plan:
    """A checked configuration and what follows from it for this host."""

    __slots__ = (
        "asked",
        "bundle",
        "config",
        "joins",
        "keeps_groups",
        "linux",
        "listen_fds",
        "mounts",
        "namespaces",
        "new_keyring",
        "notifies",
        "pivot",
        "plain_terminal",
        "preserve_fds",
        "process",
        "program",
        "propagation",
        "rootfs",
        "terminal",
    )

    def __init__(self, config: types.Config, bundle: str) -> None:
        self.config = config
        self.bundle = bundle
        self.linux: types.Linux = config.get("linux") or {}
        self.process: types.Process | None = config.get("process")
        # what rows find that process.* asks for; else nothing
        self.program: types.Process = self.process or {}  # type: ignore[assignment]
        path = config["root"]["path"]
        self.rootfs: str = path if path[0] == "/" else f"{bundle}/{path}"
        self.terminal = bool(self.process and self.process.get("terminal"))
        self.namespaces: dict[str, str] = {
            ns["type"]: ns.get("path") or "" for ns in self.linux.get("namespaces") or ()
        }
        self.mounts = mount.plan(config.get("mounts") or [], bundle, self.linux)
        self.propagation: str = self.linux.get("rootfsPropagation") or ""
        self.pivot = True
        self.plain_terminal = False  # its output goes into a file or a pipe, by way of `run` or `exec`
        self.new_keyring = True
        self.preserve_fds = 0  # all that are passed on after stderr, and how many of them are LISTEN_FDS
        self.listen_fds = 0
        self.joins: list[Join] = []  # the namespaces given by a path, when they are open
        # of the caller; the configuration's own are left out then
        self.keeps_groups = bool((config.get("annotations") or {}).get(crun_annotations.KEEP_GROUPS))
        self.notifies = False  # our caller waits for sd_notify(3)
        self.asked: frozenset[str] = frozenset()  # facts.of it, when the options are taken

    def hooks(self, kind: str) -> list[types.Hook]:
        """The hooks of one kind."""
        hooks: Any = self.config.get("hooks") or {}
        found: list[types.Hook] = hooks.get(kind) or []
        return found

    def user(self) -> types.User:
        """The program's user, root where none is configured."""
        return self.program.get("user") or {"uid": 0, "gid": 0}

    def mappings(self, kind: str) -> list[types.IdMapping]:
        """The "uid" or "gid" mappings of the user namespace."""
        found = self.linux.get("uidMappings") if kind == "uid" else self.linux.get("gidMappings")
        return found or []

    def new_namespaces(self) -> int:
        """CLONE_NEW* flags of the namespaces to be made."""
        flags = 0
        for kind, path in self.namespaces.items():
            if not path:
                flags |= NAMESPACES[kind]
        return flags

    def is_shared(self) -> bool:
        """Do mounts of the container propagate to the host?"""
        return self.propagation in ("shared", "rshared")

    def has_new(self, kind: str) -> bool:
        """Does the container get a namespace of this kind of its own?"""
        return self.namespaces.get(kind) == ""

    def cgroup_owner(self) -> int:
        """The host's ID of the user who is to own the container's cgroup: the program's, where the container may write
        to its cgroups and sees no others (config-linux.md#cgroup-ownership). -1: it stays as it is."""
        writable = [
            entry
            for entry in self.config.get("mounts") or ()
            if entry.get("source") == "cgroup"
            and entry["destination"] == "/sys/fs/cgroup"
            and "ro" not in (entry.get("options") or ())
        ]
        if not writable or not self.has_new("cgroup") or not self.process:
            return -1
        uid: int = self.process["user"]["uid"]
        return self.host_id("uid", uid) if self.has_new("user") else uid

    def may_lack_cgroups(self) -> bool:
        """Is there no word of cgroups: no path, and no limit but those of devices?"""
        return not self.linux.get("cgroupsPath") and not self.asks_for_limits()

    def asks_for_limits(self) -> bool:
        """Is there a limit, other than those of devices?"""
        return bool(table.asked(self.linux.get("resources") or {}))

    def has_small_memory(self) -> bool:
        """Is memory limited so that a program may not even begin?"""
        memory = (self.linux.get("resources") or {}).get("memory") or {}
        return 0 < int(memory.get("limit", 0)) < SMALL_MEMORY

    def host_id(self, kind: str, number: int) -> int:
        """The host's number of a "uid" or "gid" of the user namespace, by linux.uidMappings; -1: it has none."""
        for mapping in self.mappings(kind):
            if 0 <= number - mapping["containerID"] < mapping["size"]:
                return int(mapping["hostID"] + number - mapping["containerID"])
        return -1


def read(bundle: str, path: str) -> bytes:
    """Return the bytes of a configuration. Raises PyrunError if the file is missing, too big, or doesn't end."""
    try:
        # non-blocking, since opening a FIFO would wait for a writer
        fd = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | calls.O_CLOEXEC)
    except FileNotFoundError:
        try:
            posix.stat(bundle)
        except OSError:
            raise PyrunError(f"the bundle {bundle} does not exist") from None
        raise PyrunError(f"{path} does not exist", hint="make one with: pyrun spec") from None
    except OSError as error:
        raise failed("reading the configuration", error) from None
    try:
        if posix.fstat(fd).st_mode & 0o170000 != 0o100000:
            raise PyrunError(f"{path} is not a regular file")
        return calls.read_all(fd, LARGEST_CONFIG)
    except OSError as error:
        raise failed("reading the configuration", error, path=path) from None
    finally:
        posix.close(fd)


def load(bundle: str, config_path: str) -> tuple[types.Config, bytes]:
    """Read and check config.json: the document and its bytes. Raises PyrunError, with the JSON path, for a fault."""
    path = config_path or f"{bundle}/config.json"
    data = read(bundle, path)
    try:
        document = jsontext.decode(data)
        table.forget_unset(document)
        oci_config.parse(document)
        rules.check(document)
        for warning in rules.version_warnings(document):
            log.warn(warning)
        for name in crun_annotations.without_effect(document.get("annotations") or {}):
            log.warn(f"{crun_annotations.json_path(name)}: it is crun's, and without effect here")
    except jsontext.JSONError as error:
        raise PyrunError(f"{path} is not valid JSON: {error}") from None
    except ConfigError as error:
        raise PyrunError(error.sentence(), error.path or path) from None
    checked: types.Config = document
    return checked, data


def of_bundle(state_folder: str, options: Values, not_yet: frozenset[str]) -> tuple[Plan, bytes]:
    """The plan of a bundle, as the options of create and run want it, and the bytes of its configuration. Raises
    PyrunError if it isn't one, or asks for what can't be had. `state_folder` is where the container's state will be."""
    bundle = handles.absolute(str(options.get("bundle", "")))
    if not jsontext.is_text(bundle):
        raise PyrunError("the bundle's path is not UTF-8, as the state document must be (glossary, JSON)")
    config, data = load(bundle, str(options.get("config", "")))
    notifies = b"NOTIFY_SOCKET" in posix.environ and bool(config.get("process")) and rootfs.has_mounts(config)
    if notifies:
        sdnotify.add_to(config, state_folder)
    planned = make(config, bundle, not_yet)
    planned.notifies = notifies
    planned.pivot = not options.get("no-pivot")
    planned.new_keyring = not options.get("no-new-keyring")
    planned.preserve_fds, planned.listen_fds = handles.preserved_fds(options)
    planned.asked = facts.of(planned, options)
    return planned, data


def make(config: types.Config, bundle: str, not_yet: frozenset[str]) -> Plan:
    """Decide. Raises PyrunError with the property that can't be had, if there is one."""
    for refusal in refusals(config, not_yet):
        raise refusal
    return Plan(config, bundle)


def refusals(config: types.Config, not_yet: frozenset[str]) -> Iterator[PyrunError]:
    """What can't be had, or not together with the rest, each with its property; `not_yet` are properties without a
    row."""
    yield from crun_annotations.refusals(config.get("annotations") or {})
    linux: Any = config.get("linux") or {}
    yield from carried.refusals(config, not_yet)
    for name in ("maskedPaths", "readonlyPaths"):
        for index, path in enumerate(linux.get(name) or ()):
            if not path.strip("/."):
                yield PyrunError("the root itself can't be covered", f"linux.{name}[{index}]")
    namespaces = {entry["type"]: entry.get("path") for entry in linux.get("namespaces") or ()}
    if namespaces.get("mount") and (config.get("hooks") or {}).get("createContainer"):
        yield PyrunError(
            "they can't run in a mount namespace that is joined: their paths are the runtime's",
            "hooks.createContainer",
        )
    if "mount" not in namespaces:
        yield from rootfs.refusals_without_namespace(config)
