"""Bundles: a base configuration, one change at a time, and the root file system that the suite makes itself."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from oci_conformance.core.records import Change
from oci_spec.types import Config, Linux, Mount

Key = str | int
Path_ = str | tuple[Key, ...]
Changes = Mapping[str, Any] | Mapping[Path_, Any]
Json = dict[str, Any]  # an object from outside: whatever a runtime or the probe made it


class _Delete:
    """The value of a change that removes a property."""

    def __repr__(self) -> str:
        return "DELETE"


DELETE: Final = _Delete()

DEV: tuple[Mount, ...] = (
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
    },
)
# A few capabilities that hurt nobody, as engines give; tests that need more ask for them.
CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
ROOTFS = ("bin", "dev", "etc", "mnt", "proc", "run", "sys", "tmp")
TOKEN = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\+)\]")


def base(version: str, uid: int, gid: int, cgroups_path: str | None) -> Config:
    """The configuration that every test starts from: small, valid in every version, fit for root or for `uid`.

    `cgroups_path` is where the suite looks for what a runtime leaves behind; None leaves it to the runtime.
    """
    capabilities = list(CAPABILITIES)
    linux: Linux = {"namespaces": [{"type": name} for name in ("pid", "ipc", "uts", "mount")]}
    if uid:
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    elif cgroups_path:
        linux["cgroupsPath"] = cgroups_path
    return {
        "ociVersion": version,
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/probe"],
            "env": ["PATH=/bin:/usr/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            *copy.deepcopy(DEV),
        ],
        "linux": linux,
    }


def keys(path: Path_) -> tuple[Key, ...]:
    """The keys of a path such as `mounts[0].options` or `mounts[+]`, whose last means one after the end."""
    if isinstance(path, tuple):
        return path
    found: list[Key] = []
    position = 0
    while position < len(path):
        match = TOKEN.match(path, position)
        assert match, f"{path!r} is no path"
        name, index = match.groups()
        found.append(name if name is not None else -1 if index == "+" else int(index))
        position = match.end()
    return tuple(found)


def apply(document: Any, changes: Changes) -> None:
    """Change a document in place; parents that aren't there are made."""
    for path, value in changes.items():
        *parents, last = keys(path)
        node = document
        for key, following in zip(parents, [*parents, last][1:], strict=True):
            empty: Any = [] if isinstance(following, int) else {}
            if isinstance(key, int):
                if key == -1 or key == len(node):
                    node.append(empty)
                node = node[key]
            else:
                node = node.setdefault(key, empty)
        if isinstance(value, _Delete):
            del node[last]
        elif isinstance(last, int) and (last == -1 or last == len(node)):
            node.append(copy.deepcopy(value))
        else:
            node[last] = copy.deepcopy(value)


def differences(before: Any, after: Any, path: str = "") -> list[Change]:
    """What makes `before` into `after`, as few changes as there are: [{"op", "path", "from", "to"}]."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: list[Change] = []
        for key in [*before, *(key for key in after if key not in before)]:
            where = f"{path}.{key}" if path else key
            if key not in after:
                found.append({"op": "remove", "path": where, "from": before[key]})
            elif key not in before:
                found.append({"op": "add", "path": where, "to": after[key]})
            else:
                found += differences(before[key], after[key], where)
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) <= len(after):
        found = []
        for index, item in enumerate(after):
            if index < len(before):
                found += differences(before[index], item, f"{path}[{index}]")
            else:
                found.append({"op": "add", "path": f"{path}[{index}]", "to": item})
        return found
    if before == after and type(before) is type(after):
        return []
    return [{"op": "replace", "path": path, "from": before, "to": after}]


MAPS = (
    "annotations",
    "linux.sysctl",
    "linux.resources.unified",
    "linux.resources.rdma",
    "linux.timeOffsets",
    "linux.netDevices",
)


def properties(value: Any, path: str = "") -> set[str]:
    """Every property that a document has, as its tables name it: `mounts[].options`, `linux.sysctl{}`."""
    if isinstance(value, list):
        return {path}.union(*(properties(item, f"{path}[]") for item in value))
    if not isinstance(value, dict):
        return {path}
    found = {path} if path else set()
    for key, child in value.items():
        found |= properties(child, f"{path}{{}}" if path in MAPS else f"{path}.{key}" if path else key)
    return found


def changed(before: Config, after: Any) -> set[str]:
    """The properties whose value in `after` isn't that of `before`."""
    found: set[str] = set()
    if not isinstance(after, dict):
        return found

    def walk(old: Any, new: Any, path: str) -> None:
        if isinstance(old, dict) and isinstance(new, dict) and path not in MAPS:
            for key, child in new.items():
                walk(old.get(key), child, f"{path}.{key}" if path else key)
        elif old != new:
            found.update(properties(new, path))

    walk(before, after, "")
    return found


def make_rootfs(rootfs: Path, probe: Path) -> None:
    """A root file system with nothing but the probe, as /probe and /bin/probe."""
    rootfs.mkdir(parents=True)
    rootfs.chmod(0o755)
    for name in ROOTFS:
        (rootfs / name).mkdir(mode=0o1777 if name == "tmp" else 0o755)
    for place in (rootfs / "probe", rootfs / "bin/probe"):
        os.link(probe, place)


def write(bundle: Path, config: Any) -> None:
    """Write config.json. `bytes` are taken as they are, for what JSON can't say."""
    text = config if isinstance(config, bytes) else json.dumps(config, indent=1).encode()
    (bundle / "config.json").write_bytes(text)
