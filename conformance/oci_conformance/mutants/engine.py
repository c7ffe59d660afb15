"""Runs the suite against mutants, and counts which of them it noticed.

First the good runtime is run, which says what each test sees of it and which properties its bundles set. A mutant is
possible on this host if some test that could notice it passes with the good runtime; it is killed when one of these
results is no pass any more, nor a refusal that the text permits.
"""

from __future__ import annotations

import json
import multiprocessing
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from oci_conformance.core.records import TestRecord
from oci_conformance.mutants import operations, properties, refusals, values
from oci_conformance.mutants.equivalent import EQUIVALENT
from oci_conformance.mutants.mutant import Mutant
from oci_conformance.run import registry, runner, worker
from oci_conformance.run.worker import Plan

WRAPPER = Path(__file__).with_name("wrapper.py")
ANY = 12  # tests that are tried for a property that the base configuration has, and so every test


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant."""

    mutant: Mutant
    status: str  # killed, survived, equivalent, impossible
    by: str = ""  # the test and requirement that noticed it; or why it is impossible
    tried: tuple[str, ...] = ()


def every() -> list[Mutant]:
    """All mutants there are."""
    found = [*properties.mutants(), *refusals.mutants(), *operations.mutants(), *values.mutants()]
    names = [mutant.name for mutant in found]
    assert len(names) == len(set(names)), "two mutants have one name"
    return found


def run(
    chosen: list[Mutant],
    baseline: list[TestRecord],
    plan: Plan,
    jobs: int,
    say: Callable[[Outcome], None],
) -> list[Outcome]:
    """Try mutants; `baseline` are the records of the good runtime, `plan` what it was run by."""
    outcomes = []
    tasks = []
    for mutant in chosen:
        if tests := candidates(mutant, baseline):
            tasks.append((mutant, tests, plan))
        else:
            outcomes.append(Outcome(mutant, "impossible", _why(mutant, baseline)))
            say(outcomes[-1])
    with runner.CONTEXT.Pool(jobs, worker.set_up, (plan,)) as pool:
        workers = multiprocessing.active_children()
        try:
            for outcome in pool.imap_unordered(_try, tasks):
                if outcome.status == "survived" and not _exists(outcome.mutant, baseline):
                    outcome = Outcome(
                        outcome.mutant, "impossible", "only refused bundles have this property here"
                    )
                say(outcome)
                outcomes.append(outcome)
        finally:
            pool.terminate()
            pool.join()
            for each in workers:
                runner.bury(each, ())
    return outcomes


def candidates(mutant: Mutant, baseline: list[TestRecord]) -> list[tuple[str, frozenset[str]]]:
    """Tests that could notice a mutant, quick ones first, each with what passed in it."""
    found = []
    for record in sorted(baseline, key=lambda record: record["seconds"]):
        passed = frozenset(result["id"] for result in record["results"] if result["status"] == "pass")
        if mutant.kills:
            passed &= frozenset(mutant.kills)
        elif mutant.property not in [*record.get("properties", ()), *record.get("refused", ())]:
            continue
        else:  # tests of wrong values take the right one, and don't look at what it does
            passed = frozenset(id for id in passed if not id.startswith(VALUES))
        if passed:
            found.append((record["test"], passed))
    if not found and not mutant.kills and mutant.property in _IN_BASE:
        passing = [
            record for record in baseline if record["results"] and record["results"][0]["status"] == "pass"
        ]
        found = [(record["test"], frozenset((record["results"][0]["id"],))) for record in passing[:ANY]]
    return found


def _exists(mutant: Mutant, baseline: list[TestRecord]) -> bool:
    """Did a container exist that had the mutant's property, so that its loss can be told from a refusal's absence?"""
    return bool(mutant.kills) or any(
        mutant.property in record.get("properties", ()) or mutant.property in _IN_BASE for record in baseline
    )


def _why(mutant: Mutant, baseline: list[TestRecord]) -> str:
    """Why no test could notice a mutant here."""
    if not mutant.kills:
        return "no bundle of a test that passes here has this property"
    seen = {
        f"{result['id']} is {result['status']}"
        for record in baseline
        for result in record["results"]
        if result["id"] in mutant.kills
    }
    return ", ".join(sorted(seen)) or "no test shows its requirements"


VALUES = "values."  # requirements that wrong values are refused

# Properties that bundle.base() sets.
_IN_BASE = frozenset(
    "ociVersion process process.user process.user.uid process.user.gid process.args process.env process.cwd root "
    "root.path mounts mounts[].destination mounts[].type mounts[].source mounts[].options linux linux.namespaces "
    "linux.namespaces[].type process.capabilities process.noNewPrivileges linux.cgroupsPath".split()
)


def _try(task: tuple[Mutant, list[tuple[str, frozenset[str]]], Plan]) -> Outcome:
    mutant, tests, plan = task
    script = Path(tempfile.mkdtemp(prefix="m", dir=plan.folder)) / "runtime"
    write(mutant, plan.path, script)
    broken = replace(plan, path=str(script), keep=False, out=None)
    for name, passed in tests:
        record = worker.run(registry.tests()[name], broken)
        for result in record["results"]:
            if result["status"] in ("fail", "error") and result["id"] in passed:
                return Outcome(mutant, "killed", f"{name} ({result['id']})")
    if mutant.name in EQUIVALENT:
        return Outcome(mutant, "equivalent")
    return Outcome(mutant, "survived", tried=tuple(name for name, _ in tests))


def write(mutant: Mutant, runtime: str, script: Path) -> None:
    """Write a mutant as a program that can be called like the runtime."""
    what = {
        "runtime": runtime,
        "edits": mutant.edits,
        "behaviour": mutant.behaviour,
        "argument": mutant.argument,
    }
    script.write_text(
        f'#!/bin/sh\nexec {sys.executable} -I -S {WRAPPER} {shlex.quote(json.dumps(what))} "$@"\n'
    )
    script.chmod(0o755)
