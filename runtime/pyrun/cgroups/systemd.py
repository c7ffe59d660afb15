"""systemd makes the container's cgroup: a transient scope that has the container's init in it.

Hot module, loaded only with --systemd-cgroup. systemd owns the tree (one writer: cgroups(7), systemd's "Control Group
APIs and Delegation"), so it is asked for the cgroup, told every limit that it knows as a property of the unit (or it
would put its own back at the next daemon-reload), and asked to stop the unit at the end. What it doesn't know is
written to the cgroup's files as always, which Delegate=yes allows.
Source: org.freedesktop.systemd1(5), systemd.resource-control(5).
"""

from __future__ import annotations

import errno

from pyrun import log
from pyrun.cgroups import groups, limits, units
from pyrun.errors import PyrunError, failed
from pyrun.kernel import dbus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pyrun.cgroups.detect import Layout
    from pyrun.cgroups.record import Record

PRIVATE = "/run/systemd/private"  # systemd's own socket: root's calls need no bus, and no daemon between
SYSTEM_BUS = "/run/dbus/system_bus_socket"
SERVICE = "org.freedesktop.systemd1"
OBJECT = "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"
PROPERTIES = "org.freedesktop.DBus.Properties"
JSON_PATH = "linux.cgroupsPath"
UNIT_EXISTS = "org.freedesktop.systemd1.UnitExists"
NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"
UNKNOWN_PROPERTY = "org.freedesktop.DBus.Error.UnknownProperty"


def _connect() -> dbus.Connection:
    """A connection to the system's systemd that hears of its jobs. Raises PyrunError if there is none."""
    try:
        return dbus.Connection(PRIVATE, "")
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.EACCES):
            raise failed("connecting to systemd", error, JSON_PATH) from None
    try:
        bus = dbus.Connection(SYSTEM_BUS, SERVICE)
        rule = f"type='signal',sender='{SERVICE}',interface='{MANAGER}',member='JobRemoved'"
        bus.call(dbus.BUS, "/org/freedesktop/DBus", dbus.BUS, "AddMatch", "s", rule)
        _manager(bus, "Subscribe")
    except OSError as error:
        raise PyrunError(
            f"systemd can't be reached: {PRIVATE} and {SYSTEM_BUS} don't answer ({error.strerror})",
            JSON_PATH,
            "without systemd, leave out --systemd-cgroup (podman: --cgroup-manager=cgroupfs)",
        ) from None
    return bus


def _manager(connection: dbus.Connection, member: str, signature: str = "", *values: Any) -> list[Any]:
    return connection.call(SERVICE, OBJECT, MANAGER, member, signature, *values)


def plan(
    cgroups_path: str | None, container_id: str, layout: Layout, annotations: Mapping[str, str]
) -> Record:
    """Where systemd will make the container's cgroup; nothing is changed. Raises PyrunError."""
    if layout["mode"] != "v2":
        raise PyrunError(
            "--systemd-cgroup needs a host with nothing but cgroup v2, so far",
            JSON_PATH,
            "leave it out (podman: --cgroup-manager=cgroupfs)",
        )
    unit, path = units.place(cgroups_path, container_id)
    units.from_annotations(annotations)
    return {
        "id": container_id,
        "path": path,
        "hierarchies": layout["hierarchies"],
        "made": [],
        "kept": [],
        "unit": unit,
    }


def begin(record: Record, pid: int, resources: dict[str, Any], annotations: Mapping[str, str]) -> None:
    """Make the unit, with the process in it and these limits. Raises PyrunError."""
    known = limit_properties(record, resources)
    start(record["unit"], pid, [*known, *units.from_annotations(annotations)])


