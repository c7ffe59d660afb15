"""Device rules for the devices hierarchy of cgroup v1. Hot module.

The kernel (Documentation/admin-guide/cgroup-v1/devices.rst) keeps "all" or "nothing" and a set of
exceptions from it, not an order of rules. So the rules are played through here first, and only what remains
is written.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base import log
from pyrun.base.errors import PyrunError
from pyrun.cgroups import files
from pyrun.cgroups.devices import ANY, MKNOD, PATH, READ, WRITE
from pyrun.kernel.calls import O_CLOEXEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrun.cgroups.devices import Rule

    Device = tuple[str, int, int]
    Exceptions = dict[Device, tuple[int, str]]  # access bits, JSON path

_EVERYTHING = "a *:* rwm"
MOST_EXCEPTIONS = 10_000


def apply(directory: str, allowed: bool, rules: Sequence[Rule]) -> None:
    """Put the rules into effect, whatever they were: first what is added, then what is taken.

    Raises PyrunError if the kernel refuses one, of kind "rights" if it lets us change none.
    """
    wanted = exceptions(allowed, rules)
    listed = files.fetch(directory, "devices.list")
    present: Exceptions = {}
    if allowed or listed == _EVERYTHING:  # exceptions from "all" are not listed: begin anew
        files.write(directory, "devices.allow" if allowed else "devices.deny", "a", PATH)
    else:
        present = {_device(line): (_access(line), PATH) for line in listed.split("\n") if line}
    add, take = ("devices.deny", "devices.allow") if allowed else ("devices.allow", "devices.deny")
    _write(directory, add, wanted, present)
    _write(directory, take, present, wanted)


def exceptions(allowed: bool, rules: Sequence[Rule]) -> Exceptions:
    """Return what remains of the rules: devices with the access that is an exception from `allowed`.

    Raises PyrunError for a rule that takes back a part of an earlier, wider one, which cgroup v1 can't say.
    """
    found: Exceptions = {}
    sets = {(bit, kind): _Set() for bit in (READ, WRITE, MKNOD) for kind in "cb"}
    for allow, kind, major, minor, access, path in rules:
        device = (kind, major, minor)
        for bit in (READ, WRITE, MKNOD):
            if not access & bit:
                continue
            if allow != allowed:
                sets[bit, kind].add(device)
                found[device] = (0, path)
                continue
            wider = sets[bit, kind].take(device)
            if wider:
                bits = sum([each for each in (READ, WRITE, MKNOD) if wider in sets[each, kind].devices])
                raise PyrunError(
                    f"cgroup v1 can't {'allow' if allow else 'deny'} a part of what the rule for "
                    f"{_text(wider, bits)} covers",
                    path,
                )
    remaining: Exceptions = {}
    for device, (_, path) in found.items():
        bits = sum([bit for bit in (READ, WRITE, MKNOD) if device in sets[bit, device[0]].devices])
        if bits:
            remaining[device] = (bits, path)
    _check_number(len(remaining))
    return remaining if allowed else _united(remaining)


class _Set:
    """The devices of one kind with one access, found by major and by minor number: rules can be many."""

    __slots__ = ("devices", "majors", "minors")

    def __init__(self) -> None:
        self.devices: dict[Device, None] = {}
        self.majors: dict[int, dict[Device, None]] = {}
        self.minors: dict[int, dict[Device, None]] = {}

    def add(self, device: Device) -> None:
        self.devices[device] = None
        self.majors.setdefault(device[1], {})[device] = None
        self.minors.setdefault(device[2], {})[device] = None

    def take(self, device: Device) -> Device | None:
        """Take out all that `device` covers; or one that covers a part of it and more, and then nothing is done."""
        kind, major, minor = device
        if major == ANY and minor == ANY:
            self.__init__()  # type: ignore[misc]
            return None
        if major != ANY and minor != ANY:
            for wider in ((kind, major, ANY), (kind, ANY, minor), (kind, ANY, ANY)):
                if wider in self.devices:
                    return wider
            covered = [device] if device in self.devices else []
        else:
            across = self.majors.get(ANY) if minor == ANY else self.minors.get(ANY)
            for wider in across or ():
                return wider if wider != device else None
            covered = list((self.majors.get(major) if minor == ANY else self.minors.get(minor)) or ())
        for each in covered:
            del self.devices[each], self.majors[each[1]][each], self.minors[each[2]][each]
        return None


def _check_number(count: int) -> None:
    if count > MOST_EXCEPTIONS:
        raise PyrunError(
            f"{count} devices differ from the rest, and more than {MOST_EXCEPTIONS} are too many for cgroup v1: the "
            "kernel goes through all of them at each write and at each open",
            PATH,
        )


def _united(found: Exceptions) -> Exceptions:
    """The kernel allows an access of several kinds (read and write) only if one exception has them all."""
    wide = [device for device in found if ANY in device]
    majors: dict[tuple[str, int], list[Device]] = {}
    minors: dict[tuple[str, int], list[Device]] = {}
    for device in found:
        majors.setdefault((device[0], device[1]), []).append(device)
        minors.setdefault((device[0], device[2]), []).append(device)
    for other in wide:
        kind, major, minor = other
        if major == ANY and minor == ANY:
            near = [device for device in found if device[0] == kind]
        elif minor == ANY:
            near = [*majors.get((kind, major), ()), *majors.get((kind, ANY), ())]
        else:
            near = [*minors.get((kind, minor), ()), *minors.get((kind, ANY), ())]
        for device in near:
            both = _overlap(device, other)
            if both is not None and both != other:
                if both not in found:
                    _check_number(len(found) + 1)
                    majors.setdefault((both[0], both[1]), []).append(both)
                    minors.setdefault((both[0], both[2]), []).append(both)
                bits, path = found.get(both, (0, found[device][1]))
                found[both] = (bits | found[device][0] | found[other][0], path)
    return found


def _overlap(one: Device, other: Device) -> Device | None:
    """The devices that both cover, if any."""
    if one[0] != other[0]:
        return None
    numbers = []
    for a, b in ((one[1], other[1]), (one[2], other[2])):
        if a != b and ANY not in (a, b):
            return None
        numbers.append(b if a == ANY else a)
    return one[0], numbers[0], numbers[1]


def _write(directory: str, name: str, wanted: Exceptions, present: Exceptions) -> None:
    """Write what `wanted` has beyond `present`: a rule is a write of its own."""
    fd = -1
    try:
        for device, (bits, path) in wanted.items():
            extra = bits & ~present.get(device, (0, ""))[0]
            if not extra:
                continue
            try:
                if fd < 0:
                    fd = posix.open(f"{directory}/{name}", posix.O_WRONLY | O_CLOEXEC)
                posix.write(fd, _text(device, extra).encode())
            except OSError as error:
                if error.errno == errno.EPERM and path == PATH and fd >= 0 and name == "devices.allow":
                    log.debug(f"{directory}: the cgroup above does not allow {_text(device, extra)}, which every "
                              "container has where it can")  # fmt: skip
                    continue
                raise files.refused(directory, name, _text(device, extra), path, error) from None
    finally:
        if fd >= 0:
            posix.close(fd)


def _text(device: Device, access: int) -> str:
    kind, major, minor = (str(part) if part != ANY else "*" for part in device)
    letters = "".join(letter for letter, bit in (("r", READ), ("w", WRITE), ("m", MKNOD)) if access & bit)
    return f"{kind} {major}:{minor} {letters}"


def _device(line: str) -> Device:
    kind, numbers, _ = line.split(" ")
    major, _, minor = numbers.partition(":")
    return kind, ANY if major == "*" else int(major), ANY if minor == "*" else int(minor)


def _access(line: str) -> int:
    letters = line.split(" ")[2]
    return sum(bit for letter, bit in (("r", READ), ("w", WRITE), ("m", MKNOD)) if letter in letters)
