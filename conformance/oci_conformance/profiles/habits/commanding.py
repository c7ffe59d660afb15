"""Commands and what they print, as engines call and read them."""

from __future__ import annotations

import datetime
import json
import os
import re
from typing import Any

from oci_conformance.core.bundle import Json
from oci_conformance.core.runtime import Call
from oci_conformance.profiles.habits import tools
from oci_conformance.profiles.habits.foreground import run
from oci_conformance.profiles.robustness.leftovers import left
from oci_conformance.run.case import Broken, Case, Container, Refused
from oci_conformance.run.registry import test

UNKNOWN = "no-such-container"


def _json(call: Call) -> Any:
    """What a call printed. Raises Broken if it is no JSON."""
    if not call.ok:
        raise Refused(call)
    try:
        return json.loads(call.stdout)
    except ValueError:
        raise Broken(f"{call.operation} printed no JSON: {call.stdout[:200]!r}") from None


def _ended(t: Case) -> Container:
    """A stopped container."""
    container = t.create({}, "cwd")
    container.start()
    container.wait()
    return container


@test("habits.delete-created")
def delete_created(t: Case) -> None:
    """A created container, and delete without --force: it succeeds, and nothing is left."""
    container = t.create({}, "cwd")
    call = container.call("delete")
    t.check("habits.delete-created", call.ok, "delete succeeds", call.sentence)
    if call.ok:
        found = left(t, container)
        t.check("habits.delete-created", not found, "nothing is left", "; ".join(found))


@test("habits.version-lines")
def version(t: Case) -> None:
    """The first line, and the line with the specification's version."""
    lines = t.runtime.command("--version").stdout.splitlines()
    first = lines[0] if lines else ""
    t.check("habits.version-lines", bool(re.fullmatch(r"\S+ version \S+.*", first)), "NAME version X", first)
    spec = any(re.fullmatch(r"spec: \d+\.\d+\.\d+\S*", line) for line in lines)
    t.check("habits.version-lines", spec, "a line `spec: X.Y.Z`", lines)


@test("habits.log-json")
def log(t: Case) -> None:
    """state of an unknown id: the file's last line of level error has a message that stands on standard error too."""
    path = t.folder / "log"
    call = t.runtime.command("--log", str(path), "--log-format", "json", "state", UNKNOWN)
    t.check("habits.log-json", not call.ok, "an error", "it succeeded")
    lines = path.read_text().splitlines() if path.exists() else []
    try:
        records = [json.loads(line) for line in lines]
    except ValueError:
        records = []
    errors = [each for each in records if isinstance(each, dict) and each.get("level") == "error"]
    t.check("habits.log-json", bool(errors), "a line with level error", lines)
    for each in errors[-1:]:
        t.check("habits.log-json", bool(each.get("msg")) and bool(each.get("time")), "msg and time", each)
        same = str(each.get("msg")).split("\n")[0] in call.stderr.replace('\\"', '"')
        t.check("habits.log-json", same, f"standard error: {each.get('msg')}", call.stderr)


@test("habits.log-unwritable")
def log_unwritable(t: Case) -> None:
    """A log file in a folder that isn't there: list fails."""
    call = t.runtime.command("--log", str(t.folder / "no/such/log"), "list")
    t.check("habits.log-unwritable", not call.ok and call.code > 0, "an error", call.sentence)


@test("habits.state-keys")
def state(t: Case) -> None:
    """The state of a running container, and of a stopped one."""
    container = tools.paused(t)
    seen = container.state()
    t.equal("habits.state-keys", seen.get("status"), "running")
    for key, wanted in (
        ("id", container.id),
        ("bundle", str(container.bundle)),
    ):
        t.equal("habits.state-keys", f"{key} {seen.get(key)}", f"{key} {wanted}")
    t.check(
        "habits.state-keys", _time(seen.get("created")), "created as RFC 3339 has it", seen.get("created")
    )
    container.kill("KILL")
    container.wait()
    container.until("stopped")
    seen = container.state()
    t.equal("habits.state-keys", (seen.get("status"), seen.get("pid", 0)), ("stopped", 0))


def _time(text: object) -> bool:
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z", str(text))
    return match is not None and bool(datetime.datetime.fromisoformat(match.group(1)))


