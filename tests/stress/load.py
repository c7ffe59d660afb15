"""One load on one runtime: workers, what they leave, and what containers cost in memory."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from json import loads
from pathlib import Path
from typing import Any

from bench import bundle
from bench.measure import PR_SET_CHILD_SUBREAPER, available_bytes, children, pss, remove_cgroup

from . import census
from .worker import Plan, descriptors, work

GRACE = 90.0  # seconds after the time is up that workers have for deleting what is alive
MEMORY_LIMIT, PIDS_LIMIT = 64 << 20, 100


@dataclass
class Result:
    """What one load came to; of `times` see worker.Outcome."""

    version: str
    seconds: float = 0.0
    made: int = 0
    most_alive: int = 0
    commands: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    times: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)  # "created", "running" of one container: bytes


class Load:
    """A context manager: a folder, a bundle, a root for one runtime; at its end all of it is gone."""

    def __init__(self, runtime: str, v2: bool) -> None:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # containers' ends are ours to wait for
        self.runtime = runtime
        self.folder = Path(tempfile.mkdtemp(prefix="pyrun-stress-", dir="/run"))
        self.name = self.folder.name
        self.root = self.folder / "root"
        (self.folder / "pids").mkdir()
        bundle.make_rootfs(self.folder)
        self.bundle = bundle.write_bundle(self.folder, "bundle", config(v2), "/bin/sleep", "1000")
        self.workers: list[int] = []

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.workers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.clear()
        for mount in ("", "*/"):
            for path in Path("/sys/fs/cgroup").glob(f"{mount}{self.name}*"):
                remove_cgroup(path)
        shutil.rmtree(self.folder)

    def call(self, *words: str) -> str:
        """Run a command that must succeed; its output. The error is in standard error."""
        argv = [self.runtime, "--root", str(self.root), *words]
        file = self.folder / "out"
        with file.open("wb") as out:  # no pipe: a container would keep it open
            subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out, check=True)
        return file.read_text()

    def version(self) -> str:
        """The first line of --version."""
        return self.call("--version").partition("\n")[0]

    def clear(self) -> None:
        """Delete what there is by force, and end what is still a child of this process."""
        for path in self.root.iterdir() if self.root.is_dir() else []:
            if not path.name.startswith("."):
                argv = [self.runtime, "--root", str(self.root), "delete", "--force", path.name]
                subprocess.run(argv, capture_output=True, check=False)
        for pid in children():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def run(
        self, containers: int, workers: int, alive: int, seconds: float, kills: float, seed: int
    ) -> Result:
        """`containers` by `workers`, `alive` of them at once, for `seconds` at most; see `Plan` for `kills`."""
        result = Result(self.version())
        self.call("run", *self._first_words())  # fills caches
        keyrings, programs, own = census.keyrings(), census.bpf_programs(), descriptors()
        before = time.monotonic()
        plan = Plan(
            runtime=self.runtime,
            root=self.root,
            bundle=self.bundle,
            folder=self.folder,
            name=self.name,
            count=-(-containers // workers),
            alive=-(-alive // workers),
            kills=kills,
            end=before + seconds,
            seed=seed,
        )
        self._work(plan, workers)
        result.seconds = time.monotonic() - before
        for number in range(workers):
            self._add(result, number)
        result.left += census.patiently(self._left)
        left_open = descriptors() - own
        result.left += [f"{left_open} descriptors"] if left_open else []
        # Other programs' containers have some of these too, and it can't be told whose they are: a few are theirs.
        few = max(4, result.made // 20)
        for what, old in ((census.keyrings, keyrings), (census.bpf_programs, programs)):
            more = census.patiently(
                lambda what=what, old=old: new if len(new := sorted(what() - old)) > few else []
            )
            result.left += more
        return result

    def _first_words(self) -> Sequence[str]:
        first = bundle.write_bundle(
            self.folder, "first", loads((self.bundle / "config.json").read_text()), "/bin/true"
        )
        return ["--bundle", str(first), f"{self.name}-first"]

    def _work(self, plan: Plan, workers: int) -> None:
        """Fork workers, and reap them and all orphans until no worker is left."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        for number in range(workers):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
                    work(plan, number, self._outcome(number))
                    code = 0
                finally:
                    os._exit(code)
            self.workers.append(pid)
        late = plan.end + GRACE
        while self.workers:
            signal.sigtimedwait([signal.SIGCHLD], 0.5)
            self.reap()
            if time.monotonic() > late:
                for pid in self.workers:
                    os.kill(pid, signal.SIGKILL)

    def reap(self) -> None:
        """Wait for each child that has ended."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.workers:
                self.workers.remove(pid)

    def _outcome(self, number: int) -> Path:
        return self.folder / f"outcome-{number}"

    def _add(self, result: Result, number: int) -> None:
        path = self._outcome(number)
        if not path.exists():
            result.failures.append(f"worker {number} ended early, or had to be ended")
            return
        outcome: dict[str, Any] = loads(path.read_text())
        path.unlink()
        result.made += outcome["made"]
        result.most_alive += outcome["most_alive"]
        result.commands += outcome["commands"]
        result.failures += outcome["failures"]
        for command, count in outcome["kills"].items():
            result.kills[command] = result.kills.get(command, 0) + count
        for command, times in outcome["times"].items():
            result.times.setdefault(command, []).extend(times)
        if outcome["descriptors"]:
            result.left.append(f"{outcome['descriptors']} descriptors of worker {number}")

    def _left(self) -> list[str]:
        self.reap()
        return [
            *census.cgroups(self.name),
            *census.mounts(self.name),
            *census.processes(self.name, [os.getpid(), os.getppid()]),
            *census.files(self.root, [".seccomp"]),
            *census.temporary_files(self.root / ".seccomp"),
            *census.files(self.bundle, ["config.json"]),
            *census.files(self.folder / "pids", []),
            *census.files(self.folder, ["root", "rootfs", "bundle", "first", "pids", "out"]),
        ]

    def memory(self, containers: int) -> dict[str, float]:
        """Bytes that one container takes, created and running: the processes' proportional set size, and what the
        whole machine has less (with the kernel's share; other programs disturb it)."""
        ids = [f"{self.name}-memory-{number}" for number in range(containers)]
        free = available_bytes()
        found: dict[str, float] = {}
        for state, command in (
            ("created", ("create", "--bundle", str(self.bundle))),
            ("running", ("start",)),
        ):
            for each in ids:
                self.call(*command, each)
            self.reap()
            time.sleep(0.2)
            found[state] = statistics.mean(pss(pid) for pid in children()) * 1024
            found[f"{state}, machine"] = (free - available_bytes()) / containers
        for each in ids:
            self.call("delete", "--force", each)
        self.reap()
        return found


def config(v2: bool) -> bundle.Config:
    """The default configuration with what engines add to it: a seccomp profile and limits."""
    document = bundle.default_config(v2)
    document["linux"]["seccomp"] = bundle.seccomp_profile()
    if not v2:  # a private v2 hierarchy of a hybrid host has neither controller
        document["linux"]["resources"]["memory"] = {"limit": MEMORY_LIMIT}
        document["linux"]["resources"]["pids"] = {"limit": PIDS_LIMIT}
    return document
