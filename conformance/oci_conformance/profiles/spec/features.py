"""The Features structure, which a runtime may offer (features.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from oci_conformance.core import probe
from oci_conformance.core.bundle import Changes, Json
from oci_conformance.core.runtime import NOT_EXECUTED
from oci_conformance.profiles.spec.documents import runs
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test
from oci_spec import schema
from oci_spec.types import Mount
from oci_spec.version import parse

ABSENT = "the runtime has no features command"
# Properties that a version after the first one with this structure, 1.1.0, brought.
BROUGHT = {
    "potentiallyUnsafeConfigAnnotations": (1, 2, 0),
    "linux.mountExtensions": (1, 2, 0),
    "linux.intelRdt.schemata": (1, 3, 0),
    "linux.intelRdt.monitoring": (1, 3, 0),
    "linux.memoryPolicy": (1, 3, 0),
    "linux.netDevices": (1, 3, 0),
}
FIRST, NEWEST = (1, 1, 0), (1, 3, 0)
VERSIONS = ("ociVersionMin", "ociVersionMax")
# mount(8)'s options of single file systems, which go to mount(2) as its data
OF_FILE_SYSTEMS = set(
    "size mode uid gid nr_inodes nr_blocks huge mpol inode32 inode64 newinstance ptmxmode max hidepid subset lowerdir"
    " upperdir workdir index metacopy xino volatile userxattr data errors barrier nobarrier discard nodiscard quota"
    " usrquota grpquota subvol subvolid compress degraded utf8 iocharset codepage umask dmask fmask fd rootmode user_id"
    " group_id allow_other default_permissions trans msize nosuiddir vers proto addr rsize wsize".split()
)
NOT_RECURSIVE = ("rbind", "relatime", "remount", "rprivate", "rshared", "rslave", "runbindable", "rw")


def features(t: Case) -> Json:
    """The Features structure; where there is none, what the test has no verdict on becomes `unsupported`."""
    if t.features is None:
        for id in t.test.ids:
            if id not in t.verdicts:
                t.unsupported(id, ABSENT)
        return {}
    return t.features


def listed(t: Case, id: str, *path: str) -> list[str]:
    """The names that an array of the structure lists. If there are none, or it is no array, that is a verdict."""
    value: Any = features(t)
    if not value:
        return []
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    if value is None or value == []:
        t.unsupported(id, f"the runtime's features list no {path[-1]}")
        return []
    if not (isinstance(value, list) and all(isinstance(each, str) and each for each in value)):
        t.check(id, False, f"an array of names in {'.'.join(path)}", value)
        return []
    return list(value)


def recognised(t: Case, id: str, names: list[str], changes: Callable[[list[str]], Changes]) -> None:
    """A verdict: containers can have all names together, or each alone, where they don't go together."""

    def refused(some: list[str]) -> dict[str, str]:
        fault = runs(t.prepare(changes(some)))
        if not fault or len(some) == 1:
            return dict.fromkeys(some, fault) if fault else {}
        half = len(some) // 2
        return refused(some[:half]) | refused(some[half:])

    found = refused(names)
    t.check(id, not found, f"containers with {', '.join(names)}", found)


@test("features.may", "features.linux", "features.compile-time")
def structure(t: Case) -> None:
    """The structure, if the runtime offers one, is an object, the same every time, with or without `linux`."""
    if "features" in t.runtime.adapter.operations:
        call = t.runtime.call("features")
        ok = not call.ok or t.features is not None
        t.check(
            "features.may",
            ok and call.code > NOT_EXECUTED,
            "an object, or no such command",
            call.stdout[:300],
        )
    else:
        t.check("features.may", True, "an object, or no such command", None)
    if not (document := features(t)):
        return
    linux = document.get("linux")
    t.check("features.linux", linux is None or isinstance(linux, dict), "an object, or none", linux)
    c = t.create({}, "pause")
    c.start()
    again = t.runtime.features()
    t.check("features.compile-time", again == document, "the same at another time", again)


@test("features.versionMin", "features.versionMax", "features.max-ge-min")
def versions(t: Case) -> None:
    """Both versions are there, run as ociVersion, and are in order."""
    document = features(t)
    if not document:
        return
    for name in VERSIONS:
        version = document.get(name)
        id = name.replace("ociVersion", "features.version")
        known = isinstance(version, str) and parse(version) is not None
        t.check(id, known, f"a version in {name}", version)
        if known:
            fault = runs(t.prepare({"ociVersion": version}))
            t.check(id, not fault, f"a container with ociVersion {version}", fault)
    least, most = (_precedence(document.get(name)) for name in VERSIONS)
    t.check("features.max-ge-min", least <= most, "ociVersionMin up to ociVersionMax", document)


