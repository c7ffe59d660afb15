"""mounts[]: one function per kind of mount, and the order of their work.

Hot module. The new mount calls make a mount detached, give it its attributes and attach it to an O_PATH descriptor:
no path of the container is resolved twice. Sources: config.md, Mounts; mount_setattr(2), fsopen(2), mount(8).

`plan` runs in the parent, before any side effect; the rest in the container's namespaces, before pivot_root.
"""

from __future__ import annotations

import errno
import posix

from pyrun.errors import PyrunError, failed
from pyrun.init import under_root
from pyrun.init.mount_options import parse
from pyrun.kernel import calls, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrun.init.mount_options import Options

LONGEST_VALUE = 255  # of a string that fsconfig(2) takes


class Mount:
    """One entry of mounts[], understood."""

    __slots__ = ("destination", "index", "kind", "options", "source", "source_fd")

    def __init__(self, index: int, entry: dict[str, Any]) -> None:
        self.index = index
        self.destination: str = entry["destination"]
        if self.destination[0] != "/":
            self.destination = "/" + self.destination  # relative means relative to "/" since 1.2
        self.kind: str = entry.get("type") or ""
        self.source: str = entry.get("source") or ""
        self.options: Options = parse(entry.get("options") or ())
        self.source_fd = -1

    @property
    def json_path(self) -> str:
        """Where the configuration asks for it."""
        return f"mounts[{self.index}]"

    def describe(self) -> str:
        """What this does, for errors: "mounting tmpfs on /dev"."""
        return f"mounting {self.kind if not self.options.bind else self.source} on {self.destination}"


def plan(entries: list[dict[str, Any]], bundle: str) -> list[Mount]:
    """The mounts in order; PyrunError for what can't be."""
    return [understand(index, entries[index], bundle) for index in range(len(entries))]


def understand(index: int, entry: dict[str, Any], bundle: str) -> Mount:
    """One mount; PyrunError if it can't be. A relative bind source is relative to the bundle."""
    mount = Mount(index, entry)
    options = mount.options
    if options.idmap:
        raise PyrunError("idmapped mounts are not supported yet", f"mounts[{index}].options")
    if not mount.destination.strip("/."):
        raise PyrunError("the root itself can't be a mount's destination", f"mounts[{index}].destination")
    if options.bind:
        if not mount.source:
            raise PyrunError("a bind mount needs a source", f"mounts[{index}].source")
        if mount.source[0] != "/":
            mount.source = f"{bundle}/{mount.source}"
    elif not mount.kind and not options.remount and not options.propagation:
        raise PyrunError("a type is needed where the options don't say bind", f"mounts[{index}].type")
    return mount


def open_sources(planned: list[Mount]) -> None:
    """Open the sources of bind mounts, while we still may walk to them as the host's root."""
    for mount in planned:
        if mount.options.bind and not mount.options.remount:
            try:
                mount.source_fd = posix.open(mount.source, calls.O_PATH | calls.O_CLOEXEC)
            except OSError as error:
                raise failed(
                    f"opening the source of {mount.destination}", error, mount.json_path + ".source"
                ) from None


def make_all(
    root: int,
    planned: list[Mount],
    join_cgroups: Callable[[], None],
    cgroup_view: list[tuple[str, str]],
    own_cgroup_namespace: bool,
) -> list[tuple[str, int]]:
    """Make every mount in order. File systems asked for read-only become so at the end, so that places for mounts
    below them can be made. Returns destination and descriptor of each procfs and sysfs."""
    late = []
    kernels = []
    for mount in planned:
        try:
            options = mount.options
            if options.remount:
                _remount(root, mount)
            elif options.bind:
                _bind(root, mount)
            elif mount.kind in ("cgroup", "cgroup2"):
                join_cgroups()
                late.append((mount, _cgroup(root, mount, cgroup_view, own_cgroup_namespace)))
            elif not mount.kind:
                _propagate(root, mount)
            else:
                late.append((mount, _filesystem(root, mount)))
        except OSError as error:
            raise failed(mount.describe(), error, mount.json_path) from None
        except PyrunError as error:
            if not error.json_path:
                error.json_path = mount.json_path
                error.sentence = f"{mount.describe()}: {error.sentence}"
            raise
    for mount, fd in late:
        if mount.options.set & mounts.MOUNT_ATTR_RDONLY:
            change(fd, False, mounts.MOUNT_ATTR_RDONLY, 0)
        if mount.kind in ("proc", "sysfs"):
            kernels.append((mount.destination, fd))
        else:
            posix.close(fd)
    return kernels


