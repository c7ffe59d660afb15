"""Talking to systemd: its own and its users' sockets, and the calls that make, change and stop a unit.

Hot module, loaded only with --systemd-cgroup. Source: org.freedesktop.systemd1(5).
"""

from __future__ import annotations

import posix

from pyrun.base import log
from pyrun.base.errors import PyrunError, failed, words
from pyrun.cgroups import units
from pyrun.kernel import calls, dbus, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

PRIVATE = "/run/systemd/private"  # systemd's own socket: root's calls need no bus, and no daemon between
SYSTEM_BUS = "/run/dbus/system_bus_socket"
SERVICE = "org.freedesktop.systemd1"
OBJECT = "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"
UNIT = "org.freedesktop.systemd1.Unit"
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


class _Talk:
    """A connection to systemd for as long as something is being done, which its errors name: `with` gives it, and
    whatever systemd refuses is raised as PyrunError. To `keep` it is for the next one: connecting takes longer than a
    call."""

    __slots__ = ("_connection", "_doing", "_keep", "_user")

    def __init__(self, user: bool, doing: str, keep: bool = False) -> None:
        self._user = user
        self._doing = doing
        self._keep = keep

    def __enter__(self) -> dbus.Connection:
        self._connection = _kept.pop() if _kept else _connect(self._user)
        return self._connection

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if self._keep and error is None:
            _kept.append(self._connection)
            return
        self._connection.close()
        if isinstance(error, dbus.CallFailed):
            raise _refused(self._doing, error) from None
        if isinstance(error, OSError):
            raise failed(self._doing, error, JSON_PATH) from None
        if isinstance(error, dbus.Malformed):
            sentence = f"{self._doing}: systemd's answer can't be understood: {error}"
            raise PyrunError(sentence, JSON_PATH) from None


_kept: list[dbus.Connection] = []  # by a create that will call again


def _refused(doing: str, error: dbus.CallFailed) -> PyrunError:
    hint = "only root may; an ordinary user has a systemd of their own" if error.name == AUTHORIZATION else ""
    return PyrunError(f"{doing}: systemd says: {error.text or error.name}", JSON_PATH, hint)


def _connect(user: bool) -> dbus.Connection:
    """A connection to systemd that hears of its jobs. Raises PyrunError if there is none."""
    tried = []
    for path, name in _places(user):
        try:
            return _connect_to(path, name)
        except OSError as error:
            tried.append(f"{path}: {words(error)}")
        except dbus.CallFailed as error:
            tried.append(f"{path}: {error.text}")
        except dbus.Malformed as error:
            tried.append(f"{path}: its answer can't be understood: {error}")
    if not user:
        hint = "without systemd, leave out --systemd-cgroup (podman: --cgroup-manager=cgroupfs)"
        raise PyrunError(f"systemd can't be reached: {'; '.join(tried)}", JSON_PATH, hint)
    why = "; ".join(tried) or "XDG_RUNTIME_DIR and DBUS_SESSION_BUS_ADDRESS are not set"
    hint = "root can start one for good: loginctl enable-linger USER; or leave out --systemd-cgroup"
    raise PyrunError(f"the user's systemd can't be reached: {why}", JSON_PATH, hint)


def _connect_to(path: str, name: str) -> dbus.Connection:
    """A connection to systemd's own socket, or to a bus on which it has this name. A bus passes signals on to those
    alone who ask for them. Raises OSError, CallFailed, Malformed."""
    connection = dbus.Connection(path, name)
    try:
        if name:
            rule = f"type='signal',sender='{SERVICE}',interface='{MANAGER}',member='JobRemoved'"
            connection.call(dbus.BUS, "/org/freedesktop/DBus", dbus.BUS, "AddMatch", "s", rule)
            _manager(connection, "Subscribe")
    except BaseException:
        connection.close()
        raise
    return connection


def above(user: bool) -> str:
    """The cgroup below which systemd makes its slices: "" for the system's. Raises PyrunError if it can't be reached:
    before anything is made, so that the connection is kept for the unit."""
    with _Talk(user, "asking systemd for its cgroup", keep=True) as connection:
        if not user:
            return ""
        return str(_property(connection, OBJECT, MANAGER, "ControlGroup"))


def forget() -> None:
    """The connection that was kept is of no use any more."""
    _kept.clear()


def _property(connection: dbus.Connection, path: str, interface: str, name: str) -> Any:
    return connection.call(SERVICE, path, PROPERTIES, "Get", "ss", interface, name)[0][1]


def _manager(connection: dbus.Connection, member: str, signature: str = "", *values: Any) -> list[Any]:
    return connection.call(SERVICE, OBJECT, MANAGER, member, signature, *values)


