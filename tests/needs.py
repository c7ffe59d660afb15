"""What a test needs of the host. Each function skips the test, naming what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

CAPABILITIES = {"CAP_SYS_ADMIN": 21, "CAP_SYS_NICE": 23, "CAP_SYS_RESOURCE": 24, "CAP_MKNOD": 27}


def root() -> None:
    """Root with CAP_SYS_ADMIN, as a runtime has, and mounts of its own."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    capability("CAP_SYS_ADMIN")
    program("unshare")
    if refused := _refused("unshare", "--mount", "true"):
        pytest.skip(f"needs a root directory that is a mount point, which a plain chroot's isn't: {refused}")


@cache
def _refused(*command: str) -> str:
    """What a command says when it fails; "" when it doesn't. Tried once."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"


def has_capability(name: str) -> bool:
    """Is a capability in this process's effective set?"""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAPABILITIES[name] & 1)
    return False


def capability(name: str) -> None:
    """A capability in the effective set."""
    if not has_capability(name):
        pytest.skip(f"needs {name}, which this host doesn't grant")


def program(*names: str) -> None:
    """Programs on PATH."""
    for name in names:
        if not shutil.which(name):
            pytest.skip(f"needs {name}, which is not installed")


def busybox() -> str:
    """The path of a statically linked busybox."""
    for path in ("/bin/busybox", shutil.which("busybox")):
        # a program with a loader is not static
        if path and os.access(path, os.X_OK) and b"/ld-" not in Path(path).read_bytes()[:4096]:
            return os.path.realpath(path)
    pytest.skip("needs a static busybox: apt-get install busybox-static")


def filesystem(name: str) -> None:
    """A file system type that the kernel knows."""
    known = [line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()]
    if name not in known:
        pytest.skip(f"needs the file system {name}, which this kernel lacks")


def namespace(kind: str) -> None:
    """A kind of namespace, by its name in /proc/self/ns."""
    if not os.path.exists(f"/proc/self/ns/{kind}"):
        pytest.skip(f"needs {kind} namespaces, which this kernel lacks")


def user_namespaces() -> None:
    """User namespaces that may be made."""
    namespace("user")
    program("unshare")
    if refused := _refused("unshare", "--user", "true"):
        pytest.skip(f"needs user namespaces, which are refused here (in a chroot they always are): {refused}")


def kernel(major: int, minor: int, what: str) -> None:
    """A Linux version, and what for."""
    numbers = os.uname().release.split("-")[0].split(".")
    if (int(numbers[0]), int(numbers[1])) < (major, minor):
        pytest.skip(f"needs Linux {major}.{minor} for {what}, and this is {os.uname().release}")


def no_security_modules() -> None:
    """Skip where AppArmor or SELinux is active."""
    active = Path("/sys/module/apparmor/parameters/enabled")
    if Path("/sys/fs/selinux/enforce").exists() or (active.exists() and active.read_text()[:1] == "Y"):
        pytest.skip("AppArmor or SELinux is active")
