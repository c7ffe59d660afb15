"""pyrun ps. Hot module.

Processes are shown as the host numbers them. The table is read from /proc here; with words after the ID, the host's
ps makes it, and its lines about other processes are left out.
"""

from __future__ import annotations

import posix

from pyrun.base import jsontext
from pyrun.base.errors import PyrunError, joined, printable
from pyrun.cgroups import driver
from pyrun.container import roots, store
from pyrun.kernel import calls, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values

COLUMNS = ("UID", "PID", "PPID", "STATE", "ELAPSED", "TIME", "COMMAND")
LONGEST_COMMAND = 4096  # bytes
USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Print the processes in the container's cgroup and in those below it."""
    layout = values.get("format", "table")
    if layout not in ("table", "json"):
        raise PyrunError(f'--format: "{layout}" is neither table nor json')
    if layout == "json" and len(arguments) > 1:
        raise PyrunError(f"--format json is not the host's ps, and takes no {joined(arguments[1:])}")
    found = store.find(roots.root_folder(root), arguments[0], lock=False)
    cgroup = found.record.get("cgroup")
    pids = sorted(driver.of(cgroup).pids(cgroup)) if cgroup else []
    if layout == "json":
        data = jsontext.encode(pids).encode() + b"\n"
    elif len(arguments) > 1:
        data = _by_the_hosts_ps(arguments[1:], pids)
    else:
        data = _table(pids).encode("utf-8", "backslashreplace")
    process.own_signals()
    try:
        calls.write_all(1, data)
    except BrokenPipeError:
        pass  # `pyrun ps x | head -1` is fine
    return 0


def _table(pids: list[int]) -> str:
    uptime = float(calls.read_file("/proc/uptime").split()[0])
    rows: list[tuple[str, ...]] = [COLUMNS]
    for pid in pids:
        try:
            rows.append(_row(pid, uptime))
        except (FileNotFoundError, ProcessLookupError):
            pass  # ended meanwhile
    widths = [max([len(row[i]) for row in rows]) for i in range(len(COLUMNS) - 1)]
    lines = []
    for row in rows:
        lines.append("  ".join([row[i].rjust(widths[i]) for i in range(len(widths))] + [row[-1]]))
    return "\n".join(lines) + "\n"


def _row(pid: int, uptime: float) -> tuple[str, ...]:
    """Return one process: proc_pid_stat(5), proc_pid_status(5), proc_pid_cmdline(5)."""
    stat = calls.read_file(f"/proc/{pid}/stat").decode("utf-8", "replace")
    name = stat[stat.index("(") + 1 : stat.rindex(")")]
    fields = stat[stat.rindex(")") + 2 :].split(" ")
    status = calls.read_file(f"/proc/{pid}/status").decode("utf-8", "replace")
    uid = status.partition("\nUid:\t")[2].split("\t")[1]
    ticks = posix.sysconf("SC_CLK_TCK")
    used = (int(fields[11]) + int(fields[12])) // ticks
    elapsed = max(0, int(uptime - int(fields[19]) / ticks))
    return uid, str(pid), fields[1], fields[0], clock(elapsed), clock(used), _command(pid, name)


def _command(pid: int, name: str) -> str:
    """Return the command line; a process without one (a zombie) has its name in brackets.

    The container chooses it, so we replace what could drive a terminal.
    """
    fd = posix.open(f"/proc/{pid}/cmdline", posix.O_RDONLY | calls.O_CLOEXEC)
    try:
        words = posix.read(fd, LONGEST_COMMAND).rstrip(b"\0")
    finally:
        posix.close(fd)
    text = words.replace(b"\0", b" ").decode("utf-8", "replace") if words else f"[{name}]"
    return printable(text)


def clock(seconds: int) -> str:
    """Return 1-02:03:04 for a day, two hours, three minutes and four seconds, as ps shows times."""
    days, rest = divmod(seconds, 86400)
    text = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}-{text}" if days else text


def _by_the_hosts_ps(words: list[str], pids: list[int]) -> bytes:
    output = _run_ps(words)
    lines = output.split(b"\n")
    head = lines[0].split()
    if b"PID" not in head:
        raise PyrunError(
            f"ps {' '.join(words)} prints no column PID", hint="it is needed to find the processes"
        )
    column = head.index(b"PID")
    kept = [lines[0]]
    for line in lines[1:]:
        fields = line.split(None, column + 1)
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            kept.append(line)
    return b"\n".join(kept) + b"\n"


def _run_ps(words: list[str]) -> bytes:
    """Return what the host's ps prints. Raises PyrunError with its last words if it fails."""
    reader, writer = posix.pipe()
    errors = calls.memfd("ps-errors", b"")
    actions = [(posix.POSIX_SPAWN_DUP2, writer, 1), (posix.POSIX_SPAWN_DUP2, errors, 2)]
    try:
        pid = _spawn_ps(["ps", *words], actions)
        posix.close(writer)
        writer = -1
        output = calls.read_all(reader, 1 << 28)
        _, status = posix.waitpid(pid, 0)
        if status:
            posix.lseek(errors, 0, 0)
            said = " ".join(calls.read_all(errors, 1 << 20).decode("utf-8", "replace").split())
            raise PyrunError(f"ps {' '.join(words)} fails{': ' * bool(said)}{said[:500]}")
        return output
    finally:
        for fd in (reader, writer, errors):
            if fd >= 0:
                posix.close(fd)


def _spawn_ps(argv: list[str], actions: list[tuple[int, int, int]]) -> int:
    path = posix.environ.get(b"PATH", b"").decode("utf-8", "surrogateescape") or USUAL_PATH
    for folder in path.split(":"):
        if folder[:1] == "/":
            try:
                return posix.posix_spawn(f"{folder}/ps", argv, posix.environ, file_actions=actions)
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                pass
    raise PyrunError("there is no program ps on this host", hint="without words after the ID, none is needed")
