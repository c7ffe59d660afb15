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


@pytest.mark.parametrize("way", ["run", "exec"])
@pytest.mark.parametrize("user", [0, 1000])
def test_the_callers_ambient_are_cleared(pyrun, bundle, user, way):
    """A caller's ambient capability that the configuration has permitted and inheritable, but not ambient."""
    needs.program("setpriv")
    sets = {kind: ["CAP_NET_RAW"] for kind in ("bounding", "permitted", "effective", "inheritable")}
    process = {"capabilities": {**sets, "ambient": []}, "user": {"uid": user, "gid": user}, "rlimits": []}
    one = bundle({"process": process}, sh=LOOK)
    wrapper = "setpriv --inh-caps=+net_raw --ambient-caps=+net_raw".split()
    if way == "exec":
        container = pyrun.start(one.args("sleep", "1000"))
        pyrun.wrapper = wrapper
        found = facts(container.sh(LOOK))
    else:
        pyrun.wrapper = wrapper
        found = facts(pyrun.output(one))
    pyrun.wrapper = []
    assert int(found["CapAmb"], 16) == 0
    assert int(found["CapInh"], 16) == 1 << 13


LEFT_OUT = {
    "unknown": ("bounding", "CAP_NEW", {"bounding": ["CAP_NEW"]}),
    "not-ours": ("permitted", "CAP_SYS_TIME", {"permitted": ["CAP_SYS_TIME"], "bounding": ["CAP_SYS_TIME"]}),
    "effective-not-permitted": (
        "effective",
        "CAP_KILL",
        {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"]},
    ),
    "permitted-not-bounding": ("permitted", "CAP_KILL", {"permitted": ["CAP_KILL"]}),
    "ambient-not-inheritable": (
        "ambient",
        "CAP_KILL",
        {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]},
    ),
    "ambient-not-permitted": ("ambient", "CAP_KILL", {"inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}),
    "inheritable-not-ours": ("inheritable", "CAP_SYS_TIME", {"inheritable": ["CAP_SYS_TIME"]}),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_cant_be_granted_is_a_warning(pyrun, bundle, tmp_path, case):
    """config.md, Linux Process: it is left out, and the log names the set and the capability; so does exec's."""
    needs.program("setpriv")
    kind, name, sets = LEFT_OUT[case]
    one = bundle({"process": {"capabilities": None}}, sh=LOOK)
    one.config["process"]["capabilities"] = sets
    log = tmp_path / "log"
    pyrun.wrapper = ["setpriv", "--bounding-set=-sys_time", "--inh-caps=-all"]
    result = pyrun("--log", str(log), "run", "-b", str(one.write().path), pyrun.id())
    assert (result.code, result.err) == (0, "")
    assert f"process.capabilities.{kind}: {name} " in log.read_text()
    running = pyrun.id()
    pyrun.ok("--log", str(log), "run", "-d", "-b", str(one.args("sleep", "1000").path), running)
    log.unlink()
    result = pyrun("--log", str(log), "exec", running, "true")
    pyrun.wrapper = []
    assert (result.code, result.err) == (0, "")
    assert f"process.capabilities.{kind}: {name} " in log.read_text()


def test_what_cant_be_granted_for_one_reason_is_one_warning(pyrun, bundle):
    """All that a set lacks stand in one line: buildah asks for fourteen ambient ones, and shows people each line."""
    sets = {
        "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_FOWNER"],
        "permitted": ["CAP_KILL", "CAP_CHOWN", "CAP_FOWNER"],
    }
    one = bundle({"process": {"capabilities": None}}).args("true")
    one.config["process"]["capabilities"] = {**sets, "ambient": sets["bounding"]}
    result = pyrun.run(one.write())
    (line,) = result.err.splitlines()
    assert result.code == 0
    assert line == (
        "pyrun: warning: process.capabilities.ambient: CAP_CHOWN, CAP_FOWNER and CAP_KILL are not in the inheritable "
        "set too and are left out"
    )


def test_no_warning_for_what_execve_takes(pyrun, bundle, tmp_path):
    """Engines give a user's program permitted capabilities that execve will take: no warning, they were granted."""
    log = tmp_path / "log"
    kinds = ("bounding", "permitted", "effective", "inheritable", "ambient")
    for used in (kinds[:3], kinds[:1], kinds[:4], kinds):
        for user in (0, 1000):
            sets = {kind: ["CAP_KILL", "CAP_CHOWN"] for kind in used}
            one = bundle({"process": {"user": {"uid": user, "gid": 0}, "rlimits": []}}).args("true")
            one.config["process"]["capabilities"] = sets
            pyrun.ok("--log", str(log), "run", "-b", str(one.write().path), pyrun.id())
    assert not log.exists() or log.read_text() == ""


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
