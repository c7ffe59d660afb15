"""A run: hands tests to workers, applies expectations, writes the stream, and cleans up whatever happens."""

from __future__ import annotations

import contextlib
import datetime
import multiprocessing
import os
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType

from oci_conformance import __version__
from oci_conformance.core import cgroup, kernel, probe
from oci_conformance.core import runtime as runtimes
from oci_conformance.core.host import Host
from oci_conformance.core.records import BREAKING, Header, Record, Result, TestRecord
from oci_conformance.run import expectations, worker
from oci_conformance.run.case import Case
from oci_conformance.run.expectations import Deviation
from oci_conformance.run.registry import Test
from oci_conformance.run.worker import Plan

VERSIONS = ("1.3.0", "1.2.1", "1.1.0", "1.0.2")  # of the specification, newest first
EXIT_PASSED, EXIT_FAILED, EXIT_CUT_SHORT = 0, 1, 2
GRACE = 20.0  # seconds that a worker has beyond a test's limit, to clean up
CONTEXT = multiprocessing.get_context("fork")

Say = Callable[[Record], None]


class CannotRun(Exception):
    """The suite can't run at all, in one sentence."""


@dataclass
class Options:
    """What a run is asked for."""

    runtime: str
    host: Host
    jobs: int
    adapter: runtimes.Adapter = field(default_factory=lambda: runtimes.Adapter.load("default"))
    flags: tuple[str, ...] = ()
    spec: str = VERSIONS[0]
    level: str = "must"  # or should, may: failures below it don't count in the exit code
    profiles: tuple[str, ...] = ("spec",)
    limit: float = runtimes.LIMIT  # seconds for one call
    test_limit: float = 60.0  # seconds for one test
    fail_fast: bool = False
    keep: bool = False
    out: Path | None = None
    deviations: list[Deviation] = field(default_factory=list)
    argv: list[str] = field(default_factory=list)


@dataclass
class Crew:
    """The workers, and which test each is doing."""

    plan: Plan
    processes: dict[Connection, multiprocessing.process.BaseProcess] = field(default_factory=dict)
    doing: dict[Connection, tuple[Test, float]] = field(default_factory=dict)

    def hire(self) -> Connection:
        """Start one more worker."""
        mine, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=worker.main, args=(theirs, self.plan))
        process.start()
        theirs.close()
        self.processes[mine] = process
        return mine

    def give(self, connection: Connection, test: Test) -> None:
        """Have a worker do a test."""
        self.doing[connection] = (test, time.monotonic())
        connection.send(test.name)

    def dismiss(self, connection: Connection) -> None:
        """Stop a worker, and everything below it, for good."""
        process = self.processes.pop(connection)
        self.doing.pop(connection, None)
        process.terminate()
        process.join(GRACE)
        if process.is_alive():
            for pid in [*kernel.descendants(process.pid or 0), process.pid or 0]:
                kernel.kill(pid, signal.SIGKILL)
            process.join()
        connection.close()
        bury(process, {each.pid for each in self.processes.values()})

    def disband(self) -> None:
        """Stop all workers; idle ones are asked."""
        for connection in self.processes:
            if connection not in self.doing:
                with contextlib.suppress(OSError):
                    connection.send(None)
        for connection in list(self.processes):
            self.dismiss(connection)


