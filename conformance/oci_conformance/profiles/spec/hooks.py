"""Hooks: their properties, their order and what they are told (config.md#posix-platform-hooks)."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any
from unittest import mock

from oci_conformance.core.bundle import Json
from oci_conformance.core.runtime import Call
from oci_conformance.profiles.support.hooked import KINDS, PROGRAM, Hooked
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

LONG = 20  # seconds that a hook sleeps which is aborted after one
SOON = 9.0  # seconds after which that must have been noticed, on a slow machine too
BEFORE_PROGRAM = ("creating", "created")
# What `status` may be for a hook of each kind (runtime.md#state); runtime.md doesn't say whether the container is
# already created when create's own hooks are called.
STATUS = {
    "prestart": BEFORE_PROGRAM,
    "createRuntime": BEFORE_PROGRAM,
    "createContainer": BEFORE_PROGRAM,
    "startContainer": ("created",),
    "poststart": ("running",),
    "poststop": ("stopped",),
}


@test(
    "hooks.order",
    "hooks.prestart.before-createRuntime",
    "hooks.prestart.in-create-before-createRuntime",
    "hooks.createContainer.after-createRuntime",
)
def order(t: Case) -> None:
    """Hooks are called one after the other as they are listed, and kinds in their order, however slow they are."""
    hooked = Hooked(t)
    for kind in KINDS:
        for number, delay in enumerate((60, 30, 0)):
            hooked.add(kind, f"{kind} {number}", before=(f"sleep {delay}",))
    container = hooked.prepare()
    container.create()
    in_create = hooked.names()
    container.start()
    container.wait()
    container.delete()
    names = hooked.names()
    for kind in KINDS:
        seen = [name for name in names if name.startswith(f"{kind} ")]
        t.equal("hooks.order", seen, [f"{kind} {number}" for number in range(3)])
    runtimes, containers = (
        ["prestart"] * 3 + ["createRuntime"] * 3,
        ["createRuntime"] * 3 + ["createContainer"] * 3,
    )
    t.equal("hooks.prestart.before-createRuntime", _of(names, runtimes), runtimes)
    # Before 1.1 prestart hooks needn't be called in create at all.
    early = runtimes if "prestart 0" in in_create else runtimes[3:]
    t.equal("hooks.prestart.in-create-before-createRuntime", _of(in_create, runtimes), early)
    t.equal("hooks.createContainer.after-createRuntime", _of(names, containers), containers)


def _of(names: list[str], kinds: list[str]) -> list[str]:
    """The kinds of the hooks that ran, in order, as far as they are among these."""
    return [kind for name in names if (kind := name.split(" ")[0]) in kinds]


@test("hooks.args")
def args(t: Case) -> None:
    """A hook's argv is its args: the first one too, with spaces, empty words and other scripts."""
    hooked = Hooked(t)
    wanted = {}
    for kind in KINDS:
        hook = hooked.add(kind, kind, "argv", "echo  two  spaces, ü ", "echo ")
        hook["args"][0] = f"not the path, {kind}"
        wanted[kind] = hook["args"]
    hooked.run()
    t.equal("hooks.args", {kind: hooked.answers(kind).get("argv") for kind in KINDS}, wanted)


@test("hooks.env")
def env(t: Case) -> None:
    """A hook's environment is its env, and nothing of the runtime's own."""
    hooked = Hooked(t)
    wanted = {}
    for kind in KINDS:
        wanted[kind] = sorted([f"KIND={kind}", "EMPTY=", "EQUALS=a=b c", "UMLAUT=ü"])
        hooked.add(kind, kind, "env", env=wanted[kind])
    with mock.patch.dict(os.environ, {"OCI_CONFORMANCE_OUTSIDE": "1"}):
        hooked.run()
    seen = {kind: hooked.answers(kind).get("env") for kind in KINDS}
    t.equal("hooks.env", {kind: value and sorted(value) for kind, value in seen.items()}, wanted)


