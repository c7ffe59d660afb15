"""Control groups: what is set, and what becomes of the processes in them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from oci_conformance.core import cgroup
from oci_conformance.core.cgroup import Cgroups
from oci_conformance.profiles.habits import tools
from oci_conformance.profiles.support import limits
from oci_conformance.run.case import Case, Container, Refused
from oci_conformance.run.registry import test

MIB = 1 << 20
USUAL = {"cpuset", "cpu", "io", "memory", "hugetlb", "pids"}
HUGE = Path("/sys/kernel/mm/hugepages")


def _file(container: Container, controller: str, name: str) -> Path:
    """A file of the cgroup that the container's process is in."""
    return (Cgroups.of(container.pid).directory(controller) or Path("/nowhere")) / name


def _sizes() -> list[str]:
    """The sizes of huge pages of this host, as the cgroup's files name them."""
    found = []
    for each in HUGE.glob("hugepages-*kB"):
        size = int(each.name.removeprefix("hugepages-").removesuffix("kB"))
        units = ("KB", "MB", "GB")
        step = 2 if size >= MIB else 1 if size >= 1024 else 0
        found.append(f"{size >> 10 * step}{units[step]}")
    return found


@test("habits.hugepages-zero", needs=("root", "hugetlb", "cgroup:hugetlb"))
def hugepages(t: Case) -> None:
    """A limit of 0 for each size: the container is made and runs."""
    if t.host.cgroups == "hybrid" and t.host.controllers["hugetlb"]:
        t.skip("this host lacks hugetlb in the version of cgroups that its other controllers are in")
    zeros = [{"pageSize": size, "limit": 0} for size in _sizes()]
    seen = t.run({"linux.resources.hugepageLimits": zeros}, "cwd")
    t.equal("habits.hugepages-zero", seen["cwd"], "/")


@test("habits.controllers", needs=("root", "cgroup-v2"))
def controllers(t: Case) -> None:
    """Of the usual controllers the container's cgroup has those that the top of the hierarchy has."""
    container = tools.paused(t)
    top = next(point for names, point, _ in cgroup.mounted() if not names)
    wanted = sorted(USUAL & set((top / "cgroup.controllers").read_text().split()))
    if not wanted:
        t.skip(f"this host lacks {', '.join(sorted(USUAL))} in cgroup v2")
    seen = sorted(USUAL & set(_file(container, "", "cgroup.controllers").read_text().split()))
    t.equal("habits.controllers", seen, wanted)


@test("habits.swap-missing", needs=("root", "cgroup-v2:memory"))
def swap_missing(t: Case) -> None:
    """A memory limit and a swap limit of the same size: the container runs."""
    with tools.control(t):
        container = tools.paused(t, {"linux.resources.memory": {"limit": 64 * MIB}})
    if _file(container, "memory", "memory.swap.max").exists():
        t.skip("this host lacks a kernel without swap accounting")
    seen = t.run({"linux.resources.memory": {"limit": 64 * MIB, "swap": 64 * MIB}}, "cwd")
    t.equal("habits.swap-missing", seen["cwd"], "/")


@test("habits.memory-too-low", needs=("root", "cgroup:memory"))
def memory_too_low(t: Case) -> None:
    """Limits of 4 to 200 KiB: create and start succeed, and the program may be killed, or the error says why."""
    for size in (4, 64, 72, 80, 88, 100, 200):
        container = t.prepare({"linux.resources.memory": {"limit": size << 10}}, "cwd")
        call = container.call("create")
        if call.ok:
            call = container.call("start")
        told = re.search("oom|memory limit|limit.{0,40}too low", call.stderr, re.IGNORECASE)
        expected = f"{size} KiB: no error, or one that says that the memory limit is too low"
        t.check("habits.memory-too-low", call.ok or told is not None, expected, call.sentence)
        container.call("delete-force")


