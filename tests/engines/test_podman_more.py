"""podman: running containers changed, watched and copied; refused programs; shortage; real servers."""

from __future__ import annotations

from . import test_podman
from .more import More
from .payloads import Payloads
from .refusals import Refusals, programs  # noqa: F401

engine = test_podman.engine


class TestPodmanMore(More, Refusals, Payloads):
    """The shared tests."""
