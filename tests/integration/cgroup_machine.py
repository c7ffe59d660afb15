"""Real cgroups for tests: on this machine as it is, and on a private view of it that has nothing but cgroup v2.

A test body runs in a forked child, so that a mount namespace of its own can be taken away with it, and so that a
test that freezes or kills by mistake does so to itself.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
import traceback
from typing import TYPE_CHECKING, Any

import needs

from pyrun.cgroups import cgroupfs, entrance, hierarchies, removal
from pyrun.cgroups.groups import MARK
from pyrun.kernel import mounts, process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyrun.cgroups.driver import Record

# Run by a shell in a mount namespace of its own: the command that follows sees a host with nothing but cgroup v2.
ONLY_V2 = 'umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'

_number = itertools.count(1)


def run(body: Callable[[], None], pure_v2: bool) -> None:
    """Run `body` in a child; its failure is ours."""
    if pure_v2:
        needs.root()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            if pure_v2:
                _see_only_v2()
            body()
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as pipe:
        text = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    assert status == 0, text or f"the test's process ended with status {status}"


def _see_only_v2() -> None:
    if hierarchies.layout()["mode"] == "v2":
        return
    process.unshare(process.CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE, None)
    mounts.umount_detach("/sys/fs/cgroup")
    mounts.mount("none", "/sys/fs/cgroup", "cgroup2", 0, None)
    assert hierarchies.layout()["mode"] == "v2"


def new_path(*below: str) -> str:
    """A path that no other test has."""
    return "/".join((f"/pyrun-test-{os.getpid()}-{next(_number)}", *below))


def new_id() -> str:
    return new_path()[1:]


@contextlib.contextmanager
def cgroup(
    path: str | None = None, resources: dict[str, Any] | None = None, container_id: str = ""
) -> Iterator[Record]:
    """A container's cgroups, made and limited; removed at the end by what the state file would hold."""
    record = cgroupfs.plan(path or new_path(), container_id or new_id())
    saved: Record = json.loads(json.dumps(record))
    try:
        cgroupfs.create(record)
        cgroupfs.limit(record, {"devices": [], **(resources or {})})
        yield record
    finally:
        removal.remove(saved)
        own = [hierarchy["mount"] + record["path"] for hierarchy in record["hierarchies"]]
        assert not [
            directory for directory in own if directory not in record["kept"] and os.path.exists(directory)
        ]


def spawn(record: Record, body: Callable[[], object]) -> int:
    """A process in the container's cgroups, entered as init enters them; `body` returns when it may end."""
    fds = entrance.tasks(record)
    fd = entrance.clone_fd(record)
    reader, writer = os.pipe()
    pid = process.clone3(0, fd)
    if pid == 0:
        status = 1
        try:
            entrance.enter(fds)
            os.close(writer)
            body()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    for each in [writer, *fds] + ([fd] if fd >= 0 else []):
        os.close(each)
    os.read(reader, 1)  # until it has entered
    os.close(reader)
    return pid


def sleep() -> None:
    time.sleep(60)


def ask(record: Record, question: Callable[[], object]) -> Any:
    """What `question` returns in a process in the container's cgroups (through JSON)."""
    reader, writer = os.pipe()
    pid = spawn(record, lambda: os.write(writer, json.dumps(question()).encode()))
    os.close(writer)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(answer)


def directories(record: Record) -> list[str]:
    return [hierarchy["mount"] + record["path"] for hierarchy in record["hierarchies"]]


def main_directory(record: Record) -> str:
    """The one that freezes."""
    return directory_of(record, "freezer")


def forget_owner(record: Record) -> None:
    """As if the cgroups had been made by another program."""
    os.removexattr(main_directory(record), MARK)


def existing(record: Record) -> list[str]:
    """What is left of the container's cgroups and of those above that carry a test's name."""
    found = []
    for hierarchy in record["hierarchies"]:
        parts = record["path"].split("/")[1:]
        for count in range(1, len(parts) + 1):
            directory = "/".join((hierarchy["mount"], *parts[:count]))
            if os.path.isdir(directory) and directory not in record["kept"]:
                found.append(directory)
    return found


def directory_of(record: Record, controller: str) -> str:
    """The cgroup that `controller` limits: of its v1 hierarchy, else the v2 one."""
    for hierarchy in record["hierarchies"]:
        if controller in hierarchy["controllers"]:
            return hierarchy["mount"] + record["path"]
    return next(h["mount"] for h in record["hierarchies"] if h["name"] == "unified") + record["path"]


def content(record: Record, name: str) -> str:
    with open(f"{directory_of(record, name.partition('.')[0])}/{name}") as file:
        return file.read().rstrip("\n")


def wait_until(true: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
