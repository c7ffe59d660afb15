"""The world that tests run in is the same whoever calls `make test`, and nothing of it is left: tests/session.py."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import needs
import pytest
from bundles import eventually

TESTS = Path(__file__).resolve().parents[1]
CONFTEST = """
import pytest, session

@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    session.start(config)
"""
IGNORED = ("SIGINT", "SIGQUIT", "SIGHUP", "SIGTERM", "SIGCHLD", "SIGTSTP")


class Inner:
    """A pytest of its own, over one file of tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.tests = folder / "tests"
        for each in (folder, self.temporary, self.tests):
            each.mkdir(exist_ok=True)
            each.chmod(0o755)
        (self.tests / "conftest.py").write_text(CONFTEST)

    def start(self, test: str, *options: str, wrapper: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Begin it: `test` is the body of one test, which has tmp_path."""
        lines = ["import os, pathlib, signal, subprocess, sys, tempfile, time", "import pytest", "", "", test]
        (self.tests / "test_it.py").write_text("\n".join(lines))
        pytest_ = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={self.tests}"]
        environment = {**os.environ, "TMPDIR": str(self.temporary), "PYTHONPATH": str(TESTS)}
        return subprocess.Popen(
            [*wrapper, *pytest_, "-q", *options, str(self.tests)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, test: str, *options: str, wrapper: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run it to its end: status and output."""
        process = self.start(test, *options, wrapper=wrapper)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def left(self) -> list[str]:
        """What is where its temporary files were."""
        return sorted(os.listdir(self.temporary))


@pytest.fixture
def inner(tmp_path: Path) -> Inner:
    one = Inner(tmp_path / "inner")
    tmp_path.chmod(0o755)
    tmp_path.parent.chmod(0o711)
    return one


def test_sessions_leave_nothing(inner: Inner) -> None:
    """A session's temporary files are gone at its end, deep, unreadable and linked ones among them."""
    status, output = inner.run(
        """
def test_passes(tmp_path):
    deep = tmp_path
    for _ in range(30):
        deep = deep / ("x" * 100)
    deep.mkdir(parents=True)
    deep.chmod(0)
def test_fails(tmp_path):
    (tmp_path / "file").write_text("x")
    assert False
def test_is_skipped(tmp_path):
    pytest.skip("needs nothing")
def test_sees_only_its_own(tmp_path, tmp_path_factory):
    (tmp_path / "link").symlink_to("/")
    tmp_path_factory.mktemp("shared")
    assert tempfile.gettempdir() == os.environ["TMPDIR"]
    assert not list(tmp_path.parent.glob("test_passes*/x*"))
"""
    )
    assert status == 1
    assert "1 failed, 2 passed, 1 skipped" in output
    assert inner.left() == []
    assert os.path.isdir("/etc")


def test_leftover_files_fail_the_session(inner: Inner) -> None:
    """A test that makes temporary files outside of tmp_path, and forgets them, is noticed; they go all the same."""
    status, output = inner.run(
        """
def test_forgets():
    tempfile.mkdtemp(prefix="forgotten-")
"""
    )
    assert status == 1
    assert "left behind by tests" in output
    assert "forgotten-" in output
    assert inner.left() == []


def test_leftover_mount_fails_its_test(inner: Inner) -> None:
    """A mount below tmp_path is detached before anything is removed: what it shows is another's."""
    needs.root()
    precious = inner.folder / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    status, output = inner.run(
        f"""
def test_mounts(tmp_path):
    (tmp_path / "a b").mkdir()
    subprocess.run(["mount", "--bind", "{precious}", tmp_path / "a b"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / "a b"], check=True)
""",
        wrapper=("unshare", "-m", "--propagation", "private"),
    )
    assert status == 1
    assert "left mounted: " in output
    assert inner.left() == []
    assert (precious / "file").read_text() == "kept"


WAITS = """
@pytest.fixture(scope="session")
def used(tmp_path_factory):
    yield tmp_path_factory.mktemp("used")
    pathlib.Path(sys.argv[-1], "ended").touch()
def test_waits(used, tmp_path):
    (tmp_path / "file").write_text("x")
    pathlib.Path(sys.argv[-1], "began").touch()
    time.sleep(1000)
"""


@contextlib.contextmanager
def waiting(inner: Inner) -> Iterator[subprocess.Popen[str]]:
    """A session in the middle of a test."""
    process = inner.start(WAITS)
    try:
        eventually((inner.tests / "began").exists, "it doesn't begin", 60)
        assert inner.left()
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_nothing_is_left_when_it_is_interrupted(inner: Inner, name: str) -> None:
    """Whoever ends it: fixtures end, and files go."""
    with waiting(inner) as process:
        process.send_signal(getattr(signal, name))
        process.communicate(timeout=60)
        assert process.returncode != 0
        assert (inner.tests / "ended").exists()
        assert inner.left() == []


def test_next_session_removes_files_of_a_killed_one(inner: Inner) -> None:
    """SIGKILL leaves files; the next session removes them, and not those of a session that is at work."""
    with waiting(inner) as killed:
        killed.kill()
        killed.communicate()
    [abandoned] = inner.left()
    (inner.tests / "began").unlink()
    with waiting(inner):
        [living] = set(inner.left()) - {abandoned}
        an_hour_ago = time.time() - 3600
        for name in (abandoned, living):
            os.utime(inner.temporary / name, (an_hour_ago, an_hour_ago))
        assert inner.run("def test_nothing(): pass")[0] == 0
        assert inner.left() == [living]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids="umask-{:03o}".format)
