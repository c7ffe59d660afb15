"""Compile `_pyrun_kernel`, the cffi extension that holds our system calls.

`python build.py DIR` puts the extension module and stage 2 into DIR; the binary's build takes only the C source
(`emit`) and links it in. kernel.h is the interface, once for C and once for Python; stage2_orders.h is, too.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).parent
NAME = "_pyrun_kernel"
STAGE2_FLAGS = (
    "-static -Os -Wall -Wextra -Werror -fno-stack-protector -fno-pic -no-pie -fno-asynchronous-unwind-tables"
    " -fno-tree-loop-distribute-patterns -Wl,-z,noseparate-code -Wl,--build-id=none -s"
).split()
POLLFD = "struct pollfd { int fd; short events; short revents; };\n"


def ffibuilder() -> FFI:
    """The cffi builder: declarations from kernel.h and stage2_orders.h, definitions from kernel.c."""
    headers = [HERE / "kernel.h", HERE / "stage2_orders.h"]
    lines = [line for header in headers for line in header.read_text().splitlines()]
    ffi = FFI()
    ffi.cdef(POLLFD + "\n".join(line for line in lines if not line.startswith("#")))
    ffi.set_source(
        NAME, f'#include "{HERE / "kernel.c"}"\n', depends=[str(HERE / "kernel.c"), *map(str, headers)]
    )
    return ffi


def emit(target: Path) -> None:
    """Write the extension's C source to `target`, for a build that links it statically."""
    ffibuilder().emit_c_code(str(target))


def compile_stage2(target: Path, compiler: str = "cc") -> None:
    """Compile stage 2 to `target`: static, and without libc where stage2.c knows how to make a system call."""
    machine = subprocess.run([compiler, "-dumpmachine"], check=True, capture_output=True, text=True).stdout
    bare = ["-nostdlib", "-ffreestanding"] if machine.startswith(("x86_64", "aarch64")) else []
    subprocess.run([compiler, *STAGE2_FLAGS, *bare, "-o", str(target), str(HERE / "stage2.c")], check=True)


if __name__ == "__main__":
    ffibuilder().compile(tmpdir=sys.argv[1], target=f"{NAME}.*")
    compile_stage2(Path(sys.argv[1]) / "stage2")
