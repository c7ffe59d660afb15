"""bpf(2) for programs that decide about a cgroup's devices: one function per operation, no policy. Hot
module.
"""

from __future__ import annotations

from _pyrun_kernel import ffi, lib

from pyrun.kernel.calls import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_PROGRAMS = 64  # BPF_CGROUP_MAX_PROGS


def load_device_program(code: bytes, name: str) -> int:
    """A descriptor of the program: BPF_PROG_LOAD of type BPF_PROG_TYPE_CGROUP_DEVICE; `name` has up to 15
    letters.
    """
    return check(lib.k_bpf_load_device_program(code, len(code) // 8, name.encode()), "bpf(BPF_PROG_LOAD)")


def attach(cgroup_fd: int, program_fd: int, replaced_fd: int = -1) -> None:
    """BPF_PROG_ATTACH beside other programs, or atomically in the place of one that is attached."""
    check(lib.k_bpf_attach_device_program(cgroup_fd, program_fd, replaced_fd), "bpf(BPF_PROG_ATTACH)")


def detach(cgroup_fd: int, program_fd: int) -> None:
    """BPF_PROG_DETACH."""
    check(lib.k_bpf_detach_device_program(cgroup_fd, program_fd), "bpf(BPF_PROG_DETACH)")


def attached(cgroup_fd: int) -> list[int]:
    """Return the ids of the device programs attached to this cgroup itself: BPF_PROG_QUERY."""
    ids: Any = ffi.new("unsigned int[]", MOST_PROGRAMS)
    count = check(lib.k_bpf_device_programs(cgroup_fd, ids, MOST_PROGRAMS), "bpf(BPF_PROG_QUERY)")
    return list(ids[0:count])


def by_id(program: int) -> int:
    """Return a descriptor of a loaded program: BPF_PROG_GET_FD_BY_ID."""
    return check(lib.k_bpf_program_by_id(program), "bpf(BPF_PROG_GET_FD_BY_ID)")


def name_of(program_fd: int) -> str:
    """Return the name that a program was loaded with: BPF_OBJ_GET_INFO_BY_FD."""
    name: Any = ffi.new("char[]", 17)
    check(lib.k_bpf_program_name(program_fd, name), "bpf(BPF_OBJ_GET_INFO_BY_FD)")
    text: bytes = ffi.string(name)
    return text.decode("utf-8", "replace")
