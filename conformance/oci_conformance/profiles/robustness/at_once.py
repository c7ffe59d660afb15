"""Several calls of the runtime at the same time."""

from __future__ import annotations

import time
from typing import Any

from oci_conformance.core.runtime import TIMED_OUT
from oci_conformance.profiles.robustness import leftovers
from oci_conformance.run.case import Case, Container
from oci_conformance.run.registry import test

ROUNDS = 5
RIVALS = 4


def _race(t: Case, operation: str, c: Container) -> list[int]:
    """The exit codes of some calls of one operation, all begun at the same time."""
    return leftovers.finish(t, [leftovers.begin(t, operation, c) for _ in range(RIVALS)])


@test("robustness.create-at-once", "robustness.create-at-once-clean", needs=("root",))
def create(t: Case) -> None:
    """Several creates with one id: one makes the container, the others fail and leave it alone."""
    for _ in range(ROUNDS):
        c = t.prepare({}, "exit 7")
        codes = _race(t, "create", c)
        won = codes.count(0)
        whole = ""
        if won == 1:
            status = c.state().get("status")
            c.start()
            c.wait()
            whole = (
                "" if (status, c.exit_code) == ("created", 7) else f"{status}, then exit code {c.exit_code}"
            )
            c.delete()
        else:
            c.call("delete-force")
        t.check(
            "robustness.create-at-once",
            won == 1 and not whole,
            "one success, whose container runs",
            f"exit codes {codes}; {whole}",
        )
        found = leftovers.left(t, c)
        t.check("robustness.create-at-once-clean", not found, "nothing after delete", "; ".join(found))


@test("robustness.start-at-once", needs=("root",))
def start(t: Case) -> None:
    """Several starts of one container: one succeeds, and the program runs once."""
    for _ in range(ROUNDS):
        c = t.create({}, "to /ran", "echo here", "exit 0")
        _ = c.pid  # while it is there, so that its end can be awaited
        codes = _race(t, "start", c)
        c.wait()
        ran = (c.rootfs / "ran").read_text().count('"here"') if (c.rootfs / "ran").exists() else 0
        t.check(
            "robustness.start-at-once",
            codes.count(0) == 1 and ran == 1,
            "one success, and the program ran once",
            f"exit codes {codes}, and it ran {ran} times",
        )
        c.delete(force=True)


@test("robustness.delete-at-once", needs=("root",))
def delete(t: Case) -> None:
    """Several deletes of one container: it is gone after them, and none hangs."""
    for number in range(ROUNDS):
        force = number % 2 == 1
        c = t.create({}, "pause" if force else "exit 0")
        c.start()
        if not force:
            c.wait()
        codes = _race(t, "delete-force" if force else "delete", c)
        found = leftovers.left(t, c)
        said = "" if found else leftovers.again(t, c)
        t.check(
            "robustness.delete-at-once",
            0 in codes and TIMED_OUT not in codes and not found and not said,
            "at least one success, nothing left, and an id that can be used again",
            f"exit codes {codes}; left: {'; '.join(found) or 'nothing'}; again: {said or 'fine'}",
        )


@test("robustness.many-at-once", needs=("root",))
def many(t: Case) -> None:
    """Several containers are created, started and deleted at the same time."""
    containers = [t.prepare({}, "exit 7") for _ in range(2 * RIVALS)]
    seen: dict[str, list[Any]] = {}
    seen["create"] = leftovers.finish(t, [leftovers.begin(t, "create", c) for c in containers])
    seen["state"] = [leftovers.rubbish(c.call("state").stdout, c.id, ("created",)) for c in containers]
    running = [c for c, wrong in zip(containers, seen["state"], strict=True) if not wrong and c.pid]
    seen["start"] = leftovers.finish(t, [leftovers.begin(t, "start", c) for c in running])
    for c in running:
        c.wait()
    ended = [c.exit_code for c in running]
    seen["delete"] = leftovers.finish(t, [leftovers.begin(t, "delete", c) for c in running])
    seen["left"] = [each for c in containers for each in leftovers.left(t, c)]
    t.check(
        "robustness.many-at-once",
        not any(any(each) for each in seen.values()) and ended == [7] * len(containers),
        f"{len(containers)} containers that are created, run and are gone",
        {**seen, "exit codes": ended},
    )


@test("robustness.state-while-creating", needs=("root",))
def state(t: Case) -> None:
    """state is asked again and again while create runs, which a hook makes long."""
    c = t.prepare({"hooks.createRuntime": [t.hook("sleep 250")]}, "pause")
    process = leftovers.begin(t, "create", c)
    asked = 0
    while process.poll() is None:
        call = c.call("state")
        asked += 1
        if call.ok:
            wrong = leftovers.rubbish(call.stdout, c.id, ("creating", "created"))
            t.check("robustness.state-while-creating", not wrong, "an error, creating or created", wrong)
        time.sleep(0.005)
    call = c.call("state")
    wrong = leftovers.rubbish(call.stdout, c.id, ("created",)) if process.returncode == 0 else "create failed"
    t.check(
        "robustness.state-while-creating",
        call.ok and not wrong,
        "created once create has ended",
        f"{wrong or call.sentence} (asked {asked} times before)",
    )
