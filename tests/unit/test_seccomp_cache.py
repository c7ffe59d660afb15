"""The cache of compiled seccomp profiles: nothing but a whole file of ours for exactly this profile is used."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from pyrun.base import cold
from pyrun.base.errors import PyrunError
from pyrun.features.seccomp import cache, compiling
from pyrun.features.seccomp import profile as seccomp
from pyrun.kernel import calls

PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [{"names": ["read", "lesé \" ' \\ \n"], "action": "SCMP_ACT_ALLOW"}],
}
OTHER = {**PROFILE, "defaultErrnoRet": 2}

COMPILER = """
import json, sys
from pathlib import Path
profile = json.load(sys.stdin)
with open({log!r}, "a") as log:
    print(json.dumps(profile), file=log)
sys.stdout.buffer.write({library!r}.encode() + b"\\n" + repr(sorted(profile.items())).encode().ljust(800))
"""


class Compiler:
    """Stands in for the real compiler: a program that shows what it was made from, and a count of runs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.log, self.library = folder / "log", folder / "libseccomp.so.2 x"
        self.library.write_bytes(b"1")
        self.cache = folder / "cache"
        self.becomes(COMPILER.format(log=str(self.log), library=str(self.library)))

    def becomes(self, code: str) -> None:
        """Replace the compiler by some Python code."""
        command = ([sys.executable, "-I", "-S", "-c", code], {b"LC_ALL": b"C.UTF-8"})
        self.monkeypatch.setattr(cold, "command", lambda arguments: command)

    @property
    def runs(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def program(self, profile: dict[str, Any] = PROFILE) -> bytes:
        """The program, checked to be the one of this profile."""
        found = seccomp.program(profile, str(self.cache))
        inputs = {name: profile[name] for name in seccomp.INPUTS if name in profile}
        assert found == repr(sorted(inputs.items())).encode().ljust(800)
        return found

    @property
    def file(self) -> Path:
        (found,) = self.cache.iterdir()
        return found


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    return Compiler(tmp_path, monkeypatch)


def test_compiled_once(compiler: Compiler) -> None:
    assert compiler.program() == compiler.program()
    assert compiler.runs == 1
    compiler.program(OTHER)
    compiler.program()
    assert compiler.runs == 2


def test_modes_whatever_the_umask(compiler: Compiler) -> None:
    before = os.umask(0)
    try:
        compiler.program()
    finally:
        os.umask(before)
    assert stat.S_IMODE(compiler.cache.stat().st_mode) == 0o700
    assert stat.S_IMODE(compiler.file.stat().st_mode) == 0o600


def test_what_the_program_does_not_depend_on(compiler: Compiler) -> None:
    compiler.program()
    compiler.program({**PROFILE, "flags": [], "listenerPath": "/x", "listenerMetadata": "y", "unknown": 1})
    assert compiler.runs == 1


def test_values_that_are_equal_in_python_are_not_one_profile(compiler: Compiler) -> None:
    compiler.program({**PROFILE, "defaultErrnoRet": 1})
    compiler.program({**PROFILE, "defaultErrnoRet": True})
    assert compiler.runs == 2


def test_a_collision_of_names_chooses_no_wrong_program(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_digest", lambda data: 7)
    for profile in (PROFILE, OTHER, PROFILE):
        compiler.program(profile)
    assert compiler.runs == 3
    assert compiler.file.name == f"{7:016x}"


def test_every_truncation_and_damage_is_seen(compiler: Compiler) -> None:
    program = compiler.program()
    whole = compiler.file.read_bytes()
    line = whole.partition(b"\n")[0]
    start = whole[: len(line) + 1 + int(line.split()[-1])]
    assert cache.load(str(compiler.file), start) == program
    damaged = [whole[:at] for at in range(len(whole))]
    damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    for content in [*damaged, whole + b"\0", whole + whole]:
        compiler.file.write_bytes(content)
        assert cache.load(str(compiler.file), start) is None
    compiler.program()
    assert compiler.runs == 2
    assert compiler.file.read_bytes() == whole


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_ignored(compiler: Compiler, mode: int) -> None:
    compiler.program()
    compiler.file.chmod(mode)
    compiler.program()
    assert compiler.runs == 2
    assert stat.S_IMODE(compiler.file.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_file_of_another_user_is_ignored(compiler: Compiler) -> None:
    compiler.program()
    os.chown(compiler.file, 12345, -1)
    compiler.program()
    assert compiler.runs == 2
    assert compiler.file.stat().st_uid == os.geteuid()


@pytest.mark.parametrize("kind", ["symlink", "directory", "fifo"])
def test_what_is_no_file_is_ignored(compiler: Compiler, kind: str) -> None:
    compiler.program()
    file = compiler.file
    kept = file.rename(compiler.folder / "kept")
    if kind == "symlink":
        file.symlink_to(kept)
    elif kind == "directory":
        file.mkdir()
    else:
        os.mkfifo(file)
    compiler.program()
    assert compiler.runs == 2


def test_an_upgraded_library_compiles_anew(compiler: Compiler) -> None:
    compiler.program()
    compiler.library.write_bytes(b"22")
    compiler.program()
    compiler.program()
    assert compiler.runs == 2
    compiler.library.unlink()
    compiler.program()
    assert compiler.runs == 3


@pytest.mark.parametrize("where", ["missing/cache", "file/cache", "file", "link", "open"])
def test_a_cache_that_cannot_be_used_is_no_failure(compiler: Compiler, where: str) -> None:
    (compiler.folder / "file").touch()
    (compiler.folder / "elsewhere").mkdir()
    (compiler.folder / "link").symlink_to("elsewhere")
    (compiler.folder / "open").mkdir()
    (compiler.folder / "open").chmod(0o777)
    compiler.cache = compiler.folder / where
    compiler.program()
    compiler.program()
    assert compiler.runs == 2
    assert not list((compiler.folder / "elsewhere").iterdir())


def test_bounded(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_ENTRIES", 4)
    for number in range(9):
        compiler.program({**PROFILE, "defaultErrnoRet": number})
        assert len(list(compiler.cache.iterdir())) <= 4
    compiler.program({**PROFILE, "defaultErrnoRet": 8})
    assert compiler.runs == 9


def test_what_a_killed_process_left_is_overcome(compiler: Compiler) -> None:
    compiler.program()
    left = compiler.file.rename(compiler.cache / f"{compiler.file.name}.{os.getpid()}")
    compiler.program()
    assert not left.exists()
    assert compiler.file.name == left.name.partition(".")[0]
    compiler.program()
    assert compiler.runs == 2


def test_unfinished_files_of_processes_that_are_no_more_go(compiler: Compiler) -> None:
    """What killed runs left is removed with the next file that is stored; that of a living process stays."""
    compiler.cache.mkdir(0o700)
    for pid in (999_999_999, 1, os.getpid()):
        (compiler.cache / f"{7:016x}.{pid}").write_bytes(b"x" * 1000)
    compiler.program()
    assert sorted(path.name for path in compiler.cache.iterdir() if "." in path.name) == [f"{7:016x}.1"]


def test_a_full_disk_leaves_nothing(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails is no failure, and takes its half of a file away."""

    def full(fd: int, data: bytes) -> None:
        os.write(fd, data[:100])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(calls, "memfd", memfd)
        patch.setattr(calls, "write_all", full)
        compiler.program()
    assert list(compiler.cache.iterdir()) == []


def memfd(name: str, content: bytes) -> int:
    """kernel.calls.memfd, without its write_all."""
    fd = os.memfd_create(name)
    os.write(fd, content)
    os.lseek(fd, 0, 0)
    return fd


def test_bounded_in_bytes(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go before there are too many bytes; what alone is too large is not kept."""
    compiler.program()
    size = compiler.file.stat().st_size
    monkeypatch.setattr(cache, "MAX_BYTES", 3 * size + 30)
    for number in range(9):
        compiler.program({**PROFILE, "defaultErrnoRet": number})
        assert sum(path.stat().st_size for path in compiler.cache.iterdir()) <= 3 * size + 30
    assert len(list(compiler.cache.iterdir())) == 3
    monkeypatch.setattr(cache, "MAX_BYTES", size)
    compiler.program(OTHER)
    compiler.program(OTHER)
    assert compiler.runs == 12


def test_stored_later(compiler: Compiler) -> None:
    """Who needs the room first gets what there is to store."""
    later: list[Any] = []
    seccomp.program(PROFILE, str(compiler.cache), later)
    assert not compiler.cache.exists()
    cache.store(*later[0])
    compiler.program()
    assert compiler.runs == 1


# When the compiler fails


def test_its_sentence_and_path(compiler: Compiler) -> None:
    compiler.becomes(
        "import sys; sys.exit('linux.seccomp.syscalls[1].action: SCMP_ACT_SLEEP: unknown action')"
    )
    with pytest.raises(PyrunError) as caught:
        seccomp.program(PROFILE, str(compiler.cache))
    assert caught.value.json_path == "linux.seccomp.syscalls[1].action"
    assert caught.value.sentence == "SCMP_ACT_SLEEP: unknown action"
    assert not compiler.cache.exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ValueError('no way')", "ValueError: no way"),
        ("import os; os._exit(3)", "status 3"),
        ("import os; os.kill(os.getpid(), 9)", "status -9"),
        ("pass", "status 0"),
        ("print('library'); print('seven')", "status 0"),
    ],
)
def test_its_breakdown(compiler: Compiler, code: str, words: str) -> None:
    compiler.becomes(code)
    with pytest.raises(PyrunError) as caught:
        seccomp.program(PROFILE, str(compiler.cache))
    assert caught.value.json_path == "linux.seccomp"
    assert caught.value.sentence == f"the seccomp compiler failed: {words}"


def test_it_has_a_limit(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that doesn't end is stopped, and said to be."""
    monkeypatch.setattr(compiling, "COMPILE_LIMIT", 0.0)
    compiler.becomes("import time; time.sleep(1000)")
    with pytest.raises(PyrunError, match="was not done within") as caught:
        seccomp.program(PROFILE, str(compiler.cache))
    assert caught.value.json_path == "linux.seccomp"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_no_interpreter(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold, "command", lambda arguments: (["/no/python"], {}))
    with pytest.raises(PyrunError) as caught:
        seccomp.program(PROFILE, str(compiler.cache))
    assert caught.value.sentence.startswith("starting the seccomp compiler /no/python: ")
    assert "no such file" not in caught.value.sentence.lower()


def test_no_descriptor_is_left(compiler: Compiler) -> None:
    before = os.listdir("/proc/self/fd")
    compiler.program()
    compiler.program()
    compiler.becomes("sys.exit(1)")
    with pytest.raises(PyrunError):
        seccomp.program(OTHER, str(compiler.cache))
    assert os.listdir("/proc/self/fd") == before


# Flags


def test_flags() -> None:
    def of(*names: str) -> int:
        flags = [f"SECCOMP_FILTER_FLAG_{name}" for name in names]
        return seccomp.flags({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags})

    assert seccomp.flags({"defaultAction": "SCMP_ACT_ALLOW"}) == of("SPEC_ALLOW") == 4
    assert of() == 0
    assert of("TSYNC", "LOG", "SPEC_ALLOW", "LOG") == 7
    assert of("WAIT_KILLABLE_RECV") == 0
    with pytest.raises(PyrunError) as caught:
        of("LOG", "NEW_LISTENER")
    assert caught.value.json_path == "linux.seccomp.flags[1]"
    assert caught.value.sentence == "SECCOMP_FILTER_FLAG_NEW_LISTENER: unknown flag"


@pytest.mark.parametrize("by", ["default", "rule"])
def test_flags_with_a_listener(by: str) -> None:
    """A filter that notifies has a listener, and the flags that go with one (seccomp(2))."""
    rule = {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}
    profile: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    if by == "default":
        profile = {"defaultAction": "SCMP_ACT_NOTIFY"}
    new_listener, tsync_esrch = 8, 16
    assert seccomp.flags(profile) == 4 | new_listener
    flags = ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
    assert seccomp.flags({**profile, "flags": flags}) == 1 | 32 | new_listener | tsync_esrch
