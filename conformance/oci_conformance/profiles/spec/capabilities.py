"""process.capabilities and process.noNewPrivileges (config.md#linux-process, capabilities(7)).

What a program has is what it is given, changed by execve(2): so each set is looked at where execve leaves it alone, or
where the change is known.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from oci_conformance.core.bundle import Changes
from oci_conformance.run.case import Case, Container, Refused
from oci_conformance.run.registry import test

SETS = ("bounding", "permitted", "inheritable", "effective", "ambient")
LOW, MIDDLE, THIRD = "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"
HIGH, HIGH_BIT = "CAP_WAKE_ALARM", 35  # in the second word of the kernel's sets
SEARCH = "CAP_DAC_OVERRIDE"
USER = {"uid": 1000, "gid": 1000}


@test(
    "caps.bounding", "caps.permitted", "caps.inheritable", "caps.effective", "caps.ambient", needs=("root",)
)
def of_root(t: Case) -> None:
    """Root has the sets of the configuration and nothing more, even where bounding allows it."""
    # execve gives root all of bounding; noNewPrivileges, which the base has, limits that to what is permitted.
    high = [HIGH] if t.host.capabilities >> HIGH_BIT & 1 else []
    few, many = [LOW, MIDDLE], [LOW, MIDDLE, THIRD, *high]
    wanted = {"bounding": many, "permitted": few, "inheritable": [], "effective": few, "ambient": []}
    given = {"bounding": many, "permitted": few, "effective": few}
    _compare(t, {"process.capabilities": given}, wanted)
    nothing: dict[str, list[str]] = {name: [] for name in SETS}
    _compare(t, {"process.capabilities": nothing}, nothing)


@test(
    "caps.bounding", "caps.inheritable", "caps.ambient", "caps.permitted", "caps.effective", needs=("root",)
)
def of_user(t: Case) -> None:
    """An ordinary user keeps the ambient capabilities, and has the inheritable ones, over execve."""
    many, few, one = [LOW, MIDDLE, THIRD], [LOW, MIDDLE], [LOW]
    sets = {"bounding": many, "permitted": few, "inheritable": few, "effective": one, "ambient": one}
    # capabilities(7): what an ordinary user has after execve is the ambient set.
    _compare(t, {"process.capabilities": sets, "process.user": USER}, {**sets, "permitted": one})


def _compare(t: Case, changes: Changes, wanted: dict[str, list[str]]) -> None:
    seen = t.run(changes, "caps")["caps"]
    for name in SETS:
        t.equal(f"caps.{name}", sorted(seen[name]), sorted(wanted[name]))


@test("caps.effective", needs=("root",))
def effective_at_exec(t: Case) -> None:
    """The effective set counts when the program is executed: CAP_DAC_OVERRIDE opens a closed folder, if it is in it."""
    # After execve the effective set depends on the others alone, so this is the only place where it can be seen.
    for effective in ([SEARCH], []):
        sets = {name: [SEARCH] for name in ("bounding", "permitted", "inheritable")} | {
            "effective": effective
        }
        container = _in_closed_folder(t, {"process.capabilities": sets, "process.user": USER})
        try:
            container.create()
            container.start()
            container.wait()
        except Refused as error:
            if effective:
                wanted = "the program of a folder that CAP_DAC_OVERRIDE opens"
                t.check("caps.effective", False, wanted, error)
                return
        said = [answer.get("result") for answer in container.results()]
        t.equal("caps.effective", [effective, said], [effective, ["here"] if effective else []])


def _in_closed_folder(t: Case, changes: dict[str, Any]) -> Container:
    """A prepared container whose program is in a folder that only its owner, root, may enter."""
    container = t.prepare({**changes, "process.args": ["/closed/tool", "echo here"]})
    folder = container.rootfs / "closed"
    folder.mkdir()
    os.link(t.program, folder / "tool")
    folder.chmod(0o700)
    return container


@test("caps.no-fail", "caps.unmappable-warn")
def unknown(t: Case) -> None:
    """A capability that nobody knows is no reason to fail, but for a warning; the known ones are given."""
    lists = {
        f"process.capabilities.{name}[+]": "CAP_UNICORN" for name in ("bounding", "permitted", "effective")
    }
    container = t.prepare(lists, "caps")
    calls = [container.call("create")]
    if not t.check("caps.no-fail", calls[0].ok, "create succeeds", calls[0].sentence):
        t.skip("create refuses unknown capabilities, so there is no warning to look for")
    calls.append(container.call("start"))
    t.check("caps.no-fail", calls[1].ok, "start succeeds", calls[1].sentence)
    if not any("UNICORN" in call.stderr.upper() for call in calls):
        # runtime.md#warnings leaves open where a warning goes, and whether anybody sees it.
        t.skip("the runtime says nothing on standard error; where else it may log can't be known")
    t.check("caps.unmappable-warn", True, "a warning", "")


@test("caps.unmappable-error")
def unknown_refused(t: Case) -> None:
    """A capability that the kernel doesn't know is an error."""
    for name in SETS:
        sets = {each: [LOW] for each in SETS}
        fault = {f"process.capabilities.{name}[+]": "CAP_UNICORN"}
        t.refused("caps.unmappable-error", {"process.capabilities": sets}, fault, at="start")


@test("nnp.set")
def no_new_privileges(t: Case) -> None:
    """noNewPrivileges sets the process's no_new_privs."""
    t.equal("nnp.set", t.run({"process.noNewPrivileges": True}, "nnp")["nnp"], True)


@test("nnp.unset")
def new_privileges(t: Case) -> None:
    """With noNewPrivileges false the process's no_new_privs is left unset."""
    if "NoNewPrivs:\t1" in Path("/proc/self/status").read_text():
        t.skip("this host lacks the freedom to gain privileges: the suite itself runs with no_new_privs")
    t.equal("nnp.unset", t.run({"process.noNewPrivileges": False}, "nnp")["nnp"], False)
