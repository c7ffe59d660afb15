"""process.execCPUAffinity (config.md#linux-process): for the runtime's exec, which is no specified operation."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from oci_conformance.core import kernel, probe
from oci_conformance.core.bundle import Json
from oci_conformance.core.cgroup import Cgroups
from oci_conformance.run.case import Broken, Case, Container
from oci_conformance.run.registry import test

ALLOWED = re.compile(r"^Cpus_allowed_list:\s*(\S+)", re.MULTILINE)
TRIES = 5  # how often the runtime is watched for an affinity that it has for some milliseconds only


def two_cpus() -> tuple[int, int]:
    """Two CPUs that this process may run on."""
    first, second = sorted(os.sched_getaffinity(0))[:2]
    return first, second


@test("cpuaff.not-init", needs=("cpus:2",))
def init(t: Case) -> None:
    """execCPUAffinity doesn't count for the container's own process."""
    one, _ = two_cpus()
    without = t.run({}, "affinity")["affinity"]
    changes = {"process.execCPUAffinity": {"initial": str(one), "final": str(one)}}
    t.equal("cpuaff.not-init", t.run(changes, "affinity")["affinity"], without)


@test("cpuaff.initial", "cpuaff.final", "cpuaff.final-unset", needs=("root", "cpus:2"))
def executed(t: Case) -> None:
    """A process of exec begins on the initial CPUs and runs on the final ones, or where the kernel leaves it."""
    if "exec" not in t.runtime.adapter.operations:
        _unsupported(t, "the adapter says nothing of an exec")
        return
    container = t.create({}, "pause")
    container.start()
    plain, said = affinity(container, None)
    if plain is None:
        _unsupported(t, f"a process can't be executed by process.json: {said}")
        return
    one, two = two_cpus()
    _final(t, container, one, two)
    _initial(t, container, one, two)
    _without_final(t, container, two)
    container.kill("KILL")


def _unsupported(t: Case, reason: str) -> None:
    """The same reason for all that needs exec."""
    for name in ("initial", "final", "final-unset"):
        t.unsupported(f"cpuaff.{name}", reason)


def _final(t: Case, container: Container, one: int, two: int) -> None:
    for final, wanted in ((str(two), [two]), (str(one), [one]), (f"{one},{two}", [one, two])):
        for initial in ({}, {"initial": str(one)}):
            seen, said = affinity(container, {**initial, "final": final})
            t.check("cpuaff.final", seen == wanted, f"the CPUs {wanted}", said if seen is None else seen)


def _initial(t: Case, container: Container, one: int, two: int) -> None:
    """What is initial can be seen while exec is going on; and at its end, where nothing else is asked for."""
    seen, said = affinity(container, {"initial": str(two)})
    met: set[str] = set()
    for _ in range(TRIES):
        if seen in (None, [two]) or str(two) in met:
            break
        watch = Watch()
        affinity(container, {"initial": str(two), "final": str(one)})
        met |= watch.end()
    met_or_said = said if seen is None else f"the CPUs {sorted(met)}"
    t.check("cpuaff.initial", seen == [two] or str(two) in met, f"CPU {two} at first", met_or_said)


def _without_final(t: Case, container: Container, two: int) -> None:
    """The runtime itself is on one CPU here, so that this is all that an affinity could be left at."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {two})
    try:
        seen, said = affinity(container, {"initial": str(two)})
    finally:
        os.sched_setaffinity(0, before)
    kept = left_by_kernel(t, container, two)
    expected = f"the CPUs {kept}, as the kernel leaves it"
    t.check("cpuaff.final-unset", seen == kept, expected, said if seen is None else seen)


def affinity(container: Container, wanted: Mapping[str, str] | None) -> tuple[list[int] | None, str]:
    """The CPUs of a process that exec adds, or None and what the runtime said."""
    process: Json = copy.deepcopy(container.config["process"])
    process["args"] = ["/probe", "affinity"]
    if wanted is not None:
        process["execCPUAffinity"] = dict(wanted)
    path = container.bundle / "process.json"
    path.write_text(json.dumps(process))
    call = container.call("exec", process=str(path))
    for answer in probe.parse(call.stdout):
        if answer["command"] == "affinity" and "result" in answer:
            return answer["result"], ""
    return None, call.sentence


def left_by_kernel(t: Case, container: Container, cpu: int) -> list[int]:
    """The CPUs of a process that has chosen one before it was moved to the container's cgroups."""
    process = subprocess.Popen([t.program, "pause"], stdout=subprocess.DEVNULL)
    try:
        os.sched_setaffinity(process.pid, {cpu})
        groups = Cgroups.of(container.pid)
        for names in groups.paths:
            directory = groups.directory(next(iter(names), ""))
            if directory is not None and container.id in str(directory):
                (directory / "cgroup.procs").write_text(str(process.pid))
        return sorted(os.sched_getaffinity(process.pid))
    except OSError as error:
        raise Broken(f"the container's cgroups take no further process: {error}") from None
    finally:
        process.kill()
        process.wait()


class Watch:
    """Collects the affinities of all processes below this one, as text, until `end`."""

    def __init__(self) -> None:
        self._met: set[str] = set()
        self._ended = False
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended:
            for pid in kernel.descendants(os.getpid()):
                with contextlib.suppress(OSError):  # it has ended
                    for thread in os.listdir(f"/proc/{pid}/task"):
                        status = Path(f"/proc/{pid}/task/{thread}/status").read_text()
                        self._met.update(ALLOWED.findall(status))
            time.sleep(0.0002)

    def end(self) -> set[str]:
        """What was met."""
        self._ended = True
        self._thread.join()
        return self._met
