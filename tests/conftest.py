"""Fixtures shared by all tests: the runtime under test, and bundles for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]
for _folder in ("conformance", "spec", "runtime"):
    if str(REPOSITORY / _folder) not in sys.path:
        sys.path.insert(0, str(REPOSITORY / _folder))

import needs  # noqa: E402
import session  # noqa: E402
from bundles import Bundle, Config, Pyrun, default_config, make_rootfs, merge  # noqa: E402

settings.register_profile("patient", deadline=None)  # other work on the machine is no failure
settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Leave the caller's world, before pytest asks where temporary files go."""
    session.start(config)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a case by its value where pytest would number it: by such a name it is read in a report, and chosen."""
    if val is None or isinstance(val, (int, float)) or hasattr(val, "__name__"):
        return None  # pytest's own names
    if isinstance(val, str) and len(val) <= 60:
        return None
    text = val.decode("ascii", "replace") if isinstance(val, bytes) else str(val)
    return re.sub(r"[\[\]{}()'\"]+", "", text)[:60] or "empty"


@pytest.fixture(scope="session")
def runtime() -> Path:
    """The binary under test: build/bin/pyrun, or what PYRUN_TEST_RUNTIME says."""
    path = Path(os.environ.get("PYRUN_TEST_RUNTIME") or REPOSITORY / "build/bin/pyrun").resolve()
    if not os.access(path, os.X_OK):
        pytest.fail(f"{path} isn't there: run make first")
    return path


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A static busybox where temporary files are, so that root file systems can link to it."""
    needs.root()
    path = tmp_path_factory.mktemp("busybox") / "busybox"
    path.write_bytes(Path(needs.busybox()).read_bytes())
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def pyrun(runtime: Path, tmp_path: Path) -> Iterator[Pyrun]:
    """The runtime, with a root folder for this test; fails the test if it leaves anything behind."""
    needs.root()
    one = Pyrun(runtime, tmp_path / "pyrun")
    yield one
    left = one.leftovers()
    assert not left, left


@pytest.fixture(scope="session")
def before_6_17(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that executes another as on a kernel before 6.17, for `Pyrun.wrapper`."""
    needs.program("gcc")
    path = tmp_path_factory.mktemp("before_6_17") / "before_6_17"
    source = Path(__file__).parent / "before_6_17.c"
    subprocess.run(
        ["gcc", "-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(path), str(source)], check=True
    )
    return str(path)


@pytest.fixture
def bundle(busybox: str, tmp_path: Path) -> Callable[..., Bundle]:
    """Makes bundles: `bundle({"hostname": "x"}, sh="hostname")` is the default one with these changes."""
    count = 0

    def make(
        changes: Config | None = None, sh: str = "", change: Callable[[Config], None] | None = None
    ) -> Bundle:
        nonlocal count
        count += 1
        path = tmp_path / f"bundle{count}"
        make_rootfs(path / "rootfs", busybox)
        config = default_config()
        merge(config, changes or {})
        if sh:
            config["process"]["args"] = ["sh", "-c", sh]
        if change:
            change(config)
        return Bundle(path, config).write()

    return make
