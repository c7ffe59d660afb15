"""CVE-2024-21626: a descriptor of the host, left open, is a way out: by process.cwd, by the program, by a hook.

The caller here is careless: its descriptors 3 to 60 are open on folders of the host, half of them without
close-on-exec. None may reach anything that runs in, or for, a container, but what --preserve-fds asks for.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import pytest
from bundles import eventually, new_id, process_status
from hostile import Outside, open_folders

LIST = "ls -l /proc/$$/fd; true"  # `ls` is a child: these are the shell's own


@pytest.fixture
def host_fds():
    """Descriptors 3 to 60 of this process, wherever they are free, are open on the host's root."""
    with open_folders(3, 60) as fds:
        yield fds


def entries(text: str) -> dict[int, str]:
    """What a listing of /proc/self/fd says: number to target."""
    found = {}
    for line in text.splitlines():
        if match := re.search(r" (\d+) -> (.*)", line):
            found[int(match[1])] = match[2]
    return found


def test_program(pyrun, bundle, host_fds):
    """The program has stdin, stdout and stderr."""
    assert set(entries(pyrun.output(bundle(sh=LIST), close_fds=False))) == {0, 1, 2}


def test_created(pyrun, bundle, host_fds):
    """Stage 2 has those, the socket that `start` connects to, the lock that says `created`, and its signals'."""
    container = pyrun.create(bundle(), close_fds=False)
    eventually(lambda: process_status(container.pid)["State"].startswith("S"), "it doesn't wait")
    folder = f"/proc/{container.pid}/fd"
    found = {int(number): os.readlink(f"{folder}/{number}") for number in os.listdir(folder)}
    rest = sorted(target.partition(":")[0] for number, target in found.items() if number > 2)
    assert rest == [str(pyrun.root / container.id / "state.json"), "anon_inode", "socket"]
    info = [
        line.split()[1]
        for number, target in found.items()
        if target.endswith("/state.json")
        for line in Path(f"/proc/{container.pid}/fdinfo/{number}").read_text().splitlines()
        if line.startswith("flags:")
    ]
    assert int(info[0], 8) & os.O_ACCMODE == os.O_RDONLY
    assert os.readlink(f"/proc/{container.pid}/cwd") == "/"


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "poststart", "poststop"])
def test_hooks_of_the_host(pyrun, bundle, host_fds, tmp_path, kind):
    """A hook has the state on stdin, its output, and nothing else."""
    log = tmp_path / "fds"
    one = bundle().hook(kind, f"ls -l /proc/self/fd | sed 1d > {log}")
    pyrun.run(one, close_fds=False)
    targets = [line.partition(" -> ")[2] for line in log.read_text().splitlines()]
    assert "/" not in targets
    assert len(targets) <= 4, targets


def test_start_container_hook(pyrun, bundle, host_fds):
    """The hook that stage 2 runs."""
    one = bundle({"root": {"readonly": False}})
    one.config["hooks"] = {
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", f"exec 1>/fds; {LIST}"]}]
    }
    one.write()
    assert pyrun.run(one, close_fds=False).code == 0
    found = entries((one.rootfs / "fds").read_text())
    assert set(found) == {0, 1, 2}


def test_preserved(pyrun, bundle, host_fds):
    """Exactly as many as were asked for, counted from 3."""
    with preserved(3, 4, 5):
        found = entries(pyrun.output(bundle(sh=LIST), "--preserve-fds", "2", close_fds=False))
    assert set(found) == {0, 1, 2, 3, 4}
    assert found[3] == found[4] == "/"


@pytest.mark.parametrize("command", ["run", "create"])
def test_preserved_but_closed(pyrun, bundle, command):
    """What the caller hasn't open is an error, whatever of the runtime's own has that number by then."""
    one = bundle(sh=LIST)
    with preserved(3):
        sentence = pyrun.error(command, "-b", str(one.path), "--preserve-fds", "2", new_id(), pass_fds=(3,))
    assert "descriptor 4 is not open" in sentence


@contextlib.contextmanager
def preserved(*numbers):
    """These descriptors are open on the host's root and survive an execve; what they were before comes back."""
    saved = []
    source = os.open("/", os.O_RDONLY)
    for number in numbers:
        with contextlib.suppress(OSError):
            saved.append((os.dup(number), number))
    try:
        for number in numbers:
            os.dup2(source, number)
        yield
    finally:
        for number in numbers:
            os.close(number)
        for copy, number in saved:
            os.dup2(copy, number, inheritable=False)
            os.close(copy)
        os.close(source)


def test_listen_fds_are_counted_not_copied(pyrun, bundle, host_fds):
    """LISTEN_FDS that are another process's are neither passed on nor announced."""
    environment = {"PATH": os.environ["PATH"], "LISTEN_FDS": "9", "LISTEN_PID": "1"}
    one = bundle(sh='echo "<$LISTEN_FDS>"; ' + LIST)
    with preserved(3):
        out = pyrun.output(one, "--preserve-fds", "1", close_fds=False, env=environment)
    first, _, rest = out.partition("\n")
    assert first == "<>"
    assert set(entries(rest)) == {0, 1, 2, 3}


@pytest.mark.parametrize("link", [False, True], ids=["cwd", "link"])
def test_working_folder(pyrun, bundle, host_fds, tmp_path, link):
    """No descriptor, and no magic link of another process, can be the working folder, by name or through a link."""
    outside = Outside(tmp_path / "outside")
    magic = [f"/proc/self/fd/{number}" for number in (3, 7, 8, 9, 10, 12, 20)]
    magic += [
        "/proc/self/fd/7/../../..",
        "/proc/1/root",
        "/proc/1/cwd",
        "/proc/thread-self/fd/8",
        "/proc/1/task/1/fd/7",
    ]
    for path in magic:
        one = bundle({"process": {"cwd": "/way" if link else path}}, sh="pwd; ls -d /proc/self/cwd/*")
        if link:
            (one.rootfs / "way").symlink_to(path)
        result = pyrun.run(one, close_fds=False)
        assert result.code == 1, (path, result)
        assert "process.cwd" in result.err
        assert "internal" not in result.err
    outside.assert_untouched()


def test_program_by_descriptor(pyrun, bundle, host_fds):
    """A program named by a descriptor is looked for when all are closed."""
    for number in (3, 7, 8, 9, 10):
        result = pyrun.run(bundle().args(f"/proc/self/fd/{number}/bin/sh", "-c", "echo out"), close_fds=False)
        assert (result.code, result.out) == (1, ""), result
