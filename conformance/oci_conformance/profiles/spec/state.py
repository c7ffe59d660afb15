"""The state of a container, and the operation that queries it (runtime.md#state, runtime.md#query-state)."""

from __future__ import annotations

import json
import os
from pathlib import Path

from jsonschema import Draft4Validator  # type: ignore[import-untyped]

from oci_conformance.core import probe
from oci_conformance.core.bundle import Changes, Json
from oci_conformance.profiles.support.environment import runs_probe
from oci_conformance.run.case import Case, Container
from oci_conformance.run.registry import test
from oci_spec import schema
from oci_spec.names import STATUSES
from oci_spec.version import parse

ANNOTATIONS = {"com.example.one": "1", "com.example.empty": "", "com.example.text": 'ä "quoted"\nline'}
KNOWN = ("ociVersion", "id", "status", "pid", "bundle", "annotations")


def states(t: Case) -> tuple[Container, dict[str, Json]]:
    """A container that has been created, running and stopped, and the state that it had each time."""
    c = t.create({"annotations": ANNOTATIONS}, "serve")
    found = {"created": c.state()}
    c.start()
    c.ask("cwd")  # so its program has been executed
    found["running"] = c.state()
    c.kill("KILL")
    c.wait()
    c.until("stopped")
    found["stopped"] = c.state()
    return c, found


@test("state.status", "state.status-values", "state.status-extra", "state.status-created", "state.status-running",
      "state.status-stopped")  # fmt: skip
def status(t: Case) -> None:
    """The status is created after create, running once the program was executed, stopped after its end."""
    _, seen = states(t)
    statuses = {name: state.get("status") for name, state in seen.items()}
    for name, value in statuses.items():
        t.equal(f"state.status-{name}", value, name)
        t.check("state.status", isinstance(value, str) and value != "", "a status", value)
    t.check(
        "state.status-values",
        all(isinstance(value, str) for value in statuses.values()),
        "one of the standard values, or the runtime's own",
        statuses,
    )
    own = {name: value for name, value in statuses.items() if value not in STATUSES}
    t.check("state.status-extra", not own, "no value of its own where a standard one fits", own)


@test("state.ociVersion", "state.id", "state.bundle", "state.annotations", "state.extra-props", "state.schema",
      "state-op.returns-state")  # fmt: skip
def properties(t: Case) -> None:
    """In each status the state has its version, ID, absolute bundle and annotations, in the form of the schema."""
    c, seen = states(t)
    check = Draft4Validator(schema.schema("state"))
    for name, state in seen.items():
        version = state.get("ociVersion")
        t.check(
            "state.ociVersion", isinstance(version, str) and parse(version) is not None, "a version", version
        )
        t.equal("state.id", state.get("id"), c.id)
        t.check("state.bundle", is_bundle(state.get("bundle"), c.bundle), str(c.bundle), state.get("bundle"))
        annotations = state.get("annotations")
        t.check("state.annotations", has(annotations, ANNOTATIONS), f"at least {ANNOTATIONS}", annotations)
        extra = {key: value for key, value in state.items() if key not in KNOWN}
        t.check(
            "state.extra-props", set(KNOWN) - {*extra} == set(KNOWN), "further properties, or none", extra
        )
        # The schema of the parser lets null stand for an absent property; that of the specification doesn't.
        faults = [error.message for error in check.iter_errors(state)]
        faults += [f"{key} is null" for key in KNOWN if key in state and state[key] is None]
        t.check("state.schema", not faults, f"a state in the form of the schema while {name}", faults)
        ours = (state.get("id"), state.get("status"))
        t.equal("state-op.returns-state", ours, (c.id, name))


@test("state.annotations")
def no_annotations(t: Case) -> None:
    """Without annotations in the configuration the state has none, or an empty map."""
    empty: Changes = {"annotations": {}}
    for changes in ({}, empty):
        state = t.create(changes).state()
        t.check(
            "state.annotations",
            "annotations" not in state or state["annotations"] == {},
            "no annotations",
            state.get("annotations"),
        )


@test("state.pid")
def pid(t: Case) -> None:
    """In created and running the pid is that of the container's process, in the runtime's PID namespace."""
    c = t.create({}, "serve")
    before = c.state().get("pid")
    c.start()
    inside = c.ask("ns").get("result", {}).get("pid")
    after = c.state().get("pid")
    t.check("state.pid", _is_pid(before), "a process ID while created", before)
    t.check("state.pid", _is_pid(after), "a process ID while running", after)
    if not (_is_pid(before) and _is_pid(after)):
        return
    t.equal("state.pid", after, before)
    t.check(
        "state.pid", runs_probe(c), "the process whose program is that of the configuration", c.proc("exe")
    )
    t.equal("state.pid", c.proc("ns/pid"), inside)


