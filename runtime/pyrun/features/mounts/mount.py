"""mounts[] understood: what each entry asks for, and what of it can't be had.

Hot module. Runs in the parent, before any side effect; make_mounts.py makes what is planned here.
"""

from __future__ import annotations

from pyrun.base import log
from pyrun.base.errors import PyrunError
from pyrun.features.mounts.options import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from oci_spec import types
    from pyrun.features.mounts.options import Options

SET_ON_FILESYSTEMS = ("sync", "dirsync", "lazytime", "mand", "iversion")
CGROUPS = ("cgroup", "cgroup2")


class Mount:
    """One entry of mounts[], understood."""

    __slots__ = (
        "below_root",
        "destination",
        "id_mappings",
        "ids_fd",
        "index",
        "is_idmapped",
        "kind",
        "label",
        "label_kind",
        "options",
        "source",
        "source_fd",
    )

    def __init__(self, index: int, entry: types.Mount) -> None:
        self.index = index
        self.destination: str = entry["destination"]
        if self.destination[0] != "/":
            self.destination = "/" + self.destination  # relative means relative to "/" since 1.2
        self.kind: str = entry.get("type") or ""
        self.source: str = entry.get("source") or ""
        self.options: Options = parse(entry.get("options") or ())
        self.source_fd = -1
        self.below_root = ""  # see sources.py
        self.is_idmapped = bool(self.options.idmap or entry.get("uidMappings"))
        self.id_mappings: tuple[list[types.IdMapping], list[types.IdMapping]] = (
            [],
            [],
        )  # its own, see idmap.py
        self.ids_fd = -1  # a user namespace that has them
        self.label = ""  # SELinux', of the new file system, and how it is labelled: mount(8)
        self.label_kind = "context"

    @property
    def json_path(self) -> str:
        """Where the configuration asks for it."""
        return f"mounts[{self.index}]"

    def describe(self) -> str:
        """What this does, for errors: "mounting tmpfs on /dev"."""
        if self.options.remount:
            return f"remounting {self.destination}"
        return f"mounting {self.kind if not self.options.bind else self.source} on {self.destination}"


def plan(entries: list[types.Mount], bundle: str, linux: types.Linux) -> list[Mount]:
    """Return the mounts in order. `linux` has the container's own mappings of ids. Raises PyrunError for a bad one."""
    planned = []
    for index, entry in enumerate(entries):
        mount = understand(index, entry, bundle, linux)
        if mount.options.bind and mount.options.old_flags:
            log.warn(
                f"{mount.json_path}.options: sync, dirsync, lazytime, mand, iversion and silent belong to a whole "
                "file system, and a bind mount doesn't change them"
            )
        planned.append(mount)
    return planned


def understand(index: int, entry: types.Mount, bundle: str, linux: types.Linux) -> Mount:
    """Return one mount. A relative bind source is relative to the bundle. Raises PyrunError if it can't be."""
    mount = Mount(index, entry)
    options = mount.options
    _check_options(mount, entry)
    if not mount.destination.strip("/."):
        raise PyrunError("the root itself can't be a mount's destination", f"mounts[{index}].destination")
    if options.bind:
        if not mount.source:
            raise PyrunError("a bind mount needs a source", f"mounts[{index}].source")
        if mount.source[0] != "/":
            mount.source = f"{bundle}/{mount.source}"
    elif not mount.kind and not options.remount and not options.propagation:
        raise PyrunError("a type is needed where the options don't say bind", f"mounts[{index}].type")
    elif mount.kind in ("bind", "rbind") and not options.remount:
        raise PyrunError(
            f'the type "{mount.kind}" alone makes no bind mount',
            f"mounts[{index}].type",
            f'add "{mount.kind}" to the options',
        )
    if mount.is_idmapped:
        from pyrun.features.mounts import idmap

        idmap.understand(mount, entry, linux)
    return mount


def _check_options(mount: Mount, entry: types.Mount) -> None:
    """Refuse by name the options that would have no effect."""
    options = mount.options
    names = entry.get("options") or ()
    for index, name in enumerate(names):
        if name == "tmpcopyup" and (options.bind or options.remount or mount.kind != "tmpfs"):
            raise PyrunError(
                "tmpcopyup is an option of a new tmpfs only", f"{mount.json_path}.options[{index}]"
            )
        if name == "iversion" and options.remount and not options.bind:
            raise PyrunError(
                "the kernel takes iversion for a new mount only", f"{mount.json_path}.options[{index}]"
            )
        if name not in options.data and not (name in SET_ON_FILESYSTEMS and not options.bind):
            continue
        path = (
            f"{mount.json_path}.options[{index}]"  # made for errors alone: engines send hundreds of options
        )
        if options.bind:
            raise PyrunError(f"a bind mount has no option {name!r}", path)
        if not mount.kind and not options.remount:
            raise PyrunError(f"a change of propagation has no option {name!r}", path)


def plain_folder(path: str) -> str:
    """A path with one slash between components and one behind, so that it can be compared; it isn't looked up."""
    if path[:1] == "/" and "//" not in path and "/." not in path:
        return path if path[-1] == "/" else path + "/"  # as nearly all are written
    return "/" + "".join([part + "/" for part in path.split("/") if part not in ("", ".")])


def below(source: str, places: list[str]) -> str:
    """The path in the container of a bind mount's source in its root file system, or "" for one elsewhere. `places` are
    the names of that, each a plain_folder."""
    path = plain_folder(source)
    for place in places:
        if path.startswith(place) and path != place and "/../" not in path:
            return path[len(place) - 1 :]
    return ""
