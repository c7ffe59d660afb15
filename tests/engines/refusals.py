"""What users of podman and docker see when the program can't be executed: one sentence with the reason.

The engines take the exit status, 126 or 127, from the words of the runtime's sentence.
"""

from __future__ import annotations

import io
import os
import struct
import tarfile
import time
from pathlib import Path

import pytest

from .engine import Engine
from .image import NO_PROGRAM, add_file, busybox
from .private_host import PrivateHost

E_MACHINE = 18  # offset in the ELF header; man 5 elf
FOREIGN_MACHINE = 22  # EM_S390
SCRIPT = "#!/bin/sh\necho ran\n"
STARTS = int(
    os.environ.get("PYRUN_FAILING_STARTS", "20")
)  # the race that they look for was lost 3 times in 20


def left(host: PrivateHost) -> list[str]:
    """What containers have left on an engine's host: shims and monitors, cgroups, the runtime's state."""
    # what has ended and waits for its parent is nothing (pgrep calls it defunct)
    found = host.run("pgrep", "-a", "-x", "containerd-shim|conmon").stdout.splitlines()
    programs = [line for line in found if "defunct" not in line]
    states = host.run("find", "/run", "-name", "state.json", "-not", "-path", "*/proc/*").stdout.splitlines()
    cgroups = [str(path) for path in host.cgroups() if path.name != "conmon"]  # podman keeps that one
    return [*programs, *cgroups, *states]


def nothing_is_left(host: PrivateHost, before: list[str], timeout: float = 20.0) -> None:
    """Engines end shims and remove cgroups shortly after the answer."""
    deadline = time.monotonic() + timeout
    while more := [each for each in left(host) if each not in before]:
        assert time.monotonic() < deadline, more
        time.sleep(0.1)


def layer(image: bytes) -> bytes:
    """The test image with one file in /x for each reason why the kernel refuses to execute it."""
    texts = {
        "crlf": SCRIPT.replace("\n", "\r\n"),
        "no-interpreter": SCRIPT.replace("/bin/sh", "/opt/python9"),
        "no-shebang": "just text\n",
        "empty": "",
    }
    foreign = bytearray(busybox().read_bytes())
    struct.pack_into("<H", foreign, E_MACHINE, FOREIGN_MACHINE)
    memory = io.BytesIO(image)
    with tarfile.open(fileobj=memory, mode="a") as archive:
        for name, text in texts.items():
            add_file(archive, f"x/{name}", text.encode(), 0o755)
        add_file(archive, "x/not-executable", SCRIPT.encode(), 0o644)
        add_file(archive, "x/foreign", bytes(foreign), 0o755)
        add_file(archive, "x/dynamic", Path("/bin/true").read_bytes(), 0o755)  # its loader isn't in the image
    return memory.getvalue()


@pytest.fixture(scope="module")
def programs(engine: Engine, image: bytes) -> str:
    """The name of the image with the programs that can't be executed."""
    engine.output("import", "-", "refusals", stdin=layer(image))
    return "refusals"


class Refusals:
    """run says why, with the right exit status, and leaves no container behind."""

    # What only the kernel finds, at execve, is after create: a container that ended with 255.
    @pytest.mark.parametrize(
        ("program", "statuses", "words"),
        [
            ("nothing-by-this-name", (127, 127), "executable file not found in $PATH (/"),
            ("", (127, 127), '"": executable file not found in $PATH'),
            ("/x/nothing-by-this-name", (127, 127), "no such file or directory"),
            ("/x/not-executable", (126, 126), "permission denied"),
            ("/x", (126, 126), "permission denied"),
            ("/x/crlf", (255, 255), "its first line ends in CRLF"),
            ("/x/no-interpreter", (255, 255), "its interpreter /opt/python9 is missing"),
            ("/x/dynamic", (255, 255), "its loader /lib"),
            ("/x/foreign", (255, 255), "it is a program for s390x"),
            ("/x/no-shebang", (255, 255), "neither an ELF program nor a script"),
            ("/x/empty", (255, 255), "neither an ELF program nor a script"),
            ("/noexec/script", (126, 126), "permission denied"),
        ],
    )
    def test_the_reason_is_seen(
        self, engine: Engine, programs: str, program: str, statuses: tuple[int, int], words: str
    ) -> None:
        noexec = engine.host.path("/run/noexec")
        if not noexec.exists():
            noexec.mkdir()
            done = engine.host.run("mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", "/run/noexec")
            assert done.returncode == 0, done.stderr
            (noexec / "script").write_text(SCRIPT)
            (noexec / "script").chmod(0o755)
        volume = ("--volume", "/run/noexec:/noexec")
        done = engine.call("run", "--rm", *engine.run_options, *volume, programs, program)
        assert done.stdout == ""
        assert program in done.stderr
        assert words in done.stderr
        podman, docker = statuses
        assert done.returncode == (podman if engine.cli[0] == "podman" else docker), done.stderr
        assert engine.output("ps", "--all", "--quiet") == ""

    @pytest.mark.parametrize("options", [(), ("--pid=host",)], ids=["own PIDs", "the host's PIDs"])
    def test_failing_starts_leave_nothing(self, engine: Engine, options: tuple[str, ...]) -> None:
        """However often a program can't be executed: the sentence and the status each time, no shim, cgroup or
        state in the end. (Without PIDs of its own the shim kills by the runtime before it calls a container ended.)"""
        before = left(engine.host)
        for _ in range(STARTS):
            done = engine.run(options, NO_PROGRAM)
            assert done.returncode == 255, done
            assert f'"{NO_PROGRAM}": exec format error: it is neither' in done.stderr
        assert engine.output("ps", "--all", "--quiet") == ""
        nothing_is_left(engine.host, before)

    def test_the_sentence_of_a_background_container_is_in_its_log(self, engine: Engine) -> None:
        """Who wasn't there when it failed finds the reason later."""
        name = engine.start((), NO_PROGRAM)
        assert engine.output("wait", name) == "255"
        done = engine.call("logs", name)
        assert "exec format error" in done.stdout + done.stderr
        engine.remove(name)

    def test_a_filter_that_refuses_the_program_is_named(self, engine: Engine, tmp_path: Path) -> None:
        """A profile without execve and exit_group: a sentence at once, and nothing spins or is left."""
        profile = tmp_path / "deny.json"
        profile.write_text('{"defaultAction": "SCMP_ACT_ERRNO"}')
        before = left(engine.host)
        done = engine.run(("--security-opt", f"seccomp={profile}"), "true")
        assert done.returncode in (125, 126), done
        assert "execve" in done.stderr
        assert engine.output("ps", "--all", "--quiet") == ""
        nothing_is_left(engine.host, before)
