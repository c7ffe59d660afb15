"""The world that tests run in, which isn't their caller's: signals, umask, temporary files; and what was skipped.

`make test` must show the same whoever calls it: a shell's background job (which ignores SIGINT), nohup, a script with
umask 077. What a test wants of the kind, it sets itself.

All temporary files of a session are below one folder, which is removed at its end, also when it is interrupted. A
session that was killed leaves its folder to the next one, which can take its lock. A test that leaves something
mounted below its tmp_path fails; what stands in the session's folder at its end, of tests that made temporary files
without removing them, fails the session, by name. With --basetemp=FOLDER pytest's own files stay in FOLDER.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

PREFIX = "pyrun-t-"  # short, since a socket's path has 107 bytes at most
PYTEST = "t"  # pytest's files in the session's folder
# Variables by which a service manager, make or git speak to the program that they start, and to no other.
NOT_OURS = """NOTIFY_SOCKET LISTEN_FDS LISTEN_PID LISTEN_FDNAMES WATCHDOG_PID WATCHDOG_USEC MAKEFLAGS MFLAGS MAKELEVEL
  MAKEOVERRIDES GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE""".split()
PYTHONS_OWN = {signal.SIGPIPE, signal.SIGXFSZ}  # Python ignores these, and subprocess gives them back
UMOUNT_NOFOLLOW = 8
MNT_DETACH = 2
YOUNG = 60.0  # seconds: a folder of another session may not be locked yet


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing, in this process alone: exec makes it the default again."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"signal {number}")


def reset_signals() -> None:
    """Programs that tests start get all signals as a shell gives them; what the caller ignores does nothing here.

    SIGTERM and SIGHUP end the session as SIGINT does: with its fixtures ended and its files removed.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in signal.valid_signals() - PYTHONS_OWN:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, _ignore)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _interrupt)


def parent_folder() -> Path:
    """Where the session's folder is made: the first that every user can get to, as users of containers have to."""
    for path in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        whole = path.resolve()
        if all(each.stat().st_mode & 1 for each in (whole, *whole.parents)) and os.access(whole, os.W_OK):
            return whole
    return Path(tempfile.gettempdir())


def mounts_below(folder: Path) -> list[str]:
    """What is mounted on `folder` or below it, as this process sees it; the last one first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    plain = [re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point) for point in points]
    return [point for point in reversed(plain) if point == str(folder) or point.startswith(f"{folder}/")]


def remove(folder: Path) -> list[str]:
    """Remove a folder with all that is in it; returns what was mounted there, which is detached before.

    Nothing is removed while something is mounted in it: that would be another's.
    """
    found = mounts_below(folder)
    if found:
        unmount = ctypes.CDLL(None).umount2
        for point in found:
            unmount(os.fsencode(point), MNT_DETACH | UMOUNT_NOFOLLOW)
        if left := mounts_below(folder):
            return left
    with contextlib.suppress(OSError, RecursionError):
        shutil.rmtree(folder)
    if os.path.lexists(folder):  # folders without rights, or too deep for Python
        subprocess.run(["chmod", "-R", "u+rwx", str(folder)], capture_output=True, check=False)
        subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], capture_output=True, check=False)
    return found


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of sessions that were killed: those whose lock nobody holds."""
    for path in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if status.st_uid == os.geteuid() and time.time() - status.st_mtime > YOUNG:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(path)
                finally:
                    os.close(fd)


class Session:
    """The plugin: one for a run of pytest."""

    def __init__(self, config: pytest.Config) -> None:
        reset_signals()
        os.umask(0o022)
        for name in NOT_OURS:
            os.environ.pop(name, None)
        parent = parent_folder()
        remove_abandoned(parent)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self.lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.folder.chmod(0o1777)
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.folder)
        self.keep = bool(config.option.basetemp)
        if not self.keep:
            config.option.basetemp = str(self.folder / PYTEST)

    def entries(self) -> list[str]:
        """What tests left in the session's folder, but for pytest's own."""
        return sorted(name for name in os.listdir(self.folder) if name != PYTEST)

    @pytest.fixture
    def tmp_path(
        self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Path]:
        """pytest's own, but that it is removed after each test, and that nothing may be mounted below it by then."""
        path = tmp_path_factory.mktemp(re.sub(r"\W", "_", request.node.name)[:30])
        yield path
        mounted = mounts_below(path) if self.keep else remove(path)
        assert not mounted, f"left mounted: {mounted}"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """What is left behind fails the session; a test that was interrupted can't be blamed."""
        self.left = self.entries() + [f"{point} (mounted)" for point in mounts_below(self.folder)]
        if self.left and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Every skipped test with its reason; and what was left behind."""
        skipped = terminalreporter.stats.get("skipped", [])
        if skipped:
            terminalreporter.section(f"{len(skipped)} skipped, and why")
            for line in describe_skips(skipped):
                terminalreporter.write_line(line)
        if self.left:
            terminalreporter.section("left behind by tests")
            for each in self.left:
                terminalreporter.write_line(each)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Remove everything."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _ignore)
        remove(self.folder)
        os.close(self.lock)


def describe_skips(reports: list[Any]) -> list[str]:
    """Lines that name each skipped test below its reason; those of one function share a line."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for report in reports:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        test, _, case = report.nodeid.partition("[")
        cases = reasons.setdefault(reason.removeprefix("Skipped: "), {}).setdefault(test, [])
        cases.append(case.removesuffix("]"))
    lines = []
    for reason, tests in sorted(reasons.items()):
        lines.append(f"{reason}:")
        for test, cases in tests.items():
            lines.append(f"  {test}" + (f"[{' | '.join(cases)}]" if any(cases) else ""))
    return lines


def start(config: pytest.Config) -> None:
    """Begin a session; for pytest_configure, before pytest asks where its files go."""
    config.pluginmanager.register(Session(config), PREFIX)