@test("habits.cpuset-parents", needs=("root", "cgroup-v1:cpuset"))
def cpuset_parents(t: Case) -> None:
    """A path of two new folders: each has the CPUs and memory nodes of the top."""
    if t.host.systemd_cgroup:
        t.skip("this run has cgroups named by systemd, which are no paths")
    path = f"/{t.cgroups}/new/below"
    container = tools.paused(t, {"linux.cgroupsPath": path})
    own = _file(container, "cpuset", "cpuset.cpus").parent
    top = limits.place("cpuset")
    for name in ("cpuset.cpus", "cpuset.mems"):
        seen = [(folder / name).read_text().strip() for folder in (own, own.parent)]
        t.equal("habits.cpuset-parents", seen, [(top / name).read_text().strip()] * 2)


def _update(container: Container, *options: str) -> str:
    """`update` with options; what it said if it failed."""
    call = container.runtime.command("update", *options, container.id)
    return "" if call.ok else call.sentence


@test("habits.memory-swap-order", needs=("root", "cgroup:memory"))
def memory_order(t: Case) -> None:
    """Memory and swap limits of 64 MiB become 128 MiB, and 32 MiB."""
    start = {"linux.resources.memory": {"limit": 64 * MIB, "swap": 64 * MIB}}
    with tools.control(t):
        container = tools.paused(t, start)
    for size in (128 * MIB, 32 * MIB):
        error = _update(container, "--memory", str(size), "--memory-swap", str(size))
        t.check("habits.memory-swap-order", not error, f"update to {size}", error)
        seen = container.limit("memory", v1="memory.limit_in_bytes", v2="memory.max")
        t.equal("habits.memory-swap-order", seen, str(size))