def test_the_callers_signals_and_umask_are_not_the_tests(inner: Inner, umask: int) -> None:
    """Programs that tests start ignore and block no signal, and make files that others may read."""
    ignore = (
        f"trap '' {' '.join(name.removeprefix('SIG') for name in IGNORED)}; umask {umask:03o}; exec \"$@\""
    )
    status, output = inner.run(
        """
def test_signals():
    found = subprocess.run(["grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"], capture_output=True, text=True)
    c_library = 3 << 31  # 32 and 33 are the C library's own, which nobody can set by it
    assert [int(line.split()[1], 16) & ~c_library for line in found.stdout.splitlines()] == [0, 0]
def test_umask(tmp_path):
    subprocess.run(["touch", tmp_path / "file"])
    assert (tmp_path / "file").stat().st_mode == 0o100644
""",
        wrapper=("sh", "-c", ignore, "sh"),
    )
    assert status == 0, output


def test_what_the_caller_ignores_does_not_end_the_session(inner: Inner) -> None:
    """nohup and background jobs go on."""
    status, output = inner.run(
        """
def test_signals():
    for name in ("SIGINT", "SIGHUP", "SIGTERM", "SIGQUIT"):
        os.kill(os.getpid(), getattr(signal, name))
""",
        wrapper=("sh", "-c", "trap '' INT HUP TERM QUIT; exec \"$@\"", "sh"),
    )
    assert (status, "1 passed" in output) == (0, True), output


def test_other_users_reach_temporary_files(inner: Inner) -> None:
    """Where TMPDIR is for one user alone, another folder is taken: containers' users have to get there."""
    inner.temporary.chmod(0o700)
    status, output = inner.run(
        """
def test_reachable(tmp_path):
    for folder in list(tmp_path.parents)[1:]:
        assert folder.stat().st_mode & 1, folder
"""
    )
    assert status == 0, output
    assert inner.left() == []


def test_each_skip_is_named_with_its_reason(inner: Inner) -> None:
    """Tests that want the same are grouped, and every one of them is there by its name."""
    status, output = inner.run(
        """
@pytest.mark.parametrize("case", ["one", "two", "three"])
def test_many(case):
    if case != "two":
        pytest.skip("needs the moon")
@pytest.fixture
def sun():
    pytest.skip("needs the sun")
def test_sun(sun): pass
def test_more(): pytest.skip("needs the moon")
"""
    )
    assert status == 0
    wanted = [
        "needs the moon:",
        "  test_it.py::test_many[one | three]",
        "  test_it.py::test_more",
        "needs the sun:",
        "  test_it.py::test_sun",
    ]
    lines = output.splitlines()
    first = lines.index(wanted[0])
    assert lines[first : first + len(wanted)] == wanted
