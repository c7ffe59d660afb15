"""Names and properties of systemd's units for containers: what can be decided without asking systemd.

Hot module, loaded only with --systemd-cgroup. Sources: systemd.unit(5), systemd.slice(5), systemd.resource-control(5);
the form of cgroupsPath and the defaults are runc's, which engines know.
"""

from __future__ import annotations

from pyrun.base.errors import PyrunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NotRequired, TypedDict

    from pyrun.cgroups.devices import Rule
    from pyrun.cgroups.files import Write

    Property = tuple[str, tuple[str, Any]]  # name, (D-Bus type, value)

    class Unit(TypedDict):
        """`name` ends with .scope or .slice; `slice` is the one that it is in; `description` is for people; `user`
        says that it is one of the user's systemd, not of the system's; `pending`, that systemd hasn't made it yet;
        `subgroup` is the container's own cgroup below the unit's."""

        name: str
        slice: str
        description: str
        user: bool
        pending: NotRequired[bool]
        subgroup: NotRequired[str]


JSON_PATH = "linux.cgroupsPath"
DEFAULT_SLICE, DEFAULT_PREFIX = "system.slice", "runc"
DEFAULT_USER_SLICE = "user.slice"
UNLIMITED = (1 << 64) - 1
ANNOTATION = "org.systemd.property."
SUBGROUP = "run.oci.systemd.subgroup"
MOST_DEVICES = 500  # beyond that systemd's program for devices might be too long for the kernel
MILLION = 1_000_000
NAME_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:-_.\\@"
LONGEST_NAME = 255  # systemd's UNIT_NAME_MAX, with the ending

# file of cgroup v2 -> property of a unit whose value is its number, or UNLIMITED for "max"
NUMBERS = {
    "memory.max": "MemoryMax",
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
    "cpu.weight": "CPUWeight",
}
OOM_POLICY = "OOMPolicy"
# What systemd of some version doesn't take for a scope, or not for one that runs: it is left out then. Such a systemd
# doesn't write the file, either, or it is a later daemon-reload that does.
OPTIONAL = (OOM_POLICY,)

# The same for cgroup v1, where -1 says "no limit"
V1_NUMBERS = {
    "memory.limit_in_bytes": "MemoryMax",
    "cpu.shares": "CPUShares",
    "blkio.weight": "BlockIOWeight",
    "blkio.bfq.weight": "BlockIOWeight",
}
CPU_LISTS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}


def place(cgroups_path: str | None, container_id: str, user: bool = False) -> tuple[Unit, str]:
    """The unit for a cgroupsPath in systemd's form (slice:prefix:name), and its cgroup's path
    below systemd's own. Raises PyrunError."""
    usual = DEFAULT_USER_SLICE if user else DEFAULT_SLICE
    parts = (cgroups_path or f"{usual}:{DEFAULT_PREFIX}:{container_id}").split(":")
    if len(parts) != 3 or not parts[2]:
        raise PyrunError(
            f"{cgroups_path!r} is not in systemd's form, slice:prefix:name",
            JSON_PATH,
            "such as system.slice:pyrun:ID; for a plain path leave out --systemd-cgroup",
        )
    slice_, prefix, name = parts
    slice_ = slice_ or usual
    if name.endswith(".slice"):
        slice_path(name)
    else:
        name = escape(f"{prefix}-{name}" if prefix else name) + ".scope"
    if len(name) > LONGEST_NAME:
        raise PyrunError(f"the unit's name {name} is longer than {LONGEST_NAME} characters", JSON_PATH)
    unit: Unit = {
        "name": name,
        "slice": slice_,
        "description": f"libcontainer container {container_id}",
        "user": user,
    }
    if name.endswith(".slice"):
        return unit, slice_path(name)
    return unit, f"{slice_path(slice_)}/{name}"


def escape(name: str) -> str:
    """The name as systemd takes it: other characters than its own as \\xNN (systemd.unit(5), String escaping)."""
    out = []
    for byte in name.encode("utf-8", "surrogateescape"):
        character = chr(byte)
        out.append(character if character in NAME_CHARACTERS else f"\\x{byte:02x}")
    return "".join(out)


def slice_path(name: str) -> str:
    """The cgroup of a slice, which lies in those that its name's dashes tell: a-b.slice is /a.slice/a-b.slice, and
    -.slice the root. Raises PyrunError if it is no name of a slice."""
    stem = name.removesuffix(".slice")
    if stem == "-":
        return ""
    parts = stem.split("-")
    if stem == name or "" in parts or "/" in stem or escape(stem) != stem:
        raise PyrunError(
            f"{name!r} is not the name of a slice", JSON_PATH, "such as machine.slice or a-b.slice"
        )
    path = ""
    for count in range(1, len(parts) + 1):
        path += "/" + "-".join(parts[:count]) + ".slice"
    return path


def subgroup(annotations: Mapping[str, str]) -> str:
    """The cgroup below the unit's that an annotation wants for the container, as crun has it; "" for the unit's own.
    Raises PyrunError."""
    name = annotations.get(SUBGROUP, "")
    if "/" in name or name in (".", "..") or len(name) > LONGEST_NAME:
        raise PyrunError(f"{name!r} is not the name of a cgroup", f"annotations[{SUBGROUP!r}]")
    return name


