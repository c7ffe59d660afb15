"""Run hooks: state on stdin, their own environment and nothing else, a working directory (the bundle; for
createContainer hooks the container's root), a time limit, and their last words on failure.

Hot module. Used by the runtime's side (prestart, createRuntime, poststart, poststop) and by init for createContainer.
startContainer hooks run in stage 2 (kernel/stage2.c), since nothing of ours is left in the container by then.
Source: config.md, POSIX-platform Hooks.
"""

from __future__ import annotations

import errno
import posix
import time

from pyrun.base import jsontext
from pyrun.base.errors import PyrunError, words
from pyrun.features import crun_annotations
from pyrun.kernel import calls, process, stage2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from oci_spec import types
    from pyrun.story.last import Last
    from pyrun.story.making import Inside, Making

LONGEST_WAIT = (1 << 31) - 1  # milliseconds: poll(2) takes an int
NO_FILES = (-1, -1)
LAST_WORDS = 1024  # bytes of a hook's output that an error quotes

# Why a hook can't be executed, in words that no engine takes for the container's program: errno -> why.
REASONS = {
    errno.ENOENT: "it does not exist, or the interpreter that it names doesn't",
    errno.ENOEXEC: "it is no program of this machine, and no script with #! in its first line",
    errno.EACCES: "access refused: it isn't executable, or its file system is mounted noexec",
    errno.E2BIG: "its args and env are too long: 128 KiB each, and a quarter of the limit on the stack together",
}


def prestart(making: Making) -> None:
    """Run the prestart hooks."""
    inside = making.inside
    run_all("prestart", making.plan.hooks("prestart"), inside.state, files=inside.hook_files)


def create_runtime(making: Making) -> None:
    """Run the createRuntime hooks."""
    inside = making.inside
    run_all("createRuntime", making.plan.hooks("createRuntime"), inside.state, files=inside.hook_files)


def create_container(inside: Inside) -> None:
    """Run the createContainer hooks, in the init's namespaces and the root's folder. Their files aren't to be writable
    for all."""
    state = {**inside.state, "pid": posix.getpid()}
    posix.umask(inside.umask)
    run_all("createContainer", inside.plan.hooks("createContainer"), state, inside.root, inside.hook_files)
    posix.umask(0)


def run_all(
    kind: str,
    hooks: list[types.Hook],
    state: dict[str, Any],
    folder: int = -1,
    files: tuple[int, int] = NO_FILES,
) -> None:
    """Run the hooks of one kind in order. Raises PyrunError (kind "hook") at the first that fails."""
    for index in range(len(hooks)):
        run(kind, index, hooks[index], state, folder, files)


def run_later(kind: str, index: int, hook: types.Hook, state: dict[str, Any]) -> None:
    """Run one hook after create, with the files that annotations name for what it writes. Raises PyrunError (kind
    "hook")."""
    try:
        files = crun_annotations.hook_files(state.get("annotations") or {})
    except PyrunError as error:
        raise PyrunError(error.sentence, error.json_path, error.hint, "hook", error.errno) from None
    try:
        run(kind, index, hook, state, files=files)
    finally:
        for fd in files:
            if fd >= 0:
                posix.close(fd)


def run(
    kind: str,
    index: int,
    hook: types.Hook,
    state: dict[str, Any],
    folder: int = -1,
    files: tuple[int, int] = NO_FILES,
) -> None:
    """Run one hook, in this folder or else in the bundle; what it writes to stdout and stderr goes to `files`, or else
    into the error if it fails.

    Raises PyrunError (kind "hook") if it can't be executed, fails, or takes longer than its timeout.
    """
    json_path = f"hooks.{kind}[{index}]"
    try:
        _run(hook, state, json_path, folder, files)
    except OSError as error:
        raise PyrunError(f"running {hook['path']}: {words(error)}", json_path, kind="hook") from None


def _run(
    hook: types.Hook, state: dict[str, Any], json_path: str, folder: int, files: tuple[int, int]
) -> None:
    stdin = calls.memfd("state", jsontext.encode(state).encode())
    out_read, out_write = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
    failed_read, failed_write = posix.pipe2(posix.O_CLOEXEC)
    caller = posix.getpid()
    pid = posix.fork()
    if pid == 0:
        outputs = [file if file >= 0 else out_write for file in files]
        _execute(hook, stdin, outputs, failed_write, caller, state["bundle"], folder)
    posix.close(out_write)
    posix.close(failed_write)
    posix.close(stdin)
    try:
        failure = posix.read(failed_read, 16)  # end of file when it has been executed
        output, timed_out, status = _watch(pid, out_read, hook.get("timeout") or 0)
    finally:
        posix.close(failed_read)
        posix.close(out_read)
    if failure:
        raise PyrunError(
            f"{hook['path']} can't be executed: {why_not_executed(int(failure))}", json_path, kind="hook"
        )
    if timed_out:
        why = f"did not end within its timeout of {hook['timeout']} s and was killed"
    elif status:
        why = describe_status(status)
    else:
        return
    raise PyrunError(f"{hook['path']} {why}{last_words(output)}", json_path, kind="hook")


