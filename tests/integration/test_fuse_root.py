"""A root file system on FUSE: whoever is let in by its mount options can have containers on it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import needs
import pytest

SERVER = Path(__file__).parents[1] / "fuse_folder.py"
PROGRAM = "head -1 /etc/passwd; ls /bin | head -1; touch /x 2>&1; id -u; grep -c ' / / ' /proc/self/mountinfo"


@contextlib.contextmanager
def served(pyrun, folder, place, options):
    """The folder is seen at the place, where the runtime is called."""
    needs.program("nsenter")
    needs.filesystem("fuse")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("needs /dev/fuse")
    place.mkdir(mode=0o755)
    argv = [sys.executable, str(SERVER), str(folder), str(place), options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as server:
        assert server.stdout.readline() == b"mounted\n"
        pyrun.wrapper = ["nsenter", "-t", str(server.pid), "-m"]
        try:
            yield
        finally:
            server.kill()


@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
@pytest.mark.parametrize("readonly", [False, True], ids=["writable", "read-only"])
def test_a_container_on_fuse(pyrun, bundle, user, readonly):
    """The program is found and executed there, mounts are made on its folders, and what it refuses is refused."""
    one = bundle({"root": {"path": "fuse", "readonly": readonly}}, sh=PROGRAM)
    if user:
        needs.user_namespaces()
        one.config["process"]["rlimits"] = None
        one.user_namespace()
    with served(pyrun, one.rootfs, one.path / "fuse", "user_id=0,allow_other"):
        lines = pyrun.output(one.write()).splitlines()
        assert lines[:2] == ["root:x:0:0:root:/root:/bin/sh", "["]
        assert "Read-only file system" in lines[2]
        assert lines[3:] == ["0", "1"]
        container = pyrun.start(one.args("sleep", "1000"))
        assert container.sh("cat /etc/group | head -1") == "root:x:0:\n"
        container.delete("--force")


@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
def test_fuse_that_lets_nobody_in(pyrun, bundle, user):
    """Without allow_other only the user who mounted it is let in, root neither: the sentence says what is missing."""
    one = bundle({"root": {"path": "fuse"}}).write()
    if user:
        needs.user_namespaces()
        one.config["process"]["rlimits"] = None
        one.user_namespace()
    with served(pyrun, one.rootfs, one.path / "fuse", "user_id=1000"):
        sentence = pyrun.refused(one)
        assert sentence == (
            "mounts[0]: mounting proc on /proc: proc: access refused"
            " (the root file system is FUSE of another user: mount it with allow_other)"
        )
