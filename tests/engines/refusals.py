"""What users of podman and docker see when the program can't be executed: one sentence with the reason.

The engines take the exit status, 126 or 127, from the words of the runtime's sentence.
"""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path

import pytest

from .engine import Engine
from .image import add_file, busybox

E_MACHINE = 18  # offset in the ELF header; man 5 elf
FOREIGN_MACHINE = 22  # EM_S390
SCRIPT = "#!/bin/sh\necho ran\n"


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

    # The kernel tells at execve, after create: podman 4.3 doesn't read the words of a failed start and always says
    # 126; docker 20.10 does, but doesn't know "exec format error" and says 125.
    @pytest.mark.parametrize(
        ("program", "statuses", "words"),
        [
            ("nothing-by-this-name", (127, 127), "executable file not found in $PATH (/"),
            ("/x/nothing-by-this-name", (127, 127), "no such file or directory"),
            ("/x/not-executable", (126, 126), "permission denied"),
            ("/x", (126, 126), "permission denied"),
            ("/x/crlf", (126, 127), "its first line ends in CRLF"),
            ("/x/no-interpreter", (126, 127), "its interpreter /opt/python9 is missing"),
            ("/x/dynamic", (126, 127), "its loader /lib"),
            ("/x/foreign", (126, 125), "it is a program for s390x"),
            ("/x/no-shebang", (126, 125), "neither an ELF program nor a script"),
            ("/x/empty", (126, 125), "neither an ELF program nor a script"),
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
