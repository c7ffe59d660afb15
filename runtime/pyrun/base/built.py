"""Facts of the build: VERSION, COMMIT, PYTHON (the full interpreter's path) and the bytes of STAGE2.

Hot module. In the binary `_pyrun_build` is linked in; to run unfrozen, the build leaves a module of that name.
"""

from __future__ import annotations

import posix

import _pyrun_build
from _pyrun_build import COMMIT, PYTHON, STAGE2, VERSION

FROZEN = not hasattr(_pyrun_build, "__file__")

__all__ = ["COMMIT", "FROZEN", "PYTHON", "STAGE2", "VERSION", "self_path"]


def self_path() -> str:
    """The binary's own path, links resolved."""
    return posix.readlink("/proc/self/exe")