def why_not_executed(number: int) -> str:
    """Why execve(2) has refused a hook, in words."""
    return REASONS.get(number) or posix.strerror(number)


def describe_status(status: int) -> str:
    """A wait status in words."""
    if posix.WIFSIGNALED(status):
        return f"was killed by signal {posix.WTERMSIG(status)}"
    return f"exited with status {posix.WEXITSTATUS(status)}"


def last_words(output: bytes) -> str:
    """A hook's output as the tail of a sentence."""
    text = " ".join(output.decode("utf-8", "replace").split())
    return f": {text}" if text else ""


def _enter(bundle: str, folder: int) -> None:
    """The hook's working directory, as in runc and crun: never the caller's, which nobody could rely on."""
    try:
        if folder >= 0:
            posix.fchdir(folder)
        else:
            posix.chdir(bundle)
    except OSError:
        posix.chdir("/")  # the bundle is gone, maybe, when poststop hooks run


def _execute(
    hook: types.Hook, stdin: int, outputs: list[int], failed: int, caller: int, bundle: str, folder: int
) -> None:
    try:
        process.prctl(
            process.PR_SET_PDEATHSIG, process.SIGKILL
        )  # killed with us, for nobody would know of it
        if posix.getppid() not in (
            caller,
            0,
        ):  # we came too late for that; 0 is a parent outside of our namespace
            posix._exit(127)
        process.default_signals()
        posix.dup2(stdin, 0)
        for number, output in enumerate(outputs):
            posix.dup2(output, number + 1)
        for fd in (1, 2):
            posix.set_blocking(fd, True)
        calls.close_range_on_exec(3)
        _enter(bundle, folder)
        argv = hook.get("args") or [hook["path"]]
        raise process.execveat(calls.AT_FDCWD, hook["path"], argv, hook.get("env") or [])
    except OSError as error:
        posix.write(failed, str(error.errno).encode())
    finally:
        posix._exit(127)


def _watch(pid: int, out: int, timeout: int) -> tuple[bytes, bool, int]:
    """Wait for the hook to exit (not for what it leaves in the background): last output, timed out?, wait status."""
    end = time.monotonic() + timeout
    output = b""
    timed_out = False
    pidfd = process.pidfd_open(pid)
    watched = [pidfd, out]
    try:
        while True:
            left = -1
            if timeout and not timed_out:
                left = max(0, min(int((end - time.monotonic()) * 1000) + 1, LONGEST_WAIT))
            ready = calls.poll(watched, left)
            if timeout and not timed_out and time.monotonic() >= end and pidfd not in ready:
                process.pidfd_send_signal(pidfd, process.SIGKILL)
                timed_out = True
            if out in ready:
                part = _read_some(out)
                if part:
                    output = (output + part)[-LAST_WORDS:]
                elif part == b"":
                    watched = [pidfd]  # closed at the other end
            if pidfd in ready:
                output = (output + (_read_some(out) or b""))[-LAST_WORDS:]
                return output, timed_out, posix.waitpid(pid, 0)[1]
    finally:
        posix.close(pidfd)


def _read_some(fd: int) -> bytes | None:
    try:
        return posix.read(fd, 65536)
    except BlockingIOError:
        return None


def order_start_container(last: Last) -> None:
    """hooks.startContainer, for stage 2: it has the state, and writes its pid into it."""
    state = dict(last.inside.state)
    state["pid"] = last.pid()
    state["status"] = "created"
    data = jsontext.encode(state).encode()
    place = data.index(str(last.pid()).encode(), data.index(b'"pid":')) if last.unborn else -1
    last.orders.add(stage2.STATE, (place,), data)
    for index, hook in enumerate(last.plan.hooks("startContainer")):
        last.label(f"hooks.startContainer[{index}]", hook["path"], kind="hook")
        argv, env = hook.get("args") or [hook["path"]], hook.get("env") or []
        seconds = min(hook.get("timeout") or 0, 1 << 31)  # of which stage 2 makes milliseconds
        last.orders.add(stage2.HOOK, (seconds, len(argv), len(env)), last.texts([hook["path"], *argv, *env]))
