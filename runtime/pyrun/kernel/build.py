"""Compile `_pyrun_kernel`, the cffi extension that holds our system calls.

`python build.py DIR` puts the extension module into DIR; the binary's build takes only the C source
(`emit`) and links it in. kernel.h is the interface, once for C and once for Python.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
NAME = "_pyrun_kernel"
POLLFD = "struct pollfd { int fd; short events; short revents; };\n"


def ffibuilder() -> FFI:
    """The cffi builder: declarations from kernel.h, definitions from kernel.c."""
    lines = (HERE / "kernel.h").read_text().splitlines()
    ffi = FFI()
    ffi.cdef(POLLFD + "\n".join(line for line in lines if not line.startswith("#")))
    ffi.set_source(NAME, f'#include "{HERE / "kernel.c"}"\n', depends=[str(HERE / "kernel.c"), str(HERE / "kernel.h")])
    return ffi


def emit(target: Path) -> None:
    """Write the extension's C source to `target`, for a build that links it statically."""
    ffibuilder().emit_c_code(str(target))


if __name__ == "__main__":
    ffibuilder().compile(tmpdir=sys.argv[1], target=f"{NAME}.*")
