"""Fixtures for the engine tests: the runtime under test and the image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .image import image_tar
from .private_host import need

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tested_runtime() -> Path:
    """The runtime that engines call: build/bin/pyrun, or what PYRUN_TEST_RUNTIME says."""
    path = Path(os.environ.get("PYRUN_TEST_RUNTIME") or REPOSITORY / "build/bin/pyrun").resolve()
    if not os.access(path, os.X_OK):
        pytest.fail(f"{path} isn't there: run make first")
    return path


@pytest.fixture(scope="session")
def image() -> bytes:
    """The test image as a tar archive."""
    need("busybox", "nsenter", "unshare", "setpriv")
    return image_tar()