def limit_properties(record: Record, resources: dict[str, Any]) -> list[units.Property]:
    """What of `linux.resources` systemd has properties for. Raises PyrunError for what cgroup v2 hasn't got."""
    directory = record["hierarchies"][0]["mount"] + record["path"]
    parts = [(controller, resources[key]) for controller, key in limits.PARTS if resources.get(key)]
    found = limits.v2_writes(parts, resources.get("unified") or {}, directory)
    return units.limits([write for _, writes in found for write in writes])


def end(record: Record) -> None:
    """Stop the unit if its cgroup is still there, and wait until it is gone. Raises PyrunError."""
    if groups.exists(record["hierarchies"][0]["mount"] + record["path"]):
        stop(record["unit"]["name"])


def start(unit: units.Unit, pid: int, properties: Sequence[units.Property]) -> None:
    """Make the unit with the process in it, and wait until it is there. A unit of that name which failed, or which an
    earlier container left, is reset and the call made once more. Raises PyrunError."""
    doing = f"making the unit {unit['name']}"
    connection = _connect()
    try:
        try:
            _start(connection, unit, pid, properties)
        except dbus.CallFailed as error:
            if error.name != UNIT_EXISTS:
                raise
            log.debug(f"the unit {unit['name']} is there already: resetting it")
            try:
                _manager(connection, "ResetFailedUnit", "s", unit["name"])
            except dbus.CallFailed:
                pass  # it isn't in a failed state: the next call says what is the matter
            _start(connection, unit, pid, properties)
    except dbus.CallFailed as error:
        raise _refused(doing, error) from None
    except (OSError, dbus.Malformed) as error:
        raise _broken(doing, error) from None
    finally:
        connection.close()


def _start(
    connection: dbus.Connection, unit: units.Unit, pid: int, properties: Sequence[units.Property]
) -> None:
    own = units.own_properties(unit, pid)
    answer = _manager(
        connection, "StartTransientUnit", "ssa(sv)a(sa(sv))", unit["name"], "replace", [*own, *properties], []
    )
    result = _wait_for(connection, str(answer[0]))
    if result != "done":
        raise PyrunError(
            f"systemd could not start the unit {unit['name']}: the job's result is {result!r}", JSON_PATH
        )


def _wait_for(connection: dbus.Connection, job: str) -> str:
    """The result of a job: "done", or why not."""
    while True:
        signal = connection.next_signal()
        if signal.fields.get(dbus.MEMBER) == "JobRemoved" and signal.body[1] == job:
            return str(signal.body[3])


def stop(name: str) -> None:
    """Stop a unit and wait until it is gone; one that doesn't exist is fine. Raises PyrunError."""
    doing = f"stopping the unit {name}"
    connection = _connect()
    try:
        answer = _manager(connection, "StopUnit", "ss", name, "replace")
        _wait_for(connection, str(answer[0]))
        _manager(connection, "ResetFailedUnit", "s", name)
    except dbus.CallFailed as error:
        if error.name != NO_SUCH_UNIT:
            raise _refused(doing, error) from None
    except (OSError, dbus.Malformed) as error:
        raise _broken(doing, error) from None
    finally:
        connection.close()


def change(name: str, properties: Sequence[units.Property]) -> None:
    """Set properties of a unit that runs, until it ends. Raises PyrunError."""
    if not properties:
        return
    doing = f"changing the unit {name}"
    connection = _connect()
    try:
        _manager(connection, "SetUnitProperties", "sba(sv)", name, True, properties)
    except dbus.CallFailed as error:
        raise _refused(doing, error) from None
    except (OSError, dbus.Malformed) as error:
        raise _broken(doing, error) from None
    finally:
        connection.close()


def _refused(doing: str, error: dbus.CallFailed) -> PyrunError:
    return PyrunError(f"{doing}: systemd says: {error.text or error.name}", JSON_PATH)


def _broken(doing: str, error: Exception) -> PyrunError:
    if isinstance(error, OSError):
        return failed(doing, error, JSON_PATH)
    return PyrunError(f"{doing}: systemd's answer can't be understood: {error}", JSON_PATH)
