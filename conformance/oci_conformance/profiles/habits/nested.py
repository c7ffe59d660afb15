"""The runtime as root of a user namespace, such as rootless engines and unprivileged containers give it."""

from __future__ import annotations

from typing import Any

from oci_conformance.core.bundle import Changes, Json
from oci_conformance.core.runtime import Call
from oci_conformance.profiles.habits import tools
from oci_conformance.run.case import DELETE, Case
from oci_conformance.run.registry import test

THROUGH = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private")


def run(t: Case, changes: Changes, *commands: str) -> tuple[Call, dict[str, Json]]:
    """`run` in the foreground in a new user and mount namespace. What it said, and the probe's answers."""
    with tools.control(t):
        t.run({}, "cwd")
    whole: dict[Any, Any] = {"linux.cgroupsPath": DELETE, **changes}
    container = t.prepare(whole, *commands)
    container.created = True
    t.runtime.through = THROUGH
    call = t.runtime.command("run", "--bundle", str(container.bundle), container.id)
    t.runtime.through = ()
    return call, tools.answers(call.stdout)


@test("habits.nested", needs=("root", "userns", "program:unshare"))
def nested(t: Case) -> None:
    """Called by `unshare -Umr`, without any limit in the configuration: the program runs."""
    call, said = run(t, {}, "cwd", "ids")
    t.check("habits.nested", call.ok and "cwd" in said, "the program's answers", call.sentence)
