"""Hooks: where they run, what they have, and what becomes of those that fail."""

from __future__ import annotations

import os
from unittest import mock

from oci_conformance.core.runtime import TIMED_OUT
from oci_conformance.profiles.habits import tools
from oci_conformance.profiles.robustness.leftovers import left
from oci_conformance.profiles.spec.seccomp import CALLS, ERRNO, VICTIM, profile, rule
from oci_conformance.profiles.support.hooked import KINDS, Hooked
from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test

VARIABLE = "OCI_CONFORMANCE_HABIT"
SECONDS = 60  # that a hook would go on


@test("habits.hooks-folder", "habits.hooks-folder-poststop")
def folder(t: Case) -> None:
    """All operations are called from another folder: each hook is where its kind is."""
    hooks = Hooked(t)
    for kind in KINDS:
        hooks.add(kind, kind, "cwd")
    container = hooks.prepare({}, "cwd")
    elsewhere = t.folder / "elsewhere"
    elsewhere.mkdir()
    with tools.control(t):
        for operation in ("create", "start"):
            call = container.call(operation, cwd=elsewhere)
            if not call.ok:
                raise Refused(call)
            container.pid  # noqa: B018 - while it surely exists
        container.wait()
        container.call("delete", cwd=elsewhere)
    bundle, root = str(container.bundle), str(container.rootfs)
    allowed = dict.fromkeys(KINDS, (bundle,)) | {
        "createContainer": (bundle, root, "/"),
        "startContainer": ("/",),
    }
    for kind, places in allowed.items():
        seen = hooks.answers(kind).get("cwd")
        id = "habits.hooks-folder-poststop" if kind == "poststop" else "habits.hooks-folder"
        t.check(id, seen in places, f"{kind}: {' or '.join(places)}", f"{kind}: {seen}")


@test("habits.hooks-environment")
def environment(t: Case) -> None:
    """The caller has a variable, a createRuntime hook has no env: the hook has the variable."""
    hooks = Hooked(t)
    hooks.add("createRuntime", "hook", "env")
    with mock.patch.dict(os.environ, {VARIABLE: "x"}):
        hooks.run({}, "cwd")
    seen = hooks.answers("hook").get("env") or []
    t.check("habits.hooks-environment", f"{VARIABLE}=x" in seen, f"{VARIABLE}=x", seen)


@test("habits.hooks-filter")
def filtered(t: Case) -> None:
    """The profile refuses a system call: it is refused to a startContainer hook as well."""
    hooks = Hooked(t)
    hooks.add("startContainer", "hook", "seccomp", CALLS[VICTIM])
    container = hooks.run(profile(rule(ERRNO, VICTIM)), CALLS[VICTIM])
    ran = "hook" in hooks.names()
    t.check("habits.hooks-filter", ran, "a hook that runs", container.stderr[-300:])
    mode = (hooks.answers("hook").get("seccomp") or {}).get("mode")
    t.equal("habits.hooks-filter", mode, 2)


@test("habits.hooks-timeout")
def timeout(t: Case) -> None:
    """A createRuntime hook with a timeout of a second that would go on for a minute: create fails before that."""
    with tools.control(t):
        t.run({"hooks": {"createRuntime": [t.hook("cwd", timeout=5)]}}, "cwd")
    container = t.prepare({"hooks": {"createRuntime": [t.hook(f"sleep {SECONDS * 1000}", timeout=1)]}}, "cwd")
    call = container.call("create")
    seen = "it succeeded" if call.ok else call.sentence
    t.check("habits.hooks-timeout", not call.ok and call.code != TIMED_OUT, "an error of create", seen)
    container.call("delete-force")
    found = left(t, container)
    t.check("habits.hooks-timeout", not found, "nothing is left", "; ".join(found))


@test("habits.hooks-failing")
def failing(t: Case) -> None:
    """A createRuntime and a createContainer hook that end with 1: create fails, without anything to clear up."""
    for kind in ("createRuntime", "createContainer"):
        with tools.control(t):
            t.run({"hooks": {kind: [t.hook("exit 0")]}}, "cwd")
        container = t.prepare({"hooks": {kind: [t.hook("exit 1")]}}, "cwd")
        call = container.call("create")
        t.check("habits.hooks-failing", not call.ok, f"{kind}: create fails", "it succeeded")
        found = left(t, container)
        t.check("habits.hooks-failing", not found, f"{kind}: nothing is left", "; ".join(found))


@test("habits.hooks-output")
def output(t: Case) -> None:
    """A createRuntime hook writes to its standard error and ends with 1: create's error has what it wrote."""
    hook = t.hook("to /dev/stderr", "echo the reason why", "exit 1")
    call = t.prepare({"hooks": {"createRuntime": [hook]}}, "cwd").call("create")
    said = not call.ok and "the reason why" in call.stderr
    t.check("habits.hooks-output", said, "the hook's words in the error", call.stderr[-500:])
