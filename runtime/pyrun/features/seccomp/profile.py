"""The seccomp filter of a container: its program, from a cache where it can be, and its flags.

Hot module. A profile is compiled to BPF by compiler.py in a full interpreter (some 30 ms), once; the
program is kept in a file under the runtime's root, so that from then on it costs one read. The file holds
everything that the program was made from, and is compared whole: nothing but exactly this profile, compiled
by this version with this libseccomp, can ever be taken for it. Where the program is loaded: kernel/stage2.c,
as the last thing before the user's program is executed.

seccomp(2), runtime-spec config-linux § Seccomp.
"""

from __future__ import annotations

import posix
import time

from pyrun.base import built, cold, jsontext
from pyrun.base.errors import PyrunError, failed
from pyrun.features.seccomp import notify
from pyrun.kernel import calls, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from oci_spec import types
    from pyrun.story.making import Making

    Unsaved = tuple[str, str, bytes]  # what `store` takes

#: Raise it when compiler.py comes to make something else of the same profile, or the file's format changes.
FORMAT = 1
#: What the program depends on, besides the machine.
INPUTS = ("defaultAction", "defaultErrnoRet", "architectures", "syscalls")
#: Actions by which a system call is never made.
REFUSING = (
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
)
MAX_ENTRIES = 64
MAX_FILE = 1 << 24
MAX_BYTES = 1 << 25  # of all files together
COMPILE_LIMIT = 60.0  # seconds; an engine's profile takes 30 ms
NOT_STARTED = 127

_SPEC_ALLOW = 4
#: SECCOMP_FILTER_FLAG_*, linux/seccomp.h.
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": notify.TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": _SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": notify.WAIT_KILLABLE_RECV,
}


def prepare(making: Making) -> None:
    """Flags and program of the container's filter, for stage 2. Raises PyrunError if the profile can't be had."""
    profile = making.plan.linux["seccomp"]
    if making.plan.process:
        check_execve(profile)
        filter_program = program(profile, making.root + "/.seccomp", making.unsaved)
        making.inside.seccomp = flags(profile), filter_program


def keep(making: Making) -> None:
    """Put the program into the cache, if it isn't from there: in the end, as the container may need the room."""
    if making.unsaved:
        store(*making.unsaved[0])


def flags(profile: types.Seccomp) -> int:
    """The flags for seccomp(2). A profile that has no `flags` gets SPEC_ALLOW, what Linux does since 5.16."""
    names = profile.get("flags")
    result = _SPEC_ALLOW if names is None else 0
    for index, name in enumerate(names or ()):
        if name not in _FLAGS:
            raise PyrunError(f"{name}: unknown flag", f"linux.seccomp.flags[{index}]")
        result |= _FLAGS[name]
    if notify.used(profile):
        return notify.flags(result)
    return result & ~notify.WAIT_KILLABLE_RECV  # only a listener has something to wait for


def check_execve(profile: types.Seccomp) -> None:
    """Raise PyrunError for a profile that refuses execve whatever its arguments.

    No program could ever be executed under it, and a filter that refuses the report as well would have the failure end
    in silence.
    """
    action = profile["defaultAction"]
    path = "defaultAction"
    conditional = False
    for index, rule in enumerate(profile.get("syscalls") or ()):
        if "execve" in rule["names"]:
            if not rule.get("args"):
                action, path, conditional = rule["action"], f"syscalls[{index}].action", False
                break
            conditional = True
    if action in REFUSING and not conditional:
        raise PyrunError(
            f"it is {action} for execve, so that the filter would refuse the program itself",
            f"linux.seccomp.{path}",
            "allow execve",
        )


