"""pyrun events: statistics in runc's shape, and OOM events as they happen."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import needs
import pytest
from bundles import Bundle, Container, Pyrun, eventually, new_id
from hypothesis import given
from hypothesis import strategies as st
from test_cgroups_limits import has_v1, has_v2

from pyrun.commands.events import duration

Make = Callable[..., Bundle]

MIB = 1 << 20
memory_controller = pytest.mark.skipif(
    not (has_v1("memory") or has_v2("memory")), reason="no memory controller where containers are made"
)


def stats(container: Container) -> dict[str, Any]:
    result = container.pyrun.ok("events", "--stats", container.id)
    (line,) = result.lines()
    event = json.loads(line)
    assert list(event) == ["type", "id", "data"]
    assert (event["type"], event["id"]) == ("stats", container.id)
    data: dict[str, Any] = event["data"]
    return data


class Stream:
    """`events` while it runs."""

    def __init__(self, container: Container, *options: str) -> None:
        self.path = container.pyrun.calls / f"events-{new_id()}"
        with self.path.open("wb") as out:
            self.process = container.pyrun.popen("events", *options, container.id, stdout=out, stderr=out)
        container.pyrun.running.append(self.process)

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = self.path.read_text().splitlines(keepends=True)
        found = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in found if event["type"] == kind]

    def until(self, kind: str, count: int = 1) -> None:
        eventually(lambda: len(self.events(kind)) >= count, f"no {kind}: {self.path.read_text()[-2000:]}")

    def end(self) -> None:
        assert self.process.wait(10) == 0


def every_number(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for each in value.values():
            yield from every_number(each)
    elif isinstance(value, list):
        for each in value:
            yield from every_number(each)
    elif value is not None and not isinstance(value, str):
        yield value


def test_statistics(any_host: Pyrun, bundle: Make) -> None:
    """The parts that runc's document has, with plausible values."""
    container = any_host.start(
        bundle(sh="i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; echo done; sleep 1000")
    )
    eventually(container.out, "it isn't done")
    data = stats(container)
    assert list(data) == [
        "cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces",
    ]  # fmt: skip
    usage = data["cpu"]["usage"]
    assert 10**6 < usage["total"] < 10**11
    assert 0 <= usage["kernel"] + usage["user"] <= usage["total"] + 10**8
    assert set(data["cpu"]["throttling"]) == {"periods", "throttledPeriods", "throttledTime"}
    assert data["pids"]["current"] in (1, 2)
    for part in ("usage", "swap", "kernel", "kernelTCP"):
        assert {"limit", "failcnt"} <= set(data["memory"][part])
    assert all(isinstance(number, (int, float)) and number >= -1 for number in every_number(data))
    assert data["network_interfaces"] is None
    container.delete("--force")


@memory_controller
def test_limits_are_shown(pyrun: Pyrun, bundle: Make) -> None:
    """Limits in force, and what is used of them."""
    resources = {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}, "pids": {"limit": 33}, "cpu": {"cpus": "0"}}
    data = stats(pyrun.start(bundle({"linux": {"resources": resources}}, sh="sleep 1000")))
    memory = data["memory"]
    assert memory["usage"]["limit"] == 64 * MIB
    assert memory["swap"]["limit"] == 96 * MIB
    assert 4096 < memory["usage"]["usage"] < 64 * MIB
    assert memory["swap"]["usage"] >= memory["usage"]["usage"]
    assert memory["raw"]["pgfault"] > 0
    assert data["pids"] == {"current": data["pids"]["current"], "limit": 33}
    assert data["cpuset"]["cpus"] == [0]


@pytest.mark.parametrize("part", ["cpu", "memory", "blkio"])
def test_pressure(pyrun: Pyrun, bundle: Make, part: str) -> None:
    """PSI where the kernel and cgroup v2 have it."""
    needs_file = "io" if part == "blkio" else part
    mount = Path("/sys/fs/cgroup/unified")
    mount = mount if mount.exists() else mount.parent
    if not (mount / f"{needs_file}.pressure").exists() and not Path(f"/proc/pressure/{needs_file}").exists():
        pytest.skip("needs PSI, which this kernel lacks")
    psi = stats(pyrun.start(bundle(sh="sleep 1000")))[part]["psi"]
    for kind in ("some", "full"):
        assert set(psi[kind]) == {"avg10", "avg60", "avg300", "total"}
        assert isinstance(psi[kind]["total"], int)
        assert isinstance(psi[kind]["avg10"], float)


def shape(document: Any) -> Any:
    """Names and kinds; what depends on the kernel's files, or on what each container did, is left out."""
    if isinstance(document, dict):
        return {key: shape(value) for key, value in document.items() if key not in ("raw", "id", "blkio")}
    return (
        type(document).__name__ if not isinstance(document, list) else [shape(each) for each in document[:1]]
    )


def includes(ours: Any, theirs: Any, path: str = "") -> None:
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            assert key in ours, f"{path}.{key} is missing"
            includes(ours[key], value, f"{path}.{key}")
    else:
        assert ours == theirs, path


def test_the_shape_is_runcs(pyrun: Pyrun, bundle: Make, tmp_path: Path) -> None:
    """Each property that runc prints is there, with a value of the same kind."""
    needs.program("runc")
    one = bundle(sh="sleep 1000")
    ours = stats(pyrun.start(one))
    name = new_id()
    one.config["ociVersion"] = "1.0.2"
    runc = ["runc", "--root", str(tmp_path / "runc")]
    quiet = subprocess.DEVNULL
    subprocess.run(
        [*runc, "run", "-d", "-b", one.write().path, name],
        check=True,
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
    )
    try:
        theirs = json.loads(subprocess.check_output([*runc, "events", "--stats", name]))
    finally:
        subprocess.run([*runc, "delete", "--force", name], check=True)
    includes(shape({"type": "stats", "id": "", "data": ours}), shape(theirs))


