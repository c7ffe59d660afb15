"""pyrun's own --systemd-cgroup beside a real systemd: what is kept, what it costs, and what is left after a failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import RUNTIME, Bundle, Host, eventually

# Every limit that systemd has a property for, and some that it doesn't know.
RESOURCES = {
    "memory": {"limit": 1 << 26, "swap": 1 << 27, "reservation": 1 << 25},
    "cpu": {"shares": 512, "quota": 30000, "period": 100000, "cpus": "0", "mems": "0"},
    "pids": {"limit": 50},
    "unified": {
        "memory.high": "50000000",
        "io.weight": "default 200",
        "memory.oom.group": "1",
        "cpu.max.burst": "1000",
    },
}
VOLATILE = ("cgroup.", "memory.reclaim", "memory.peak", "memory.swap.peak")


@pytest.fixture
def bundle(anyone: Host) -> Iterator[Bundle]:
    with Bundle(anyone) as one:
        yield one


def cgroup_of(bundle: Bundle, name: str) -> Path:
    """A container's cgroup."""
    pid = bundle.state(name)["pid"]
    return Path(f"/sys/fs/cgroup{Path(f'/proc/{pid}/cgroup').read_text().strip().partition('::')[2]}")


def settings(folder: Path) -> dict[str, str]:
    """What all the files hold by which the cgroup is set."""
    return {
        path.name: path.read_text()
        for path in sorted(folder.iterdir())
        if path.is_file()
        and path.stat().st_mode & 0o200
        and not path.name.startswith(VOLATILE)
        and not path.name.endswith("pressure")
    }


@pytest.mark.long
def test_a_reload_changes_nothing(root: Host) -> None:
    """`systemctl daemon-reload` leaves every setting of the container's cgroup as it is, and an update's, too."""
    with Bundle(root) as one:
        one.write("sleep", "1000", resources=RESOURCES)
        with one.running() as name:
            folder = cgroup_of(one, name)
            before = settings(folder)
            assert before["memory.max"] == "67108864\n"
            assert before["io.weight"] == "default 200\n"
            root.systemctl("daemon-reload")
            assert settings(folder) == before
            one.pyrun("update", "--memory", "60000000", "--cpu-share", "256", name)
            before = settings(folder)
            assert int(before["memory.max"]) <= 60000000
            root.systemctl("daemon-reload")
            assert settings(folder) == before


def test_all_controllers_are_delegated(anyone: Host, bundle: Bundle) -> None:
    """Delegate=yes covers each controller that systemd has."""
    bundle.write("sleep", "1000", cgroupsPath=f"machine.slice:p:delegated-{anyone.name}")
    with bundle.running():
        shown = anyone.systemctl("show", "-P", "DelegateControllers", f"p-delegated-{anyone.name}.scope")
        assert {"cpu", "cpuset", "io", "memory", "pids"} <= set(shown.split())


def connections(bundle: Bundle, *words: str) -> int:
    """How often a command connects to systemd or to a bus."""
    trace = Path(f"/tmp/trace-{bundle.new_name()}")
    out = f"{trace}.out"
    script = 'exec "$@" >"$0" 2>&1 </dev/null'
    argv = ("strace", "-qq", "-e", "trace=connect", "-o", str(trace), str(RUNTIME), *bundle.options, *words)
    done = bundle.host("sh", "-c", script, out, *argv)
    assert done.returncode == 0, Path(out).read_text()
    lines = [line for line in trace.read_text().splitlines() if "systemd" in line or "bus" in line]
    trace.unlink()
    Path(out).unlink()
    return len(lines)


def test_one_connection_a_command(bundle: Bundle) -> None:
    """create and update connect to systemd once; state, start, exec by root, kill don't; delete does it once where
    systemd hasn't noticed yet that all have died."""
    path = bundle.write("sleep", "1000")
    name = bundle.new_name()
    try:
        assert connections(bundle, "create", "--bundle", path, name) == 1
        assert connections(bundle, "start", name) == 0
        assert connections(bundle, "state", name) == 0
        assert connections(bundle, "exec", name, "true") == (0 if bundle.host.name == "root" else 1)
        assert connections(bundle, "update", "--memory", "60000000", name) == 1
        assert connections(bundle, "kill", name, "0") == 0
    finally:
        assert connections(bundle, "delete", "--force", name) <= 1


def test_without_a_session_the_sentence_says_what_to_do(user: Host) -> None:
    """Without XDG_RUNTIME_DIR, or with one in which no systemd answers, the sentence names what is missing, and
    `loginctl enable-linger`; nothing is made."""
    with Bundle(user) as one:
        path = one.write("true")
        state = Path("/tmp/state-of-nobody")
        for more in ((), ("XDG_RUNTIME_DIR=/tmp",), ("DBUS_SESSION_BUS_ADDRESS=unix:path=/nowhere",)):
            words = ("env", "-u", "XDG_RUNTIME_DIR", *more, str(RUNTIME), "--root", str(state))
            done = user(*words, "--systemd-cgroup", "create", "--bundle", path, "nobody")
            assert done.returncode == 1
            assert "loginctl enable-linger" in done.stderr, done
            assert done.stderr.count("\n") == 1
            assert not (state / "nobody").exists()
    user("rm", "-rf", str(state))