@test("habits.words")
def words(t: Case) -> None:
    """An unknown id, a stopped container, and a program that isn't there: the words, in any case of letters."""
    stopped = _ended(t)
    stopped.until("stopped")
    program = t.prepare({"process.args": ["nosuchprogram"]})
    path = t.prepare({"process.args": ["/no/such/program"]})
    calls = {
        "state": (t.runtime.call("state", UNKNOWN), ("does not exist",)),
        "kill": (stopped.call("kill", signal="TERM"), ("not running",)),
        "program": (program.call("create"), ("executable file not found", "no such file or directory")),
        "path": (path.call("create"), ("executable file not found", "no such file or directory")),
    }
    for name, (call, wanted) in calls.items():
        said = call.stderr.lower()
        found = not call.ok and any(each in said for each in wanted)
        t.check("habits.words", found, f"{name}: {' or '.join(wanted)}", f"{name}: {call.sentence}")


@test("habits.kill-names")
def kill_names(t: Case) -> None:
    """TERM, SIGTERM and 15: the program gets three times SIGTERM."""
    _kill(t, "habits.kill-names", "TERM", "SIGTERM", "15")


@test("habits.kill-lower")
def kill_lower(t: Case) -> None:
    """term and sigterm: the program gets SIGTERM twice."""
    _kill(t, "habits.kill-lower", "term", "sigterm")


def _kill(t: Case, id: str, *names: str) -> None:
    with tools.control(t):
        container = t.create({}, *["wait-signal 20"] * len(names))
        container.start()
    tools.eventually(container.results)
    for number, name in enumerate(names, 1):
        call = container.call("kill", signal=name)
        t.check(id, call.ok, f"kill {name}", call.sentence)
        tools.eventually(lambda number=number, ok=call.ok: not ok or len(_signals(container)) >= number, 5)
    t.equal(id, _signals(container), ["SIGTERM"] * len(names))


def _signals(container: Container) -> list[Any]:
    return [each["result"]["signal"] for each in container.results() if "result" in each]


@test("habits.kill-all-option")
def kill_all(t: Case) -> None:
    """kill --all with KILL of a stopped container: it succeeds."""
    stopped = _ended(t)
    stopped.until("stopped")
    call = t.runtime.command("kill", "--all", stopped.id, "KILL")
    t.check("habits.kill-all-option", call.ok, "kill --all succeeds", call.sentence)


@test("habits.delete-force")
def delete_force(t: Case) -> None:
    """An unknown id, a created container and a running one: delete --force succeeds, and nothing is left."""
    call = t.runtime.call("delete-force", UNKNOWN)
    t.check("habits.delete-force", call.ok, "delete --force of an unknown id succeeds", call.sentence)
    for running in (False, True):
        container = tools.paused(t) if running else t.create({}, "cwd")
        call = container.call("delete-force")
        t.check("habits.delete-force", call.ok, "delete --force succeeds", call.sentence)
        found = left(t, container)
        t.check("habits.delete-force", not found, "nothing is left", "; ".join(found))


@test("habits.pid-file")
def pid_file(t: Case) -> None:
    """The file of a created container: the digits of state's pid, and nothing else."""
    container = t.prepare({}, "cwd")
    path = t.folder / "pid"
    tools.create(container, "--pid-file", str(path))
    text = path.read_text() if path.exists() else "no file"
    t.equal("habits.pid-file", text, str(container.pid))


@test("habits.pause-states")
def pause(t: Case) -> None:
    """pause and resume of a running container; both of a stopped one are errors."""
    container = tools.paused(t)
    for operation, wanted in (("pause", "paused"), ("resume", "running")):
        call = t.runtime.command(operation, container.id)
        t.check("habits.pause-states", call.ok, f"{operation} succeeds", call.sentence)
        t.equal("habits.pause-states", container.state().get("status"), wanted)
    stopped = _ended(t)
    stopped.until("stopped")
    for operation in ("pause", "resume"):
        call = t.runtime.command(operation, stopped.id)
        t.check(
            "habits.pause-states",
            not call.ok,
            f"{operation} of a stopped container is an error",
            "it succeeded",
        )


