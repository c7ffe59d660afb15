"""Which properties of config.json are carried out: derived from the tables of the stories. Hot module.

A property that the spec has and no row is asked for by is "not supported yet", and refused by its name. So a new
property needs its row, and nothing else, to be taken off that list, and out of the documents made of it.
"""

from __future__ import annotations

from oci_spec.config import CONFIG
from pyrun.base.errors import PyrunError
from pyrun.cgroups.controllers import table
from pyrun.story import facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from oci_spec import types
    from pyrun.story.step import Row

# Carried out by a row that something else asks for, or by another command: property -> the words of the row, or where.
ALONG = {
    "ociVersion": "reading the configuration",
    "annotations": "writing down what will be made",
    "root.path": "opening the root file system",
    "root.readonly": "entering the root file system",
    "process.consoleSize": "making the terminal",
    "process.env": "becoming stage 2",
    "process.user": "becoming this user",
    "linux.cgroupsPath": "making the cgroups",
    "linux.devices": "making devices",
    "linux.gidMappings": "mapping ids",
    "linux.namespaces": "starting the container's init",
    "linux.rootfsPropagation": "separating our mounts from the host's",
    "linux.uidMappings": "mapping ids",
    "hooks.poststart": "start",
    "hooks.poststop": "delete",
}


def _spec() -> set[str]:
    """The properties of the document, and those of its objects."""
    found = set()
    for name, kind in CONFIG[1].items():
        inner = kind[1] if len(kind) > 2 and isinstance(kind[1], dict) else {}
        found.update([f"{name}.{key}" for key in inner] or [name])
    return found


SPEC = _spec()


def left(*tables: tuple[Row[Any], ...]) -> frozenset[str]:
    """The spec's properties that no row of these tables carries out, and nothing else does."""
    return frozenset(SPEC - {by for rows in tables for by, _, _ in rows} - ALONG.keys())


def refusals(config: types.Config, not_yet: frozenset[str]) -> Iterator[PyrunError]:
    """What a configuration asks for and nobody carries out. Empty values ask for nothing, and engines send them."""
    if not_yet:
        for path in sorted(facts.properties(config) & not_yet):
            yield PyrunError("not supported yet", path)
    yield from refused_resources((config.get("linux") or {}).get("resources") or {})


def refused_resources(resources: Mapping[str, Any]) -> Iterator[PyrunError]:
    """What of `linux.resources` no controller carries out."""
    for name in table.asked(resources) if table.NOT_YET else ():
        if name in table.NOT_YET:
            yield PyrunError("not supported yet", f"linux.resources.{name}")
