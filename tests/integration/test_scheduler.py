"""process.scheduler: policy, nice value, priority, flags and deadlines, as the kernel tells them of the program."""

from __future__ import annotations

import ctypes
import json
import os
import struct
from pathlib import Path

import needs
import pytest
from bundles import new_id

NUMBERS = {"x86_64": 315, "aarch64": 275}  # sched_getattr
MS = 1_000_000
DEADLINE = {"policy": "SCHED_DEADLINE", "runtime": 5 * MS, "deadline": 40 * MS, "period": 50 * MS}
ORDINARY = [
    {"policy": "SCHED_OTHER"},
    {"policy": "SCHED_OTHER", "nice": 5},
    {"policy": "SCHED_OTHER", "nice": -3},
    {"policy": "SCHED_BATCH", "nice": 7},
    {"policy": "SCHED_IDLE"},
    {"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
    DEADLINE,
    {**DEADLINE, "flags": ["SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_RECLAIM"]},
    {name: value for name, value in DEADLINE.items() if name != "period"},
]
REAL_TIME = [{"policy": "SCHED_FIFO", "priority": 7}, {"policy": "SCHED_RR", "priority": 3}]
POLICIES = "OTHER FIFO RR BATCH ISO IDLE DEADLINE".split()
FLAGS = {"SCHED_FLAG_RESET_ON_FORK": 1, "SCHED_FLAG_RECLAIM": 2, "SCHED_FLAG_DL_OVERRUN": 4}
# Microseconds of real-time scheduling that cgroup v1 lets a group have in each period.
RT = {"realtimePeriod": 1_000_000, "realtimeRuntime": 10_000}


def name_of(wanted):
    """For a test's id."""
    return "-".join(
        str(value) for key, value in wanted.items() if key not in ("runtime", "deadline", "period")
    )


def scheduler(pid):
    """What sched_getattr(2) says of a process, in the configuration's words."""
    if os.uname().machine not in NUMBERS:
        pytest.skip("needs x86-64 or arm64, whose number of sched_getattr is known")
    libc = ctypes.CDLL(None, use_errno=True)
    data = ctypes.create_string_buffer(56)
    if libc.syscall(NUMBERS[os.uname().machine], pid, data, 56, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _, policy, flags, nice, priority, runtime, deadline, period = struct.unpack("=IIQiIQQQ", data.raw[:48])
    seen = {
        "policy": f"SCHED_{POLICIES[policy]}",
        "flags": sorted(name for name, bit in FLAGS.items() if flags & bit),
        "nice": nice,
        "priority": priority,
    }
    if policy == 6:
        seen |= {"runtime": runtime, "deadline": deadline, "period": period}
    return seen


def expected(wanted):
    """The same with its defaults; a period is as long as the deadline: sched(7)."""
    found = {"flags": [], "nice": 0, "priority": 0, **wanted}
    if "deadline" in found:
        found.setdefault("period", found["deadline"])
    return {**found, "flags": sorted(found["flags"])}


def with_scheduler(one, wanted):
    """Ask for a scheduler."""
    one.config["process"]["scheduler"] = wanted
    return one.write()


@pytest.fixture
def real_time(bundle):
    """A bundle that may have real-time processes, where cgroup v1 limits those."""
    needs.capability("CAP_SYS_NICE")
    one = bundle(sh="exec sleep 1000")
    if Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists():
        one.config["linux"]["resources"] = {"cpu": RT}
        one.config["linux"]["cgroupsPath"] = f"/{new_id()}"  # its parent is the root, which may give
    return one


def of_exec(container, document, tmp_path):
    """How a program of exec is scheduled, and its pid: until it is killed."""
    path = tmp_path / "process.json"
    path.write_text(json.dumps({"cwd": "/", "args": ["sleep", "1000"], **document}))
    pid_file = tmp_path / "exec.pid"
    container.exec((), "--process", str(path), "--detach", "--pid-file", str(pid_file))
    return scheduler(int(pid_file.read_text()))


@pytest.mark.parametrize("user", [False, True], ids=["host", "user-namespace"])
@pytest.mark.parametrize("wanted", ORDINARY, ids=name_of)
def test_each_policy(pyrun, bundle, tmp_path, wanted, user):
    """The program of the container and one of exec have policy, nice value, flags and times that are configured, and 0
    for the rest; also where the container's root has no right to them."""
    needs.capability("CAP_SYS_NICE")
    one = bundle(sh="exec sleep 1000")
    if user:
        one.config["process"]["rlimits"] = None
        one.user_namespace()
    container = pyrun.start(with_scheduler(one, wanted))
    assert scheduler(container.pid) == expected(wanted)
    assert of_exec(container, {}, tmp_path) == expected(wanted)
    container.delete("--force")


@pytest.mark.parametrize("wanted", REAL_TIME, ids=name_of)
def test_real_time(pyrun, real_time, tmp_path, wanted):
    """Real-time policies have their priority."""
    container = pyrun.start(with_scheduler(real_time, wanted))
    assert scheduler(container.pid) == expected(wanted)
    assert of_exec(container, {}, tmp_path) == expected(wanted)
    container.delete("--force")


def test_nothing_of_the_caller(pyrun, bundle):
    """What a scheduler doesn't say is 0, whatever the caller's values are."""
    needs.capability("CAP_SYS_NICE")
    pyrun.wrapper = ["nice", "-n", "5"]
    container = pyrun.create(with_scheduler(bundle(sh="sleep 1000"), {"policy": "SCHED_BATCH"}))
    assert scheduler(container.pid) == expected({"policy": "SCHED_BATCH"})
    container.delete("--force")


def test_exec_has_its_own(pyrun, bundle, tmp_path):
    """A process document's scheduler takes precedence over the container's."""
    needs.capability("CAP_SYS_NICE")
    container = pyrun.start(with_scheduler(bundle(sh="sleep 1000"), {"policy": "SCHED_BATCH", "nice": 4}))
    own = {"policy": "SCHED_OTHER", "nice": 9}
    assert of_exec(container, {"scheduler": own}, tmp_path) == expected(own)
    container.delete("--force")


@pytest.mark.parametrize("hosts", [False, True], ids=["own-pids", "hosts-pids"])
def test_what_forks_has_a_policy_of_its_own(pyrun, bundle, tmp_path, hosts):
    """SCHED_FLAG_RESET_ON_FORK counts from the program on, wherever its PID namespace makes the runtime fork."""
    one = bundle(sh="exec sleep 1000")
    wanted = {"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    if hosts:
        one.config["linux"]["namespaces"] = [
            n for n in one.config["linux"]["namespaces"] if n["type"] != "pid"
        ]
    container = pyrun.start(with_scheduler(one, wanted))
    assert scheduler(container.pid) == expected(wanted)
    assert of_exec(container, {}, tmp_path) == expected(wanted)
    container.delete("--force")


def test_a_joined_pid_namespace(pyrun, bundle):
    """There the runtime makes another process at the end, which has the policy."""
    first = pyrun.start(bundle(sh="sleep 1000"))
    one = bundle(sh="exec sleep 1000").namespace("pid", f"/proc/{first.pid}/ns/pid")
    wanted = {"policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    container = pyrun.start(with_scheduler(one, wanted))
    assert scheduler(container.pid) == expected(wanted)
    container.delete("--force")
    first.delete("--force")


REFUSED = [
    ({"policy": "SCHED_UNICORN"}, "process.scheduler.policy: "),
    ({"policy": "SCHED_FIFO"}, "process.scheduler.priority: "),
    ({"policy": "SCHED_OTHER", "nice": 20}, "process.scheduler.nice: "),
    ({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_X"]}, "process.scheduler.flags[0]: "),
    ({**DEADLINE, "runtime": 0}, "process.scheduler: "),
    ({"policy": "SCHED_ISO"}, "process.scheduler: setting SCHED_ISO: sched_setattr: Invalid argument"),
]


@pytest.mark.parametrize(("value", "words"), REFUSED, ids=[name_of(value) for value, _ in REFUSED])
def test_refused(pyrun, bundle, value, words):
    """What the specification or the kernel doesn't have is refused by name."""
    assert pyrun.refused(bundle({"process": {"scheduler": value}})).startswith(words)


def test_without_the_right(pyrun, bundle):
    """A caller without CAP_SYS_NICE is told what a lower nice value needs."""
    needs.program("setpriv")
    pyrun.wrapper = ["setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice"]
    sentence = pyrun.refused(bundle({"process": {"scheduler": {"policy": "SCHED_OTHER", "nice": -5}}}))
    assert sentence.startswith("process.scheduler: setting SCHED_OTHER: sched_setattr: not permitted")
    assert "CAP_SYS_NICE" in sentence


@pytest.mark.parametrize("resets", [True, False], ids=["resets", "keeps"])
def test_a_hook_beside_a_deadline(pyrun, bundle, resets):
    """A startContainer hook is forked by the process that has the deadline: the kernel wants it to be reset there."""
    needs.capability("CAP_SYS_NICE")
    flags = {"flags": ["SCHED_FLAG_RESET_ON_FORK"]} if resets else {}
    one = with_scheduler(bundle(sh="echo ran"), {**DEADLINE, **flags})
    one.hook("startContainer", "true")
    if resets:
        assert pyrun.output(one) == "ran\n"
    else:
        sentence = pyrun.error("run", "-b", str(one.path), pyrun.id())
        assert sentence.startswith(
            "hooks.startContainer[0]: /bin/sh can't be executed: Resource temporarily unavailable"
        )


def test_exec_where_cgroups_have_no_real_time(pyrun, bundle, tmp_path):
    """A real-time policy in cgroups of version 1 that have no time for it: the sentence says what it needs."""
    needs.capability("CAP_SYS_NICE")
    if not Path("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists():
        pytest.skip("needs cgroup v1 with CONFIG_RT_GROUP_SCHED")
    container = pyrun.start(bundle(sh="exec sleep 1000"))
    path = tmp_path / "process.json"
    path.write_text(json.dumps({"cwd": "/", "args": ["true"], "scheduler": REAL_TIME[0]}))
    sentence = container.exec_refused((), "--process", str(path))
    assert "linux.resources.cpu.realtimeRuntime" in sentence
    container.delete("--force")


def test_exec_refuses_it_and_leaves_nothing(pyrun, bundle, tmp_path):
    """A policy that the kernel refuses to a process of exec: the sentence says so, and the process is gone."""
    container = pyrun.start(bundle(sh="exec sleep 1000"))
    path = tmp_path / "process.json"
    path.write_text(json.dumps({"cwd": "/", "args": ["sleep", "1000"], "scheduler": {"policy": "SCHED_ISO"}}))
    sentence = container.exec_refused((), "--process", str(path))
    assert "process.scheduler: setting SCHED_ISO: sched_setattr: Invalid argument" in sentence
    processes = json.loads(pyrun.ok("ps", "--format", "json", container.id).out)
    assert processes == [container.pid]
    container.delete("--force")
