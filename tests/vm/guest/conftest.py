"""What tests inside the virtual machine share: the runtime, an image, podman as root and as an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import CONTRIB, ROOTFS, Host


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say at once why a test failed: the end is minutes away in an emulated machine."""
    if report.failed:
        print(f"\n{report.longreprtext[-4000:]}", flush=True)


@pytest.fixture(scope="session", params=["root", "user"])
def anyone(request: pytest.FixtureRequest) -> Host:
    """Root, and an ordinary user."""
    return Host(request.param)


@pytest.fixture(scope="session")
def root() -> Host:
    """Root."""
    return Host("root")


@pytest.fixture(scope="session")
def user() -> Host:
    """The ordinary user."""
    return Host("user")


@pytest.fixture(scope="session", autouse=True)
def _configured() -> Iterator[None]:
    """podman's one line, for everybody: the runtime's path, which is all that contrib's file has."""
    folder = Path("/etc/containers/containers.conf.d")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(CONTRIB / "podman/containers.conf", folder / "pyrun.conf")
    yield
    state = os.listdir("/run/pyrun") if os.path.exists("/run/pyrun") else []
    assert [name for name in state if name[0] != "."] == []


@pytest.fixture(scope="session")
def image(anyone: Host) -> str:
    """busybox as an image of podman's, for root and for the user each."""
    tar = subprocess.run(["tar", "-C", str(ROOTFS), "-c", "."], stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(
        [*anyone.prefix, "podman", "import", "-", "bb"],
        input=tar,
        capture_output=True,
        cwd="/tmp",
        check=True,
    )
    return "bb"
