"""systemd makes the container's cgroup: a transient scope that has the container's init in it.

Hot module, loaded only with --systemd-cgroup. systemd owns the tree (one writer: cgroups(7), systemd's "Control Group
APIs and Delegation"), so it is asked for the cgroup, told every limit that it knows as a property of the unit (or it
would put its own back at the next daemon-reload), and asked to stop the unit at the end. What it doesn't know is
written to the cgroup's files as always, which Delegate=yes allows.
Source: org.freedesktop.systemd1(5), systemd.resource-control(5).
"""

from __future__ import annotations

import posix

from pyrun import log
from pyrun.cgroups import groups, limits, units
from pyrun.errors import PyrunError, failed, words
from pyrun.kernel import calls, dbus, process

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
AUTHORIZATION = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"


def _places(user: bool) -> list[tuple[str, str]]:
    """The sockets where systemd answers, of the system or of the user: path, and the name on a bus."""
    if not user:
        return [(PRIVATE, ""), (SYSTEM_BUS, SERVICE)]
    found = []
    if folder := _variable(b"XDG_RUNTIME_DIR"):
        found.append((f"{folder}/systemd/private", ""))
    for address in _variable(b"DBUS_SESSION_BUS_ADDRESS").split(";"):
        if address.startswith("unix:path="):
            found.append((address[len("unix:path=") :].partition(",")[0], SERVICE))
    if folder:
        found.append((f"{folder}/bus", SERVICE))
    return found


def _variable(name: bytes) -> str:
    return posix.environ.get(name, b"").decode("utf-8", "surrogateescape")


def is_users() -> bool:
    """Is it the user's systemd that we may ask, and not the system's? So for all but root; root of a user namespace may
    be the root of a container with a systemd of its own."""
    if posix.geteuid() != 0:
        return True
    return process.in_user_namespace() and not _answers(PRIVATE)


def _answers(path: str) -> bool:
    try:
        posix.close(calls.connect(path))
    except OSError:
        return False
    return True


def _connect(user: bool) -> dbus.Connection:
    """A connection to systemd that hears of its jobs. Raises PyrunError if there is none."""
    places = _places(user)
    tried = []
    for path, name in places:
        try:
            connection = dbus.Connection(path, name)
            if name:
                rule = f"type='signal',sender='{SERVICE}',interface='{MANAGER}',member='JobRemoved'"
                connection.call(dbus.BUS, "/org/freedesktop/DBus", dbus.BUS, "AddMatch", "s", rule)
                _manager(connection, "Subscribe")
            return connection
        except OSError as error:
            tried.append(f"{path}: {words(error)}")
        except dbus.CallFailed as error:
            tried.append(f"{path}: {error.text}")
    if not user:
        hint = "without systemd, leave out --systemd-cgroup (podman: --cgroup-manager=cgroupfs)"
        raise PyrunError(f"systemd can't be reached: {'; '.join(tried)}", JSON_PATH, hint)
    why = "; ".join(tried) or "XDG_RUNTIME_DIR and DBUS_SESSION_BUS_ADDRESS are not set"
    hint = "root can start one for good: loginctl enable-linger USER; or leave out --systemd-cgroup"
    raise PyrunError(f"the user's systemd can't be reached: {why}", JSON_PATH, hint)


def _above(user: bool) -> str:
    """The cgroup below which systemd makes its slices: "" for the system's."""
    if not user:
        return ""
    connection = _connect(user)
    try:
        answer = connection.call(SERVICE, OBJECT, PROPERTIES, "Get", "ss", MANAGER, "ControlGroup")
        return str(answer[0][1])
    except dbus.CallFailed as error:
        raise _refused("asking systemd for its cgroup", error) from None
    except (OSError, dbus.Malformed) as error:
        raise _broken("asking systemd for its cgroup", error) from None
    finally:
        connection.close()


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
    user = is_users()
    unit, path = units.place(cgroups_path, container_id, user)
    units.from_annotations(annotations)
    return {
        "id": container_id,
        "path": _above(user) + path,
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
        stop(record["unit"])


def start(unit: units.Unit, pid: int, properties: Sequence[units.Property]) -> None:
    """Make the unit with the process in it, and wait until it is there. A unit of that name which failed, or which an
    earlier container left, is reset and the call made once more. Raises PyrunError."""
    doing = f"making the unit {unit['name']}"
    connection = _connect(unit["user"])
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


def stop(unit: units.Unit) -> None:
    """Stop a unit and wait until it is gone; one that doesn't exist is fine. Raises PyrunError."""
    name = unit["name"]
    doing = f"stopping the unit {name}"
    connection = _connect(unit["user"])
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


def attach(unit: units.Unit, pid: int, below: str) -> None:
    """Have a process moved into the unit's cgroup, or one `below` it. Raises PyrunError."""
    doing = f"entering the unit {unit['name']}"
    connection = _connect(unit["user"])
    try:
        _manager(
            connection, "AttachProcessesToUnit", "ssau", unit["name"], f"/{below}" if below else "", [pid]
        )
    except dbus.CallFailed as error:
        raise _refused(doing, error) from None
    except (OSError, dbus.Malformed) as error:
        raise _broken(doing, error) from None
    finally:
        connection.close()


def change(unit: units.Unit, properties: Sequence[units.Property]) -> None:
    """Set properties of a unit that runs, until it ends. Raises PyrunError."""
    if not properties:
        return
    name = unit["name"]
    doing = f"changing the unit {name}"
    connection = _connect(unit["user"])
    try:
        _manager(connection, "SetUnitProperties", "sba(sv)", name, True, properties)
    except dbus.CallFailed as error:
        raise _refused(doing, error) from None
    except (OSError, dbus.Malformed) as error:
        raise _broken(doing, error) from None
    finally:
        connection.close()


def _refused(doing: str, error: dbus.CallFailed) -> PyrunError:
    hint = "only root may; an ordinary user has a systemd of his own" if error.name == AUTHORIZATION else ""
    return PyrunError(f"{doing}: systemd says: {error.text or error.name}", JSON_PATH, hint)


def _broken(doing: str, error: Exception) -> PyrunError:
    if isinstance(error, OSError):
        return failed(doing, error, JSON_PATH)
    return PyrunError(f"{doing}: systemd's answer can't be understood: {error}", JSON_PATH)
