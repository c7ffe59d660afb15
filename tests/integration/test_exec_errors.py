"""A program that can't be executed: the error says why, in the words by which engines choose 126 or 127."""

from __future__ import annotations

import json
import platform
import shutil
import struct
from pathlib import Path

import needs
import pytest

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def start_fails(pyrun, one):
    """What is said of a program that only execve refuses: by the container itself, on the program's stderr. `run`
    says the same."""
    container = pyrun.create(one)
    container.start()
    container.wait()
    container.delete()
    pyrun.assert_gone(container.id)
    said = container.out_file.with_name(container.out_file.name.replace("out-", "err-")).read_text()
    assert said.startswith("pyrun: ")
    assert said.count("\n") == 1
    assert said.endswith("\n")
    sentence = said[len("pyrun: ") : -1]
    assert pyrun.error("run", "--bundle", str(one.path), pyrun.id()) == sentence
    return sentence


def test_not_found_in_path(pyrun, bundle):
    """A name that is in no folder of PATH: already `create` says so."""
    sentence = pyrun.refused(bundle().args("no-such-tool"))
    assert sentence == f'process.args[0]: "no-such-tool": executable file not found in $PATH ({PATH})'


def test_missing_file(pyrun, bundle):
    """A path that isn't there."""
    sentence = pyrun.refused(bundle().args("/no/such/tool"))
    assert sentence == 'process.args[0]: "/no/such/tool": no such file or directory'


def test_missing_below_file(pyrun, bundle):
    """A path that leads through a file."""
    assert '"/etc/passwd/tool": ' in pyrun.refused(bundle().args("/etc/passwd/tool"))


@pytest.mark.parametrize("in_path", [True, False])
def test_not_executable(pyrun, bundle, in_path):
    """A file without the permission to execute it."""
    one = bundle()
    one.script("/usr/bin/tool", "#!/bin/sh\n", mode=0o644)
    name = "tool" if in_path else "/usr/bin/tool"
    sentence = pyrun.refused(one.args(name))
    assert sentence.startswith(f'process.args[0]: "{name}": permission denied: it is not executable')


@pytest.mark.parametrize("name", ["/etc", "/", "/bin/", "."])
def test_folder(pyrun, bundle, name):
    """A folder is no program."""
    sentence = pyrun.refused(bundle().args(name))
    if name == ".":
        assert "executable file not found" in sentence or "permission denied" in sentence
    else:
        assert sentence.startswith(f'process.args[0]: "{name}": permission denied')


def test_not_executable_by_this_user(pyrun, bundle):
    """What root may execute and the program's user may not."""
    one = bundle({"process": {"user": {"uid": 1000, "gid": 1000}, "rlimits": None}})
    one.script("/usr/bin/tool", "#!/bin/sh\n", mode=0o700)
    assert '"/usr/bin/tool": permission denied' in pyrun.refused(one.args("/usr/bin/tool"))


def test_noexec(pyrun, bundle):
    """A program on a mount with noexec."""
    one = bundle()
    (one.path / "data").mkdir()
    shutil.copy(one.rootfs / "bin/busybox", one.path / "data/echo")
    one.mount("/data", "bind", "data", "bind", "noexec")
    (one.rootfs / "data").mkdir()
    assert '"/data/echo": permission denied' in pyrun.refused(one.args("/data/echo"))


def test_crlf(pyrun, bundle):
    """A script with Windows line ends: the kernel looks for an interpreter with a carriage return."""
    one = bundle()
    one.rootfs.joinpath("tool").write_bytes(b"#!/bin/sh\r\necho hi\r\n")
    one.rootfs.joinpath("tool").chmod(0o755)
    sentence = start_fails(pyrun, one.args("/tool"))
    assert sentence.startswith(
        'process.args[0]: "/tool": no such file or directory: its first line ends in CRLF'
    )


def test_missing_interpreter(pyrun, bundle):
    """A script whose interpreter isn't in the image."""
    one = bundle()
    one.script("/tool", "#!/usr/bin/no-python -x\n")
    sentence = start_fails(pyrun, one.args("/tool"))
    assert sentence == (
        'process.args[0]: "/tool": no such file or directory: '
        "its interpreter /usr/bin/no-python is missing in the container"
    )


def test_missing_loader(pyrun, bundle):
    """A dynamic program whose loader isn't in the image."""
    host = Path("/usr/bin/env").resolve()
    if b"/ld-linux" not in host.read_bytes()[:4096]:
        pytest.skip("needs a host whose /usr/bin/env is a dynamic program")
    one = bundle()
    shutil.copy(host, one.rootfs / "tool")
    sentence = start_fails(pyrun, one.args("/tool"))
    assert sentence.startswith('process.args[0]: "/tool": no such file or directory: its loader /')
    assert sentence.endswith(" is missing in the container")


