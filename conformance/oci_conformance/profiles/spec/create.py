"""The operation create (runtime.md#create), and that there are all five operations (runtime.md#operations)."""

from __future__ import annotations

import json
import os
from pathlib import Path

from oci_conformance.core.bundle import Changes
from oci_conformance.core.runtime import NOT_EXECUTED
from oci_conformance.profiles.support.environment import changes_since, look, runs_probe
from oci_conformance.run.case import DELETE, Case
from oci_conformance.run.registry import test


@test("ops.all-supported")
def operations(t: Case) -> None:
    """There are the operations create, state, start, kill and delete, and each does what it is for."""
    c = t.prepare({}, "serve")
    steps = (("create", "created"), ("start", "running"), ("kill", "stopped"), ("delete", None))
    for operation, status in steps:
        call = c.call(operation, signal="KILL")
        t.check("ops.all-supported", call.ok, f"success of {operation}", call.sentence)
        if not call.ok:
            return
        if operation == "kill":
            c.wait()
        if status is None:
            t.check("ops.all-supported", not c.call("state").ok, "no container after delete", "there is one")
        else:
            t.check(
                "ops.all-supported", c.until(status), f"{status} after {operation}", c.state().get("status")
            )
            c.pid  # noqa: B018 - while it exists


@test("create.no-id")
def no_id(t: Case) -> None:
    """Create without an ID is an error, and makes no container."""
    c = t.prepare({}, "pause")
    before = look(t)
    call = t.runtime.call("create", None, {"bundle": str(c.bundle)})
    t.check("create.no-id", not call.ok, "an error without an ID", f"success: {call.stdout[:200]}")
    changes = changes_since(t, before)
    t.check("create.no-id", not changes, "nothing made without an ID", changes)
    control = c.call("create")
    t.check("create.no-id", control.ok, "success with an ID", control.sentence)


@test("create.no-bundle")
def no_bundle(t: Case) -> None:
    """Create without a bundle, from a folder that isn't one, is an error."""
    c = t.prepare({}, "pause")
    folder = t.folder / "empty"
    folder.mkdir()
    c.created = True  # by a runtime that finds some bundle
    call = t.runtime.call("create", c.id, {}, cwd=folder)
    t.check("create.no-bundle", not call.ok, "an error without a bundle", f"success: {call.stdout[:200]}")
    state = c.call("state")
    t.check("create.no-bundle", not state.ok, "no container without a bundle", state.stdout)
    control = c.call("create")
    t.check("create.no-bundle", control.ok, "success with a bundle", control.sentence)


@test("create.id-unique", "create.id-conflict-no-container")
def id_in_use(t: Case) -> None:
    """Create with an ID in use is an error, makes no container, and leaves the one that has the ID as it is."""
    for phase in ("created", "running", "stopped"):
        c = t.create({}, "serve")
        if phase != "created":
            c.start()
        if phase == "stopped":
            c.kill("KILL")
            c.wait()
            c.until("stopped")
        state = c.state()
        mark = t.folder / "invoked"
        changes: Changes = {"hooks.createRuntime": [t.hook(f"to {mark}", "echo made")]}
        second = t.prepare(changes, "pause", id=c.id)
        if "cgroupsPath" in second.config["linux"]:
            second.config["linux"]["cgroupsPath"] += "-second"
            (second.bundle / "config.json").write_text(json.dumps(second.config))
        before = look(t)
        call = second.call("create")
        t.check(
            "create.id-unique", not call.ok, f"an error for the ID of a container that is {phase}", "success"
        )
        found = changes_since(t, before)
        t.check("create.id-conflict-no-container", not found, "no new container", found)
        t.check("create.id-conflict-no-container", not mark.exists(), "no hook invoked", "a hook was invoked")
        t.equal("create.id-conflict-no-container", c.state(), state)
        if phase == "running":
            t.equal("create.id-conflict-no-container", c.ask("echo here").get("result"), "here")
        c.hang_up()
        second.created = False  # there is one container to be deleted


@test("create.id-valid", "create.id-conflict-no-container")
def invalid_id(t: Case) -> None:
    """An ID that is empty, or has the form of a path, is an error, and makes no container."""
    control = t.prepare({}).call("create")
    for id in t.test.ids:
        t.check(id, control.ok, "success with an ordinary ID", control.sentence)
    for name in ("", "a/b", "../x"):
        c = t.prepare({}, "pause")
        c.id = name
        before = look(t)
        call = c.call("create")
        t.check("create.id-valid", not call.ok, f"an error for the ID {name!r}", "success")
        found = changes_since(t, before) if not call.ok else "a container was made"
        t.check("create.id-conflict-no-container", not found, f"nothing made for the ID {name!r}", found)
        c.created = call.ok


@test("create.makes-container")
def makes_container(t: Case) -> None:
    """Create makes a container where there was none, and another one for another ID."""
    first = t.prepare({}, "pause")
    t.check(
        "create.makes-container", not first.call("state").ok, "no container before create", "there is one"
    )
    first.create()
    second = t.create({}, "pause")
    t.check("create.makes-container", first.pid != second.pid, "a process of each", first.pid)
    for c in (first, second):
        t.equal("create.makes-container", c.state().get("status"), "created")
        theirs, ours = c.proc("ns/pid"), os.readlink("/proc/self/ns/pid")
        t.check("create.makes-container", theirs != ours, "a process in namespaces of its own", theirs)


