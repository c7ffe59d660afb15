"""One worker: runs tests one after the other in a process, and in a mount namespace where it may have one, of its own.

It is the subreaper of all that its tests start, so after each test it can stop and await everything that is left.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from oci_conformance.core import bundle, kernel
from oci_conformance.core.container import Container
from oci_conformance.core.host import Host
from oci_conformance.core.records import BREAKING, Evidence, Result, TestRecord
from oci_conformance.core.runtime import Adapter, Runtime
from oci_conformance.run.case import Case
from oci_conformance.run.registry import Test, tests


class OutOfTime(BaseException):
    """A test took longer than it may."""


@dataclass(frozen=True)
class Plan:
    """What all workers of a run share."""

    path: str  # of the runtime
    adapter: Adapter
    flags: tuple[str, ...]
    limit: float  # seconds for one call of the runtime
    test_limit: float  # seconds for one test
    host: Host
    spec: str
    bundle_version: str
    ids: frozenset[str]  # requirements that count in this version of the specification
    folder: Path  # of the run; removed after it
    program: Path  # the probe, in `folder`
    keep: bool  # leave the bundles
    out: Path | None  # where bundles of failed tests are saved
    again: str  # command that repeats one failure, but for its requirement
    watch: Callable[[Case, Result], None] | None = None  # told of each verdict


def main(connection: Connection, plan: Plan) -> None:
    """Take names of tests from the connection and answer each with its record, until None comes."""
    set_up(plan)
    while (name := connection.recv()) is not None:
        connection.send(run(tests()[name], plan))


def set_up(plan: Plan) -> None:
    """Make this process fit to run tests: signals, orphans, mounts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which tells us
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGALRM, _out_of_time)
    kernel.die_with_parent(signal.SIGTERM)
    kernel.become_subreaper()
    if plan.host.uid == 0:
        with contextlib.suppress(OSError):  # without CAP_SYS_ADMIN the tests will say what they lack
            kernel.unshare(kernel.CLONE_NEWNS)
            kernel.mount("", Path("/"), flags=kernel.MS_REC | kernel.MS_SLAVE)


def _leave(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough; cleaning up must not be cut short
    raise SystemExit(1)


def _out_of_time(number: int, frame: FrameType | None) -> None:
    raise OutOfTime


def run(test: Test, plan: Plan) -> TestRecord:
    """Run one test and clean up after it. The record is the stream's, before expectations."""
    began = time.monotonic()
    lacking = [text for need in test.needs if (text := plan.host.lacks(need))]
    if lacking:
        reason = f"this host lacks {', '.join(lacking)}"
        done = Done([{"id": id, "status": "skip", "reason": reason} for id in test.ids])
    else:
        done = _run(test, plan)
    record = blank(test, [result for result in done.results if result["id"] in plan.ids])
    record["seconds"] = round(time.monotonic() - began, 3)
    if not lacking:
        record["properties"] = sorted(done.properties)
        record["refused"] = sorted(done.refused - done.properties)
    if any(result["status"] in BREAKING for result in record["results"]):
        return {**record, **done.evidence}
    return record


def blank(test: Test, results: list[Result]) -> TestRecord:
    """The record of a test of which no more is known than its results."""
    return {
        "type": "test",
        "test": test.name,
        "title": test.title,
        "profile": test.profile,
        "seconds": 0.0,
        "results": results,
    }


@dataclass
class Done:
    """What came of a test."""

    results: list[Result]
    properties: set[str] = field(default_factory=set)  # which configurations of its containers set
    refused: set[str] = field(default_factory=set)  # and those of containers that never were
    evidence: Evidence = field(default_factory=Evidence)  # for what failed


def _run(test: Test, plan: Plan) -> Done:
    folder = Path(tempfile.mkdtemp(prefix="t", dir=plan.folder))
    folder.chmod(0o755)  # users of the container's user namespace have to get through
    (folder / "root").mkdir()
    runtime = Runtime(plan.path, plan.adapter, folder / "root", plan.flags, plan.limit)
    case = Case(test, runtime, plan.host, folder, plan.spec, plan.bundle_version, plan.program, plan.watch)
    error: BaseException | None = None
    try:
        signal.setitimer(signal.ITIMER_REAL, plan.test_limit)
        try:
            test.function(case)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except OutOfTime:
        error = RuntimeError(f"the test took longer than {plan.test_limit:g} s")
    except Exception as reason:
        error = reason
    except SystemExit:
        case.clean()
        raise
    done = Done(case.settle(error))
    done.evidence = _evidence(case, plan, done.results)
    if any(result["status"] == "error" for result in done.results) and error is not None:
        done.evidence["traceback"] = "".join(traceback.format_exception(error))[-4000:]
    for each in case.containers:
        found = done.properties if each.existed else done.refused
        found |= bundle.changed(case.base(each.id), each.config)
    case.clean(keep=plan.keep)
    return done


def _evidence(case: Case, plan: Plan, results: list[Result]) -> Evidence:
    """What helps to understand a failure: how the configuration differs, the calls, and how to repeat them."""
    if not any(result["status"] in BREAKING for result in results):
        return {}
    container = case.suspect
    calls = [each for each in case.runtime.calls if container is None or container.id in each.argv]
    evidence: Evidence = {"calls": [call.record() for call in calls[-20:]]}
    broken = next(result["id"] for result in results if result["status"] in BREAKING)
    commands = [f"{plan.again} --test {case.test.name} {broken}"]
    if container is not None:
        evidence["config_diff"] = (
            bundle.differences(case.base(container.id), container.config)
            if isinstance(container.config, dict)
            else [{"op": "replace", "path": "", "from": "config.json", "to": repr(container.config)[:2000]}]
        )
        if plan.out is not None:
            saved = _save(container, case, plan.out / "bundles" / case.test.name)
            commands += _by_hand(container, case, saved)
    evidence["repeat"] = commands
    return evidence


def _save(container: Container, case: Case, place: Path) -> Path:
    """Keep the bundle of a failed test: config.json and a root file system with the probe, made anew."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    bundle.write(place, container.config)
    shutil.copy(case.program, place / "probe")
    bundle.make_rootfs(place / "rootfs", place / "probe")
    return place


def _by_hand(container: Container, case: Case, saved: Path) -> list[str]:
    """The calls on the suspect container, as commands for a shell, on the saved bundle."""
    commands = []
    root = "$PWD/oci-conformance-root"
    for call in case.runtime.calls:
        if container.id in call.argv:
            words = (shlex.quote(word) for word in call.argv)
            line = (
                " ".join(words)
                .replace(str(container.bundle), str(saved))
                .replace(str(case.runtime.root), root)
            )
            commands.append(line)
    return commands
