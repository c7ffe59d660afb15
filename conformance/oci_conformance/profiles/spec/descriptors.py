"""File descriptors and the links of /dev that lead to them (runtime-linux.md)."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from unittest import mock

from oci_conformance.core import probe
from oci_conformance.core.bundle import Json
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

LINKS = {"fd": "fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}  # in /dev -> in /proc/self
DEV_LINKS = tuple(f"dev-symlinks.{name}" for name in LINKS)
LOOK = tuple(f"stat /dev/{name}" for name in LINKS)
PROC = {"destination": "/proc", "type": "proc", "source": "proc"}
FAR = 213  # a number that no runtime is likely to use
FIRST_PASSED = 3  # where socket activation begins (sd_listen_fds(3))


@test("fds.std-only")
def standard(t: Case) -> None:
    """The program has descriptors 0, 1 and 2, and no other, though the runtime was called with more."""
    ends = os.pipe()
    far = fcntl.fcntl(ends[0], fcntl.F_DUPFD, FAR)
    t.runtime.inherited = (*ends, far)
    try:
        seen = t.run({}, "fds")["fds"]
    finally:
        for descriptor in t.runtime.inherited:
            os.close(descriptor)
    t.equal("fds.std-only", sorted(entry["fd"] for entry in seen), [0, 1, 2])


@test("fds.extra")
def activation(t: Case) -> None:
    """A socket that is passed as systemd does reaches the program, or doesn't; nothing else takes its place."""
    with _passed(t) as link, mock.patch.dict(os.environ, {"LISTEN_FDS": "1"}):
        seen = t.run({}, "fds")["fds"]
    more = [entry for entry in seen if entry["fd"] > 2]
    given = [{"fd": FIRST_PASSED, "type": "pipe", "link": link}]
    t.check("fds.extra", more in ([], given), f"no further descriptor, or {given}", more)


@contextlib.contextmanager
def _passed(t: Case) -> Iterator[str]:
    """The runtime's calls have a pipe as descriptor 3; this gives its name."""
    end, other = os.pipe()
    before = None
    if end != FIRST_PASSED:
        with contextlib.suppress(OSError):  # it is free
            before = fcntl.fcntl(FIRST_PASSED, fcntl.F_DUPFD_CLOEXEC, FAR)
        os.dup2(end, FIRST_PASSED)
        os.close(end)
    t.runtime.inherited = (FIRST_PASSED,)
    try:
        yield os.readlink(f"/proc/self/fd/{FIRST_PASSED}")
    finally:
        t.runtime.inherited = ()
        os.close(other)
        if before is None:
            os.close(FIRST_PASSED)
        else:
            os.dup2(before, FIRST_PASSED, inheritable=False)
            os.close(before)


@test("fds.devnull")
def redirected(t: Case) -> None:
    """Descriptors 0 to 2 are open: each leads to what create was given, or to /dev/null."""
    # create is given /dev/null as 0, and files as 1 and 2. The answers go to another file, since 1 may lead nowhere.
    container = t.create({}, "to /answers", "fds")
    container.start()
    container.wait()
    answers = probe.parse((container.rootfs / "answers").read_bytes())
    seen = {entry["fd"]: entry for entry in answers[-1].get("result", [])} if answers else {}
    for number, name in enumerate((None, "stdout", "stderr")):
        entry = seen.get(number, {})
        link = str(entry.get("link"))
        null = entry.get("type") == "char" and link.endswith("/null")
        given = name is not None and entry.get("type") == "file" and link.endswith(f"/{name}")
        t.check("fds.devnull", null or given, f"{name or 'standard input'}, or /dev/null", entry or "closed")


@test(*DEV_LINKS)
def dev_links(t: Case) -> None:
    """/dev has the four links where /proc is mounted, whether /dev is a mount or a folder of the root file system."""
    _judge(t, t.run({}, *LOOK).answers)
    _judge(t, t.run({"mounts": [PROC]}, *LOOK).answers)


@test(*DEV_LINKS)
def dev_links_there(t: Case) -> None:
    """A root file system that has the links already is no obstacle."""
    container = t.prepare({"mounts": [PROC]}, *LOOK)
    for name, target in LINKS.items():
        os.symlink(f"/proc/self/{target}", container.rootfs / "dev" / name)
    container.create()
    container.start()
    container.wait()
    _judge(t, container.results())


def _judge(t: Case, answers: list[Json]) -> None:
    seen = {answer["command"]: answer for answer in answers}
    for name, target in LINKS.items():
        answer = seen.get(f"stat /dev/{name}", {})
        result = answer.get("result", {})
        t.equal(
            f"dev-symlinks.{name}",
            result.get("target") or result.get("type") or answer.get("errno"),
            f"/proc/self/{target}",
        )


@test("dev-symlinks.no-proc")
def no_proc(t: Case) -> None:
    """Without /proc the links aren't needed: the container is created and runs."""
    container = t.prepare({"mounts": t.base("")["mounts"][1:]}, "echo here")
    call = container.call("create")
    if t.check("dev-symlinks.no-proc", call.ok, "create succeeds", call.sentence):
        container.start()
        container.wait()
        said = [answer.get("result") for answer in container.results()]
        t.equal("dev-symlinks.no-proc", said, ["here"])
