"""fake_resctrl.py, as tests see it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import needs
import pytest

SERVER = Path(__file__).parent / "fake_resctrl.py"
# The kernel's table of mounts names our file system fuse: what the runtime reads is this file in its place.
ENTER = 'mount --bind "$0" /proc/$$/mountinfo && exec "$@"'


class Resctrl:
    """The file system, as the server's mount namespace has it."""

    def __init__(self, pid, place, table):
        self.pid = pid
        self.top = Path(f"/proc/{pid}/root{place}")
        self.table = table

    def classes(self):
        """Names of all but the default one."""
        return sorted(set(os.listdir(self.top)) - {"info", "mon_data", "mon_groups", "tasks", "schemata"})

    def schemata(self, name=""):
        """Of a class."""
        return (self.top / name / "schemata").read_text().split()

    def tasks(self, name=""):
        """The processes in a group."""
        return [int(line) for line in (self.top / name / "tasks").read_text().split()]

    def monitored(self, name=""):
        """Monitoring groups of a class."""
        return sorted(os.listdir(self.top / name / "mon_groups"))

    def make(self, name, *lines):
        """A class that an administrator made."""
        (self.top / name).mkdir()
        for line in lines:
            (self.top / name / "schemata").write_text(line + "\n")


@contextlib.contextmanager
def serving(pyrun, tmp_path):
    """resctrl is mounted where the runtime is called."""
    needs.program("nsenter", "mount")
    needs.filesystem("fuse")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("needs /dev/fuse")
    place = tmp_path / "resctrl"
    place.mkdir()
    with subprocess.Popen([sys.executable, str(SERVER), str(place)], stdout=subprocess.PIPE) as server:
        text = b""
        while not text.endswith(b"\0"):
            part = os.read(server.stdout.fileno(), 1 << 16)
            assert part, "no fake resctrl"
            text += part
        table = tmp_path / "mountinfo"
        table.write_bytes(text[:-1])
        pyrun.wrapper = ["nsenter", "-t", str(server.pid), "-m", "sh", "-c", ENTER, str(table)]
        found = Resctrl(server.pid, place, table)
        yield found
        for name in os.listdir(pyrun.root) if pyrun.root.exists() else []:
            if not name.startswith("."):
                pyrun("delete", "--force", name)
        server.kill()