def program(profile: types.Seccomp, cache_dir: str, later: list[Unsaved] | None = None) -> bytes:
    """Return the BPF program of a profile (`linux.seccomp`), an array of struct sock_filter, ready for seccomp(2).

    `cache_dir` is made when it is missing (its parent must be there). A cache that can't be used costs time,
    never a failure: who needs the space himself takes what there is to `store` `later`, when he has what he needs.
    Raises PyrunError with the JSON path for a profile that can't be compiled.
    """
    made_by = (built.VERSION, built.COMMIT, posix.uname().machine)
    key = repr((made_by, [profile.get(name) for name in INPUTS])).encode()
    name = f"{_digest(key):016x}"
    start = b"pyrun seccomp %d %d\n%s" % (FORMAT, len(key), key)
    found = _load(f"{cache_dir}/{name}", start)
    if found is None:
        library, found = _compile({key: value for key, value in profile.items() if key in INPUTS})
        body = _stamp(library) + b"\n" + found
        unsaved = (cache_dir, name, start + _seal(body) + body)
        if later is None:
            store(*unsaved)
        else:
            later.append(unsaved)
    return found


def _digest(data: bytes) -> int:
    """A number of 61 bits for some bytes, the same in every process: their value modulo 2**61 - 1.

    Quick (30 KB in 30 µs), and only a name or a check against damage: nothing trusts that it is unique.
    """
    return hash(int.from_bytes(data, "little"))


def _seal(body: bytes) -> bytes:
    return b"%d %016x\n" % (len(body), _digest(body))


def _stamp(library: bytes) -> bytes:
    """Which libseccomp: after an upgrade, which knows more system calls, we compile anew."""
    try:
        status = posix.stat(library)
    except OSError:
        return b""
    return b"%s %d %d" % (library, status.st_size, status.st_mtime_ns)


