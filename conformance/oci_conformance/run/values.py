"""One requirement for each property of config.json: what its table in oci_spec doesn't allow is an error.

The specification says it once for all (config.md#valid-values). A runtime may hold to it for one property and pass
over the next, so each has a record, made from the tables: other types, numbers out of range, names that aren't in the
list, and nothing at all where something is required.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from oci_spec import fields
from oci_spec.catalogue import RELEASES, Requirement
from oci_spec.config import CONFIG

if TYPE_CHECKING:
    from oci_spec.fields import Kind

PREFIX = "values."

# The release that brought a property, and all below it, where that isn't the first.
SINCE = {
    "process.user.umask": "1.0.2",
    "hooks.createRuntime": "1.0.2",
    "hooks.createContainer": "1.0.2",
    "hooks.startContainer": "1.0.2",
    "linux.personality": "1.0.2",
    "linux.intelRdt.closID": "1.0.2",
    "linux.intelRdt.memBwSchema": "1.0.2",
    "linux.resources.rdma": "1.0.2",
    "linux.resources.memory.useHierarchy": "1.0.2",
    "linux.seccomp.flags": "1.0.2",
    "domainname": "1.1.0",
    "process.scheduler": "1.1.0",
    "process.ioPriority": "1.1.0",
    "mounts[].uidMappings": "1.1.0",
    "mounts[].gidMappings": "1.1.0",
    "linux.timeOffsets": "1.1.0",
    "linux.resources.cpu.burst": "1.1.0",
    "linux.resources.cpu.idle": "1.1.0",
    "linux.resources.unified": "1.1.0",
    "linux.resources.memory.checkBeforeUpdate": "1.1.0",
    "linux.seccomp.defaultErrnoRet": "1.1.0",
    "linux.seccomp.listenerPath": "1.1.0",
    "linux.seccomp.listenerMetadata": "1.1.0",
    "linux.seccomp.syscalls[].errnoRet": "1.1.0",
    "process.execCPUAffinity": "1.2.1",
    "linux.netDevices": "1.3.0",
    "linux.memoryPolicy": "1.3.0",
    "linux.intelRdt.schemata": "1.3.0",
    "linux.intelRdt.enableMonitoring": "1.3.0",
}


# Properties for whose absence the catalogue has a requirement. It has them also for relative paths, empty arrays and
# a timeout that isn't above 0.
REQUIRED = ("ociVersion", "root", "root.path")


class _Missing:
    """The wrong value that is none."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()


@dataclass(frozen=True)
class Property:
    """A property of config.json."""

    path: str  # as in a mutant's edits: `mounts[].options`, `linux.timeOffsets{}.secs`
    kind: Kind
    required: bool
    section: str

    @property
    def id(self) -> str:
        """The id of its requirement."""
        return PREFIX + self.path.replace("[]", "").replace("{}", "")

    @property
    def since(self) -> str:
        """The release that brought it."""
        wholes = [name for name in SINCE if f"{self.path}.".startswith((f"{name}.", f"{name}[", f"{name}{{"))]
        return max((SINCE[name] for name in wholes), default=RELEASES[0])

    def requirement(self) -> Requirement:
        """Its record."""
        absent = "is absent or " if self.required and self.path not in REQUIRED else ""
        text = f"A `{self.path}` that {absent}isn't {words(self.kind)} is an error"
        return Requirement(self.id, "MUST", "I", self.section, text, self.since)


@cache
def properties() -> tuple[Property, ...]:
    """All of them, in the order of the tables."""
    return tuple(_below(CONFIG, ""))


def _below(kind: Kind, path: str) -> Iterator[Property]:
    """The properties below a value of a kind."""
    if kind[0] is fields.check_object:
        for name, child in kind[1].items():
            place = f"{path}.{name}" if path else name
            yield Property(place, child, name in kind[2], fields.section_of(kind, name))
            yield from _below(child, place)
    elif kind[0] is fields.check_list:
        yield from _below(kind[1], f"{path}[]")
    elif kind[0] is fields.check_map:
        yield from _below(kind[1], f"{path}{{}}")


def requirements() -> dict[str, Requirement]:
    """The records by id."""
    return {each.id: each.requirement() for each in properties()}


def wrong(prop: Property) -> list[object]:
    """Values that a property mustn't have, but for those that a requirement of the catalogue is about.

    `null` isn't among them: the text doesn't say what it means.
    """
    return [MISSING, *_wrong(prop.kind)] if prop.required and prop.path not in REQUIRED else _wrong(prop.kind)


def _wrong(kind: Kind) -> list[object]:
    check = kind[0]
    if check is fields.check_object:
        return [5, "text", []]
    inner: list[object]
    if check is fields.check_map:
        inner = [] if kind[1][0] is fields.check_object else [{"name": each} for each in _wrong(kind[1])]
        return [5, "text", [], *inner]
    if check is fields.check_list:
        inner = [5] if kind[1][0] is fields.check_object else _wrong(kind[1])
        return [5, "text", {"name": "text"}, *([each] for each in inner)]
    if check is fields.check_boolean:
        return [1, "true", []]
    if check is fields.check_integer:
        return [*_out_of_range(kind), 0.5, "1", True, []]
    return [5, True, ["text"], {"name": "text"}, *_no_such_text(kind)]


def _out_of_range(kind: Kind) -> list[object]:
    """The next integers below and above."""
    return [kind[1] - 1 if kind[1] <= 0 else -kind[2] - 2, _most(kind) + 1]


def _most(kind: Kind) -> int:
    """The largest integer. Of IDs the text says no more than that they have 32 bits; the table is narrower by one."""
    most: int = kind[2] + 1 if kind is fields.ID else kind[2]
    return most


def _no_such_text(kind: Kind) -> list[object]:
    """Texts that a kind of string doesn't allow, by the text of the specification."""
    if kind[0] is fields.check_enum:
        return ["no-such-name", kind[1][0].swapcase()]
    return ["x"] if kind[0] is fields.check_form and not kind[1]("x") else []


def words(kind: Kind, *, many: bool = False) -> str:
    """A kind in words; `many` of them where they are the items of an array."""
    check = kind[0]
    if check in (fields.check_object, fields.check_map):
        return "objects" if many else "an object"
    if check is fields.check_list:
        return f"an array of {words(kind[1], many=True)}"
    if check is fields.check_boolean:
        return "true or false"
    if check is fields.check_integer:
        noun = "integers" if many else "an integer"
        return f"{noun} from {_power(kind[1])} to {_power(_most(kind))}"
    if check is fields.check_enum:
        named = ", ".join(kind[1]) if len(kind[1]) < 4 else f"the {len(kind[1])} that there are"
        return f"names, of {named}" if many else f"a name, one of {named}"
    if check is fields.check_form:
        return str(kind[3])
    return "strings" if many else "a string"


def _power(number: int) -> str:
    """A large number as a power of 2."""
    for least in (31, 32, 63, 64):
        for delta in (0, -1, -2):
            if abs(number) == (1 << least) + delta:
                return f"{'-' if number < 0 else ''}2^{least}{delta or ''}"
    return str(number)
