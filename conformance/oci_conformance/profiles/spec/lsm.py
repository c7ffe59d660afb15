"""process.apparmorProfile and process.selinuxLabel (config.md#linux-process)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from oci_conformance.core.bundle import Changes
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

SECONDS = 30  # for the parser, which is slow where a machine is emulated
# noNewPrivileges would forbid changes of the label that have nothing to do with the runtime.
FREE: Changes = {"process.noNewPrivileges": False}
# Everything that a runtime may still have to do as the container's process, and one thing that is forbidden.
RULES = (*"file capability network mount umount pivot_root signal ptrace unix".split(), "deny /denied w")
LEVELS = ("s0:c311,c577", "s0")  # SELinux: of another category than anything else, or of none


@test("apparmor.applied", needs=("root", "apparmor", "program:apparmor_parser"))
def apparmor(t: Case) -> None:
    """The program is confined by the AppArmor profile: it has its name, and can't do what that forbids."""
    name = f"oci-conformance-{os.getpid()}"
    with profile(t, name):
        changes = dict(FREE)
        changes["process.apparmorProfile"] = name
        seen = t.run(changes, "lsm", "write /denied text", "write /allowed text")
        labels = seen["lsm"]
        t.equal("apparmor.applied", labels.get("apparmor") or labels.get("current"), f"{name} (enforce)")
        t.equal("apparmor.applied", seen.error("write /denied text"), "EACCES")
        t.equal("apparmor.applied", seen.error("write /allowed text"), None)


@contextlib.contextmanager
def profile(t: Case, name: str) -> Iterator[None]:
    """A profile that forbids one thing is loaded meanwhile."""
    rules = "".join(f"  {rule},\n" for rule in RULES)
    text = f"profile {name} flags=(attach_disconnected,mediate_deleted) {{\n{rules}}}\n"
    path = t.folder / "profile"
    path.write_text(text)
    _parse(t, "--replace", path)
    try:
        yield
    finally:
        _parse(t, "--remove", path)


def _parse(t: Case, option: str, path: Path) -> None:
    done = subprocess.run(
        ["apparmor_parser", option, "--skip-cache", str(path)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode:
        t.skip(f"this host lacks a usable apparmor_parser: {done.stderr.strip()[-300:]}")


@test("selinux.label", needs=("root", "selinux"))
def selinux(t: Case) -> None:
    """The program has the SELinux label of the configuration."""
    label = _possible_label(t)
    changes = dict(FREE)
    changes["process.selinuxLabel"] = label
    t.equal("selinux.label", t.run(changes, "lsm")["lsm"]["current"], label)


def _possible_label(t: Case) -> str:
    """A label, other than the suite's own, that the policy lets a program of the suite's have."""
    own = Path("/proc/self/attr/current").read_text().strip("\0\n")
    user_role_type = ":".join(own.split(":")[:3])
    candidates = [
        f"system_u:system_r:container_t:{LEVELS[0]}",
        *(f"{user_role_type}:{level}" for level in LEVELS),
    ]
    possible = [label for label in candidates if label != own and _takes(t.program, label)]
    if not possible:
        t.skip(f"this host lacks a label that a program of the suite's, which is {own}, may change to")
    return possible[0]


def _takes(program: Path, label: str) -> bool:
    """Does the probe have this label if it is executed with it?"""

    def before() -> None:
        Path("/proc/thread-self/attr/exec").write_text(label)

    try:
        done = subprocess.run([program, "lsm"], preexec_fn=before, capture_output=True, timeout=SECONDS)
        return bool(json.loads(done.stdout)["result"]["current"] == label)
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return False