def test_wrong_architecture(pyrun, bundle):
    """A program for another machine."""
    one = bundle()
    data = bytearray((one.rootfs / "bin/busybox").read_bytes())
    order = "<" if data[5] == 1 else ">"
    other, number = ("aarch64", 183) if platform.machine() != "aarch64" else ("x86_64", 62)
    data[18:20] = struct.pack(order + "H", number)
    (one.rootfs / "tool").write_bytes(data)
    (one.rootfs / "tool").chmod(0o755)
    sentence = start_fails(pyrun, one.args("/tool"))
    assert sentence == (
        f'process.args[0]: "/tool": exec format error: it is a program for {other}, '
        f"and this machine is {platform.machine()}"
    )


@pytest.mark.parametrize("text", ["echo hi\n", "", "\x7fELF"])
def test_neither_program_nor_script(pyrun, bundle, text):
    """A text without #!, an empty file, and half an ELF header."""
    one = bundle()
    one.script("/tool", text)
    assert start_fails(pyrun, one.args("/tool")).startswith('process.args[0]: "/tool": exec format error')


def test_interpreter_that_is_a_folder(pyrun, bundle):
    """A script whose interpreter can't be executed, though it can be itself: with another it runs."""
    one = bundle()
    one.script("/tool", "#!/etc\n")
    assert start_fails(pyrun, one.args("/tool")) == 'process.args[0]: "/tool": permission denied'
    one.script("/tool", "#!/bin/sh\necho runs\n")
    assert pyrun.output(one) == "runs\n"


def test_link_to_nothing(pyrun, bundle):
    """A dangling link, and one that leads to a file which only the host has."""
    one = bundle()
    (one.rootfs / "tool").symlink_to(needs.busybox() + "-not-here")
    assert '"/tool": no such file or directory' in pyrun.refused(one.args("/tool"))


def test_fifo_as_program(pyrun, bundle):
    """A FIFO is no program, and nobody waits for it."""
    import os

    one = bundle()
    os.mkfifo(one.rootfs / "tool", 0o755)
    result = pyrun.run(one.args("/tool"), time_limit=10)
    assert result.code == 1
    assert '"/tool": permission denied' in result.err


def test_run_removes_what_could_not_start(pyrun, bundle):
    """`run` of such a program leaves nothing behind."""
    one = bundle()
    one.script("/tool", "#!/no/interpreter\n")
    container_id = pyrun.id()
    for option in ((), ("--detach",)):
        sentence = pyrun.error("run", *option, "--bundle", str(one.args("/tool").path), container_id)
        assert "its interpreter /no/interpreter is missing" in sentence
        pyrun.assert_gone(container_id)


def test_arguments_too_long(pyrun, bundle):
    """More arguments than the kernel takes: an error, not a crash."""
    sentence = pyrun.refused(bundle().args("true", "x" * 200_000))
    assert "process.args" in sentence


def test_last_log_record_is_the_sentence(pyrun, bundle, tmp_path):
    """The last record of the log is what stderr says, as engines want it."""
    log = tmp_path / "log"
    one = bundle().args("no-such-tool")
    sentence = pyrun.error(
        "--log", str(log), "--log-format", "json", "create", "-b", str(one.path), pyrun.id()
    )
    record = json.loads(log.read_text().splitlines()[-1])
    assert record["level"] == "error"
    assert record["msg"] == sentence
    assert "executable file not found in $PATH" in sentence


def test_in_a_volume(pyrun, bundle):
    """The reason is looked for where the program really is: in the volume that is mounted there."""
    one = bundle()
    volume = one.path / "volume"
    volume.mkdir()
    (volume / "tool").write_bytes(b"#!/bin/sh\r\necho hello\r\n")
    (volume / "tool").chmod(0o755)
    sentence = start_fails(pyrun, one.mount("/opt/v", "bind", str(volume), "rbind").args("/opt/v/tool"))
    assert sentence.startswith(
        'process.args[0]: "/opt/v/tool": no such file or directory: its first line ends in CRLF'
    )


@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_on_a_noexec_mount(pyrun, bundle, kind):
    """A program on a mount without permission to execute: in a volume, and in a file system of the container's own."""
    one = bundle()
    if kind == "bind":
        (one.path / "volume").mkdir()
        shutil.copy(one.rootfs / "bin/busybox", one.path / "volume/tool")
        one.mount("/v", "bind", "volume", "rbind", "noexec")
    else:
        (one.rootfs / "v").mkdir()
        shutil.copy(one.rootfs / "bin/busybox", one.rootfs / "v/tool")
        one.mount("/v", "tmpfs", "tmpfs", "tmpcopyup", "noexec")
    sentence = pyrun.refused(one.args("/v/tool"))
    assert sentence == 'process.args[0]: "/v/tool": permission denied: its file system is mounted noexec'


def test_hidden_by_a_mount(pyrun, bundle):
    """What the image has below a mount is not what was refused: nothing is said of it."""
    one = bundle()
    one.script("/v/tool", "#!/bin/sh\n", mode=0o644)
    sentence = pyrun.refused(one.mount("/v", "tmpfs", "tmpfs").args("/v/tool"))
    assert sentence == 'process.args[0]: "/v/tool": no such file or directory'
