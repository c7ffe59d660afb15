"""linux.timeOffsets: how far the container's clocks are ahead, in a new time namespace or as a joined one has them."""

from __future__ import annotations

import needs
import pytest

OFFSETS = {"monotonic": {"secs": 172800, "nanosecs": 500000007}, "boottime": {"secs": 604800}}
SHOW = "cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime"


@pytest.fixture
def timed(bundle):
    """A bundle with a time namespace, whose program shows its offsets and its uptime."""
    needs.namespace("time")
    return bundle(sh=SHOW).namespace("time")


def with_offsets(one, **offsets):
    """Ask for offsets."""
    one.config["linux"]["timeOffsets"] = offsets
    return one.write()


def uptime():
    """Of the host, in seconds."""
    with open("/proc/uptime") as file:
        return int(float(file.read().split()[0]))


def check(text, monotonic, boottime, since):
    """The two offsets are there, and the uptime is ahead by the second."""
    first, second, up = text.splitlines()
    assert first.split() == ["monotonic", *monotonic]
    assert second.split() == ["boottime", *boottime]
    assert since + int(boottime[0]) <= int(up) <= uptime() + int(boottime[0]) + 1


def in_user_namespace(one):
    """Let the container have a user namespace."""
    needs.user_namespaces()
    one.config["process"]["rlimits"] = None
    return one.user_namespace()


@pytest.mark.parametrize("user", [False, True], ids=["host", "user"])
def test_offsets(pyrun, timed, user):
    """The program's clocks are ahead by what is configured, in a user namespace too; a program of exec has the same."""
    since = uptime()
    one = with_offsets(in_user_namespace(timed) if user else timed, **OFFSETS)
    check(pyrun.output(one), ("172800", "500000007"), ("604800", "0"), since)
    container = pyrun.start(one.args("sleep", "1000"))
    check(container.sh(SHOW), ("172800", "500000007"), ("604800", "0"), since)
    container.kill("KILL")
    container.wait()
    container.delete()


def test_backwards(pyrun, timed):
    """A negative offset sets a clock back, and nanoseconds count forwards from there."""
    since = uptime()
    one = with_offsets(timed, boottime={"secs": -2, "nanosecs": 1}, monotonic={"nanosecs": 999999999})
    check(pyrun.output(one), ("0", "999999999"), ("-2", "1"), since)


def test_with_a_joined_pid_namespace(pyrun, timed, bundle):
    """Also where the container's process is born in another's PID namespace."""
    since = uptime()
    pod = pyrun.start(bundle().args("sleep", "1000"))
    one = with_offsets(timed, **OFFSETS).namespace("pid", f"/proc/{pod.pid}/ns/pid")
    check(pyrun.output(one), ("172800", "500000007"), ("604800", "0"), since)
    pod.delete("--force")


def test_hooks_of_the_runtime_have_its_clocks(pyrun, timed, tmp_path):
    """createRuntime hooks run in the runtime's time namespace, createContainer hooks in the container's."""
    one = with_offsets(timed, **OFFSETS)
    for kind in ("createRuntime", "createContainer"):
        one.hook(kind, f"cat /proc/self/timens_offsets > {tmp_path}/{kind}")
    pyrun.output(one)
    assert "172800" not in (tmp_path / "createRuntime").read_text()
    assert "172800" in (tmp_path / "createContainer").read_text()


def test_joined(pyrun, timed, bundle):
    """A time namespace that is joined may have the offsets that are configured; they can't be others."""
    holder = pyrun.start(with_offsets(bundle().args("sleep", "1000").namespace("time"), **OFFSETS))
    one = with_offsets(timed, **OFFSETS).namespace("time", f"/proc/{holder.pid}/ns/time")
    since = uptime()
    check(pyrun.output(one), ("172800", "500000007"), ("604800", "0"), since)
    for others in ({"monotonic": {"secs": 172800}}, {**OFFSETS, "boottime": {"secs": 604801}}):
        sentence = pyrun.refused(with_offsets(one, **others))
        assert sentence.startswith("linux.timeOffsets: the time namespace that is joined has ")
        assert "can't be changed" in sentence
    holder.delete("--force")


@pytest.mark.parametrize(
    "offsets",
    [{"monotonic": {"secs": -(10**9)}}, {"boottime": {"secs": 2**62}}],
    ids=["before 0", "too late"],
)
def test_beyond_the_kernels_range(pyrun, timed, offsets):
    """A clock that would be negative, or overflow, is refused with the clock's JSON path and why."""
    sentence = pyrun.refused(with_offsets(timed, **offsets))
    (clock,) = offsets
    assert sentence.startswith(f"linux.timeOffsets.{clock}: setting {clock}: write timens_offsets ")
    assert "a clock can't be before 0" in sentence


def test_without_a_time_namespace(pyrun, bundle):
    """Offsets want a namespace to be set in: the host's clocks are never changed."""
    sentence = pyrun.refused(with_offsets(bundle(), **OFFSETS))
    assert sentence.startswith("linux.timeOffsets: found offsets, wanted a time namespace")


def test_without_the_right(pyrun, timed):
    """A caller without CAP_SYS_TIME is told so."""
    needs.program("setpriv")
    pyrun.wrapper = ["setpriv", "--bounding-set=-sys_time", "--inh-caps=-sys_time"]
    sentence = pyrun.refused(with_offsets(timed, **OFFSETS))
    assert "linux.timeOffsets" in sentence
    assert "that needs CAP_SYS_TIME" in sentence


def test_offsets_that_are_empty(pyrun, timed):
    """Clocks without offsets, as engines send them, change nothing."""
    since = uptime()
    check(pyrun.output(with_offsets(timed, monotonic={}, boottime={})), ("0", "0"), ("0", "0"), since)
    check(pyrun.output(with_offsets(timed)), ("0", "0"), ("0", "0"), since)