@test("create.apply-all-but-process", needs=("root",))
def applies_all_but_process(t: Case) -> None:
    """What is configured outside of `process` is in effect after create, before start."""
    limited = not t.host.lacks("cgroup:pids")
    changes: Changes = {
        "hostname": "applied",
        "root.readonly": True,
        "mounts[+]": {
            "destination": "/mnt",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "noexec"],
        },
        "linux.sysctl": {"kernel.shm_rmid_forced": "1"},
        "linux.devices": [{"path": "/dev/made", "type": "c", "major": 1, "minor": 3}],
        "linux.maskedPaths": ["/etc/secret"],
        "linux.readonlyPaths": ["/tmp"],
        **({"linux.resources.pids.limit": 77} if limited else {}),
    }
    c = t.create(changes, "pause", files={"/etc/secret": "secret"})
    id = "create.apply-all-but-process"
    mounts = {
        fields[4]: fields[5] for line in c.proc("mountinfo").splitlines() if (fields := line.split(" "))
    }
    for point, options in (("/", "ro"), ("/mnt", "rw,nosuid,noexec"), ("/tmp", "ro"), ("/etc/secret", "")):
        seen = mounts.get(point)
        ok = seen is not None and {*filter(None, options.split(","))} <= {*seen.split(",")}
        t.check(id, ok, f"{point} mounted {options}", seen)
    root = Path(f"/proc/{c.pid}/root")
    t.equal(
        id, os.stat(root / "dev/made").st_rdev if (root / "dev/made").exists() else None, os.makedev(1, 3)
    )
    if limited:
        t.equal(id, c.limit("pids", v1="pids.max", v2="pids.max"), "77")
    joined: Changes = {
        "linux.namespaces": [
            {"type": "pid"},
            {"type": "mount"},
            *({"type": name, "path": f"/proc/{c.pid}/ns/{name}"} for name in ("uts", "ipc")),
        ]
    }
    inside = t.run(joined, "uname", "read /proc/sys/kernel/shm_rmid_forced")
    t.equal(id, inside["uname"].get("nodename"), "applied")
    t.equal(id, inside["read"].strip(), "1")


@test("create.args-not-applied", "create.process-props-early")
def args_not_applied(t: Case) -> None:
    """The program doesn't run before start; what else there is in `process` may be applied by then, and is after."""
    shared = t.folder / "shared"
    shared.mkdir()
    bind = {"destination": "/mnt", "type": "bind", "source": str(shared), "options": ["bind"]}
    changes: Changes = {"mounts[+]": bind, "process.oomScoreAdj": 500, "process.cwd": "/tmp"}
    c = t.create(changes, "to /mnt/log", "cwd", "pause")
    early = c.proc("oom_score_adj").strip()
    t.check(
        "create.args-not-applied", not runs_probe(c), "a process that doesn't execute the program", "it does"
    )
    t.check("create.args-not-applied", not (shared / "log").exists(), "no trace of the program", "its output")
    c.start()
    t.check("create.args-not-applied", c.until("running"), "running after start", c.state().get("status"))
    late = c.proc("oom_score_adj").strip()
    t.check("create.process-props-early", late == "500", "oomScoreAdj in effect after start", [early, late])


@test(
    "create.unappliable-error", "create.unappliable-no-container", "errors.no-side-effects", needs=("root",)
)
def unappliable(t: Case) -> None:
    """A property that can't be applied is an error of create, which leaves no container and nothing of it."""
    t.run({}, "cwd")
    nowhere = str(t.folder / "nowhere")
    plain = t.folder / "plain"
    plain.write_text("no namespace")
    faults: list[Changes] = [
        {"mounts[+]": {"destination": "/mnt", "type": "bind", "source": nowhere, "options": ["bind"]}},
        {"mounts[+]": {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["size=many"]}},
        {"linux.sysctl": {"kernel.shm_rmid_forced": "many"}},
        {"linux.namespaces[1].path": str(plain)},
        {"linux.namespaces[1].path": nowhere},
        {"root.path": nowhere},
    ]
    if not t.host.lacks("cgroup:cpuset"):
        faults.append({"linux.resources.cpu.cpus": "4000"})
    for fault in faults:
        before = look(t)
        c = t.prepare(fault, "pause")
        config = (c.bundle / "config.json").read_bytes()
        call = c.call("create")
        what = f"with {fault}"
        ok = not call.ok and call.code > NOT_EXECUTED
        t.check(
            "create.unappliable-error", ok, f"an error {what}", call.sentence if not call.ok else "success"
        )
        state = c.call("state")
        t.check("create.unappliable-no-container", not state.ok, f"no container {what}", state.stdout)
        found = "create succeeded" if call.ok else changes_since(t, before)
        if (c.bundle / "config.json").read_bytes() != config:
            found += "; config.json changed"
        t.check("create.unappliable-no-container", not found, f"nothing left {what}", found)
        t.check("errors.no-side-effects", not found, f"all as before {what}", found)
        if found and not call.ok:
            return  # what is left would be found again


@test("create.validate")
def validates(t: Case) -> None:
    """Whether a runtime validates config.json first is its own affair: it ends with an answer, either way."""
    for changes in ({}, {"process.cwd": DELETE}):
        call = t.prepare(changes).call("create")
        t.check("create.validate", call.code >= 0, "success, or an error", call.sentence)
