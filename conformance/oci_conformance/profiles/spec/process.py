"""process: what is run, with which arguments and environment, and where (config.md#process)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

from oci_conformance.core.bundle import Changes
from oci_conformance.run.case import DELETE, Case, Container
from oci_conformance.run.registry import test

ENVIRONMENT = ["HOME=/home/of nobody", "PATH=/bin", "EMPTY=", "EQUALS=a=b c", "UMLAUT=ü", "lower=1"]


@test("process.optional", "process.required-at-start")
def absent(t: Case) -> None:
    """A container without process can be created; starting it is an error."""
    container = t.prepare({"process": DELETE})
    call = container.call("create")
    seen = container.state().get("status") if call.ok else call.sentence
    t.check("process.optional", seen == "created", "a created container", seen)
    start = container.call("start")
    t.check("process.required-at-start", not start.ok, "an error, at start if not before", "start succeeded")


@test("process.cwd-set")
def cwd(t: Case) -> None:
    """The program's working directory is process.cwd, also where that is in a mount, and a long way down."""
    deep = "/work/" + "d" * 100 + "/here"
    seen = t.run({"process.cwd": deep}, "cwd", files={f"{deep}/file": ""})["cwd"]
    t.equal("process.cwd-set", seen, deep)
    mounted = {
        "mounts[+]": {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"},
        "process.cwd": "/mnt",
    }
    seen = t.run(mounted, "cwd", "stat .")
    t.equal("process.cwd-set", seen["cwd"], "/mnt")
    t.equal("process.cwd-set", t.run({"process.cwd": "/"}, "cwd")["cwd"], "/")


@test("process.cwd-absolute")
def cwd_relative(t: Case) -> None:
    """A working directory that isn't absolute is refused, though it is there."""
    for relative in ("tmp", "./", ""):
        t.refused("process.cwd-absolute", {}, {"process.cwd": relative}, at="start")


@test("process.env")
def env(t: Case) -> None:
    """The program's environment is process.env, and nothing of the runtime's own."""
    with mock.patch.dict(os.environ, {"OCI_CONFORMANCE_OUTSIDE": "1"}):
        seen = t.run({"process.env": ENVIRONMENT}, "env")["env"]
    t.equal("process.env", sorted(seen), sorted(ENVIRONMENT))


@test("process.args")
def args(t: Case) -> None:
    """The program gets process.args as they are: the first one too, empty ones, spaces, other scripts."""
    words = ["probe", "argv", "echo  two  spaces", "", "echo ü\n'\"$HOME\\"]
    t.equal("process.args", t.run({"process.args": words}, "argv")["argv"], words)


@test("process.args-nonempty")
def args_empty(t: Case) -> None:
    """A process without arguments, or with an empty list of them, is refused."""
    nothings: tuple[Any, ...] = ([], DELETE)
    for nothing in nothings:
        t.refused("process.args-nonempty", {}, {"process.args": nothing}, at="start")


@test("process.args-execvp")
def lookup(t: Case) -> None:
    """The first argument is looked up as execvp does: in the container's PATH unless it has a slash."""
    # A file that nobody may execute doesn't end the search.
    found = _searching(t, "/one:/two:/three", "tool")
    t.equal("process.args-execvp", _program(found), "/two/tool")
    t.equal("process.args-execvp", _program(_searching(t, "/three:/two", "tool")), "/three/tool")
    # With a slash PATH has no say, and the working directory has.
    t.equal("process.args-execvp", _program(_searching(t, "/three", "two/tool")), "/two/tool")
    nested = _searching(t, "/three", "./tool", cwd="/two")
    t.equal("process.args-execvp", _program(nested), "/two/tool")


@test("process.args-execvp")
def lookup_fails(t: Case) -> None:
    """A program that isn't in PATH is an error, though it is in the working directory or in the runtime's PATH."""
    control = _searching(t, "/two", "tool", cwd="/three")
    t.equal("process.args-execvp", _program(control), "/two/tool")
    elsewhere = _searching(t, "/bin", "tool", cwd="/three")
    outside = {"PATH": f"{elsewhere.rootfs / 'two'}:/two:{os.environ.get('PATH', '')}"}
    with mock.patch.dict(os.environ, outside):
        t.is_refused("process.args-execvp", elsewhere, at="start", expected="an error: it isn't in PATH")


def _searching(t: Case, path: str, program: str, cwd: str = "/") -> Container:
    """A container that runs `program` with a PATH.

    It has /one/tool, which nobody may execute, /two/tool and /three/tool.
    """
    wanted: Changes = {
        "process.env": [f"PATH={path}"],
        "process.args": [program, "stat /proc/self/exe"],
        "process.cwd": cwd,
    }
    container = t.prepare(wanted, files={"/one/tool": ""})
    (container.rootfs / "one/tool").chmod(0o644)
    for name in ("two", "three"):
        _link(t.program, container.rootfs / name / "tool")
    return container


def _link(program: Path, place: Path) -> None:
    place.parent.mkdir()
    os.link(program, place)


def _program(container: Container) -> object:
    """Which file a container's program is, as itself sees it."""
    container.create()
    container.start()
    container.wait()
    container.delete()
    answers = container.results()
    result = answers[0].get("result") if answers else None
    return result.get("target") if isinstance(result, dict) else f"no answer: {container.stderr[-300:]}"