def _load(path: str, start: bytes) -> bytes | None:
    """The program in a cache file, if the file is ours, whole, and made from what `start` says."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = posix.fstat(fd)
        if status.st_uid != posix.geteuid() or status.st_mode & 0o170022 != 0o100000:
            return None
        data = calls.read_all(fd, MAX_FILE)
    except OSError:
        return None
    finally:
        posix.close(fd)
    if not data.startswith(start):
        return None
    seal, _, body = data[len(start) :].partition(b"\n")
    if seal + b"\n" != _seal(body):
        return None
    stamp, _, found = body.partition(b"\n")
    return found if stamp and stamp == _stamp(stamp.rsplit(b" ", 2)[0]) else None


def store(cache_dir: str, name: str, data: bytes) -> None:
    """Write a cache file, whole or not at all; quietly not where the directory isn't safely ours, or has no room."""
    if len(data) > MAX_BYTES // 2:
        return
    try:
        posix.mkdir(cache_dir, 0o700)
    except OSError:
        pass  # it is there already, or can't be: open tells
    try:
        dirfd = posix.open(cache_dir, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
    except OSError:
        return
    try:
        status = posix.fstat(dirfd)
        if status.st_uid == posix.geteuid() and not status.st_mode & 0o022:
            _make_room(dirfd, len(data))
            _write(dirfd, name, data)
    except OSError:
        pass
    finally:
        posix.close(dirfd)


def _write(dirfd: int, name: str, data: bytes) -> None:
    temporary = f"{name}.{posix.getpid()}"
    create = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
    try:
        fd = posix.open(temporary, create, 0o600, dir_fd=dirfd)
    except FileExistsError:  # left by a killed process of the same number; the next one finds it gone
        posix.unlink(temporary, dir_fd=dirfd)
        return
    try:
        try:
            calls.write_all(fd, data)
        finally:
            posix.close(fd)
        posix.rename(temporary, name, src_dir_fd=dirfd, dst_dir_fd=dirfd)
    except OSError:
        posix.unlink(temporary, dir_fd=dirfd)
        raise


def _make_room(dirfd: int, size: int) -> None:
    """Keep the cache bounded: what killed processes left goes, of too many files the older half, and of too many bytes
    the oldest files."""
    ages = []
    total = size
    for name in posix.listdir(dirfd):
        if _is_stale(name):
            posix.unlink(name, dir_fd=dirfd)
            continue
        status = posix.stat(name, dir_fd=dirfd, follow_symlinks=False)
        ages.append((status.st_mtime_ns, name, status.st_size))
        total += status.st_size
    ages.sort()
    least = len(ages) // 2 if len(ages) >= MAX_ENTRIES else 0
    for count, (_, name, length) in enumerate(ages):
        if count >= least and total <= MAX_BYTES:
            break
        posix.unlink(name, dir_fd=dirfd)
        total -= length


def _is_stale(name: str) -> bool:
    """Is this the unfinished file of a process that is no more?"""
    _, dot, pid = name.partition(".")
    if not (dot and pid.isascii() and pid.isdigit() and len(pid) < 10):
        return False
    try:
        posix.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return int(pid) == posix.getpid()


def _compile(profile: dict[str, object]) -> tuple[bytes, bytes]:
    """Run the compiler: libseccomp's path, and the program.

    Files of memory instead of pipes: nothing can block, and no SIGPIPE is possible. It dies with us.
    """
    argv, environment = cold.command(["seccomp-compile"])
    fds = [calls.memfd("seccomp-profile", jsontext.encode(profile).encode())]
    caller = posix.getpid()
    try:
        fds += [calls.memfd("seccomp-program", b""), calls.memfd("seccomp-error", b"")]
        pid = posix.fork()
        if pid == 0:
            _become_compiler(argv, environment, fds, caller)
        status = _wait(pid)
        output, errors = (_content(fd) for fd in fds[1:])
    except OSError as error:
        raise failed(f"starting the seccomp compiler {argv[0]}", error, "linux.seccomp") from None
    finally:
        for fd in fds:
            posix.close(fd)
    if status == NOT_STARTED and errors.isdigit():
        reason = OSError(int(errors), "")
        raise failed(f"starting the seccomp compiler {argv[0]}", reason, "linux.seccomp")
    library, _, found = output.partition(b"\n")
    if status or not found or len(found) % 8:
        words = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        path, colon, sentence = words.partition(": ")
        if not colon or not path.startswith("linux.seccomp"):
            path, sentence = "linux.seccomp", f"the seccomp compiler failed: {words or f'status {status}'}"
        raise PyrunError(sentence, path)
    return library, found


def _become_compiler(
    argv: list[str], environment: dict[bytes, bytes], fds: list[int], caller: int
) -> NoReturn:
    try:
        process.prctl(process.PR_SET_PDEATHSIG, process.SIGKILL)
        if posix.getppid() not in (caller, 0):  # we came too late for that
            posix._exit(NOT_STARTED)
        process.default_signals()
        for number, fd in enumerate([posix.dup(fd) for fd in fds]):  # none of them is 0, 1 or 2
            posix.dup2(fd, number)
        calls.close_range_on_exec(3)
        posix.execve(argv[0], argv, environment)
    except OSError as error:
        posix.write(2, str(error.errno).encode())
    finally:
        posix._exit(NOT_STARTED)


def _wait(pid: int) -> int:
    """Return the compiler's exit status, minus N if signal N killed it. Raises PyrunError if it takes too long."""
    end = time.monotonic() + COMPILE_LIMIT
    pidfd = process.pidfd_open(pid)
    try:
        while pidfd >= 0 and not calls.poll([pidfd], 1000):
            if time.monotonic() > end:
                process.pidfd_send_signal(pidfd, process.SIGKILL)
                posix.waitpid(pid, 0)
                raise PyrunError(
                    f"the seccomp compiler was not done within {int(COMPILE_LIMIT)} s, and was stopped",
                    "linux.seccomp",
                    "does the profile have very many rules?",
                )
        return posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])
    except ChildProcessError:  # SIGCHLD is ignored, as our caller left it: the output tells
        return 0
    finally:
        if pidfd >= 0:
            posix.close(pidfd)


def _content(fd: int) -> bytes:
    posix.lseek(fd, 0, 0)
    return calls.read_all(fd, MAX_FILE)