@pytest.mark.parametrize(
    ("path", "unit", "where"),
    [
        ("a-b-c.slice:p:nested", "p-nested.scope", "a.slice/a-b.slice/a-b-c.slice/p-nested.scope"),
        ("-.slice:p:top", "p-top.scope", "p-top.scope"),
        (":p:usual", "p-usual.scope", "DEFAULT/p-usual.scope"),
        (":p:pyrun-own.slice", "pyrun-own.slice", "pyrun.slice/pyrun-own.slice"),
    ],
    ids=["nested slices", "the root slice", "the usual slice", "a slice itself"],
)
def test_where_a_unit_is(anyone: Host, bundle: Bundle, path: str, unit: str, where: str) -> None:
    """The unit's slice and cgroup are those that cgroupsPath says, and the container is in it."""
    if unit.endswith(".slice") and anyone.name != "root":
        pytest.skip("the kernel moves a process into a user's slice only from the user's own cgroups")
    bundle.write("sleep", "1000", cgroupsPath=path)
    above = "" if anyone.name == "root" else "/user.slice/user-1000.slice/user@1000.service"
    usual = "system.slice" if anyone.name == "root" else "user.slice"
    with bundle.running() as name:
        place = str(cgroup_of(bundle, name))
        assert place == f"/sys/fs/cgroup{above}/{where.replace('DEFAULT', usual)}"
        assert anyone.systemctl("is-active", unit) == "active\n"
        assert bundle.pyrun("exec", name, "echo", "up") == "up\n"
    assert anyone.systemctl("is-active", unit) == "inactive\n"
    assert not Path(place).exists()


def test_annotations(anyone: Host, bundle: Bundle) -> None:
    """org.systemd.property.NAME sets a property of the unit; one that systemd doesn't know is refused by name, and
    run.oci.systemd.subgroup has the container below the unit's cgroup."""
    name = f"annotated-{anyone.name}"
    bundle.config["annotations"] = {
        "org.systemd.property.TimeoutStopSec": "uint64 7",
        "org.systemd.property.Description": "'of a test'",
        "run.oci.systemd.subgroup": "inner",
    }
    bundle.write("sleep", "1000", cgroupsPath=f"machine.slice:p:{name}")
    with bundle.running() as one:
        shown = anyone.systemctl("show", f"p-{name}.scope", "-p", "TimeoutStopUSec,Description").splitlines()
        assert sorted(shown) == ["Description=of a test", "TimeoutStopUSec=7s"]
        assert cgroup_of(bundle, one).name == "inner"
        assert bundle.pyrun("exec", one, "echo", "up") == "up\n"
    assert anyone.units(f"p-{name}.scope") == []
    bundle.config["annotations"] = {"org.systemd.property.NoSuchThing": "true"}
    bundle.write("true")
    assert "NoSuchThing" in bundle.refused()
    assert anyone.units("runc-*.scope") == []


def test_a_unit_that_somebody_stopped(anyone: Host, bundle: Bundle) -> None:
    """`systemctl stop` of the scope ends the container, and delete has nothing to complain of."""
    name = f"stopped-{anyone.name}"
    script = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
    bundle.write("sh", "-c", script, cgroupsPath=f"machine.slice:p:{name}")
    with bundle.running() as one:
        anyone.systemctl("stop", f"p-{name}.scope")
        eventually(lambda: bundle.state(one)["status"] == "stopped", "it lives on")


@pytest.mark.long
def test_a_create_that_is_killed_leaves_no_unit(anyone: Host, bundle: Bundle) -> None:
    """Killed at any moment, `delete --force` leaves neither unit nor cgroup."""
    path = bundle.write("sleep", "1000")
    argv = [*anyone.prefix, str(RUNTIME), "--systemd-cgroup"]
    begin = time.monotonic()
    with bundle.running():
        whole = time.monotonic() - begin
    for number in range(12):
        name = f"cut-{anyone.name}-{number}"
        words = [*argv, "create", "--bundle", path, name]
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(whole * number / 12)
        child = f"/proc/{process.pid}/task/{process.pid}/children"  # runuser waits for the runtime
        pids = (
            [process.pid]
            if anyone.name == "root"
            else [int(word) for word in Path(child).read_text().split()]
        )
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        process.wait()
        bundle.pyrun("delete", "--force", name)
    # systemd itself forgets a unit whose process died before it was told that the unit is there
    eventually(lambda: anyone.units("runc-cut-*") == [], "units are left")
    below = "/sys/fs/cgroup" if anyone.name == "root" else "/sys/fs/cgroup/user.slice/user-1000.slice"
    assert list(Path(below).rglob("runc-cut-*")) == []


def test_nobody_else_reaches_a_users_container(user: Host, root: Host) -> None:
    """Another user of the machine can't read its state, nor operate on it, and is told so in one sentence."""
    root("useradd", "-m", "other")
    with Bundle(user) as one:
        one.write("sleep", "1000")
        with one.running() as name:
            state = "/run/user/1000/pyrun"
            for words in (
                ("state", name),
                ("exec", name, "true"),
                ("kill", name, "KILL"),
                ("delete", "--force", name),
            ):
                done = root("runuser", "-u", "other", "--", str(RUNTIME), "--root", state, *words)
                assert done.returncode != 0, done
                assert done.stderr.count("\n") == 1, done
            assert one.state(name)["status"] == "running"
            assert name in [each["id"] for each in json.loads(one.pyrun("list", "--format", "json"))]
