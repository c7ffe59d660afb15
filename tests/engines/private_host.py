"""A private corner of this machine for one engine: own mounts, own PIDs, own cgroups.

An engine leaves files in /run, /var/lib, /var/log and /dev/shm whatever its options say, and starts processes that
outlive it.  Here these folders are memory, and all processes live in one PID namespace: when its process 1
is killed the kernel ends the rest, so that nothing is left even when a test fails half-way.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

# Process 1: tells its PID as the outside sees it, hides the folders that engines write to, then only waits.
# Ignoring SIGCHLD makes the kernel reap the orphans that the engine leaves to it (dash's trap doesn't ignore it: Slurm
# then waits for ever for the dead of a process group).
INIT = """
read -r pid rest < /proc/self/stat
mount -t proc proc /proc
for folder in /run /var/lib /var/log; do mount -t tmpfs -o mode=0755 tmpfs "$folder" || exit 1; done
mount -t tmpfs -o mode=1777 tmpfs /dev/shm || exit 1
echo "$pid"
exec env --ignore-signal=CHLD sleep infinity
"""
Done = subprocess.CompletedProcess[str]
TIMEOUT = 60  # seconds; commands here take a fraction of one


def need(*programs: str) -> None:
    """Skip the calling test unless it runs as root and all these programs are installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: not installed")
    if os.geteuid() != 0:
        pytest.skip("needs root: engines run as root here")


class PrivateHost:
    """Mount and PID namespace with empty /run, /var/lib, /var/log and /dev/shm; ``close`` ends everything in it.

    With `network` it has a network of its own too, with nothing but a loopback device.
    """

    def __init__(self, name: str, network: bool = False) -> None:
        """`name`: of the cgroup that engines are told to put containers under; unique on this machine."""
        self.cgroup = name
        self._namespaces = ["--mount", "--pid", *(["--net"] if network else [])]
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/run/home",
            "TMPDIR": "/run/tmp",
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",  # podman 5 says so on stderr, with each command
        }
        self.daemons: list[subprocess.Popen[bytes]] = []
        # The death signal makes the namespace end even when the test process itself is killed.
        self._unshare = subprocess.Popen(
            [
                "setpriv",
                "--pdeathsig",
                "KILL",
                "unshare",
                *self._namespaces,
                "--fork",
                "--kill-child",
                "--propagation",
                "private",
                "sh",
                "-c",
                INIT,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._unshare.stdout is not None
        pid = self._unshare.stdout.readline().strip()
        if not pid:
            self.close()
            pytest.skip("needs mount and PID namespaces: unshare was refused")
        self.pid = int(pid)
        for folder in ("home", "tmp"):
            self.path(f"/run/{folder}").mkdir()
        if network:
            self.run("ip", "link", "set", "lo", "up")

    def path(self, path: str) -> Path:
        """The outside's name for a path inside."""
        return Path(f"/proc/{self.pid}/root{path}")

    def command(self, *argv: str) -> list[str]:
        """The command line that runs `argv` inside."""
        # nsenter's --wd would be a folder of the outer mount namespace, for which getcwd() fails.
        change = ("env", f"--chdir={os.getcwd()}")
        return ["nsenter", f"--target={self.pid}", *self._namespaces, "--", *change, *argv]

    def run(self, *argv: str, stdin: bytes = b"", timeout: float = TIMEOUT) -> Done:
        """Run a command inside to its end; output is decoded, the exit status isn't checked."""
        done = subprocess.run(
            self.command(*argv), input=stdin, capture_output=True, timeout=timeout, env=self.environment
        )
        return Done(
            argv, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        )

    def start_daemon(self, *argv: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a long-running program inside; its output goes to the file `log`."""
        with log.open("wb") as output:
            daemon = subprocess.Popen(
                self.command(*argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
            )
        self.daemons.append(daemon)
        return daemon

    def close(self) -> None:
        """Kill all processes inside, and remove the cgroups that were made for them."""
        self._unshare.kill()
        self._unshare.wait()
        for daemon in self.daemons:
            daemon.wait()
        if self._unshare.stdout is not None:
            self._unshare.stdout.close()
        remove_cgroups(self.cgroup)

    def cgroups(self) -> list[Path]:
        """Directories of all hierarchies below this host's cgroup, deepest first."""
        return [path for top in cgroup_directories(self.cgroup) for path in tree(top) if path != top]


def cgroup_mounts() -> list[Path]:
    """Mount points of all cgroup hierarchies of this machine, v1 and v2 (man 5 proc, mountinfo)."""
    mounts = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, tail = line.partition(" - ")
        if tail.split()[0] in ("cgroup", "cgroup2"):
            mounts.append(Path(fields.split()[4]))
    return mounts


def cgroup_directories(name: str) -> list[Path]:
    """The existing directories of cgroup `name`, one per hierarchy."""
    return [path for path in (mount / name for mount in cgroup_mounts()) if path.is_dir()]


def tree(top: Path) -> Iterator[Path]:
    """`top` and all directories below it, deepest first."""
    for folder, _, _ in os.walk(top, topdown=False):
        yield Path(folder)


def remove_cgroups(name: str, patience: float = 5.0) -> None:
    """Remove cgroup `name` everywhere; processes that are still dying keep it busy for some milliseconds."""
    deadline = time.monotonic() + patience
    for top in cgroup_directories(name):
        for state in top.rglob("freezer.state"):  # v1: a failed test's paused processes die only when thawed
            try:
                state.write_text("THAWED")
            except OSError:
                pass  # the top of a hierarchy has none, or it is gone already
    for top in cgroup_directories(name):
        for path in tree(top):
            while True:
                try:
                    path.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)


def wait_until(condition: Sequence[str], host: PrivateHost, timeout: float = 20.0) -> None:
    """Run a command inside again and again until it succeeds; fail the test when it doesn't in time."""
    deadline = time.monotonic() + timeout
    while True:
        done = host.run(*condition)
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            pytest.fail(f"{' '.join(condition)} didn't succeed in {timeout} s: {done.stderr}")
        time.sleep(0.05)
