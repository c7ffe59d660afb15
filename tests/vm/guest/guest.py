"""Users of the virtual machine who run commands."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUNTIME = Path("/usr/local/bin/pyrun")
ROOTFS = Path("/srv/busybox")
SESSION = "/run/user/1000"
SECONDS = 180.0  # one command, on a machine that is emulated


class Host:
    """A user of the machine who runs commands: root, or `user` with a session."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.prefix = (
            [] if name == "root" else ["runuser", "-u", name, "--", "env", f"XDG_RUNTIME_DIR={SESSION}"]
        )

    def __call__(self, *argv: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [*self.prefix, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd="/tmp",
            check=False,
            **more,
        )

    def ok(self, *argv: str) -> str:
        """Run a command that must succeed; what it prints."""
        done = self(*argv)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def systemctl(self, *words: str) -> str:
        """Ask this user's systemd."""
        return self("systemctl", *([] if self.name == "root" else ["--user"]), *words).stdout

    def units(self, pattern: str) -> list[str]:
        """The units of that pattern which systemd knows."""
        lines = self.systemctl("list-units", "--all", "--no-legend", "--plain", pattern).splitlines()
        return [line.split()[0] for line in lines if line.strip()]


def eventually(condition: Callable[[], Any], failure: str, seconds: float = 60.0) -> Any:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, failure
        time.sleep(0.05)
    return found
