"""Run runtimes and take times, memory and growth.

The runtimes take turns (A B, then B A, and so on), so that the machine's mood meets all alike, and after a
container's end the kernel gets a moment to tear down its namespaces before the next one is measured.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from . import bundle
from .report import medians

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
COMMANDS = ("create", "state", "start", "exec", "kill", "delete", "list")
CONTAINER_COUNTS = (1, 100, 500)
MOUNT_COUNTS = (1, 100, 1000)
CREATED_BYTES = 16 << 20  # what one created container of the heaviest runtime takes, to be on the safe side

SETTLE = 0.01  # seconds

Samples = dict[str, list[float]]  # runtime's name -> seconds of each round


class Runtime:
    """One runtime with a state root of its own."""

    def __init__(self, name: str, path: str, root: Path) -> None:
        self.name = name
        self.path = path
        self.root = root
        self.cpu = 0.0  # seconds of user and system time that the last call took
        self.faults = 0  # and its page faults
        self.user = 0.0  # seconds of user time alone
        self.errors = root.parent / f"{name}.stderr"
        self._environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self._streams = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_OPEN, 2, str(self.errors), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        ]

    def argv(self, command: str, *arguments: str) -> list[str]:
        """A command line of this runtime."""
        return [self.path, "--root", str(self.root), command, *arguments]

    def call(self, command: str, *arguments: str, wrapper: Sequence[str] = ()) -> float:
        """Seconds from spawning the runtime to its end.

        Raises RuntimeError with its stderr when it fails.  `wrapper`: a command line to run it with.
        """
        argv = [*wrapper, *self.argv(command, *arguments)]
        before = time.perf_counter()
        pid = os.posix_spawn(argv[0], argv, self._environment, file_actions=self._streams)
        _, status, usage = os.wait4(pid, 0)
        seconds = time.perf_counter() - before
        self.cpu = usage.ru_utime + usage.ru_stime
        self.user, self.faults = usage.ru_utime, usage.ru_minflt
        if status != 0:
            words = self.errors.read_text(errors="replace").strip().splitlines()
            raise RuntimeError(f"{self.name} {command} failed: {words[-1] if words else status}")
        return seconds

    def version(self) -> str:
        """The first line of ``--version``."""
        done = subprocess.run([self.path, "--version"], capture_output=True, text=True, check=False)
        return (done.stdout.splitlines() or ["unknown"])[0]

    def clear(self) -> None:
        """Delete all containers that are left under the root; their processes have ended."""
        for container in list(self.root.iterdir()) if self.root.is_dir() else []:
            subprocess.run(self.argv("delete", "--force", container.name), capture_output=True, check=False)


class Bench:
    """All measurements in one cgroup mode ("v1" or "v2"); a context manager that cleans up after itself."""

    def __init__(self, paths: dict[str, str], v2: bool, say: Callable[[str], None]) -> None:
        """`paths`: of each runtime by its name, the one under test first."""
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # containers' ends are waited for
        self.v2 = v2
        self.say = say
        self.folder = Path(tempfile.mkdtemp(prefix="pyrun-bench-", dir="/run"))
        self.cgroup = f"/{self.folder.name}"
        bundle.make_rootfs(self.folder)
        self.runtimes = [Runtime(name, path, self.folder / f"root-{name}") for name, path in paths.items()]
        self.refusals: dict[str, str] = {}
        default = bundle.default_config(v2)
        self.plain = bundle.write_bundle(self.folder, "plain", default)
        self.sleeper = bundle.write_bundle(self.folder, "sleeper", default, "/bin/sleep", "1000")
        engine = bundle.engine_config(v2, self.folder, f"{self.cgroup}/engine")
        self.engine = bundle.write_bundle(self.folder, "engine", engine)
        self._numbers = 0

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()
        for mount in ("", "*/"):  # also what a runtime left that refused to run
            for path in Path("/sys/fs/cgroup").glob(f"{mount}{self.folder.name}*"):
                remove_cgroup(path)
        shutil.rmtree(self.folder)

    def check(self, needed: Sequence[str]) -> None:
        """Run each runtime once; one that can't is left out with its reason, unless it is `needed`."""
        for runtime in list(self.runtimes):
            try:
                runtime.call("run", "--bundle", str(self.plain), self._new_id())
                runtime.call("run", "--bundle", str(self.engine), self._new_id())  # also fills the caches
            except RuntimeError as error:
                if runtime.name in needed:
                    raise
                self.refusals[runtime.name] = f"{runtime.version()}: {error}"
                self._clear()
                self.runtimes.remove(runtime)

    def times(self, rounds: int) -> tuple[dict[str, Samples], dict[str, Samples]]:
        """Seconds of each command: ``run``, ``run`` of the engine-like bundle, and the life cycle's.

        First those that passed, then those of user and system time.
        """
        names = {runtime.name: runtime for runtime in self.runtimes}
        titles = ("run", "engine", *COMMANDS)
        rows: dict[str, Samples] = {row: {name: [] for name in names} for row in titles}
        cpu: dict[str, Samples] = {row: {name: [] for name in names} for row in titles}

        def note(row: str, name: str, seconds: float) -> None:
            rows[row][name].append(seconds)
            cpu[row][name].append(names[name].cpu)

        for number in range(rounds):
            self.say(f"round {number + 1} of {rounds}")
            for row, folder in (("run", self.plain), ("engine", self.engine)):
                for runtime in self._turns():
                    note(row, runtime.name, runtime.call("run", "--bundle", str(folder), self._new_id()))
            for runtime in self._turns():
                self._life_cycle(runtime, note)
        return rows, cpu

    def one_of_each(self, runtime: Runtime, note: Callable[[str, str, float], object]) -> None:
        """Every command once; `note` is called after each with it, the runtime's name and the seconds it took."""
        for row, folder in (("run", self.plain), ("engine", self.engine)):
            note(row, runtime.name, runtime.call("run", "--bundle", str(folder), self._new_id()))
        self._life_cycle(runtime, note)

    def peak_rss(self, rounds: int) -> dict[str, dict[str, int]]:
        """KiB that each command holds at its highest, the largest of some rounds.

        Empty where there is no compiler.
        """
        compiler = shutil.which("cc")
        if compiler is None:
            return {}
        wrapper, file = self.folder / "peak_rss", self.folder / "peak_rss.out"
        subprocess.run([compiler, "-O2", "-o", wrapper, Path(__file__).with_name("peak_rss.c")], check=True)
        rows: dict[str, dict[str, int]] = {}

        def note(row: str, name: str, _seconds: float) -> None:
            column = rows.setdefault(row, {})
            column[name] = max(column.get(name, 0), int(file.read_text()))

        prefix = (str(wrapper), str(file))
        for _ in range(rounds):
            for runtime in self.runtimes:
                for row, folder in (("run", self.plain), ("engine", self.engine)):
                    seconds = runtime.call("run", "--bundle", str(folder), self._new_id(), wrapper=prefix)
                    note(row, runtime.name, seconds)
                self._life_cycle(runtime, note, prefix)
        return rows

    def created_pss(self, rounds: int) -> dict[str, int]:
        """KiB (proportional set size) of all processes that a created container has: the median."""
        samples: dict[str, list[int]] = {runtime.name: [] for runtime in self.runtimes}
        for _ in range(rounds):
            for runtime in self.runtimes:
                container = self._new_id()
                self._create(runtime, self.sleeper, container)
                samples[runtime.name].append(sum(pss(pid) for pid in children()))
                self._remove(runtime, container)
        return {name: round(statistics.median(values)) for name, values in samples.items()}

    def growth(self, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
        """Median seconds of create, state and list with n created containers under the root.

        Keys: command, n, runtime.  Sizes for which the machine hasn't the memory are left out.
        """
        result: dict[str, dict[str, dict[str, float]]] = {row: {} for row in ("create", "state", "list")}
        for count in CONTAINER_COUNTS:
            if available_bytes() < CREATED_BYTES * (count * len(self.runtimes) + 100):
                self.say(f"not enough memory for {count} containers, left out")
                continue
            samples: dict[str, Samples] = {
                row: {runtime.name: [] for runtime in self.runtimes} for row in result
            }
            self.say(f"growth with {count} containers")
            for runtime in self.runtimes:
                while len(list(runtime.root.iterdir())) < count:
                    self._create(runtime, self.sleeper, self._new_id())
            for _ in range(rounds):
                for runtime in self._turns():
                    container = self._new_id()
                    samples["create"][runtime.name].append(self._create(runtime, self.sleeper, container))
                    samples["state"][runtime.name].append(runtime.call("state", container))
                    samples["list"][runtime.name].append(runtime.call("list"))
                    self._remove(runtime, container)
            for row, columns in samples.items():
                result[row][str(count)] = medians(columns)
        self._clear()
        return result

    def mounts(self, rounds: int) -> dict[str, dict[str, float]]:
        """Median seconds of create with n bind mounts besides the default ones.  Keys: n, runtime."""
        result: dict[str, dict[str, float]] = {}
        for count in MOUNT_COUNTS:
            config = bundle.default_config(self.v2)
            bundle.add_mounts(config, self.folder, count)
            folder = bundle.write_bundle(self.folder, f"mounts-{count}", config)
            self.say(f"create with {count} mounts")
            samples: Samples = {runtime.name: [] for runtime in self.runtimes}
            for _ in range(rounds):
                for runtime in self._turns():
                    container = self._new_id()
                    samples[runtime.name].append(self._create(runtime, folder, container))
                    self._remove(runtime, container)
            result[str(count)] = medians(samples)
        return result

    def all(self, rounds: int) -> dict[str, Any]:
        """Everything, as plain data for the report."""
        few = max(3, rounds // 5)
        times, cpu = self.times(rounds)
        return {
            "runtimes": {runtime.name: runtime.version() for runtime in self.runtimes},
            "refusals": self.refusals,
            "times": times,
            "cpu": cpu,
            "peak_rss": self.peak_rss(min(few, 5)),
            "created_pss": self.created_pss(min(few, 5)),
            "growth": self.growth(few),
            "mounts": self.mounts(few),
        }

    def _new_id(self) -> str:
        self._numbers += 1
        return f"{self.folder.name}-{self._numbers}"

    def _life_cycle(
        self, runtime: Runtime, note: Callable[[str, str, float], object], wrapper: Sequence[str] = ()
    ) -> None:
        """create, state, start, exec, list, kill, delete of one container.

        `note` is called after each with the command, the runtime's name and the seconds it took.
        """
        container = self._new_id()
        note("create", runtime.name, self._create(runtime, self.sleeper, container, wrapper))
        for command, arguments in (
            ("state", (container,)),
            ("start", (container,)),
            ("exec", (container, "/bin/true")),
            ("list", ()),
            ("kill", (container, "KILL")),
            ("delete", (container,)),
        ):
            if command == "delete":
                self._wait(container)
            note(command, runtime.name, runtime.call(command, *arguments, wrapper=wrapper))

    def _turns(self) -> Iterator[Runtime]:
        """The runtimes, in the opposite order of the last time, each after a moment of rest."""
        self.runtimes.reverse()
        for runtime in self.runtimes:
            time.sleep(SETTLE)
            yield runtime

    def _create(self, runtime: Runtime, folder: Path, container: str, wrapper: Sequence[str] = ()) -> float:
        """Seconds of ``create``, with a pid file as engines ask for."""
        return runtime.call(
            "create",
            "--bundle",
            str(folder),
            "--pid-file",
            str(self.folder / container),
            container,
            wrapper=wrapper,
        )

    def _wait(self, container: str) -> None:
        """Wait for the end of the container's process: an orphan, and so this process's child."""
        pid_file = self.folder / container
        os.waitpid(int(pid_file.read_text()), 0)
        pid_file.unlink()

    def _remove(self, runtime: Runtime, container: str) -> None:
        """Kill and delete a created container, without the 0.1 s that runc's ``delete --force`` waits."""
        runtime.call("kill", container, "KILL")
        self._wait(container)
        runtime.call("delete", "--force", container)

    def _clear(self) -> None:
        """Kill and delete all containers of all runtimes."""
        for pid in children():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for runtime in self.runtimes:
            runtime.clear()


def children() -> list[int]:
    """PIDs of this process's children."""
    return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def pss(pid: int) -> int:
    """KiB of a process, shared pages divided by the number of those who share them (man 5 proc)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def available_bytes() -> int:
    """Memory that this machine can give without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0


def remove_cgroup(path: Path) -> None:
    """Remove a cgroup directory and what is below it."""
    for folder, _, _ in os.walk(path, topdown=False):
        os.rmdir(folder)


def progress(words: str) -> None:
    """One line on stderr that the next one overwrites, or nothing where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)


def stop_on_signals() -> None:
    """Make SIGTERM and SIGHUP end the bench as ctrl-C does, with its cleaning up."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
