"""Who owns a container's cgroup (config-linux.md#cgroup-ownership)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from oci_conformance.core import cgroup, kernel
from oci_conformance.core.cgroup import Cgroups
from oci_conformance.run.case import Case, Container, Refused
from oci_conformance.run.registry import test

USER, HOST = 1000, 100000  # process.user.uid, and the host's uid of the container's uid 0
LISTED = Path("/sys/kernel/cgroup/delegate")
FALLBACK = {"cgroup.procs", "cgroup.subtree_control", "cgroup.threads"}
V2 = ("root", "cgroup-v2", "cgroupns", "userns")
MAPPING = [{"containerID": 0, "hostID": HOST, "size": 65536}]
OWNER_IDS = (
    "cgroup.owner-may",
    "cgroup.owner-listed-files",
    "cgroup.owner-existing-files",
    "cgroup.owner-missing-file-ok",
    "cgroup.owner-other-files",
)


def _config(
    *, namespace: bool = True, mount: str | None = "rw", user_namespace: bool = True
) -> dict[str, object]:
    """A container whose user is USER, with what the rules of ownership ask about."""
    changes: dict[str, object] = {"process.user": {"uid": USER, "gid": USER}}
    if user_namespace:
        changes |= {"linux.uidMappings": MAPPING, "linux.gidMappings": MAPPING}
    for kind in [*["user"] * user_namespace, *["cgroup"] * namespace]:
        # appended one by one: the base has four
        changes[f"linux.namespaces[{4 + sum(key.startswith('linux.namespaces') for key in changes)}]"] = {
            "type": kind
        }
    if mount is not None:
        options = ["nosuid", "noexec", "nodev", *([mount] if mount else [])]
        changes["mounts[+]"] = {
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options
        }  # fmt: skip
    return changes


def _prepare(t: Case, changes: dict[str, object]) -> Container:
    """A prepared container with a place to mount cgroups on, which the root of a user namespace could not make."""
    c = t.prepare(changes)
    (c.rootfs / "sys/fs/cgroup").mkdir(parents=True)
    return c


def _create(t: Case, changes: dict[str, object]) -> Container:
    c = _prepare(t, changes)
    c.create()
    return c


def _owners(c: Container) -> dict[str, int]:
    """The owner of a container's cgroup of cgroup2 (as ".") and of every file in it."""
    directory = c.cgroup("")
    assert directory is not None
    return {".": directory.stat().st_uid, **{path.name: path.stat().st_uid for path in directory.iterdir()}}


def _given(owners: dict[str, int]) -> set[str]:
    """What doesn't belong to root, who made it."""
    return {name for name, owner in owners.items() if owner}


def _listed() -> set[str]:
    try:
        return set(LISTED.read_text().split())
    except FileNotFoundError:
        return FALLBACK


@contextlib.contextmanager
def _delegate(t: Case, content: str | None) -> Iterator[None]:
    """Show the runtime another list of files in the mount namespace that it shares with this worker, or none at all."""
    if t.host.uid or not LISTED.exists():
        t.skip("this host lacks /sys/kernel/cgroup/delegate")
    if content is None:
        place = LISTED.parent
        kernel.mount("tmpfs", place, "tmpfs")
    else:
        place = LISTED
        list_ = t.folder / "delegate"
        list_.write_text(content)
        kernel.mount(str(list_), place, flags=kernel.MS_BIND)
    try:
        yield
    finally:
        kernel.umount(place)


@test("cgroup.owner-iff-rw", "cgroup.owner-no-mount", needs=V2)
def decided_by_mount(t: Case) -> None:
    """The container's user is given the cgroup if, and only if, it is mounted read-write at /sys/fs/cgroup."""
    for mount, expected in (("rw", True), ("", True), ("ro", False)):
        owners = _owners(_create(t, _config(mount=mount)))
        what = (
            f"the owner {'changed' if expected else 'as it was'}, mounted with {mount or 'neither rw nor ro'}"
        )
        t.check("cgroup.owner-iff-rw", bool(_given(owners)) is expected, what, owners)
    owners = _owners(_create(t, _config(mount=None)))
    t.check("cgroup.owner-no-mount", not _given(owners), "no owner but root", owners)


@test("cgroup.owner-needs-new-ns", needs=V2)
def decided_by_namespace(t: Case) -> None:
    """Without a new cgroup namespace the container's user isn't given the cgroup."""
    # In a user namespace the host's cgroup namespace can't be mounted, so there is none.
    owners = _owners(_create(t, _config(namespace=False, user_namespace=False)))
    t.check("cgroup.owner-needs-new-ns", not _given(owners), "no owner but root", owners)


@test(*OWNER_IDS, needs=V2)
def files(t: Case) -> None:
    """A user that is given the cgroup is given its directory and the files that the kernel lists, no others."""
    uid = HOST + USER
    try:
        owners = _owners(_create(t, _config()))
    except Refused as error:
        t.check("cgroup.owner-missing-file-ok", False, "a container", str(error))
        raise
    mine = _given(owners)
    t.check("cgroup.owner-may", set(owners.values()) <= {0, uid}, f"files of uid 0 or {uid}", owners)
    if not mine:  # as it may
        for id in OWNER_IDS[1:]:
            t.unsupported(id, "the runtime doesn't change the owner of cgroups")
        return
    allowed = {".", *_listed()}
    wanted = allowed & owners.keys()
    t.check("cgroup.owner-listed-files", mine <= allowed, f"at most {sorted(allowed)}", sorted(mine))
    t.check("cgroup.owner-other-files", mine <= allowed, f"at most {sorted(allowed)}", sorted(mine))
    t.check("cgroup.owner-existing-files", mine >= wanted, f"at least {sorted(wanted)}", sorted(mine))
    with _delegate(t, "cgroup.procs\ncgroup.no-such-file\ncgroup.freeze\n"):
        c = _prepare(t, _config())
        call = c.call("create")
        t.check("cgroup.owner-missing-file-ok", call.ok, "a container", call.sentence)
        if not call.ok:
            return
        mine, named = _given(_owners(c)), {".", "cgroup.procs", "cgroup.freeze"}
        for id in ("cgroup.owner-listed-files", "cgroup.owner-existing-files", "cgroup.owner-other-files"):
            t.equal(id, sorted(mine), sorted(named))


@test("cgroup.owner-fallback", needs=V2)
def fallback(t: Case) -> None:
    """Where the kernel lists no files, three files and the directory are given."""
    if not _given(_owners(_create(t, _config()))):
        t.unsupported("cgroup.owner-fallback", "the runtime doesn't change the owner of cgroups")
        return
    with _delegate(t, None):
        mine = _given(_owners(_create(t, _config())))
    t.equal("cgroup.owner-fallback", sorted(mine), sorted({".", *FALLBACK}))


@test("cgroup.owner-not-v1", needs=("root", "cgroupns"))
def version_1(t: Case) -> None:
    """With cgroup v1 the owner stays as it is."""
    if all(t.host.controllers.values()):
        t.skip("this host lacks cgroup v1")
    c = _create(t, _config(user_namespace=False))
    groups = Cgroups.of(c.pid)
    changed = []
    for names, _, _ in cgroup.mounted():
        for name in sorted(names)[:1]:
            directory = groups.directory(name)
            if directory is not None and directory.name == c.id:
                changed += [str(path) for path in (directory, *directory.iterdir()) if path.stat().st_uid]
    t.check("cgroup.owner-not-v1", not changed, "no file whose owner isn't root", changed)
