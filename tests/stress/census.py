"""What there is of containers on this machine: taken before and after, the difference is what was left."""

from __future__ import annotations

import ctypes
import os
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path

BPF_PROG_GET_NEXT_ID, BPF_PROG_GET_FD_BY_ID, BPF_OBJ_GET_INFO_BY_FD = 11, 13, 15  # linux/bpf.h
BPF_CALL = {"x86_64": 321, "aarch64": 280}
PROGRAM_NAME = b"pyrun_"  # what the names of pyrun's device programs begin with
PATIENCE = 20.0  # seconds that the kernel may take to free what nobody uses any more


def cgroups(name: str) -> list[str]:
    """Cgroups, in all hierarchies, in whose name there is `name`."""
    return [
        f"cgroup {folder}/{each}"
        for folder, below, _ in os.walk("/sys/fs/cgroup")
        for each in below
        if name in each
    ]


def mounts(name: str) -> list[str]:
    """Mounts here that have to do with `name`."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [f"mount {line}" for line in lines if name in line]


def processes(name: str, but: Iterable[int]) -> list[str]:
    """Processes, zombies too, whose command line or cgroup has `name`, and this process's children."""
    found = []
    ours = set(but)
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            text = words + Path(f"/proc/{number}/cgroup").read_text()
            parent = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if (name in text or parent == os.getpid()) and int(number) not in ours:
            found.append(f"process {number} {words}")
    return found


def files(folder: Path, usual: Iterable[str]) -> list[str]:
    """Files in a folder and its hidden folders but the usual ones."""
    known = set(usual)
    return [f"file {path}" for path in folder.iterdir() if path.name not in known] if folder.exists() else []


def temporary_files(cache: Path) -> list[str]:
    """What was to be renamed in a cache folder."""
    return (
        [f"file {path}" for path in cache.iterdir() if "new" in path.name or path.name.startswith(".")]
        if cache.exists()
        else []
    )


def keyrings() -> set[str]:
    """Serial numbers of the session keyrings that this user may see (keyrings(7))."""
    lines = Path("/proc/keys").read_text().splitlines() if Path("/proc/keys").exists() else []
    return {f"keyring {line.split()[0]}" for line in lines if " keyring " in line and " _ses" in line}


def bpf_programs() -> set[str]:
    """Ids of the loaded BPF programs with pyrun's name (bpf(2))."""
    number = BPF_CALL.get(platform.machine())
    if number is None:
        return set()
    call = ctypes.CDLL(None, use_errno=True).syscall
    found = set()
    request = (ctypes.c_uint32 * 4)()  # id, the next id, flags
    while call(number, BPF_PROG_GET_NEXT_ID, ctypes.byref(request), ctypes.sizeof(request)) == 0:
        request[0] = request[1]
        wanted = (ctypes.c_uint32 * 4)(request[0])
        fd = call(number, BPF_PROG_GET_FD_BY_ID, ctypes.byref(wanted), ctypes.sizeof(wanted))
        if fd < 0:
            continue  # gone meanwhile
        info = ctypes.create_string_buffer(80)  # struct bpf_prog_info up to its name, at 64
        query = ctypes.create_string_buffer(16)
        ctypes.memmove(query, fd.to_bytes(4, "little") + len(info).to_bytes(4, "little"), 8)
        ctypes.memmove(ctypes.addressof(query) + 8, ctypes.addressof(info).to_bytes(8, "little"), 8)
        if call(number, BPF_OBJ_GET_INFO_BY_FD, query, 16) == 0 and info.raw[64:80].startswith(PROGRAM_NAME):
            found.add(f"BPF program {request[0]}")
        os.close(fd)
    return found


def patiently(look: Callable[[], list[str]]) -> list[str]:
    """What is still there after a while."""
    end = time.monotonic() + PATIENCE
    while (found := look()) and time.monotonic() < end:
        time.sleep(0.1)
    return found
