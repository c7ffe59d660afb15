"""The operations start and kill (runtime.md#start, runtime.md#kill)."""

from __future__ import annotations

import signal

from oci_conformance.profiles.support.environment import changes_since, look
from oci_conformance.run.case import DELETE, Case, Container
from oci_conformance.run.registry import test

UNSEEN = (signal.SIGKILL, signal.SIGSTOP)
# By name all that have one, but for those that nobody can wait for; by number the real-time ones, whose first two are
# the C library's own.
SIGNALS = (
    *(each.name.removeprefix("SIG") for each in signal.Signals if each < 32 and each not in UNSEEN),
    *(str(number) for number in range(34, 65)),
)


def stopped(t: Case) -> Container:
    """A container whose program has ended."""
    c = t.create()
    c.start()
    c.wait()
    c.until("stopped")
    return c


@test("start.no-id", "kill.no-id")
def no_id(t: Case) -> None:
    """Start and kill without an ID are errors, and do nothing to the containers there are."""
    c = t.create({}, "serve")
    for operation in ("start", "kill"):
        before = c.state()
        call = t.runtime.call(operation, None, {"signal": "KILL"})
        t.check(f"{operation}.no-id", not call.ok, "an error without an ID", f"success: {call.stdout[:200]}")
        t.equal(f"{operation}.no-id", c.state(), before)
        control = c.call(operation, signal="KILL")
        t.check(f"{operation}.no-id", control.ok, "success with an ID", control.sentence)


@test("start.not-created-error", "start.not-created-no-effect", "errors.no-side-effects")
def start_twice(t: Case) -> None:
    """To start a container that runs, has stopped, or isn't there, is an error without effect."""
    c = t.serve()
    c.ask("cwd")
    before, environment = c.state(), look(t)
    call = c.call("start")
    t.check("start.not-created-error", not call.ok, "an error while running", "success")
    t.equal("start.not-created-no-effect", c.state(), before)
    t.equal("start.not-created-no-effect", c.ask("echo on").get("result"), "on")
    changes = changes_since(t, environment)
    t.check("errors.no-side-effects", not changes, "all as before", changes)

    c = stopped(t)
    before, environment, output = c.state(), look(t), c.stdout
    call = c.call("start")
    t.check("start.not-created-error", not call.ok, "an error once stopped", "success")
    t.equal("start.not-created-no-effect", c.state(), before)
    t.equal("start.not-created-no-effect", c.stdout, output)
    changes = changes_since(t, environment)
    t.check("errors.no-side-effects", not changes, "all as before", changes)

    call = t.runtime.call("start", "oc-never-created")
    t.check("start.not-created-error", not call.ok, "an error if there is no such container", "success")


@test("start.runs-program")
def runs_program(t: Case) -> None:
    """Start runs the program, arguments and environment of `process`, once."""
    changes = {"process.env": ["A=1", "PATH=/bin"], "process.cwd": "/tmp"}
    c = t.create(changes, "argv", "env", "cwd", "exit 7")
    t.equal("start.runs-program", c.stdout, "")
    c.start()
    c.wait()
    seen = {each["command"]: each.get("result") for each in c.results()}
    t.equal("start.runs-program", seen.get("argv"), ["/probe", "argv", "env", "cwd", "exit 7"])
    variables = seen.get("env") or []
    t.check(
        "start.runs-program", {"A=1", "PATH=/bin"} <= {*variables}, "the variables of process.env", variables
    )
    t.equal("start.runs-program", seen.get("cwd"), "/tmp")
    t.equal("start.runs-program", sum(each["command"] == "argv" for each in c.results()), 1)
    t.equal("start.runs-program", c.exit_code if c.exit_code is not None else 7, 7)


@test("start.process-unset-error")
def process_unset(t: Case) -> None:
    """Without `process` start is an error, if create wasn't already."""
    t.refused("start.process-unset-error", {}, {"process": DELETE}, at="start")


@test("kill.signal-delivered")
def signals(t: Case) -> None:
    """The container's process receives the signal that was given to kill: each that there is, and no other."""
    c = t.serve()
    for name in SIGNALS:
        c.ask("wait-signal 10")  # which answers that it waits
        c.kill(name)
        seen = c.answer("wait-signal", 12).get("result")
        t.equal("kill.signal-delivered", [name, seen], [name, {"signal": _named(name)}])
    c.kill("KILL")
    c.wait()
    t.equal("kill.signal-delivered", c.signal if c.exit_code is None else c.exit_code, 9)


def _named(name: str) -> str:
    """A signal as the probe names it."""
    if not name.isdigit():
        return f"SIG{name}"
    number = int(name)
    return "SIGRTMAX" if number == 64 else "SIGRTMIN" if number == 34 else f"SIGRTMIN+{number - 34}"


@test("kill.created")
def kill_created(t: Case) -> None:
    """A container that is created can be killed, and is stopped then."""
    c = t.create({}, "to /ran", "pause")
    c.pid  # noqa: B018 - while it exists
    call = c.call("kill", signal="KILL")
    if not t.check("kill.created", call.ok, "success while created", call.sentence):
        return
    c.wait()
    t.check("kill.created", c.until("stopped"), "stopped after SIGKILL", c.state().get("status"))
    t.check("kill.created", not (c.rootfs / "ran").exists(), "a program that never ran", "it ran")


@test("kill.bad-state-error", "kill.bad-state-no-effect", "errors.no-side-effects")
def kill_stopped(t: Case) -> None:
    """To send a signal to a container that has stopped, or isn't there, is an error without effect."""
    c = stopped(t)
    other = t.serve()
    before, environment = c.state(), look(t)
    for name in ("TERM", "KILL"):
        call = c.call("kill", signal=name)
        t.check("kill.bad-state-error", not call.ok, f"an error of SIG{name} once stopped", "success")
        t.equal("kill.bad-state-no-effect", c.state(), before)
    call = t.runtime.call("kill", "oc-never-created", {"signal": "KILL"})
    t.check("kill.bad-state-error", not call.ok, "an error if there is no such container", "success")
    t.equal("kill.bad-state-no-effect", other.ask("echo on").get("result"), "on")
    changes = changes_since(t, environment)
    t.check("errors.no-side-effects", not changes, "all as before", changes)
    c.delete()
