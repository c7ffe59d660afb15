"""One failure again: the test runs up to it and stops there, with everything in place, until somebody has looked."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace

from oci_conformance.core.records import Result
from oci_conformance.run import worker
from oci_conformance.run.case import Case
from oci_conformance.run.registry import Test
from oci_conformance.run.worker import Plan


@dataclass
class Repeat:
    """The tests of one requirement, done until the first failure of it."""

    id: str
    show: Callable[[str], None]
    wait: Callable[[], None]  # until whoever looks has seen enough
    failed: bool = False

    def run(self, tests: list[Test], plan: Plan) -> bool:
        """Did it fail again? This process becomes a worker, with a mount namespace of its own."""
        worker.set_up(plan)
        watched = replace(plan, test_limit=0.0, watch=self.stop)  # nothing is cut short while somebody looks
        for test in tests:
            record = worker.run(test, watched)
            if self.failed:
                return True
            for result in record["results"]:
                if result["id"] == self.id:
                    why = f": {result['reason']}" if "reason" in result else ""
                    self.show(f"{test.name}: {result['status']}{why}")
        return False

    def stop(self, case: Case, result: Result) -> None:
        """A verdict was given: say all there is to say of a failure, and wait."""
        if result["id"] != self.id or result["status"] != "fail" or self.failed:
            return
        self.failed = True
        for line in report(case, result):
            self.show(line)
        self.wait()


def report(case: Case, result: Result) -> list[str]:
    """What a failure is, where it is, and the calls that led to it."""
    container = case.suspect
    lines = [
        f"{case.test.name}: {case.test.title}",
        f"expected  {result.get('expected', '')}",
        f"seen      {result.get('seen', '')}",
        "",
        "# Everything is as it was at this moment. Mounts can be seen from",
        f"nsenter --mount=/proc/{os.getpid()}/ns/mnt --wd=/ sh",
        f"cd {shlex.quote(str(case.folder))}",
        f"umask {_umask():04o}",
        "# These calls were made so far:",
    ]
    for call in case.runtime.calls:
        code = f"exit code {call.code}" if call.code >= 0 else "no exit code"
        lines.append(f"{shlex.join(call.argv)}  # {code}")
    if container is not None:
        lines += [f"# The bundle is {container.bundle}; to begin again:"]
        for operation in ("delete-force", "create", "start"):
            values = {
                "root": str(container.runtime.root),
                "id": container.id,
                "bundle": str(container.bundle),
            }
            argv = case.runtime.adapter.arguments(operation, case.runtime.flags, values)
            lines.append(shlex.join([case.runtime.path, *argv]))
    return lines


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