@test("state.bundle-absolute-when-relative-given")
def relative_bundle(t: Case) -> None:
    """The state's bundle is absolute where create was given a relative path."""
    for given in ("{}", "./{}/", "../{1}/{0}"):
        c = t.prepare({})
        path = given.format(c.bundle.name, c.bundle.parent.name)
        call = c.call("create", bundle=path, cwd=c.bundle.parent)
        if not t.check(
            "state.bundle-absolute-when-relative-given", call.ok, f"success of --bundle {path}", call.sentence
        ):
            return
        seen = c.state().get("bundle")
        t.check("state.bundle-absolute-when-relative-given", is_bundle(seen, c.bundle), str(c.bundle), seen)


@test("state.status-creating", "state.pid-runtime-ns", "state.pid-host")
def hooks_of_the_runtime(t: Case) -> None:
    """Hooks in the runtime's namespaces are told the pid as the runtime sees it, and a status that fits."""
    names = ("prestart", "createRuntime", "poststart")
    c = t.create({f"hooks.{name}": [t.hook(f"to {t.folder / name}", "state")] for name in names}, "serve")
    c.start()
    c.ask("cwd")
    for name in names:
        state = told(t.folder / name)
        for id in ("state.pid-runtime-ns", "state.pid-host"):
            t.check(id, state.get("pid") == c.pid, f"pid {c.pid} in what {name} is told", state)
        if (
            name != "poststart"
        ):  # creating ends with create, created begins after step 2: these are steps 3 and 4
            t.check(
                "state.status-creating",
                state.get("status") not in ("running", "stopped"),
                f"creating, created, or a status of the runtime's own in {name}",
                state,
            )


@test("state.pid-container-ns", "state.pid-host", "state.status-created")
def hooks_of_the_container(t: Case) -> None:
    """Hooks in the container's namespaces are told the pid as the container sees it."""
    place = "/told"
    hooks = {
        "hooks.createContainer": [t.hook(f"to {t.folder / 'createContainer'}", "state")],
        "hooks.startContainer": [t.hook(f"to {place}", "state", path="/probe")],
    }
    c = t.create(hooks, "serve")
    c.start()
    inside = c.ask("session").get("result", {}).get("pid")
    for name, log in (
        ("createContainer", t.folder / "createContainer"),
        ("startContainer", c.rootfs / "told"),
    ):
        state = told(log)
        t.check(
            "state.pid-container-ns",
            state.get("pid") == inside,
            f"pid {inside} in what {name} is told",
            state,
        )
        t.check("state.pid-host", state.get("pid") == c.pid, f"pid {c.pid} in what {name} is told", state)
        if name == "startContainer":
            t.check("state.status-created", state.get("status") == "created", f"created in {name}", state)


@test("state.id-unique-host")
def unique(t: Case) -> None:
    """No two containers have the same ID at one time: the second create is refused, whatever its bundle."""
    first, other = t.serve({}), t.serve({})
    t.check("state.id-unique-host", first.state().get("id") != other.state().get("id"), "two IDs", first.id)
    second = t.prepare({}, "serve", id=first.id)
    call = second.call("create")
    t.check("state.id-unique-host", not call.ok, "an error for an ID in use", "success")
    t.equal("state.id-unique-host", first.ask("echo here").get("result"), "here")


@test("state-op.no-id")
def no_id(t: Case) -> None:
    """To query a state without an ID is an error."""
    c = t.create({})
    t.check("state-op.no-id", t.runtime.call("state", c.id).ok, "success with an ID", "an error")
    call = t.runtime.call("state")
    t.check("state-op.no-id", not call.ok, "an error", f"success: {call.stdout[:200]}")


@test("state-op.nonexistent")
def nonexistent(t: Case) -> None:
    """To query a container that was never there, or is there no longer, is an error."""
    never = t.runtime.call("state", "oc-never-created")
    t.check("state-op.nonexistent", not never.ok, "an error", f"success: {never.stdout[:200]}")
    c = t.create({})
    t.check("state-op.nonexistent", c.call("state").ok, "success while it exists", "an error")
    c.start()
    c.wait()
    c.delete()
    after = c.call("state")
    t.check("state-op.nonexistent", not after.ok, "an error after delete", f"success: {after.stdout[:200]}")


def told(log: Path) -> Json:
    """The state that a hook wrote into a log; {} where it wrote none, or no object."""
    try:
        answers = probe.parse(log.read_bytes())
        state = json.loads(next(each["result"] for each in answers if each["command"] == "state"))
    except (OSError, StopIteration, KeyError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def is_bundle(path: object, bundle: Path) -> bool:
    """Is it an absolute path of the bundle?"""
    return (
        isinstance(path, str)
        and os.path.isabs(path)
        and os.path.isdir(path)
        and os.path.samefile(path, bundle)
    )


def has(annotations: object, wanted: dict[str, str]) -> bool:
    """Are all wanted annotations there?"""
    return isinstance(annotations, dict) and wanted.items() <= annotations.items()


def _is_pid(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and os.path.isdir(f"/proc/{value}")