def change(fd: int, recursive: bool, set_: int, clear: int, propagation: int = 0) -> None:
    """mount_setattr(2) of an attached mount, or what mount(2) can do of it where the kernel lacks it."""
    try:
        mounts.mount_setattr(fd, recursive, set_, clear, propagation)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        from pyrun.init import old_kernel

        old_kernel.change(fd, recursive, set_, clear, propagation)


def _finish(fd: int, options: Options, late_readonly: bool) -> None:
    """Give an attached mount its attributes and propagation."""
    set_ = options.set & ~mounts.MOUNT_ATTR_RDONLY if late_readonly else options.set
    if set_ or options.clear:
        change(fd, False, set_, options.clear)
    if options.recursive_set or options.recursive_clear:
        change(fd, True, options.recursive_set, options.recursive_clear)
    for flag, recursive in options.propagation:
        change(fd, recursive, 0, 0, flag)


def _bind(root: int, mount: Mount) -> None:
    options = mount.options
    kind = under_root.DIRECTORY if under_root.is_directory(mount.source_fd) else under_root.FILE
    target = under_root.make(root, mount.destination, kind)
    tree = mounts.clone_tree(mount.source_fd, options.recursive_bind)
    mounts.move_mount(tree, target)
    _finish(tree, options, late_readonly=False)
    posix.close(tree)
    posix.close(target)
    posix.close(mount.source_fd)


def _target_directory(root: int, mount: Mount) -> int:
    """The folder to mount a file system on. For proc and sysfs it must not be a symbolic link, nor anything else that
    an image could put there to have them elsewhere (CVE-2019-19921, CVE-2023-27561)."""
    if mount.kind in ("proc", "sysfs"):
        parent, name = under_root.make_parent(root, mount.destination)
        try:
            try:
                posix.mkdir(name, 0o755, dir_fd=parent)
            except FileExistsError:
                pass
            return under_root.open_in(parent, name, calls.O_PATH | posix.O_DIRECTORY)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise PyrunError(
                    f"{mount.describe()}: it is a symbolic link or file in the root file system, and must be a folder",
                    mount.json_path,
                ) from None
            raise
        finally:
            posix.close(parent)
    return under_root.make(root, mount.destination, under_root.DIRECTORY)


def _filesystem(root: int, mount: Mount) -> int:
    """A new file system of type mount.kind; returns its mount, attached."""
    options = mount.options
    target = _target_directory(root, mount)
    try:
        too_long = any(len(text) > LONGEST_VALUE for text in (mount.source, *options.data))
        if options.old_flags or too_long or any("\\" in item for item in options.data):
            from pyrun.init import old_kernel

            fd = old_kernel.mount_filesystem(root, mount, target)
        else:
            settings = []
            for item in options.data:
                for part in item.split(","):
                    key, equals, value = part.partition("=")
                    if key:
                        settings.append((key, value if equals else None))
            fd = new_filesystem(mount.kind, mount.source or "none", options.superblock + settings, 0)
            if options.tmpcopyup:
                from pyrun.features import tmpcopyup

                tmpcopyup.copy_up(target, fd, settings)
            mounts.move_mount(fd, target)
        _finish(fd, options, late_readonly=True)
        return fd
    finally:
        posix.close(target)


