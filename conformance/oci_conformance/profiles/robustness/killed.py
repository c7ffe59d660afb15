"""The runtime is killed at many moments of its operations; delete --force has to put everything right."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

from oci_conformance.core.runtime import TIMED_OUT
from oci_conformance.profiles.robustness import leftovers
from oci_conformance.run.case import Case, Container
from oci_conformance.run.registry import test

Maker = Callable[[], Container]
ROUNDS = 24
SECONDS = 15.0  # at most, for the rounds of one test
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)
ALSO = ("robustness.kill-state", "robustness.kill-ends")


@test("robustness.kill-create", "robustness.kill-create-again", *ALSO, needs=("root",), slow=True)
def create(t: Case) -> None:
    """create is killed."""
    _rounds(t, "create", "robustness.kill-create", lambda: t.prepare({}, "pause"))


@test("robustness.kill-start", "robustness.kill-start-again", *ALSO, needs=("root",), slow=True)
def start(t: Case) -> None:
    """start is killed."""
    _rounds(t, "start", "robustness.kill-start", lambda: t.create({}, "pause"))


@test("robustness.kill-delete", "robustness.kill-delete-again", *ALSO, needs=("root",), slow=True)
def delete(t: Case) -> None:
    """delete of a stopped container is killed."""

    def stopped() -> Container:
        c = t.create({}, "exit 0")
        c.start()
        c.wait()
        return c

    _rounds(t, "delete", "robustness.kill-delete", stopped)


@test("robustness.kill-delete", "robustness.kill-delete-again", *ALSO, needs=("root",), slow=True)
def delete_force(t: Case) -> None:
    """delete --force of a running container is killed."""

    def running() -> Container:
        c = t.create({}, "pause")
        c.start()
        return c

    _rounds(t, "delete-force", "robustness.kill-delete", running)


def _rounds(t: Case, operation: str, id: str, make: Maker) -> None:
    """Kill an operation at moments spread over the time that it takes, and check after each that all can be cleared."""
    chance = random.Random(operation)
    until = time.monotonic() + SECONDS
    took = _took(t, operation, make())
    for number in range(ROUNDS):
        if time.monotonic() > until:
            break
        c = make()
        when = took * 1.1 * (number + chance.random()) / ROUNDS
        name = SIGNALS[number % len(SIGNALS)]
        leftovers.killed(t, operation, c, when, name)
        moment = f"{name.name} {1000 * when:.1f} ms after the beginning of {operation}"
        state = c.call("state")
        wrong = leftovers.rubbish(state.stdout, c.id) if state.ok else ""
        t.check("robustness.kill-state", not wrong, "an error or a state", f"{moment}: {wrong}")
        cleared = c.call("delete-force")
        hung = [call.operation for call in (state, cleared) if call.code == TIMED_OUT]
        t.check("robustness.kill-ends", not hung, "state and delete --force end", f"{moment}: {hung} did not")
        found = leftovers.left(t, c)
        t.check(id, not found, "nothing after delete --force", f"{moment}: {'; '.join(found)}")
        if found:
            continue
        c.created = False  # nothing to clean up after
        if number % 3 == 0:
            said = leftovers.again(t, c)
            t.check(f"{id}-again", not said, "the same id again", f"{moment}, delete --force, then: {said}")
    if f"{id}-again" not in t.verdicts:
        t.skip("nothing was cleared, so the same id could not be tried")


def _took(t: Case, operation: str, c: Container) -> float:
    """Seconds that the operation takes when it isn't killed."""
    began = time.monotonic()
    leftovers.finish(t, [leftovers.begin(t, operation, c)])
    took = time.monotonic() - began
    c.call("delete-force")
    return took
