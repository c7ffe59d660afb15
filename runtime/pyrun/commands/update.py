"""pyrun update. Hot module."""

from __future__ import annotations

import posix

from oci_spec import config as oci_config
from oci_spec import linux_rules
from oci_spec.fields import ConfigError
from pyrun.base import jsontext
from pyrun.base.errors import PyrunError, failed
from pyrun.cgroups import change
from pyrun.cgroups.controllers import table
from pyrun.container import roots, states, store
from pyrun.features import intel_rdt
from pyrun.kernel import calls
from pyrun.story import carried

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.commandline.parse import Values

LARGEST = 1 << 20  # bytes of a file with resources
WHERE = "linux.resources"

# option: the part of linux.resources, the property in it, and what its value is
OPTIONS = (
    ("memory", "memory", "limit", "bytes"),
    ("memory-reservation", "memory", "reservation", "bytes"),
    ("memory-swap", "memory", "swap", "bytes"),
    ("kernel-memory", "memory", "kernel", "bytes"),
    ("kernel-memory-tcp", "memory", "kernelTCP", "bytes"),
    ("cpu-burst", "cpu", "burst", "number"),
    ("cpu-idle", "cpu", "idle", "number"),
    ("cpu-period", "cpu", "period", "number"),
    ("cpu-quota", "cpu", "quota", "number"),
    ("cpu-rt-period", "cpu", "realtimePeriod", "number"),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime", "number"),
    ("cpu-share", "cpu", "shares", "number"),
    ("cpuset-cpus", "cpu", "cpus", "text"),
    ("cpuset-mems", "cpu", "mems", "text"),
    ("pids-limit", "pids", "limit", "number"),
    ("blkio-weight", "blockIO", "weight", "number"),
)
SCHEMATA = ("l3-cache-schema", "mem-bw-schema")
UNITS = "bkmgtp"  # powers of 1024


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Change the limits of a container that are named, and nothing else. If we can't set one, we set none."""
    resources = _from_file(values) if "resources" in values else _from_options(values)
    _check(resources)
    found = store.find(roots.root_folder(root), arguments[0], lock=False)
    status = states.status(found)
    if status not in states.ALIVE:
        raise states.not_running(found, status)
    found.take_part()
    found.load()  # the last update may have changed the device rules
    if (
        "resources" in values
    ):  # a document means what its container's configuration means; an option what we say
        resources = table.upgrade(resources, found.record.get("configVersion", states.OCI_VERSION))
    rules = found.record.get("devices") or []
    # Kubernetes sends the rules of create again; those that are in force already are left in peace.
    if not resources.get("devices") or resources["devices"] == rules:
        resources.pop("devices", None)
    schemata = [(f"--{name}", str(values[name])) for name in SCHEMATA if values.get(name)]
    before = intel_rdt.change(found.record.get("rdt"), schemata) if schemata else ""
    try:
        change.apply(found.record["cgroup"], resources, rules)
    except BaseException:
        if schemata:
            intel_rdt.restore(found.record["rdt"], before)
        raise
    if "devices" in resources:
        found.add({"devices": resources["devices"]})
    return 0


def _from_file(values: Values) -> dict[str, Any]:
    others = [name for name in values if name != "resources"]
    if others:
        raise PyrunError(f"--resources says all that there is to change, and --{others[0]} can't be added")
    path = str(values["resources"])
    try:
        fd = 0 if path == "-" else posix.open(path, posix.O_RDONLY | posix.O_NOCTTY | calls.O_CLOEXEC)
        document = jsontext.decode(calls.read_all(fd, LARGEST))
    except jsontext.JSONError as error:
        raise PyrunError(f"--resources: {path} is not valid JSON: {error}") from None
    except OSError as error:
        raise failed("reading the resources", error, path=path) from None
    checked: dict[str, Any] = document  # by _check, next
    return checked


def _from_options(values: Values) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    for name, part, key, kind in OPTIONS:
        if name in values:
            text = str(values[name])
            value = text if kind == "text" else _number(text) if kind == "number" else size(text)
            if value is None:
                wanted = "a number of bytes, such as 1048576, 64M or -1" if kind == "bytes" else "a number"
                raise PyrunError(f'--{name}: "{text}" is not {wanted}')
            resources.setdefault(part, {})[key] = value
    if "memory" in resources:  # cgroup v1's kernel refuses a limit below use, and v2's would kill
        resources["memory"]["checkBeforeUpdate"] = True
    return resources


def _number(text: str) -> int | None:
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


def size(text: str) -> int | None:
    """Return bytes from "1048576", "1024k", "64M", "64MiB", "1.5gb", or "-1"; None if it is none of these."""
    number = text.lower()
    if number == "-1":
        return -1
    number = number.removesuffix("b").removesuffix("i")
    power = UNITS.find(number[-1:]) if number[-1:].isalpha() else 0
    number = number[:-1] if number[-1:].isalpha() else number
    whole, point, part = number.partition(".")
    digits = whole + part
    if power < 0 or not (digits.isascii() and digits.isdigit() and whole and len(digits) < 20):
        return None
    if point and not part:
        return None
    bytes_: int = int(digits) * 1024**power // 10 ** len(part)
    return bytes_


def _check(resources: dict[str, Any]) -> None:
    try:
        table.forget_unset({"linux": {"resources": resources}})
        oci_config.parse_resources(resources)
        for fault in linux_rules.resource_faults(resources):
            raise fault
    except ConfigError as error:
        path = error.path if error.path.startswith(WHERE) else f"{WHERE}.{error.path}".removesuffix(".")
        raise PyrunError(error.sentence(), path) from None
    for refusal in carried.refused_resources(resources):
        raise refusal