@test("hooks.env")
def env_empty(t: Case) -> None:
    """A hook with an empty env has no environment at all."""
    hooked = Hooked(t)
    for kind in KINDS:
        hooked.add(kind, kind, "env", env=[])
    hooked.run()
    t.equal(
        "hooks.env", {kind: hooked.answers(kind).get("env") for kind in KINDS}, {kind: [] for kind in KINDS}
    )


@test("hooks.state-stdin")
def state(t: Case) -> None:
    """Every hook reads the container's state from standard input, with the status of its time."""
    hooked = Hooked(t)
    for kind in KINDS:
        hooked.add(kind, kind, "state")
    container = hooked.prepare({}, "pause")
    container.create()
    container.start()
    hooked.wrote(PROGRAM, 5.0)  # start may return before the program is executed
    container.kill("KILL")
    container.wait()
    container.delete()
    for kind in KINDS:
        seen = _object(hooked.answers(kind).get("state"))
        wanted = {"id": container.id, "bundle": str(container.bundle), "status": " or ".join(STATUS[kind])}
        told = {"id": seen.get("id"), "bundle": seen.get("bundle"), "status": seen.get("status")}
        right = {**told, "status": wanted["status"]} == wanted and told["status"] in STATUS[kind]
        version = isinstance(seen.get("ociVersion"), str)
        t.check(
            "hooks.state-stdin", right and version, f"{kind}: {wanted} and ociVersion", seen or "no state"
        )


@test("state.ociVersion", "state.annotations")
def documents(t: Case) -> None:
    """What hooks are told of version and annotations is what state says, at each of their times."""
    annotations = {"org.example.a": "1", "org.example.ü": "", "org.example.long": "x" * 5000}
    hooked = Hooked(t)
    for kind in KINDS:
        hooked.add(kind, kind, "state")
    container = hooked.prepare({"annotations": annotations}, "pause")
    container.create()
    told = [container.state()]
    container.start()
    told.append(container.state())
    hooked.wrote(PROGRAM, 5.0)
    container.kill("KILL")
    container.wait()
    container.until("stopped")
    told.append(container.state())
    container.delete()
    version = told[0].get("ociVersion")
    t.check("state.ociVersion", str(version).startswith("1."), "a version of 1.x", version)
    states = [*told, *(_object(hooked.answers(kind).get("state")) for kind in KINDS)]
    for name, state in zip(("created", "running", "stopped", *KINDS), states, strict=True):
        t.equal("state.ociVersion", f"{name}: {state.get('ociVersion')}", f"{name}: {version}")
        # A runtime may add annotations of its own.
        seen = state.get("annotations")
        kept = {key: seen.get(key) for key in annotations} if isinstance(seen, dict) else seen
        t.equal("state.annotations", [name, kept], [name, annotations])


def _object(text: Any) -> Json:
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


@test("hooks.path-absolute")
def path_relative(t: Case) -> None:
    """A hook whose path isn't absolute is an error, though it would be found from any folder."""
    for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart"):
        control = Hooked(t)
        control.add(kind, kind)
        control.run()
        if not control.wrote(kind):
            t.check("hooks.path-absolute", False, f"with an absolute path {kind} hooks run", "it didn't")
            continue
        hooked = Hooked(t)
        hooked.add(kind, kind)["path"] = "probe"
        container = hooked.prepare()
        os.link(t.program, container.bundle / "probe")
        with contextlib.chdir(t.program.parent):
            t.is_refused(
                "hooks.path-absolute", container, at="start", expected=f"an error for the {kind} hook"
            )
        t.check("hooks.path-absolute", not hooked.wrote(kind), f"the {kind} hook doesn't run", "it did")


@test("hooks.timeout-positive")
def timeout_zero(t: Case) -> None:
    """A timeout that isn't above zero is an error."""
    for kind in ("createRuntime", "startContainer"):
        for number in (0, -1):
            base = {f"hooks.{kind}": [t.hook(path="/probe" if kind == "startContainer" else None, timeout=1)]}
            t.refused("hooks.timeout-positive", base, {f"hooks.{kind}[0].timeout": number}, at="start")


