"""pyrun kill. Hot module."""

from __future__ import annotations

from pyrun.base.errors import PyrunError
from pyrun.cgroups import driver
from pyrun.container import roots, states, store
from pyrun.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values

NAMES = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG"
    " XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
).split()
ALIASES = {"IOT": 6, "CLD": 17, "POLL": 29, "UNUSED": 31}
RTMIN, RTMAX = 34, 64  # as signal(7) has them with glibc


def signal_number(text: str) -> int:
    """Return the number of a signal given as TERM, SIGTERM, sigterm, RTMIN+1 or 15. Raises PyrunError for others."""
    if text.isascii() and text.isdigit() and len(text) < 4 and 0 <= int(text) <= RTMAX:
        return int(text)
    name = text.upper().removeprefix("SIG")
    if name in NAMES:
        return NAMES.index(name) + 1
    if name in ALIASES:
        return ALIASES[name]
    base, plus, offset = name.partition("+" if name.startswith("RTMIN") else "-")
    start = {"RTMIN": RTMIN, "RTMAX": RTMAX}.get(base, 0)
    if start and (not plus or (offset.isascii() and offset.isdigit() and len(offset) < 3)):
        number = start + int(offset or 0) * (1 if base == "RTMIN" else -1)
        if RTMIN <= number <= RTMAX:
            return number
    raise PyrunError(f'unknown signal "{text}"')


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Signal the container's process, or all of its processes. KILL goes to all where they don't die with the first."""
    number = signal_number(arguments[1] if len(arguments) > 1 else "TERM")
    found = store.find(roots.root_folder(root), arguments[0], lock=False)
    status = states.status(found)
    if values.get("all"):
        _signal_all(found, number)
    elif number == process.SIGKILL and not found.record.get("ownPids", True):
        if status not in states.ALIVE and not _lives(found):
            raise states.not_running(found, status)
        _signal_all(found, number)
    elif status not in states.ALIVE or not _signal_init(found, number):
        raise states.not_running(found, status)
    elif number == process.SIGKILL:
        driver.of(found.record["cgroup"]).let_die(found.record["cgroup"])  # in cgroup v1, nothing dies frozen
    return 0


def _lives(found: store.Container) -> bool:
    cgroup = found.record.get("cgroup")
    return bool(cgroup and cgroup["hierarchies"] and driver.of(cgroup).pids(cgroup))


def _signal_init(found: store.Container, number: int) -> bool:
    pid = found.record["pid"]
    pidfd = process.pidfd_open(pid)
    if pidfd < 0:
        return False
    # The pidfd pins the process: if its start time is right now, it is the one that we mean.
    if states.process_state(pid)[1] != found.record["pidStart"]:
        return False
    return process.pidfd_send_signal(pidfd, number)


def _signal_all(found: store.Container, number: int) -> None:
    """Signal every process in the container's cgroup, even when its first one is gone. None left is no error."""
    cgroup = found.record.get("cgroup")
    if not cgroup:
        return
    if not cgroup["hierarchies"]:  # all that can be known of
        if states.is_alive(found.record):
            _signal_init(found, number)
        return
    if number == process.SIGKILL:
        driver.of(cgroup).kill(cgroup)
        return
    import posix

    for pid in driver.of(cgroup).pids(cgroup):
        try:
            posix.kill(pid, number)
        except ProcessLookupError:
            pass
