"""What goes wrong around a runtime: no room, no bundle, no process, nobody who reads."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from oci_conformance.core import kernel, probe
from oci_conformance.core.runtime import TIMED_OUT
from oci_conformance.profiles.robustness import leftovers
from oci_conformance.run.case import Broken, Case
from oci_conformance.run.registry import test

PAGE = 4096
HARMLESS = {None, "/dev/null"}  # what may be in place of a closed stream


@test("robustness.force-missing", needs=("root",))
def force_missing(t: Case) -> None:
    """delete --force of a container that never was, and of one that is gone."""
    c = t.prepare({}, "pause")
    never = c.call("delete-force")
    c.create()
    first, second = c.call("delete-force"), c.call("delete-force")
    t.check(
        "robustness.force-missing",
        never.ok and first.ok and second.ok,
        "success each time",
        f"never there: {never.code}, there: {first.code}, gone: {second.code} ({second.stderr.strip()[-200:]})",
    )


@test("robustness.init-killed", needs=("root",))
def init_killed(t: Case) -> None:
    """The process of a created container is killed by somebody else."""
    c = t.create({}, "exit 0")
    c.send(signal.SIGKILL)
    c.wait()
    stopped = c.until("stopped")
    started = c.call("start")
    deleted = c.call("delete")
    found = leftovers.left(t, c)
    t.check(
        "robustness.init-killed",
        stopped and not started.ok and started.code != TIMED_OUT and deleted.ok and not found,
        "stopped; start says no; delete leaves nothing",
        f"stopped: {stopped}, start: {started.code}, delete: {deleted.sentence}, left: {'; '.join(found)}",
    )


@test("robustness.bundle-gone", needs=("root",))
def bundle_gone(t: Case) -> None:
    """The bundle is moved away while the container runs."""
    c = t.create({}, "pause")
    c.start()
    away = c.bundle.rename(c.bundle.with_name("away"))
    try:
        state = c.call("state")
        wrong = leftovers.rubbish(state.stdout, c.id, ("running",))
        killed = c.call("kill", signal="KILL")
        c.wait()
        deleted = c.call("delete")
        found = leftovers.left(t, c)
    finally:
        away.rename(c.bundle)
    t.check(
        "robustness.bundle-gone",
        not wrong and killed.ok and deleted.ok and not found,
        "state, kill and delete as ever",
        f"state: {wrong or 'running'}, kill: {killed.code}, delete: {deleted.sentence}, left: {'; '.join(found)}",
    )


@contextlib.contextmanager
def _small_root(t: Case, data: str) -> Iterator[Path]:
    """Have the runtime keep its records on a small file system of its own."""
    place, before = t.folder / "small", t.runtime.root
    place.mkdir(exist_ok=True)
    kernel.mount("tmpfs", place, "tmpfs", data=data)
    t.runtime.root = place / "root"
    try:
        yield place
    finally:
        for c in t.containers:
            if c.created:
                c.call("delete-force")
                c.created = False
        t.runtime.root = before
        kernel.umount(place)


@test("robustness.no-space", "robustness.no-space-again", needs=("root",), slow=True)
def no_space(t: Case) -> None:
    """The file system of the runtime's records has room for fewer pages, or fewer files, than it wants."""
    for data, free in (("size=4m", range(12)), ("size=4m,nr_inodes=64", range(10))):
        with _small_root(t, data) as place:
            (place / "root").mkdir()
            by_inodes = "nr_inodes" in data
            for count in free:
                with _filled(place, count, by_inodes):
                    c = t.prepare({}, "pause")
                    call = c.call("create")
                    if call.ok:
                        c.delete(force=True)
                        c.created = False
                        break
                    what = f"{count} {'files' if by_inodes else 'pages'} of room: {call.sentence}"
                    # The records themselves may stay, as there may be no room to change them.
                    found = leftovers.left(t, c, records=False)
                    t.check(
                        "robustness.no-space",
                        call.code > 0 and not found,
                        "an error, and nothing left",
                        f"{what}; {'; '.join(found)}",
                    )
                c.call("delete-force")
                c.created = False
                said = leftovers.again(t, c)
                t.check(
                    "robustness.no-space-again", not said, "the same id, with room", f"{what}; then {said}"
                )
    for id in ("robustness.no-space", "robustness.no-space-again"):
        t.check(id, True, "", "")  # a runtime that keeps nothing there needs no room


@contextlib.contextmanager
def _filled(place: Path, room: int, by_inodes: bool) -> Iterator[None]:
    """Fill a small file system up to some pages or files."""
    filler = place / "filler"
    filler.mkdir()
    free = os.statvfs(place)
    try:
        if by_inodes:
            for number in range(max(0, free.f_favail - room)):
                (filler / str(number)).touch()
        else:
            (filler / "big").write_bytes(bytes((free.f_bfree - room) * PAGE))
        yield
    finally:
        for path in filler.iterdir():
            path.unlink()
        filler.rmdir()


@test("robustness.closed-streams", needs=("root",))
def closed_streams(t: Case) -> None:
    """create is called with standard input, output and error closed."""
    c = t.prepare({}, "to /seen", "fds", "exit 0")
    c.created = True
    command = ("/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *leftovers.argv(t, "create", c))
    process = subprocess.Popen(command)
    code = leftovers.finish(t, [process])[0]
    leaked: list[str] = []
    if code == 0:
        c.start()
        c.wait()
        seen = c.rootfs / "seen"
        answers = probe.parse(seen.read_bytes()) if seen.exists() else []
        open_ = next(
            (each["result"] for each in answers if each["command"] == "fds" and "result" in each), None
        )
        if open_ is None:
            raise Broken("the program wrote nothing into its root file system")
        streams = [each for each in open_ if each["fd"] < 3 and each["link"] not in HARMLESS]
        leaked = [f"{each['fd']}: {each['type']} {each['link']}" for each in streams]
    c.call("delete-force")
    found = leftovers.left(t, c)
    t.check(
        "robustness.closed-streams",
        code != TIMED_OUT and not leaked and not found,
        "an error, or a container whose streams are closed or /dev/null; nothing left",
        f"exit code {code}, streams {leaked}, left: {'; '.join(found)}",
    )


@test("robustness.broken-pipe", needs=("root",))
def broken_pipe(t: Case) -> None:
    """state writes its answer into a pipe that nobody reads, and to a device that is full."""
    c = t.create({}, "pause")
    reader, writer = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    codes = []
    try:
        for descriptor in (writer, full):
            null = subprocess.DEVNULL
            process = subprocess.Popen(
                leftovers.argv(t, "state", c), stdin=null, stdout=descriptor, stderr=null
            )
            codes.append(leftovers.finish(t, [process])[0])
    finally:
        os.close(writer)
        os.close(full)
    after = leftovers.rubbish(c.call("state").stdout, c.id, ("created",))
    t.check(
        "robustness.broken-pipe",
        all(code not in (0, TIMED_OUT) for code in codes) and not after,
        "a failure for each, and a container that is created as before",
        f"exit codes {codes}; {after}",
    )
