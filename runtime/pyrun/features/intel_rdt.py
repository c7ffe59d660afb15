"""linux.intelRdt: a class of service for cache and memory bandwidth, and its monitoring, by resctrl.

Hot module, loaded only for such a configuration, and the parent's. A class is a folder of resctrl, and so is a group
that is monitored. Those that are made for one container are named after it, stand in its record before they are made,
and go with it. A class that closID names is shared: it is made if there is a schema for it, never changed, and stays.
Sources: config-linux.md, IntelRdt; Documentation/filesystems/resctrl.rst.
"""

from __future__ import annotations

import errno
import posix

from pyrun.base.errors import PyrunError, failed
from pyrun.kernel import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oci_spec import types
    from pyrun.story.making import Making

NOT_MOUNTED = "resctrl is not mounted on this host"
MOUNT_IT = "mount -t resctrl resctrl /sys/fs/resctrl, where the CPU has Intel RDT or AMD QoS"
PROPERTY = "linux.intelRdt"
MONITORING = "linux.intelRdt.enableMonitoring"
IS_ANOTHERS = "resctrl has a monitoring group of this name, which is another's:"
COUNTERS = ("llc_occupancy", "mbm_total_bytes", "mbm_local_bytes")


def mounted() -> str:
    """Where resctrl is mounted: "" if it isn't."""
    for line in calls.read_file("/proc/self/mountinfo").decode("utf-8", "surrogateescape").split("\n"):
        place, _, kind = line.partition(" - ")
        if kind.split(" ")[0] == "resctrl":
            return place.split(" ")[4]
    return ""


def not_mounted() -> PyrunError:
    """What is said on a host without resctrl."""
    return PyrunError(NOT_MOUNTED, PROPERTY, MOUNT_IT)


def find(making: Making) -> None:
    """Before there is a container: resctrl, and the class if it is there. Raises PyrunError if the host hasn't got what
    is asked for, or the class has other schemata."""
    rdt = making.plan.linux["intelRdt"]
    top = mounted()
    if not top:
        raise not_mounted()
    shared = rdt.get("closID") or ""
    name = shared or making.id
    group = top if name == "/" else f"{top}/{name}"
    is_there = calls.exists(f"{group}/schemata")
    if not is_there and calls.exists(group):
        raise PyrunError(f"{name} is no class: resctrl has that name for itself", f"{PROPERTY}.closID")
    lines = _lines(rdt)
    if shared and not lines and not is_there:
        hint = "make it before, or give the schemata that it is to have"
        raise PyrunError(f"resctrl has no class {shared}", f"{PROPERTY}.closID", hint)
    if is_there and lines:
        _compare(group, lines)
    monitor = f"{group}/mon_groups/{making.id}" if rdt.get("enableMonitoring") else ""
    if monitor and not calls.exists(f"{top}/mon_groups"):
        raise PyrunError("this host's resctrl can't monitor", MONITORING)
    if monitor and calls.exists(monitor):
        raise PyrunError(f"{IS_ANOTHERS} {monitor}", MONITORING)
    making.rdt = {
        "top": top,
        "class": group,
        "own": not (shared or is_there),
        "monitor": monitor,
        "isThere": is_there,
    }


def _lines(rdt: types.IntelRdt) -> list[tuple[str, str]]:
    """What is written to schemata, in order: the property, and its text."""
    single = (("l3CacheSchema", rdt.get("l3CacheSchema")), ("memBwSchema", rdt.get("memBwSchema")))
    found = [(f"{PROPERTY}.{key}", text) for key, text in single if text]
    schemata = rdt.get("schemata") or ()
    return found + [(f"{PROPERTY}.schemata[{index}]", text) for index, text in enumerate(schemata)]


def values(text: str) -> dict[tuple[str, str], int | str]:
    """Schemata by resource and domain. Masks are hexadecimal, bandwidths decimal; what is neither stays as it is."""
    found: dict[tuple[str, str], int | str] = {}
    for line in text.split("\n"):
        resource, _, domains = line.partition(":")
        for domain in domains.split(";"):
            number, _, value = domain.partition("=")
            if number.strip():
                found[resource.strip(), number.strip()] = _number(resource.strip(), value.strip())
    return found


def _number(resource: str, text: str) -> int | str:
    try:
        return int(text, 10 if resource.startswith(("MB", "SMBA")) else 16)
    except ValueError:
        return text


def _compare(group: str, lines: list[tuple[str, str]]) -> None:
    """A class that is there is never changed: others may be in it. Raises PyrunError if it isn't as `lines` want it."""
    has = values(calls.read_file(f"{group}/schemata").decode("utf-8", "replace"))
    wanted = {}
    for json_path, text in lines:  # the last one counts
        wanted.update({key: (value, json_path) for key, value in values(text).items()})
    for (resource, domain), (value, json_path) in wanted.items():
        if has.get((resource, domain)) != value:
            theirs = _show(has.get((resource, domain), "nothing"))
            raise PyrunError(
                f"the class {group} has {resource}:{domain}={theirs}, and not {_show(value)}",
                json_path,
                "a class that is there isn't changed: leave the schemata out, or name another class",
            )


def _show(value: int | str) -> str:
    return f"{value:x}" if isinstance(value, int) else value


def make(making: Making) -> None:
    """Make the class and the monitoring group where they are to be made. Raises PyrunError."""
    rdt = making.rdt
    _note(making)
    if not rdt["isThere"]:
        try:
            posix.mkdir(rdt["class"], 0o755)
        except FileExistsError:
            rdt["own"] = False  # somebody was faster, and it is theirs
            _note(making)
            raise PyrunError(f"resctrl has a class {rdt['class']} since a moment ago", PROPERTY) from None
        except OSError as error:
            hint = "the CPU has no more classes: info/*/num_closids" if error.errno == errno.ENOSPC else ""
            raise failed("making a class of resctrl", error, PROPERTY, hint) from None
        try:
            _write_all(rdt, _lines(making.plan.linux["intelRdt"]))
        except PyrunError:
            posix.rmdir(rdt["class"])
            raise
    if rdt["monitor"]:
        _make_monitor(making)