def new_filesystem(kind: str, source: str, settings: list[tuple[str, str | None]], attributes: int) -> int:
    """A detached mount of a new file system: its type, source, and settings (a value of None is a flag)."""
    try:
        context = mounts.fsopen(kind)
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise PyrunError(f'the kernel knows no file system "{kind}"') from None
        raise
    try:
        mounts.fsconfig(context, mounts.FSCONFIG_SET_STRING, "source", source)
        for key, value in settings:
            mounts.fsconfig(
                context, mounts.FSCONFIG_SET_FLAG if value is None else mounts.FSCONFIG_SET_STRING, key, value
            )
        mounts.fsconfig(context, mounts.FSCONFIG_CMD_CREATE)
        return mounts.fsmount(context, attributes)
    except OSError as error:
        raise with_kernel_words(context, error) from None
    finally:
        posix.close(context)


def with_kernel_words(context: int, error: OSError) -> OSError:
    """The error, with what the file system itself says about it (fsopen(2), message retrieval)."""
    said: list[str] = []
    try:
        while len(said) < 8:
            said.append(posix.read(context, 1024).decode("utf-8", "replace")[2:].strip())
    except OSError:
        pass  # ENODATA: nothing more
    text = "; ".join(said)
    if not text:
        return error
    return OSError(error.errno, f"{error.strerror}", f"{error.filename or ''} ({text})".strip())


def _remount(root: int, mount: Mount) -> None:
    """Change a mount that is there: its attributes, and (unless bind) the file system's own settings."""
    options = mount.options
    target = under_root.lookup(root, mount.destination)
    try:
        if not options.bind and (options.superblock or options.data):
            context = mounts.fspick(target)
            try:
                for item in options.superblock + [(part, None) for part in options.data]:
                    key, equals, value = item[0].partition("=")
                    command = mounts.FSCONFIG_SET_STRING if equals else mounts.FSCONFIG_SET_FLAG
                    mounts.fsconfig(context, command, key, value if equals else None)
                mounts.fsconfig(context, mounts.FSCONFIG_CMD_RECONFIGURE)
            except OSError as error:
                raise with_kernel_words(context, error) from None
            finally:
                posix.close(context)
        _finish(target, options, late_readonly=False)
    finally:
        posix.close(target)


def _propagate(root: int, mount: Mount) -> None:
    """No type and no bind, only propagation: of the mount that is there."""
    target = under_root.lookup(root, mount.destination)
    try:
        _finish(target, mount.options, late_readonly=False)
    finally:
        posix.close(target)


def _cgroup(root: int, mount: Mount, view: list[tuple[str, str]], own_namespace: bool) -> int:
    """The container's cgroups at the destination: cgroup2 itself on a v2 host, else a tmpfs with one folder for each
    hierarchy, as hosts have it."""
    options = mount.options
    target = under_root.make(root, mount.destination, under_root.DIRECTORY)
    try:
        if len(view) == 1:  # a pure v2 host
            if own_namespace:
                fd = new_filesystem("cgroup2", "cgroup", options.superblock, 0)
            else:
                fd = _clone_path(view[0][1])
            mounts.move_mount(fd, target)
            _finish(fd, options, late_readonly=True)
            return fd
        fd = new_filesystem("tmpfs", "tmpfs", [("mode", "755")], 0)
        mounts.move_mount(fd, target)
        for name, folder in view:
            posix.mkdir(name, 0o755, dir_fd=fd)
            place = under_root.open_in(fd, name, calls.O_PATH | posix.O_DIRECTORY)
            tree = _clone_path(folder)
            mounts.move_mount(tree, place)
            posix.close(place)
            _finish(tree, options, late_readonly=False)
            posix.close(tree)
        _finish(fd, options, late_readonly=True)
        return fd
    finally:
        posix.close(target)


def _clone_path(path: str) -> int:
    """A detached bind mount of a folder of the host."""
    source = posix.open(path, calls.O_PATH | calls.O_CLOEXEC)
    try:
        return mounts.clone_tree(source, recursive=True)
    finally:
        posix.close(source)
