"""Calls that are killed or made at the same time, and what is left of a container after it should be gone."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from oci_conformance.core import cgroup, kernel
from oci_conformance.core.runtime import TIMED_OUT
from oci_conformance.run.case import Case, Container, Refused

GRACE = 3.0  # seconds for what a killed runtime had started to see that it is alone, and end


def argv(t: Case, operation: str, c: Container) -> tuple[str, ...]:
    """The command line of an operation on a container."""
    values = {"root": str(t.runtime.root), "id": c.id, "bundle": str(c.bundle)}
    return (t.runtime.path, *t.runtime.adapter.arguments(operation, t.runtime.flags, values))


def begin(t: Case, operation: str, c: Container) -> subprocess.Popen[bytes]:
    """Begin an operation, without waiting for it."""
    c.created = True
    null = subprocess.DEVNULL
    return subprocess.Popen(argv(t, operation, c), stdin=null, stdout=null, stderr=null)


def killed(t: Case, operation: str, c: Container, delay: float, signal: int) -> bool:
    """Begin an operation and send it a signal after `delay` seconds. False if it had ended by then."""
    process = begin(t, operation, c)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        kernel.kill(process.pid, signal)
        finish(t, [process])
        return True
    return False


def finish(t: Case, processes: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Wait for calls of the runtime. Their exit codes, TIMED_OUT for one that doesn't end and is killed."""
    until = time.monotonic() + t.runtime.limit
    codes = []
    for process in processes:
        try:
            codes.append(process.wait(max(0.0, until - time.monotonic())))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            codes.append(TIMED_OUT)
    return codes


def left(t: Case, c: Container, *, records: bool = True) -> list[str]:
    """What there still is of a container, in words; nothing if it is gone. Waits a little for processes to end.

    Without `records` its state isn't asked for, nor are mounts counted below the runtime's records.
    """
    until = time.monotonic() + GRACE
    while (found := _left(t, c, records)) and time.monotonic() < until:
        time.sleep(0.02)
    return found


def _left(t: Case, c: Container, records: bool) -> list[str]:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass  # what ended; nobody else waits for it
    found = [f"process {pid} ({_name(pid)})" for pid in kernel.descendants(os.getpid())]
    ours = t.runtime.root.parent  # where a test may have mounted something for the runtime's records
    found += [f"mount {point}" for point in kernel.mounts_below(t.folder) if records or point != ours]
    for _, point, _ in cgroup.mounted():
        top = point / t.cgroups
        found += [f"cgroup {path}" for path in top.rglob(f"*{c.id}*") if path.is_dir()]
    if records and not found and t.runtime.call("state", c.id).ok:
        found.append("its state")
    return found


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return "ended just now"


def again(t: Case, c: Container) -> str:
    """Create, start and delete another container with the same id. What goes wrong, or nothing."""
    other = t.prepare({}, "exit 7", id=c.id)
    try:
        other.create()
        other.start()
        other.wait()
        other.delete()
    except Refused as error:
        other.call("delete-force")
        return str(error)
    finally:
        other.created = False  # it is gone, and its id may be another's
    return "" if other.exit_code == 7 else f"the program ended with {other.exit_code}"


def rubbish(stdout: str, id: str, statuses: Sequence[str] = ()) -> str:
    """What is wrong with a state that was answered with success, or nothing. Any status, unless some are given."""
    try:
        answer: Any = json.loads(stdout)
    except ValueError:
        return f"no JSON: {stdout[:200]!r}"
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, str) or answer.get("id") != id or (statuses and status not in statuses):
        return (
            f"not a state of {id}{' that is ' if statuses else ''}{' or '.join(statuses)}: {stdout[:200]!r}"
        )
    return ""
