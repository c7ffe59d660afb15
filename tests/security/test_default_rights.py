"""CVE-2022-24769, CVE-2022-29162, CVE-2022-27650, CVE-2025-27612: inheritable capabilities, though nobody asked.

A program gets the capabilities that the configuration names, in the sets that it names: by default none is
inheritable or ambient, whatever the caller of the runtime has. The caller's groups don't come along either.
"""

from __future__ import annotations

import os
import subprocess

import needs
import pytest
from bundles import process_status

LOOK = "grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Groups|Seccomp):' /proc/self/status"


def facts(text: str) -> dict[str, str]:
    """Lines of /proc/PID/status as a dictionary."""
    return {line.split(":")[0]: line.partition(":")[2].strip() for line in text.splitlines()}


@pytest.mark.parametrize("user", [0, 1000])
def test_nothing_is_inheritable(pyrun, bundle, user):
    """A default configuration: none inheritable, none ambient, before and after start."""
    one = bundle({"process": {"user": {"uid": user, "gid": user}, "rlimits": []}}, sh=LOOK)
    container = pyrun.create(one)
    created = process_status(container.pid)
    assert int(created["CapInh"], 16) == int(created["CapAmb"], 16) == 0
    found = facts(container.finish())
    assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0
    assert found["NoNewPrivs"] == "1"
    assert found["Groups"] == ""
    if user:
        assert int(found["CapPrm"], 16) == int(found["CapEff"], 16) == 0


def test_the_callers_inheritable_and_groups_stay_outside(pyrun, bundle, tmp_path):
    """A caller with inheritable and ambient capabilities and many groups."""
    needs.program("setpriv")
    one = bundle({"process": {"noNewPrivileges": False}}, sh=LOOK)
    log = tmp_path / "log"
    container_id = f"h8-rights-{os.getpid()}"
    argv = (
        "setpriv --inh-caps=+net_raw,+sys_chroot --ambient-caps=+net_raw,+sys_chroot --groups=4,24,27".split()
    )
    argv += [str(pyrun.runtime), "--root", str(pyrun.root), "run", "-b", str(one.path), container_id]
    with log.open("wb") as out:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=30, check=False)
    assert done.returncode == 0, log.read_text()
    found = facts(log.read_text())
    assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0
    assert found["Groups"] == ""


def test_no_capabilities_means_none(pyrun, bundle):
    """Without process.capabilities even root has none."""
    one = bundle({"process": {"capabilities": None}}, sh=LOOK)
    found = facts(pyrun.output(one))
    assert {int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}


def test_a_seccomp_filter_leaves_no_right_behind(pyrun, bundle):
    """CAP_SYS_ADMIN, which stage 2 keeps to load a filter without no_new_privs, is not the program's."""
    seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}],
    }
    for user in (0, 1000):
        process = {"noNewPrivileges": False, "user": {"uid": user, "gid": user}, "rlimits": []}
        found = facts(pyrun.output(bundle({"process": process, "linux": {"seccomp": seccomp}}, sh=LOOK)))
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert not int(found[name], 16) >> 21 & 1, (user, name)
        assert found["Seccomp"] == "2"