@test("habits.events-stats", needs=("root", "cgroup:memory", "cgroup:pids"))
def stats(t: Case) -> None:
    """The statistics of a running container: its type, id, and the three groups of data."""
    container = tools.paused(t)
    seen = _json(t.runtime.command("events", "--stats", container.id))
    t.equal("habits.events-stats", (seen.get("type"), seen.get("id")), ("stats", container.id))
    data = seen.get("data", {})
    missing = [key for key in ("cpu", "memory", "pids") if not isinstance(data.get(key), dict)]
    t.check("habits.events-stats", not missing, "cpu, memory and pids in data", sorted(data))
    t.equal("habits.events-stats", data.get("pids", {}).get("current"), 1)


@test("habits.features-document")
def features(t: Case) -> None:
    """The keys that engines look at."""
    seen = _json(t.runtime.command("features"))
    missing = [
        key for key in ("ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux") if key not in seen
    ]
    t.equal("habits.features-document", missing, [])
    kinds = seen.get("linux", {}).get("namespaces") or []
    lacking = sorted({"mount", "network", "pid", "uts", "ipc"} - set(kinds))
    t.equal("habits.features-document", lacking, [])


@test("habits.run-detach")
def detach(t: Case) -> None:
    """run --detach of a program that goes on: it is running. run --keep of one that ends: it is stopped."""
    container = t.prepare({}, "pause")
    call = run(container, "--detach", stdout=container.output)
    t.check("habits.run-detach", call.ok, "run --detach succeeds", call.sentence)
    t.equal("habits.run-detach", container.state().get("status"), "running")
    other = t.prepare({}, "exit 0")
    call = run(other, "--keep")
    t.check("habits.run-detach", call.ok, "run --keep succeeds", call.sentence)
    t.equal("habits.run-detach", other.state().get("status"), "stopped")


@test("habits.list-json")
def listed(t: Case) -> None:
    """A running container in both forms of list."""
    container = tools.paused(t)
    found = _json(t.runtime.command("list", "--format", "json"))
    seen: Json = next((each for each in found or [] if each.get("id") == container.id), {})
    wanted = {"id": container.id, "pid": container.pid, "status": "running", "bundle": str(container.bundle)}
    t.equal("habits.list-json", {key: seen.get(key) for key in wanted}, wanted)
    t.check("habits.list-json", "created" in seen and "owner" in seen, "created and owner", sorted(seen))
    quiet = t.runtime.command("list", "--quiet").stdout.split()
    t.equal("habits.list-json", quiet, [container.id])


@test("habits.ps-json", needs=("root",))
def processes(t: Case) -> None:
    """A container with two processes: their numbers."""
    container = tools.paused(t)
    file = t.folder / "second"
    with tools.control(t):
        call = tools.execute(container, "pause", options=("--detach", "--pid-file", str(file)))
        if not call.ok:
            raise Refused(call)
    seen = _json(t.runtime.command("ps", "--format", "json", container.id))
    t.equal("habits.ps-json", sorted(seen), sorted([container.pid, int(file.read_text())]))


@test("habits.boolean-values")
def booleans(t: Case) -> None:
    """--debug=false before list, and --tty=false of an exec: both succeed."""
    call = t.runtime.command("--debug=false", "list")
    t.check("habits.boolean-values", call.ok, "--debug=false list succeeds", call.sentence)
    container = tools.paused(t)
    call = tools.execute(container, "cwd", options=("--tty=false",))
    t.check("habits.boolean-values", call.ok, "exec --tty=false succeeds", call.sentence)


@test("habits.checkpoint", needs=("root", "program:criu"), may_refuse=True)
def checkpoint(t: Case) -> None:
    """A running container is written to a folder, deleted, and restored from there: it runs, and does what it did."""
    if os.system("criu check >/dev/null 2>&1"):
        t.skip("this host lacks a criu that works with its kernel")
    container = t.prepare({}, "pause")
    with tools.control(t), open(os.devnull, "r+b") as null:
        tools.create(container, stdin=null.fileno(), stdout=null.fileno(), stderr=null.fileno())
        container.start()
    images = t.folder / "images"
    call = t.runtime.command("checkpoint", "--image-path", str(images), container.id)
    if not call.ok:
        raise Refused(call)
    container.call("delete-force")
    call = t.runtime.command(
        "restore", "--detach", "--image-path", str(images), "--bundle", str(container.bundle), container.id
    )
    t.check("habits.checkpoint", call.ok, "restore succeeds", call.sentence)
    t.equal("habits.checkpoint", container.state().get("status"), "running")