def _make_monitor(making: Making) -> None:
    path = making.rdt["monitor"]
    try:
        posix.mkdir(path, 0o755)
    except FileExistsError:
        making.rdt["monitor"] = ""  # somebody was faster, and it is theirs
        _note(making)
        raise PyrunError(f"{IS_ANOTHERS} {path}", MONITORING) from None
    except OSError as error:
        hint = "the CPU monitors no more groups: info/L3_MON/num_rmids" if error.errno == errno.ENOSPC else ""
        raise failed("making a monitoring group of resctrl", error, MONITORING, hint) from None


def _note(making: Making) -> None:
    """Write down what is to be removed, before it is made."""
    making.container.add({"rdt": {key: value for key, value in making.rdt.items() if key != "isThere"}})


def _write_all(rdt: dict[str, Any], lines: list[tuple[str, str]]) -> None:
    for json_path, text in lines:
        try:
            calls.write_file(f"{rdt['class']}/schemata", text + "\n")
        except OSError as error:
            raise failed(f"writing {text!r}", error, json_path, _cause(rdt["top"])) from None


def _cause(top: str) -> str:
    """What the kernel says of the last write that it refused."""
    try:
        said = calls.read_file(f"{top}/info/last_cmd_status").decode("utf-8", "replace").strip()
    except OSError:
        return ""
    return "" if said == "ok" else said


def enter(making: Making) -> None:
    """Put the init, or a process of exec, into the class and the monitoring group of the container; its children are in
    there by birth. Raises PyrunError."""
    rdt = making.container.record.get("rdt")
    if not rdt:
        return
    for folder in (rdt["class"], rdt["monitor"]):
        if folder:
            try:
                calls.write_file(f"{folder}/tasks", str(making.pid))
            except OSError as error:
                raise failed("entering a class of resctrl", error, PROPERTY, _cause(rdt["top"])) from None


def remove(rdt: dict[str, Any]) -> None:
    """Remove what was made for one container. Raises PyrunError."""
    for folder in (rdt["monitor"], rdt["class"] if rdt["own"] else ""):
        if folder:
            try:
                posix.rmdir(folder)
            except FileNotFoundError:
                pass  # it was never made, or went with its class
            except OSError as error:
                raise failed("removing a group of resctrl", error, PROPERTY) from None


def change(rdt: dict[str, Any] | None, lines: list[tuple[str, str]]) -> str:
    """Write schemata, each with the option that has them, into the container's own class; returns what `restore` takes
    back. Raises PyrunError; nothing is changed then."""
    option = lines[0][0]
    if not rdt:
        raise PyrunError(f"{option}: the container was created without {PROPERTY}")
    if not rdt["own"]:
        raise PyrunError(
            f"{option}: the class {rdt['class']} is not the container's own, and others may be in it"
        )
    for option, text in lines:
        if option == "--mem-bw-schema" and not text.startswith("MB:"):
            raise PyrunError(f'{option}: "{text}" does not begin with "MB:"')
    try:
        before = calls.read_file(f"{rdt['class']}/schemata").decode("utf-8", "replace")
    except OSError as error:
        raise failed(f"{option}: reading the class", error) from None
    try:
        _write_all(rdt, lines)
    except PyrunError:
        restore(rdt, before)
        raise
    return before


def restore(rdt: dict[str, Any], before: str) -> None:
    """Write back what the class had. What can't be had any more stays as it is."""
    for line in before.split("\n"):
        if line.strip():
            try:
                calls.write_file(f"{rdt['class']}/schemata", line.strip() + "\n")
            except OSError:
                pass  # a resource that can't be written, such as one that is only shown


def statistics(rdt: dict[str, Any]) -> dict[str, Any]:
    """What runc's events have of a container: limits of the CPU, schemata of all and of the class, and counters."""
    found: dict[str, Any] = {}
    for key, resource, facts in (
        ("l3_cache", "L3", ("cbm_mask", "min_cbm_bits", "num_closids")),
        ("mem_bw", "MB", ("bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids")),
    ):
        info = _facts(f"{rdt['top']}/info/{resource}", facts)
        if info:
            found[f"{key}_info"] = info
        for end, folder in (("schema_root", rdt["top"]), ("schema", rdt["class"])):
            for line in _read(f"{folder}/schemata").split("\n"):
                if line.strip().startswith(f"{resource}:"):
                    found[f"{key}_{end}"] = line.strip()
    for key, names in (("cmt_stats", COUNTERS[:1]), ("mbm_stats", COUNTERS[1:])):
        counted = [_facts(folder, names) for folder in _domains(rdt["monitor"] or rdt["class"])]
        if [each for each in counted if each]:
            found[key] = counted
    return found


def _domains(folder: str) -> list[str]:
    """The caches that a group is counted in."""
    try:
        names = sorted(posix.listdir(f"{folder}/mon_data"))
    except OSError:
        return []
    return [f"{folder}/mon_data/{name}" for name in names if name.startswith("mon_L3_")]


def _facts(folder: str, names: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        text = _read(f"{folder}/{name}").strip()
        if text:
            found[name] = text if name == "cbm_mask" else int(text) if text.isdigit() else 0
    return found


def _read(path: str) -> str:
    try:
        return calls.read_file(path).decode("utf-8", "replace")
    except OSError:
        return ""  # a CPU without that