def test_interfaces(pyrun: Pyrun, bundle: Make) -> None:
    """Those of the container's own network namespace, without loopback."""
    needs.program("nsenter", "ip")
    container = pyrun.start(bundle(sh="sleep 1000"))
    add = ["nsenter", "-n", "-t", str(container.pid), "ip", "link", "add", "eth7", "type", "dummy"]
    if subprocess.run(add, check=False, capture_output=True).returncode:
        pytest.skip("needs dummy network interfaces, which this kernel lacks")
    (interface,) = stats(container)["network_interfaces"]
    assert interface["Name"] == "eth7"
    assert interface["RxBytes"] == interface["TxBytes"] == 0
    host = pyrun.start(bundle(sh="sleep 1000").namespace("network", None))
    assert stats(host)["network_interfaces"] is None


def test_stream(any_host: Pyrun, bundle: Make) -> None:
    """At once, at each interval, and until the container ends; also while it is paused."""
    container = any_host.start(bundle(sh="sleep 1000"))
    stream = Stream(container, "--interval", "50ms")
    stream.until("stats", 4)
    any_host.ok("pause", container.id)
    stream.until("stats", len(stream.events("stats")) + 3)
    any_host.ok("resume", container.id)
    slow = Stream(container)
    slow.until("stats")
    time.sleep(0.2)
    container.kill("KILL")
    stream.end()
    slow.end()
    assert len(slow.events("stats")) == 1
    assert not stream.events("oom")
    container.wait()
    container.delete()


def test_the_end_of_a_created_container(pyrun: Pyrun, bundle: Make) -> None:
    """Started or not, deleted or not."""
    container = pyrun.create(bundle(sh="true"))
    stream = Stream(container, "--interval=1h")
    stream.until("stats")
    container.delete("--force")
    stream.end()


HOG = "dd if=/dev/zero of=/dev/null bs=64M count=1"


@memory_controller
def test_oom(pyrun: Pyrun, bundle: Make) -> None:
    """Each time that a process is killed for lack of memory, and the container goes on."""
    resources = {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}
    script = f"read -r a; {HOG}; echo one; read -r a; {HOG}; echo two; sleep 1000"
    one = bundle({"linux": {"resources": resources}}, sh=script)
    reader, writer = os.pipe()
    with os.fdopen(reader) as stdin, os.fdopen(writer, "w", buffering=1) as feed:
        container = pyrun.create(one, stdin=stdin)
        container.start()
        stream = Stream(container, "--interval", "1h")
        stream.until("stats")
        feed.write("\n")
        stream.until("oom")
        eventually(lambda: "one" in container.out(), "it doesn't go on")
        count = len(stream.events("oom"))
        feed.write("\n")
        stream.until("oom", count + 1)
    assert stream.events("oom")[0] == {"type": "oom", "id": container.id}
    container.kill("KILL")
    stream.end()


@memory_controller
def test_oom_of_the_first_process(pyrun: Pyrun, bundle: Make) -> None:
    """The event comes before the stream's end."""
    resources = {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}
    one = bundle({"linux": {"resources": resources}}).args(
        "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"
    )
    container = pyrun.create(one)
    stream = Stream(container, "--interval", "1h")
    stream.until("stats")
    container.start()
    stream.end()
    assert stream.events("oom")


@memory_controller
def test_removing_the_cgroup_is_no_oom(pyrun: Pyrun, bundle: Make) -> None:
    """v1's eventfd tells of both."""
    for _ in range(5):
        container = pyrun.start(bundle(sh="sleep 1000"))
        stream = Stream(container, "--interval", "1h")
        stream.until("stats")
        container.delete("--force")
        stream.end()
        assert not stream.events("oom")


def test_refused(pyrun: Pyrun, bundle: Make) -> None:
    """Unknown and stopped containers, intervals that are none."""
    name = new_id()
    assert pyrun.error("events", name) == f'container "{name}" does not exist'
    container = pyrun.start(bundle(sh="true"))
    container.wait()
    for options in ((), ("--stats",)):
        sentence = f'container not running: "{container.id}" is stopped'
        assert pyrun.error("events", *options, container.id) == sentence
    for text in ("", "5", "0s", "-1s", "5 s", "1.2.3s", "s", "5x"):
        sentence = f'--interval: "{text}" is not a duration, such as 5s, 100ms or 1m30s'
        assert pyrun.error("events", f"--interval={text}", container.id) == sentence


def test_a_reader_that_goes_away(pyrun: Pyrun, bundle: Make) -> None:
    """The stream ends without a word."""
    container = pyrun.start(bundle(sh="sleep 1000"))
    with pyrun.popen(
        "events", "--interval", "20ms", container.id, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("5s", 5 * 10**9),
        ("100ms", 10**8),
        ("1m30s", 9 * 10**10),
        ("1.5h", 54 * 10**11),
        ("7us", 7000),
        ("3µs", 3000),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert duration(text) == nanoseconds


@given(st.text("0123456789.hmnsuµ -"))
def test_any_duration_is_understood_or_refused(text: str) -> None:
    found = duration(text)
    assert found is None or found >= 0
