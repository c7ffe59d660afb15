"""Device rules for the devices hierarchy of cgroup v1. Hot module.

The kernel (Documentation/admin-guide/cgroup-v1/devices.rst) keeps "all" or "nothing" and a set of
exceptions from it, not an order of rules. So the rules are played through here first, and only what remains
is written.
"""

from __future__ import annotations

import posix

from pyrun.cgroups import files
from pyrun.cgroups.devices import ANY, MKNOD, PATH, READ, WRITE
from pyrun.errors import PyrunError
from pyrun.kernel.calls import O_CLOEXEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrun.cgroups.devices import Rule

    Device = tuple[str, int, int]
    Exceptions = dict[Device, tuple[int, str]]  # access bits, JSON path

_EVERYTHING = "a *:* rwm"


def apply(directory: str, allowed: bool, rules: Sequence[Rule]) -> None:
    """Put the rules into effect, from whatever is: first what is added, then what is taken. PyrunError; of kind
    "rights" if the kernel lets us change none."""
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
    """What remains of the rules: devices with the access that is an exception from `allowed`. PyrunError.

    A rule that takes back a part of an earlier, wider one can't be said in cgroup v1, and is refused.
    """
    found: Exceptions = {}
    for allow, kind, major, minor, access, path in rules:
        device = (kind, major, minor)
        if allow != allowed:
            found[device] = (found.get(device, (0, ""))[0] | access, path)
            continue
        for other, (bits, _) in list(found.items()):
            if not bits & access or _overlap(device, other) is None:
                continue
            if _overlap(device, other) != other:
                raise PyrunError(
                    f"cgroup v1 can't {'allow' if allow else 'deny'} a part of what the rule for "
                    f"{_text(other, bits)} covers",
                    path,
                )
            found[other] = (bits & ~access, found[other][1])
    found = {device: entry for device, entry in found.items() if entry[0]}
    return found if allowed else _united(found)


def _united(found: Exceptions) -> Exceptions:
    """The kernel allows an access of several kinds (read and write) only if one exception has them all."""
    wide = [device for device in found if ANY in device]
    for other in wide:
        for device in list(found):
            both = _overlap(device, other)
            if both is not None and both != other:
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
