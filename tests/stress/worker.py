"""One worker of the stress program: takes containers through their life cycle, looks at those that are alive
meanwhile, and kills the runtime at random. It only ever kills processes that it started itself.

A command that wasn't killed must succeed. After one that was, the container must be in a state that the next command
can go on from, or `delete --force` must remove it whole.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

TIME_LIMIT = 60.0  # seconds for one command
SETTLED = 5.0  # seconds until an init does what a killed start has told it
DYING = 0.1  # seconds in which an init that gave up may look as if it ran
MOST_FAILURES = 20  # a worker gives up after so many, unless it is to measure
LOOKS = ("list", "state", "exec", "ps", "events")
# What `list` and `delete --force` say of a container whose create was killed, by this worker or another
INTERRUPTED = ("was never completed, because its create was interrupted", "is damaged: it is cut off")
STREAMS = 0.05  # share of containers whose events are listened to from start to end


@dataclass
class Plan:
    """What all workers do; times are seconds, `end` is of time.monotonic()."""

    runtime: str
    root: Path
    bundle: Path
    folder: Path
    name: str  # all ids begin with it
    count: int  # containers for each worker
    alive: int  # of them at once
    kills: float  # share of the commands that are killed
    end: float
    seed: int


@dataclass
class Outcome:
    """What one worker did. `times`: command -> (containers that this worker had alive, seconds) of each that was not
    meant to be killed."""

    made: int = 0
    most_alive: int = 0
    commands: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    times: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    descriptors: int = 0  # that are open afterwards and were not before


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def killed(self) -> bool:
        """By us, before its end."""
        return self.code == -signal.SIGKILL


class Failed(Exception):
    """Something that may not happen, in a sentence."""


def descriptors() -> int:
    """How many this process has open."""
    return len(os.listdir("/proc/self/fd"))


def ended(pid: int, seconds: float) -> bool:
    """Wait until a process has ended; False if it hasn't after so many seconds."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(fd)