def bury(process: multiprocessing.process.BaseProcess, others: Container[int | None]) -> None:
    """Stop and remove what an ended worker that could not clean up has left: it is ours now. Other workers live on."""
    kernel.stop_children(others)
    cgroup.remove(f"oci-conformance-{process.pid}")


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Once is enough: cleaning up must not be cut short, and timeout(1) sends its signal twice."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextlib.contextmanager
def session(options: Options, ids: frozenset[str]) -> Iterator[Plan]:
    """Everything that a run needs, and its end: the folder of its files, the probe in it, the runtime tried out.

    Raises CannotRun.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    kernel.become_subreaper()
    folder = Path(tempfile.mkdtemp(prefix="oci-conformance-"))
    closed = [str(path) for path in folder.parents if not path.stat().st_mode & 0o001]
    if closed and options.host.uid == 0:
        print(
            f"{closed[0]} can't be entered by other users, so containers with user namespaces may fail; "
            "set TMPDIR to a folder that can",
            file=sys.stderr,
        )
    try:
        folder.chmod(0o755)
        yield _plan(options, ids, folder)
    finally:
        kernel.stop_children()
        cgroup.remove(str(folder))  # of runtimes that took an ID or a path for one below their own
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def run(chosen: list[Test], ids: dict[str, str], options: Options, say: Say) -> int:
    """Run tests; `ids` are the requirements that count -> their level. Each record of the stream goes to `say`."""
    began = time.monotonic()
    complete, failed = False, False
    try:
        with session(options, frozenset(ids)) as plan:
            header = _header(options, plan)
            say(header)
            shown = Counter(id for test in chosen for id in test.ids)
            alone = frozenset(id for id, count in shown.items() if count == 1)
            for record in records(chosen, plan, options.jobs):
                expectations.apply(options.deviations, record, header, alone)
                say(record)
                failed = failed or _fails(record, ids, options.level)
                if failed and options.fail_fast:
                    break
            else:
                complete = True
    except KeyboardInterrupt:
        print("interrupted; everything was cleaned up", file=sys.stderr)
    code = EXIT_FAILED if failed else EXIT_PASSED
    if not complete and not (failed and options.fail_fast):
        code = EXIT_CUT_SHORT
    say(
        {
            "type": "footer",
            "finished": _now(),
            "seconds": round(time.monotonic() - began, 1),
            "complete": complete,
            "exit_code": code,
        }
    )
    return code


def records(chosen: list[Test], plan: Plan, jobs: int) -> Iterator[TestRecord]:
    """The records of all tests as they are done."""
    crew = Crew(plan)
    waiting = iter(chosen)
    try:
        for _, test in zip(range(jobs), waiting, strict=False):
            crew.give(crew.hire(), test)
        while crew.doing:
            ready = wait([*crew.doing], 1.0)
            for connection in [*crew.doing]:
                test, since = crew.doing[connection]
                if connection in ready:
                    record = _answer(crew, connection, test)
                elif time.monotonic() - since > plan.test_limit + GRACE:
                    record = _lost(test, plan, "its worker hung and was stopped")
                    crew.dismiss(connection)
                    connection = crew.hire()
                else:
                    continue
                if (following := next(waiting, None)) is not None:
                    if connection not in crew.processes:
                        connection = crew.hire()
                    crew.give(connection, following)
                yield record
    finally:
        crew.disband()


def _answer(crew: Crew, connection: Connection, test: Test) -> TestRecord:
    try:
        record: TestRecord = connection.recv()
    except (EOFError, OSError):
        crew.dismiss(connection)
        return _lost(test, crew.plan, "its worker died")
    del crew.doing[connection]
    return record


def _lost(test: Test, plan: Plan, why: str) -> TestRecord:
    return worker.blank(
        test, [Result(id=id, status="error", reason=why) for id in test.ids if id in plan.ids]
    )


def _fails(record: TestRecord, ids: dict[str, str], level: str) -> bool:
    """Does a record make the run fail? MUST NOT counts as MUST."""
    order = ("must", "should", "may")
    return any(
        result["status"] in BREAKING
        and order.index(ids[result["id"]].split()[0].lower()) <= order.index(level)
        for result in record["results"]
    )


def _plan(options: Options, ids: frozenset[str], folder: Path) -> Plan:
    """What the workers share: the probe is put where containers can have it, the runtime is tried out."""
    program = folder / "probe"
    try:
        shutil.copy(probe.binary(), program)
    except probe.ProbeError as error:
        raise CannotRun(str(error)) from None
    plan = Plan(
        path=options.runtime,
        adapter=options.adapter,
        flags=options.flags,
        limit=options.limit,
        test_limit=options.test_limit,
        host=options.host,
        spec=options.spec,
        bundle_version=options.spec,
        ids=ids,
        folder=folder,
        program=program,
        keep=options.keep,
        out=options.out,
        again=_again(options),
    )
    tried = _try(plan)
    if not tried.creates:
        raise CannotRun(f"{plan.path} creates not even the plainest container here: {tried.said}")
    if tried.said:
        print(f"{plan.path} runs not even the plainest bundle: {tried.said}", file=sys.stderr)
    return replace(plan, bundle_version=tried.version)


@dataclass(frozen=True)
class Tried:
    """What came of a first try."""

    version: str  # the newest one, up to that which is tested, whose bundles the runtime runs
    creates: bool  # a container could be created, of some version
    said: str  # its last error, if it runs no version's bundle


def _try(plan: Plan) -> Tried:
    """Try out the runtime with bundles of each version.

    A runtime that refuses bundles of the tested version still has everything else to show. That it refuses them is
    shown by the tests of `ociVersion`.
    """
    mine, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_try_versions, args=(theirs, plan))
    process.start()
    theirs.close()
    try:
        tried: Tried = mine.recv()
        return tried
    except EOFError:
        return Tried(plan.spec, True, "it ended the process that called it")
    finally:
        process.join()
        mine.close()
        bury(process, ())


def _try_versions(connection: Connection, plan: Plan) -> None:
    worker.set_up(plan)
    said, creates = "", False
    for version in VERSIONS[VERSIONS.index(plan.spec) :]:
        folder = Path(tempfile.mkdtemp(prefix="v", dir=plan.folder))
        folder.chmod(0o755)
        (folder / "root").mkdir()
        runtime = runtimes.Runtime(plan.path, plan.adapter, folder / "root", plan.flags, plan.limit)
        case = Case(_NOTHING, runtime, plan.host, folder, plan.spec, version, plan.program)
        try:
            case.run({}, "cwd")
        except Exception as error:
            said = str(error)
        else:
            connection.send(Tried(version, True, ""))
            return
        finally:
            creates = creates or any(each.existed for each in case.containers)
            case.clean()
        if any(call.code == runtimes.TIMED_OUT for call in runtime.calls):
            break  # the next version would take as long
    connection.send(Tried(plan.spec, creates, said))


_NOTHING = Test("nothing", "", (), lambda case: None, (), False, "spec", False)


def _header(options: Options, plan: Plan) -> Header:
    probe_root = plan.folder / "features"
    probe_root.mkdir(exist_ok=True)
    runtime = runtimes.Runtime(options.runtime, options.adapter, probe_root, options.flags, options.limit)
    return {
        "type": "header",
        "suite": f"oci-conformance {__version__}",
        "started": _now(),
        "spec": options.spec,
        "level": options.level,
        "profiles": list(options.profiles),
        "runtime": {
            "path": options.runtime,
            "name": os.path.basename(options.runtime),
            "version": runtime.version(),
            "sha256": runtimes.digest(options.runtime),
            "adapter": options.adapter.name,
        },
        "host": options.host.record(),
        "bundle_version": plan.bundle_version,
        "jobs": options.jobs,
        "argv": options.argv,
    }


def _again(options: Options) -> str:
    words = ["oci-conformance repeat --runtime", shlex.quote(options.runtime), "--spec", options.spec]
    words += ["--systemd-cgroup"] if options.host.systemd_cgroup else []
    ours = (*options.adapter.systemd, *options.adapter.rootless)  # which are given anew
    words += [f"--runtime-flag={shlex.quote(flag)}" for flag in options.flags if flag not in ours]
    if options.adapter.name != "default":
        words += ["--adapter", shlex.quote(options.adapter.name)]
    return " ".join(words)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