def start(unit: units.Unit, pid: int, properties: Sequence[units.Property]) -> None:
    """Make the unit with the process in it, and wait until it is there. A unit of that name which failed, or which an
    earlier container left, is reset and the call made once more. Raises PyrunError."""
    with _Talk(unit["user"], f"making the unit {unit['name']}") as connection:
        try:
            _start(connection, unit, pid, properties)
        except dbus.CallFailed as error:
            if error.name != UNIT_EXISTS:
                raise
            log.debug(f"the unit {unit['name']} is there already: resetting it")
            _reset(connection, unit)
            _start(connection, unit, pid, properties)


def _reset(connection: dbus.Connection, unit: units.Unit) -> None:
    """Have systemd forget a unit that failed; one that didn't is left as it is."""
    try:
        _manager(connection, "ResetFailedUnit", "s", unit["name"])
    except dbus.CallFailed as error:
        log.debug(f"the unit {unit['name']} can't be reset: {error.text}")


def _start(
    connection: dbus.Connection, unit: units.Unit, pid: int, properties: Sequence[units.Property]
) -> None:
    own = units.own_properties(unit, pid)

    def call(known: Sequence[units.Property]) -> list[Any]:
        wanted = [*own, *known]
        signature = "ssa(sv)a(sa(sv))"
        return _manager(connection, "StartTransientUnit", signature, unit["name"], "replace", wanted, [])

    answer = _without_unknown(call, properties)
    unit.pop("pending", None)
    result = _wait_for(connection, str(answer[0]))
    if result != "done":
        raise PyrunError(
            f"systemd could not start the unit {unit['name']}: the job's result is {result!r}", JSON_PATH
        )


def _without_unknown(
    call: Callable[[Sequence[units.Property]], list[Any]], properties: Sequence[units.Property]
) -> list[Any]:
    """Call with these properties, and once more without those that this systemd may not know, if it complains of one of
    them by its name. Raises CallFailed."""
    try:
        return call(properties)
    except dbus.CallFailed as error:
        rest = [each for each in properties if each[0] not in units.OPTIONAL or each[0] not in error.text]
        if len(rest) == len(properties):
            raise
        log.debug(f"systemd says: {error.text}")
        return call(rest) if rest else []


def _wait_for(connection: dbus.Connection, job: str) -> str:
    """The result of a job: "done", or why not."""
    while True:
        signal = connection.signal_about("JobRemoved", job)
        if signal.fields.get(dbus.MEMBER) == "JobRemoved" and signal.body[1] == job:
            return str(signal.body[3])


def stop(unit: units.Unit) -> None:
    """Stop a unit and wait until it is gone; one that doesn't exist is fine. Raises PyrunError if systemd refuses."""
    with _Talk(unit["user"], f"stopping the unit {unit['name']}") as connection:
        try:
            _stop(connection, unit)
        except dbus.CallFailed as error:
            if error.name != NO_SUCH_UNIT:
                raise


def stop_if_ours(unit: units.Unit) -> None:
    """The same for one that systemd may have made or not: if it says that it is our container's. Raises PyrunError if
    systemd refuses."""
    with _Talk(unit["user"], f"stopping the unit {unit['name']}") as connection:
        try:
            path = str(_manager(connection, "GetUnit", "s", unit["name"])[0])
            if _property(connection, path, UNIT, "Description") == unit["description"]:
                _stop(connection, unit)
        except dbus.CallFailed as error:
            if error.name != NO_SUCH_UNIT:
                raise


def _stop(connection: dbus.Connection, unit: units.Unit) -> None:
    answer = _manager(connection, "StopUnit", "ss", unit["name"], "replace")
    _wait_for(connection, str(answer[0]))
    _reset(connection, unit)


def attach(unit: units.Unit, pid: int, below: str) -> None:
    """Have a process moved into the unit's cgroup, or one `below` it. Raises PyrunError if systemd refuses."""
    where = f"/{below}" if below else ""
    with _Talk(unit["user"], f"entering the unit {unit['name']}") as connection:
        _manager(connection, "AttachProcessesToUnit", "ssau", unit["name"], where, [pid])


def change(unit: units.Unit, properties: Sequence[units.Property]) -> None:
    """Set properties of a unit that runs, until it ends. Raises PyrunError if systemd refuses."""
    with _Talk(unit["user"], f"changing the unit {unit['name']}") as connection:

        def call(known: Sequence[units.Property]) -> list[Any]:
            return _manager(connection, "SetUnitProperties", "sba(sv)", unit["name"], True, known)

        _without_unknown(call, properties)