class Worker:
    """Works off its share of a plan."""

    def __init__(self, plan: Plan, number: int) -> None:
        self.plan = plan
        self.number = number
        self.random = random.Random(f"{plan.seed}-{number}")
        self.outcome = Outcome()
        self.alive: deque[str] = deque()
        self.streams: dict[str, subprocess.Popen[bytes]] = {}
        self.typical: dict[str, float] = {}  # command -> seconds
        self.out = plan.folder / f"out-{number}"
        self.err = plan.folder / f"err-{number}"

    def work(self) -> Outcome:
        """Do all of it."""
        before = descriptors()
        try:
            while self.outcome.made < self.plan.count and time.monotonic() < self.plan.end:
                while len(self.alive) >= self.plan.alive:
                    self._guarded(self._retire)
                self._guarded(self._make)
            while self.alive:
                self._guarded(self._retire)
        except Failed as error:
            self.outcome.failures.append(str(error))
        for process in self.streams.values():
            process.kill()
            process.wait()
        for path in (self.out, self.err):
            path.unlink(missing_ok=True)
        self.outcome.descriptors = descriptors() - before
        return self.outcome

    def _guarded(self, step: Any) -> None:
        try:
            step()
        except Failed as error:
            self.outcome.failures.append(str(error))
            if self.plan.kills and len(self.outcome.failures) >= MOST_FAILURES:
                raise Failed("too many failures, given up") from None

    def _make(self) -> None:
        """Create and start the next container, then look around."""
        container = f"{self.plan.name}-{self.number}-{self.outcome.made}"
        self.outcome.made += 1
        while True:
            self._create(container)
            if self._start(container):
                break
            self._delete(container, "--force")
        self.alive.append(container)
        self.outcome.most_alive = max(self.outcome.most_alive, len(self.alive))
        if self.random.random() < STREAMS:
            self.streams[container] = self._popen("events", "--interval", "200ms", container)
        for _ in range(2):
            self._look(self.random.choice(LOOKS))

    def _create(self, container: str) -> None:
        words = ("--bundle", str(self.plan.bundle), "--pid-file", self._pid_file(container), container)
        while self._call("create", *words, may_be_killed=True).killed:
            self._delete(container, "--force")
        if self._state(container)["status"] != "created":
            raise Failed(f"{container} is not created after create")

    def _start(self, container: str) -> bool:
        """Start it. False if start was killed after it had woken the init and before that could answer: then the
        container ends. (One that was killed later has started it.)"""
        if not self._call("start", container, may_be_killed=True).killed:
            return True
        again = self._call("start", container, may_fail=True)
        if again.code != 0:
            time.sleep(DYING)
        end = time.monotonic() + SETTLED
        while (status := self._state(container)["status"]) == "created" and time.monotonic() < end:
            time.sleep(0.01)
        if status == "created" or (again.code == 0 and status != "running"):
            raise Failed(f"{container} is {status} after start was killed and called again: {again}")
        return bool(status == "running")

    def _look(self, command: str) -> None:
        container = self.random.choice(self.alive)
        if command == "list":
            done = self._call("list", "--format", "json", may_be_killed=True, warnings=INTERRUPTED)
            if not done.killed:
                found = {each["id"]: each["status"] for each in json.loads(done.out) or []}
                lost = [each for each in self.alive if found.get(each) != "running"]
                if lost:
                    raise Failed(f"list tells of {lost[0]}: {found.get(lost[0])}")
        elif command == "state":
            if self._state(container, may_be_killed=True).get("status", "running") != "running":
                raise Failed(f"{container} doesn't run")
        elif command == "exec":
            self._call("exec", container, "/bin/true", may_be_killed=True)
        elif command == "ps":
            done = self._call("ps", "--format", "json", container, may_be_killed=True)
            if not done.killed and self._pid(container) not in json.loads(done.out):
                raise Failed(f"ps {container} lacks its process: {done.out.strip()}")
        else:
            done = self._call("events", "--stats", container, may_be_killed=True)
            if not done.killed and json.loads(done.out)["type"] != "stats":
                raise Failed(f"events --stats {container}: {done.out.strip()}")

    def _retire(self) -> None:
        """Kill, wait, delete the oldest."""
        container = self.alive.popleft()
        pid = self._pid(container)
        if self._call("kill", container, "KILL", may_be_killed=True).killed:
            self._call("kill", container, "KILL", may_fail=True)  # it may be stopping already
        if not ended(pid, TIME_LIMIT):
            raise Failed(f"{container} doesn't end after kill")
        if self._call("delete", container, may_be_killed=True).killed:
            self._delete(container, "--force")
        os.unlink(self._pid_file(container))
        stream = self.streams.pop(container, None)
        if stream:
            try:
                code = stream.wait(TIME_LIMIT)
            except subprocess.TimeoutExpired:
                stream.kill()
                stream.wait()
                raise Failed(f"events {container} doesn't end with the container") from None
            if code != 0:
                raise Failed(f"events {container} ended with {code}")

    def _delete(self, container: str, *options: str) -> None:
        warnings = INTERRUPTED if "--force" in options else ()
        while self._call("delete", *options, container, may_be_killed=True, warnings=warnings).killed:
            options, warnings = ("--force",), INTERRUPTED

    def _state(self, container: str, may_be_killed: bool = False) -> dict[str, Any]:
        done = self._call("state", container, may_be_killed=may_be_killed)
        found: dict[str, Any] = {} if done.killed else json.loads(done.out)
        return found

    def _pid_file(self, container: str) -> str:
        return f"{self.plan.folder}/pids/{container}"

    def _pid(self, container: str) -> int:
        return int(Path(self._pid_file(container)).read_text())

    def _popen(
        self, command: str, *arguments: str, out: Any = subprocess.DEVNULL, err: Any = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        argv = [self.plan.runtime, "--root", str(self.plan.root), command, *arguments]
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err)

    def _call(
        self,
        command: str,
        *arguments: str,
        may_be_killed: bool = False,
        may_fail: bool = False,
        warnings: tuple[str, ...] = (),
    ) -> Done:
        """Run a command to its end, or to one that we choose. Lines that have one of `warnings` may be said.

        Raises Failed when one that wasn't killed doesn't end, or fails or says something though it may not.
        """
        chosen = may_be_killed and self.random.random() < self.plan.kills
        before = time.perf_counter()
        with self.out.open("wb") as out, self.err.open("wb") as err:
            process = self._popen(command, *arguments, out=out, err=err)
            if chosen:
                # the whole command is to be hit alike, and sometimes nothing of it
                if not ended(process.pid, self.random.uniform(0, 1.2 * self.typical.get(command, 0.02))):
                    process.kill()
            elif not ended(process.pid, TIME_LIMIT):
                process.kill()
                process.wait()
                raise Failed(f"{command} {' '.join(arguments)} doesn't end")
            code = process.wait()
        seconds = time.perf_counter() - before
        self.outcome.commands += 1
        done = Done(code, self.out.read_text(errors="replace"), self.err.read_text(errors="replace"))
        if chosen and done.killed:
            self.outcome.kills[command] = self.outcome.kills.get(command, 0) + 1
        said = [line for line in done.err.splitlines() if not any(each in line for each in warnings)]
        if (code != 0 or said) and not may_fail and not (chosen and done.killed):
            raise Failed(f"{command} {' '.join(arguments)}: exit status {code}, {done.err.strip()!r}")
        if not chosen:
            self.outcome.times.setdefault(command, []).append((len(self.alive), seconds))
            self.typical[command] = 0.8 * self.typical.get(command, seconds) + 0.2 * seconds
        return done


def work(plan: Plan, number: int, file: Path) -> None:
    """Be worker `number`, and write its outcome into a file."""
    file.write_text(json.dumps(asdict(Worker(plan, number).work())))