@test("features.no-newer-props")
def newer_properties(t: Case) -> None:
    """The structure has no properties that its ociVersionMax doesn't define."""
    document = features(t)
    if not document:
        return
    version = tuple(_precedence(document.get("ociVersionMax"))[:3])
    known = {path for path, _ in _properties(schema.schema("features"))}
    newer = []
    for path in _paths(document):
        since = next((BROUGHT[each] for each in BROUGHT if f"{path}.".startswith(f"{each}.")), FIRST)
        if path not in VERSIONS and (since > version or (path not in known and version <= NEWEST)):
            newer.append(path)
    t.check("features.no-newer-props", not newer, f"only what {document.get('ociVersionMax')} defines", newer)


@test("features.hooks")
def hooks(t: Case) -> None:
    """Hooks of every listed name are invoked."""
    names = listed(t, "features.hooks", "hooks")
    if not names:
        return
    changes: dict[Any, Any] = {}
    for name in names:
        inside = name == "startContainer"
        log = "/invoked" if inside else t.folder / "invoked"
        path = "/probe" if inside else None
        changes[f"hooks.{name}"] = [t.hook(f"to {log}", f"echo {name}", path=path)]
    c = t.prepare(changes)
    fault = runs(c)
    t.check("features.hooks", not fault, f"a container with hooks {', '.join(names)}", fault)
    answers = []
    for place in (t.folder / "invoked", c.rootfs / "invoked"):
        answers += probe.parse(place.read_bytes()) if place.exists() else []
    invoked = {each.get("result") for each in answers}
    t.check(
        "features.hooks", {*names} <= invoked, f"hooks {', '.join(names)} invoked", sorted(map(str, invoked))
    )


@test("features.mountOptions", "features.mountOptions-no-fs", needs=("root",), slow=True)
def mount_options(t: Case) -> None:
    """Every listed mount option can be used, and none is one of a single file system."""
    names = listed(t, "features.mountOptions", "mountOptions")
    if not names:
        return t.unsupported(
            "features.mountOptions-no-fs", ABSENT if t.features is None else "none is listed"
        )
    special = [name for name in names if name.partition("=")[0] in OF_FILE_SYSTEMS]
    t.check("features.mountOptions-no-fs", not special, "no options of single file systems", special)
    if t.host.lacks("kernel:5.12"):  # which brought mount_setattr(2): not the runtime's fault
        names = [
            name
            for name in names
            if not name.startswith("r") or name in ("ro", "rw", "rbind", "relatime", "remount")
        ]
    bound = t.folder / "bound"
    bound.mkdir()

    def mounted(options: list[str]) -> Changes:
        changes: dict[Any, Any] = {}
        mounts = t.base("none")["mounts"]
        for number, option in enumerate(options):
            mount: Mount = {"destination": f"/mnt/{number}", "type": "tmpfs", "source": "tmpfs"}
            if option in ("bind", "rbind", "idmap", "ridmap"):
                mount["type"], mount["source"] = "bind", str(bound)
            if option == "remount":
                mounts.append({**mount, "options": []})
            mount["options"] = [option]
            if option.endswith("idmap"):
                mount["options"] = ["bind", option]
                mount["uidMappings"] = mount["gidMappings"] = [{"containerID": 0, "hostID": 1000, "size": 10}]
            mounts.append(mount)
        changes["mounts"] = mounts
        return changes

    recognised(t, "features.mountOptions", names, mounted)
    return None


@test("features.annotations-map", "features.unsafe-annotations")
def annotation_names(t: Case) -> None:
    """Annotations are a map of strings without empty names; those that are potentially unsafe are listed by name."""
    document = features(t)
    if not document:
        return
    value = document.get("annotations")
    ok = value is None or (
        isinstance(value, dict) and "" not in value and all(isinstance(each, str) for each in value.values())
    )
    t.check("features.annotations-map", ok, "a map of strings", value)
    value = document.get("potentiallyUnsafeConfigAnnotations")
    ok = value is None or (isinstance(value, list) and all(isinstance(each, str) and each for each in value))
    t.check("features.unsafe-annotations", ok, "an array of keys", value)


def _precedence(version: object) -> tuple[Any, ...]:
    """A key that sorts versions by precedence (Semantic Versioning 2.0.0 § 11)."""
    parts = parse(version) if isinstance(version, str) else None
    if parts is None:
        return (0, 0, 0)
    *numbers, pre, _ = parts
    identifiers = [
        (not each.isdigit(), int(each) if each.isdigit() else 0, each) for each in pre.split(".") if pre
    ]
    return (*numbers, not pre, identifiers)


def _paths(document: Json, above: str = "") -> Iterator[str]:
    """Paths of all properties that aren't null; what stands in annotations are no properties."""
    for key, value in document.items():
        if value is not None:
            yield above + key
            if isinstance(value, dict) and above + key != "annotations":
                yield from _paths(value, f"{above}{key}.")


def _properties(document: Json, above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.get("properties", {}).items():
        yield above + key, value
        yield from _properties(value, f"{above}{key}.")