def _timeout_of_create(t: Case, kind: str) -> None:
    hooked = _sleeper(t, kind)
    call = _aborted(t, hooked, "create")
    t.check("hooks.timeout", not call.ok, "an error, since the hook didn't succeed", "create succeeded")


@test("hooks.timeout", slow=True)
def timeout_prestart(t: Case) -> None:
    """A prestart hook that takes longer than its timeout is aborted, and create fails."""
    _timeout_of_create(t, "prestart")


@test("hooks.timeout", slow=True)
def timeout_create(t: Case) -> None:
    """A createRuntime hook that takes longer than its timeout is aborted, and create fails."""
    _timeout_of_create(t, "createRuntime")


@test("hooks.timeout", slow=True)
def timeout_container(t: Case) -> None:
    """A createContainer hook that takes longer than its timeout is aborted, and create fails."""
    _timeout_of_create(t, "createContainer")


@test("hooks.timeout", slow=True)
def timeout_poststart(t: Case) -> None:
    """A poststart hook that takes longer than its timeout is aborted, whichever operation calls it."""
    hooked = _sleeper(t, "poststart")
    call = hooked.container.call("create")
    if hooked.names():  # not what the text says, but another requirement's affair
        aborted = not _hooks_of(hooked) and call.seconds < SOON
        t.check(
            "hooks.timeout", aborted, "the hook is aborted after 1 s", f"create took {call.seconds:.1f} s"
        )
    else:
        _aborted(t, hooked, "start")


@test("hooks.timeout", slow=True)
def timeout_start(t: Case) -> None:
    """A startContainer hook that takes longer than its timeout is aborted, and the program isn't run."""
    hooked = _sleeper(t, "startContainer")
    hooked.container.create()
    _aborted(t, hooked, "start")
    t.check("hooks.timeout", not hooked.wrote(PROGRAM), "the program isn't run", "it ran")


@test("hooks.timeout", slow=True)
def timeout_delete(t: Case) -> None:
    """A poststop hook that takes longer than its timeout is aborted."""
    hooked = _sleeper(t, "poststop")
    hooked.container.create()
    hooked.container.start()
    hooked.container.wait()
    _aborted(t, hooked, "delete")


@test("hooks.timeout", slow=True)
def timeout_kept(t: Case) -> None:
    """A hook that takes less than its timeout, in seconds, isn't aborted."""
    hooked = Hooked(t)
    hooked.add("createRuntime", "createRuntime", "sleep 1200", "echo ended", timeout=6)
    hooked.prepare()
    call = hooked.container.call("create")
    t.check("hooks.timeout", call.ok and hooked.wrote("ended"), "1.2 s are within 6 s", call.sentence)


def _sleeper(t: Case, kind: str) -> Hooked:
    """A prepared container with a hook that sleeps for long and has one second."""
    hooked = Hooked(t)
    hooked.add(kind, kind, f"sleep {LONG * 1000}", _late(hooked), timeout=1)
    hooked.prepare()
    return hooked


def _aborted(t: Case, hooked: Hooked, operation: str) -> Call:
    """After an operation, the hook that it called is soon gone."""
    began = time.monotonic()
    call = hooked.container.call(operation)
    # start may return before it has called the hook; an operation that has failed won't call any.
    while (_hooks_of(hooked) or (call.ok and not hooked.names())) and time.monotonic() - began < SOON:
        time.sleep(0.01)
    left = _hooks_of(hooked)
    if t.check("hooks.timeout", hooked.names() != [], "the hook runs", f"it didn't; {call.sentence}"):
        took = f"{operation} took {call.seconds:.1f} s{f', and the hook goes on as {left}' if left else ''}"
        t.check("hooks.timeout", not left and call.seconds < SOON, "the hook is aborted after 1 s", took)
    return call


def _hooks_of(hooked: Hooked) -> list[int]:
    """Processes that are hooks of this container."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if _late(hooked).encode() in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found


def _late(hooked: Hooked) -> str:
    """What an aborted hook never comes to do; it also tells its command line from all others."""
    return f"echo late {hooked.folder}"