@test("habits.cpu-order", needs=("root", "cgroup-v1:cpu"))
def cpu_order(t: Case) -> None:
    """Below a cgroup with half a CPU: 50000 of 100000 becomes 100000 of 200000, and 25000 of 50000."""
    if t.host.systemd_cgroup:
        t.skip("systemd makes the cgroups, so there can be none before")
    parent = limits.place("cpu") / t.cgroups / "half"
    parent.mkdir(parents=True)
    for name, value in (("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")):
        (parent / name).write_text(value)
    changes = {
        "linux.cgroupsPath": f"/{t.cgroups}/half/below",
        "linux.resources.cpu": {"quota": 50000, "period": 100000},
    }
    with tools.control(t):
        container = tools.paused(t, changes)
    for quota, period in ((100000, 200000), (25000, 50000)):
        error = _update(container, "--cpu-quota", str(quota), "--cpu-period", str(period))
        t.check("habits.cpu-order", not error, f"update to {quota} of {period}", error)
        seen = [
            _file(container, "cpu", f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period")
        ]
        t.equal("habits.cpu-order", seen, [str(quota), str(period)])


@test("habits.cpu-weight", needs=("root", "cgroup-v2:cpu"))
def cpu_weight(t: Case) -> None:
    """Shares of 1024 are a weight of 100; shares of 0 leave it as it is."""
    for shares in (1024, 0):
        container = tools.paused(t, {"linux.resources.cpu": {"shares": shares}})
        seen = _file(container, "cpu", "cpu.weight").read_text().strip()
        t.equal("habits.cpu-weight", f"{shares}: {seen}", f"{shares}: 100")


@test("habits.blkio-weight", needs=("root", "cgroup-v2:io"), may_refuse=True)
def blkio_weight(t: Case) -> None:
    """A weight of 500: io.bfq.weight has 500, or io.weight the number that stands for it there (4950)."""
    container = tools.paused(t, {"linux.resources.blockIO": {"weight": 500}})
    files = {name: _file(container, "io", name) for name in ("io.bfq.weight", "io.weight")}
    there = {name: path for name, path in files.items() if path.exists()}
    if not there:
        t.skip("this host lacks io.bfq.weight and io.weight")
    seen = {name: path.read_text().split()[1] for name, path in there.items()}
    wanted = {"io.bfq.weight": "500", "io.weight": "4950"}
    ok = any(seen[name] == wanted[name] for name in seen)
    t.check("habits.blkio-weight", ok, str(wanted), seen)


@test("habits.unified", needs=("root", "cgroup-v2"))
def unified(t: Case) -> None:
    """A value for a file that there is, and one for a file that there isn't."""
    top = next(point for names, point, _ in cgroup.mounted() if not names)
    known = (top / "cgroup.controllers").read_text().split()
    choices = {
        "pids": ("pids.max", "77"),
        "memory": ("memory.high", "67108864"),
        "hugetlb": ("hugetlb.2MB.max", "4194304"),
    }
    name, value = next((pair for controller, pair in choices.items() if controller in known), ("", ""))
    if not name:
        t.skip(f"this host lacks each of the controllers {', '.join(choices)} in cgroup v2")
    container = tools.paused(t, {"linux.resources.unified": {name: value}})
    t.equal("habits.unified", _file(container, "", name).read_text().strip(), value)
    wrong = f"{name.split('.')[0]}.nosuchfile"
    call = t.prepare({"linux.resources.unified": {wrong: "1"}}, "cwd").call("create")
    named = not call.ok and wrong in call.stderr
    t.check("habits.unified", named, f"an error that names {wrong}", "no error" if call.ok else call.sentence)


def _pausing(t: Case, container: Container) -> None:
    with tools.control(t):
        call = t.runtime.command("pause", container.id)
        if not call.ok:
            raise Refused(call)


@test("habits.kill-paused")
def kill_paused(t: Case) -> None:
    """A paused container gets SIGKILL: its process ends."""
    with tools.control(t):
        container = tools.paused(t)
    _pausing(t, container)
    call = container.call("kill", signal="KILL")
    t.check("habits.kill-paused", call.ok, "kill succeeds", call.sentence)
    t.check("habits.kill-paused", tools.eventually(container.reap), "its process ends", "it goes on")


@test("habits.pause-busy")
def pause_busy(t: Case) -> None:
    """A program that makes and ends processes: it is paused, and running again after resume."""
    with tools.control(t):
        container = t.create({}, *["fork 50"] * 2000)
        container.start()
    for operation, wanted in (
        ("pause", "paused"),
        ("resume", "running"),
        ("pause", "paused"),
        ("resume", "running"),
    ):
        call = t.runtime.command(operation, container.id)
        t.check("habits.pause-busy", call.ok, f"{operation} succeeds", call.sentence)
        t.equal("habits.pause-busy", container.state().get("status"), wanted)
    container.kill("KILL")


@test("habits.kill-all-shared", needs=("root",))
def kill_all(t: Case) -> None:
    """A container in the host's PID namespace with a second process: KILL ends both."""
    container, second = _two(t)
    container.kill("KILL")
    gone = tools.eventually(lambda: container.reap() and not _lives(second))
    t.check("habits.kill-all-shared", gone, "no process is left", "the second goes on")


@test("habits.kill-all-gone", needs=("root",))
def kill_rest(t: Case) -> None:
    """A container in the host's PID namespace whose first process has ended: KILL ends the second."""
    container, second = _two(t)
    container.send(signal.SIGKILL)
    container.wait()
    call = container.call("kill", signal="KILL")
    t.check("habits.kill-all-gone", call.ok, "kill succeeds", call.sentence)
    gone = tools.eventually(lambda: not _lives(second))
    t.check("habits.kill-all-gone", gone, "no process is left", "the second goes on")


def _two(t: Case) -> tuple[Container, int]:
    """A container without a PID namespace of its own, and a second process in it."""
    names = [each for each in t.base("x")["linux"]["namespaces"] if each["type"] != "pid"]
    file = t.folder / "second"
    with tools.control(t):
        container = tools.paused(t, {"linux.namespaces": names})
        call = tools.execute(container, "pause", options=("--detach", "--pid-file", str(file)))
        if not call.ok:
            raise Refused(call)
    return container, int(file.read_text())


@test("habits.pids-zero", needs=("root", "cgroup:pids"))
def pids_zero(t: Case) -> None:
    """A pids limit of 0: the program can make processes."""
    with tools.control(t):
        t.run({"linux.resources.pids": {"limit": 100}}, "fork 3")
    seen = t.run({"linux.resources.pids": {"limit": 0}}, "fork 3")["fork"]
    t.equal("habits.pids-zero", seen["made"], 3)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


EMPTY: dict[str, object] = {
    "devices": [],
    "memory": {},
    "blockIO": {},
    "hugepageLimits": [],
    "network": {},
    "unified": {},
}
ZEROS = {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0}
# What a resource needs of the host: a runtime may look for a controller though nothing is asked of it.
NEEDED = {
    "memory": ("memory",),
    "blockIO": ("io", "blkio"),
    "hugepageLimits": ("hugetlb",),
    "network": ("net_cls",),
}


@test("habits.resources-empty")
def empty(t: Case) -> None:
    """Every resource empty that this host has, each alone and all together: the container runs."""
    there = set(t.host.controllers)
    chosen = {
        key: value for key, value in EMPTY.items() if there.intersection(NEEDED.get(key, there)) or not there
    }
    if "cpu" in there:
        chosen["cpu"] = {**ZEROS, **({"cpus": "", "mems": ""} if "cpuset" in there else {})}
    for value in (*({name: value} for name, value in chosen.items()), chosen):
        t.equal("habits.resources-empty", t.run({"linux.resources": value}, "cwd")["cwd"], "/")


# Options, controller, file of version 1, of version 2, and what these say (None: it is another number).
OPTIONS = (
    (
        ("--memory", str(48 * MIB)),
        "memory",
        "memory.limit_in_bytes",
        "memory.max",
        str(48 * MIB),
        str(48 * MIB),
    ),
    (("--cpu-share", "512"), "cpu", "cpu.shares", "cpu.weight", "512", None),
    (
        ("--cpu-quota", "30000", "--cpu-period", "50000"),
        "cpu",
        "cpu.cfs_quota_us",
        "cpu.max",
        "30000",
        "30000 50000",
    ),
    (("--cpuset-cpus", "0"), "cpuset", "cpuset.cpus", "cpuset.cpus", "0", "0"),
    (("--pids-limit", "99"), "pids", "pids.max", "pids.max", "99", "99"),
)


@test("habits.update-options", needs=("root",))
def options(t: Case) -> None:
    """Each option whose controller this host has, one after the other, and a document on standard input."""
    chosen = [each for each in OPTIONS if each[1] in t.host.controllers]
    if not chosen:
        t.skip("this host lacks the controllers memory, cpu, cpuset and pids")
    with tools.control(t):
        container = tools.paused(t)
    for words, controller, v1, v2, said1, said2 in chosen:
        error = _update(container, *words)
        what = f"update {' '.join(words)}"
        t.check("habits.update-options", not error, what, error)
        name, wanted = (v2, said2) if t.host.controllers[controller] else (v1, said1)
        if wanted is not None:
            seen = _file(container, controller, name).read_text().strip()
            t.equal("habits.update-options", f"{what}: {name} {seen}", f"{what}: {name} {wanted}")
    if "pids" in t.host.controllers:
        document = t.folder / "resources.json"
        document.write_text('{"pids": {"limit": 88}}')
        with document.open("rb") as file:
            call = t.runtime.command("update", "--resources", "-", container.id, stdin=file.fileno())
        t.check("habits.update-options", call.ok, "update --resources -", call.sentence)
        t.equal("habits.update-options", _file(container, "pids", "pids.max").read_text().strip(), "88")


@test("habits.systemd-cgroup", needs=("root", "systemd", "program:systemctl"))
def systemd(t: Case) -> None:
    """A scope of system.slice, named after prefix and id, with a property of an annotation."""
    if not t.host.systemd_cgroup:
        t.skip("this run's cgroups aren't systemd's (--systemd-cgroup)")
    container = tools.paused(t, {"annotations": {"org.systemd.property.TimeoutStopUSec": "uint64 77000000"}})
    scope = f"oci-conformance-{container.id}.scope"
    seen = _file(container, "memory", "x").parent
    there = f"/system.slice/{scope}/" in f"{seen}/"
    t.check("habits.systemd-cgroup", there, f"/system.slice/{scope}", str(seen))
    shown = subprocess.run(
        ["systemctl", "show", "--property=TimeoutStopUSec", scope],
        capture_output=True, text=True, check=False, timeout=t.runtime.limit, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    t.equal("habits.systemd-cgroup", shown.stdout.strip(), "TimeoutStopUSec=1min 17s")
