"""Users of the virtual machine who run commands, and bundles of theirs."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

RUNTIME = Path("/usr/local/bin/pyrun")
ROOTFS = Path("/srv/busybox")
CONTRIB = Path(os.environ["PYRUN_REPOSITORY"]) / "contrib"
SESSION = "/run/user/1000"
SECONDS = 180.0  # one command, on a machine that is emulated

Config = dict[str, Any]
_numbers = itertools.count()


class Host:
    """A user of the machine who runs commands: root, or `user` with a session."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds = SECONDS
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
            timeout=self.seconds,
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

    def chown(self, path: Path) -> None:
        """Give a folder, and what is in it, to this user."""
        if self.name != "root":
            subprocess.run(["chown", "-hR", f"{self.name}:{self.name}", str(path)], check=True)

    def units(self, pattern: str) -> list[str]:
        """The units of that pattern which systemd knows."""
        lines = self.systemctl("list-units", "--all", "--no-legend", "--plain", pattern).splitlines()
        return [line.split()[0] for line in lines if line.strip()]


@contextlib.contextmanager
def as_a_service(host: Host, unit: str, *words: str) -> Iterator[Path]:
    """A command that runs as a delegated service of systemd's; the service's cgroup."""
    manager = [] if host.name == "root" else ["--user"]
    host.ok("systemd-run", *manager, "--quiet", "--unit", unit, "-p", "Delegate=yes", *words)
    try:
        group = host.systemctl("show", "-P", "ControlGroup", unit).strip()
        yield Path(f"/sys/fs/cgroup{group}")
    finally:
        host.systemctl("stop", unit)
        host.systemctl("reset-failed", unit)


class Bundle:
    """A bundle of somebody's, with busybox in it, and containers of it in systemd's cgroups. As a context manager it is
    removed in the end."""

    def __init__(self, host: Host, options: tuple[str, ...] = ("--systemd-cgroup",)) -> None:
        self.host = host
        self.options = options
        self.path = Path(tempfile.mkdtemp(dir="/var/tmp"))
        self.path.chmod(0o755)
        shutil.copytree(ROOTFS, self.path / "rootfs", symlinks=True)
        if host.name != "root":
            os.chown(self.path, 1000, 1000)
        rootless = () if host.name == "root" else ("--rootless",)
        host.ok(str(RUNTIME), "spec", *rootless, "--bundle", str(self.path))
        self.config: Config = json.loads((self.path / "config.json").read_text())
        self.config["process"]["terminal"] = False

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path)

    def write(self, *args: str, **linux: Any) -> str:
        """Write the configuration with this program, and these parts of `linux`; the bundle's path."""
        self.config["process"]["args"] = list(args)
        self.config["linux"].update(linux)
        (self.path / "config.json").write_text(json.dumps(self.config))
        return str(self.path)

    def bind(self, *folders: str) -> None:
        """Have folders of the host in the container."""
        for folder in folders:
            options = ["rbind", "ro"]
            entry = {"destination": folder, "source": folder, "type": "bind", "options": options}
            self.config["mounts"].append(entry)

    def pyrun(self, *words: str) -> str:
        """What a command of pyrun's prints, which must succeed. create's output goes to a file, since the container
        holds it open."""
        if words[0] != "create":
            return self.host.ok(str(RUNTIME), *self.options, *words)
        script = 'exec "$@" >"$0" 2>&1 </dev/null'
        argv = (str(RUNTIME), *self.options, *words)
        done = self.host("sh", "-c", script, f"/tmp/out-of-{self.path.name}", *argv)
        assert done.returncode == 0, self.output()
        return self.output()

    def refused(self) -> str:
        """The sentence of a create that must fail."""
        path = str(self.path)
        done = self.host(str(RUNTIME), *self.options, "create", "--bundle", path, self.new_name())
        assert done.returncode != 0, done
        return done.stderr

    def run(self) -> str:
        """What the container's program prints, which must succeed."""
        return self.pyrun("run", "--bundle", str(self.path), self.new_name())

    @contextlib.contextmanager
    def running(self, name: str = "") -> Iterator[str]:
        """A container that runs; its name."""
        name = name or self.new_name()
        try:
            self.pyrun("create", "--bundle", str(self.path), name)
            self.pyrun("start", name)
            yield name
        finally:
            self.pyrun("delete", "--force", name)
            Path(f"/tmp/out-of-{self.path.name}").unlink(missing_ok=True)

    def output(self) -> str:
        """What the running container has printed until now."""
        return Path(f"/tmp/out-of-{self.path.name}").read_text()

    def state(self, name: str) -> Config:
        """The state document."""
        state: Config = json.loads(self.pyrun("state", name))
        return state

    def new_name(self) -> str:
        """An id that no other container of this user has."""
        return f"{self.host.name}-{next(_numbers)}"


def eventually(condition: Callable[[], Any], failure: str, seconds: float = 60.0) -> Any:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, failure
        time.sleep(0.05)
    return found
