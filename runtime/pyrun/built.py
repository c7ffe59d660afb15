"""Facts of the build: VERSION, COMMIT, PYTHON (the full interpreter's path) and the bytes of stage 2.

Hot module. In the binary they are linked in; run unfrozen, they are what this checkout and interpreter are.
"""

from __future__ import annotations

import posix
import sys

try:
    from _pyrun_build import COMMIT, PYTHON, STAGE2, VERSION

    FROZEN = True
except ImportError:
    import _pyrun_kernel

    from pyrun.kernel import calls

    FROZEN = False
    COMMIT = ""
    PYTHON = sys.executable
    VERSION = calls.read_file(__file__.rpartition("/")[0] + "/VERSION").decode().strip()
    STAGE2 = b""


def stage2() -> bytes:
    """The program stage 2, for a sealed memfd; unfrozen it lies beside the kernel module."""
    if FROZEN:
        return bytes(STAGE2)
    return calls.read_file(_pyrun_kernel.__file__.rpartition("/")[0] + "/stage2")


def self_path() -> str:
    """The binary's own path, links resolved."""
    return posix.readlink("/proc/self/exe")
