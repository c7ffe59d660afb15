"""A container with a user namespace is made beside somebody who is uid 0 in the host's PID namespace.

Such a one (a container with --pid=host, say) needs no capability to own the new user namespace, and with it has all of
them over whoever is in there. The process that becomes the container stands on the host's root folder first, and has
descriptors of the host to its last moment: at no moment can it be looked into.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import needs
import pytest
from bundles import CALLER, eventually, new_id

# Docker's: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot,
# mknod, audit_write, setfcap. CAP_SYS_PTRACE is none of them.
DOCKERS = "0,1,3,4,5,6,7,8,10,13,18,27,29,31"
LOOK = "for each in root cwd exe; do readlink /proc/{0}/$each; done; readlink /proc/{0}/fd/*; ls -d /proc/{0}/root/."


def neighbour_sees(pid: int) -> str:
    """What uid 0 of the host with Docker's capabilities sees of a process."""
    caps = ",".join(f"+cap_{number}" for number in DOCKERS.split(","))
    argv = ["setpriv", f"--bounding-set=-all,{caps}", "--inh-caps=-all", "sh", "-c", LOOK.format(pid)]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def children(pid: int, exe: str = "") -> list[int]:
    """The children of all threads of a process, that run `exe`."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for word in path.read_text().split():
            with contextlib.suppress(OSError):
                if exe in os.readlink(f"/proc/{word}/exe"):
                    found.append(int(word))
    return found


@pytest.mark.parametrize(
    ("follow", "call", "idmap"),
    [((), "clone3", False), (("-f",), "execveat", False), ((), "clone3", True)],
    ids=["just-born", "just-stage-2", "mapped-mount"],
)
def test_never_looked_into(pyrun, bundle, tmp_path, follow, call, idmap):
    """Neither in the moment of its birth nor in that of stage 2's: both are held on for a second. Nor the process whose
    user namespace carries the mappings of a mount."""
    needs.program("strace", "setpriv")
    needs.user_namespaces()
    one = bundle()
    if idmap:
        needs.kernel(6, 3, "a tmpfs with mapped ids")
        one.mount("/tmp", "tmpfs", "tmpfs", "idmap=uids=0-100000-9;gids=0-100000-9")
    else:
        one.user_namespace()
    container_id = new_id()
    pyrun.ids.append(container_id)
    log = tmp_path / "strace"
    argv = [
        "strace",
        "-I2",  # ends by SIGTERM though it writes to a file
        *follow,
        "-o",
        str(log),
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:delay_exit=1500000",
    ]
    argv += [str(pyrun.runtime), "--root", str(pyrun.root), "create", "-b", str(one.path), container_id]
    with (tmp_path / "out").open("wb") as out:
        strace = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=CALLER)
    try:
        (runtime,) = eventually(lambda: children(strace.pid, str(pyrun.runtime)), "strace starts nothing")
        kind = "pyrun-init" if call == "execveat" else ""
        (init,) = eventually(lambda: children(runtime, kind), "no init is born")
        seen = neighbour_sees(init)
        still_there = kind in os.readlink(f"/proc/{init}/exe") and children(runtime) == [init]
    finally:
        eventually(lambda: not children(strace.pid, str(pyrun.runtime)), "create doesn't end")
        strace.terminate()  # what it has followed goes on
        strace.wait(60)
    assert still_there, "the moment was over"
    assert seen == ""
    assert (tmp_path / "out").read_text() == ""
    assert call in log.read_text()