def own_properties(unit: Unit, pid: int) -> list[Property]:
    """What every unit of a container has."""
    found: list[Property] = [("Description", ("s", unit["description"]))]
    if unit["name"].endswith(".slice"):
        found.append(("Wants", ("as", [unit["slice"]])))
    else:
        found += [
            ("Slice", ("s", unit["slice"])),
            ("Delegate", ("b", True)),
            ("PIDs", ("au", [pid])),
            ("CollectMode", ("s", "inactive-or-failed")),  # systemd forgets it by itself
        ]
    found += [(f"{what}Accounting", ("b", True)) for what in ("Memory", "CPU", "IO", "Tasks")]
    found.append(("DefaultDependencies", ("b", False)))
    return found


def limits(writes: Sequence[Write]) -> list[Property]:
    """The properties that say what these writes to cgroups' files say; none for files that systemd doesn't know."""
    found: list[Property] = []
    quota = period = ""
    for name, text, _, _ in writes:
        if name in NUMBERS and (text == "max" or text.isdigit()):
            found.append((NUMBERS[name], ("t", UNLIMITED if text == "max" else int(text))))
        elif name == "cpu.max":
            found += _cpu_quota(text)
        elif name in CPU_LISTS:
            found.append((CPU_LISTS[name], ("ay", _bits(text))))
        elif name == "memory.oom.group":
            found.append((OOM_POLICY, ("s", "kill" if text == "1" else "continue")))
        elif name in V1_NUMBERS:
            found.append((V1_NUMBERS[name], ("t", UNLIMITED if int(text) < 0 else int(text))))
        elif name == "cpu.cfs_quota_us":
            quota = "max" if int(text) < 0 else text
        elif name == "cpu.cfs_period_us":
            period = text
        elif name == "io.weight" and (weight := text.removeprefix("default ")).isdigit():
            found.append(("IOWeight", ("t", int(weight))))
        elif name == "io.bfq.weight" and (weight := text.removeprefix("default ")).isdigit():
            from pyrun.cgroups.controllers import block_io

            found.append(("IOWeight", ("t", block_io.io_weight(int(weight)))))
    if quota or period:
        found += _cpu_quota(f"{quota} {period}")
    return found


def devices(allowed: bool, rules: Sequence[Rule], most: int) -> list[Property]:
    """The properties that say which devices may be used, as far as systemd can: it knows no exceptions from what is
    allowed. These are our own program's, which limits the cgroup as well. Where there are more than the `most` that it
    can be told, it has no say."""
    anew: Property = ("DeviceAllow", ("a(ss)", []))  # what was there before goes
    lists = [(_device(kind, major, minor), access) for allow, kind, major, minor, access, _ in rules if allow]
    if allowed or len(lists) > most:
        return [("DevicePolicy", ("s", "auto")), anew]
    entries = [(name, _access(access)) for name, access in lists]
    return [("DevicePolicy", ("s", "strict")), anew, ("DeviceAllow", ("a(ss)", entries))]


def _device(kind: str, major: int, minor: int) -> str:
    """A device, or all of a major number, or all, as DeviceAllow names them."""
    folder = "char" if kind == "c" else "block"
    if major < 0:
        return f"{folder}-*"
    return f"/dev/{folder}/{major}:{minor}" if minor >= 0 else f"{folder}-{major}"


def _access(bits: int) -> str:
    return "".join([letter for letter, bit in (("r", 2), ("w", 4), ("m", 1)) if bits & bit])


def _cpu_quota(text: str) -> list[Property]:
    """ "QUOTA PERIOD" or "max": systemd counts the time in each second, and in steps of 10 ms."""
    quota, _, period_text = text.partition(" ")
    found: list[Property] = []
    period = int(period_text) if period_text.isdigit() else 0
    if period:
        found.append(("CPUQuotaPeriodUSec", ("t", period)))
    if quota == "max":
        found.append(("CPUQuotaPerSecUSec", ("t", UNLIMITED)))
    elif quota.isdigit():
        in_a_second = int(quota) * MILLION // (period or 100_000)
        step = 10_000
        found.append(("CPUQuotaPerSecUSec", ("t", (in_a_second + step - 1) // step * step)))
    return found


def _bits(text: str) -> bytes:
    """A list of numbers such as "0-3,7" as a mask, the lowest in the first byte's lowest bit. What isn't one is left
    to the kernel to refuse: an empty mask is "not set"."""
    mask = 0
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        last = last or first
        if not (first.isdigit() and last.isdigit()) or int(last) > 1 << 16:
            return b""
        for number in range(int(first), int(last) + 1):
            mask |= 1 << number
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def from_annotations(annotations: Mapping[str, str]) -> list[Property]:
    """Properties that annotations ask for: org.systemd.property.NAME with a value in GVariant's text format. A time in
    …Sec becomes …USec, as systemd has it. Raises PyrunError."""
    found: list[Property] = []
    for key, text in annotations.items():
        if not key.startswith(ANNOTATION):
            continue
        json_path = f"annotations[{key!r}]"
        name = key[len(ANNOTATION) :]
        if not (name.isalpha() and name.isascii() and len(name) >= 3):
            raise PyrunError(f"{name!r} is not the name of a unit's property", json_path)
        from pyrun.cgroups import gvariant

        try:
            kind, value = gvariant.parse(text)
        except ValueError as error:
            raise PyrunError(
                f"{text!r} is not a value in GVariant's text format: {error}", json_path
            ) from None
        if name.endswith("Sec") and not name.endswith("USec"):
            if kind not in ("n", "q", "i", "u", "x", "t", "d"):
                raise PyrunError(f"{text!r} is not a number of seconds", json_path)
            name, kind, value = name[:-3] + "USec", "t", int(value * MILLION)
        found.append((name, (kind, value)))
    return found
