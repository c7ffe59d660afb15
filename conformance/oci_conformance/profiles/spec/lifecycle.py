"""The life cycle of a container (runtime.md#lifecycle, and who may operate on it: runtime.md#scope-of-a-container)."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from oci_conformance.core import probe
from oci_conformance.core.container import POLL
from oci_conformance.core.runtime import NOT_EXECUTED
from oci_conformance.profiles.support.environment import changes_since, look, runs_probe
from oci_conformance.profiles.support.hooked import KINDS
from oci_conformance.run.case import Case, Container
from oci_conformance.run.registry import test
from oci_spec.types import Hook

LIMIT = {"soft": "1000", "hard": "1000"}  # of the configuration that counts
FAILURES = ("exit 3", "exit 255", "die KILL", "die TERM")  # how hooks fail
AT_CREATE = ("prestart", "createRuntime", "createContainer")
IN_CONTAINER = "startContainer"


@test("scope.creator-operates")
def creator_operates(t: Case) -> None:
    """Whoever created a container can do every operation on it, also from elsewhere in the file system."""
    elsewhere = t.folder / "elsewhere"
    elsewhere.mkdir()
    c = t.prepare({}, "pause")
    calls = [c.call("create"), c.call("state", cwd=elsewhere)]
    c.pid  # noqa: B018 - while it exists
    calls += [c.call("start", cwd=elsewhere), c.call("state", cwd=Path("/"))]
    calls.append(c.call("kill", cwd=elsewhere, signal="KILL"))
    c.wait()
    c.until("stopped")
    calls.append(c.call("delete", cwd=elsewhere))
    for call in calls:
        t.check("scope.creator-operates", call.ok, f"success of {call.operation}", call.sentence)


@test("lifecycle.env-created", "lifecycle.program-not-run-at-create", "lifecycle.run-program")
def create_then_start(t: Case) -> None:
    """Create builds the environment without running the program; start runs it, once, in that environment."""
    shared = t.folder / "shared"
    shared.mkdir()
    changes = {
        "hostname": "made-by-create",
        "root.readonly": True,
        "mounts[+]": {"destination": "/mnt", "type": "bind", "source": str(shared), "options": ["bind"]},
    }
    c = t.create(changes, "to /mnt/log", "echo ran", "uname", "ns", "mkdir /new", "exit 7")
    mounts = {line.split(" ")[4]: line for line in c.proc("mountinfo").splitlines()}
    t.check("lifecycle.env-created", "/mnt" in mounts, "the mount at /mnt after create", sorted(mounts))
    for name in ("pid", "ipc", "uts", "mnt"):
        theirs, ours = c.proc(f"ns/{name}"), os.readlink(f"/proc/self/ns/{name}")
        t.check("lifecycle.env-created", theirs != ours, f"a {name} namespace of its own", theirs)
    t.check(
        "lifecycle.program-not-run-at-create",
        not (shared / "log").exists() and not runs_probe(c),
        "a program that does not run before start",
        c.proc("cmdline"),
    )
    namespace = c.proc("ns/uts")
    c.start()
    c.wait()
    answers = probe.parse((shared / "log").read_bytes() if (shared / "log").exists() else b"")
    said = {each["command"].split(" ")[0]: each for each in answers}
    runs = sum(each.get("result") == "ran" for each in answers)
    t.check("lifecycle.run-program", runs == 1, "one run of the program of `process`", f"{runs} runs")
    t.equal("lifecycle.run-program", c.exit_code if c.exit_code is not None else 7, 7)
    t.equal(
        "lifecycle.env-created", said.get("uname", {}).get("result", {}).get("nodename"), "made-by-create"
    )
    t.equal("lifecycle.env-created", said.get("ns", {}).get("result", {}).get("uts"), namespace)
    t.equal("lifecycle.env-created", said.get("mkdir", {}).get("errno"), "EROFS")


@test("lifecycle.env-fail-error")
def environment_that_cannot_be(t: Case) -> None:
    """An environment that can't be built is an error of create."""
    here = {"destination": "/mnt", "type": "bind", "source": str(t.folder), "options": ["bind"]}
    nowhere = {**here, "source": str(t.folder / "nowhere")}
    t.refused("lifecycle.env-fail-error", {"mounts[+]": here}, {"mounts[+]": nowhere})
    t.refused("lifecycle.env-fail-error", {}, {"mounts[+]": {**here, "type": "nosuchfs", "options": []}})
    t.refused("lifecycle.env-fail-error", {}, {"linux.namespaces[2].path": str(t.folder / "nowhere")})


@test("lifecycle.config-frozen")
def config_frozen(t: Case) -> None:
    """What becomes of config.json after create doesn't matter to start, state, or delete."""
    logs = [t.folder / "old", t.folder / "new"]
    old, new = ({"hooks.poststop": [t.hook(f"to {log}", "echo poststop")]} for log in logs)
    annotations = {"com.example.which": "old"}
    c = t.create({**old, "annotations": annotations, "hostname": "old"}, "uname", "exit 7")
    other = t.prepare({**new, "annotations": {"com.example.which": "new"}, "hostname": "new"}, "exit 8")
    other.config["linux"].pop("cgroupsPath", None)
    (c.bundle / "config.json").write_text(json.dumps(other.config))
    t.equal("lifecycle.config-frozen", c.state().get("annotations"), annotations)
    c.start()
    c.wait()
    answers = c.results()
    said = answers[0].get("result", {}).get("nodename") if answers else c.stdout
    t.equal("lifecycle.config-frozen", said, "old")
    t.equal("lifecycle.config-frozen", c.exit_code if c.exit_code is not None else 7, 7)
    t.equal("lifecycle.config-frozen", c.state().get("annotations"), annotations)
    c.delete()
    t.equal("lifecycle.config-frozen", [log.exists() for log in logs], [True, False])


@test("lifecycle.config-frozen")
def process_frozen(t: Case) -> None:
    """Nor do another program, environment, folder, user, mask, limit and later hooks that it names by then."""
    old, new = (_process(t, which, number) for which, number in (("old", 1000), ("new", 2000)))
    c = t.create({**old, "process.cwd": "/tmp"}, "ids", "env", "cwd", "rlimits", "exit 7")
    other = t.prepare({**new, "process.cwd": "/mnt"}, "exit 8")
    other.config["linux"].pop("cgroupsPath", None)
    other.config["linux"]["namespaces"] = c.config["linux"]["namespaces"]
    (c.bundle / "config.json").write_text(json.dumps(other.config))
    c.start()
    c.wait()
    c.until("stopped")
    c.delete()
    said = {each["command"]: each.get("result") or {} for each in c.results()}
    seen = [said.get("ids", {}).get("uid"), said.get("cwd"), "WHICH=old" in (said.get("env") or [])]
    t.equal("lifecycle.config-frozen", seen, [0 if t.host.uid else 1000, "/tmp", True])
    if not t.host.uid:
        t.equal("lifecycle.config-frozen", said.get("ids", {}).get("umask"), 0o17)
    t.equal("lifecycle.config-frozen", said.get("rlimits", {}).get("RLIMIT_CORE"), LIMIT)
    hooks = {path.name for path in t.folder.iterdir() if path.name.startswith(("old-", "new-"))}
    t.equal("lifecycle.config-frozen", sorted(hooks), ["old-poststart", "old-poststop"])
    t.equal("lifecycle.config-frozen", c.exit_code if c.exit_code is not None else 7, 7)


def _process(t: Case, which: str, number: int) -> dict[Any, Any]:
    """Changes whose values tell one configuration from the other."""
    changes: dict[Any, Any] = {
        "process.env": ["PATH=/bin", f"WHICH={which}"],
        "process.rlimits": [{"type": "RLIMIT_CORE", "soft": number, "hard": number}],
    }
    for kind in ("poststart", "poststop"):
        changes[f"hooks.{kind}"] = [t.hook(f"to {t.folder / which}-{kind}", "echo here")]
    if not t.host.uid:
        changes["process.user"] = {"uid": number, "gid": number, "umask": 0o17 if which == "old" else 0o77}
    return changes


@test("lifecycle.config-frozen")
def config_spoilt(t: Case) -> None:
    """After create a container goes on with a config.json that is rubbish, or gone."""
    for content in ("{", None):
        c = t.create({}, "exit 7")
        config = c.bundle / "config.json"
        config.unlink()
        if content is not None:
            config.write_text(content)
        c.pid  # noqa: B018 - while it exists
        calls = [c.call("state"), c.call("start")]
        if calls[-1].ok:
            c.wait()
        else:
            c.call("kill", signal="KILL")
        calls.append(c.call("delete"))
        for call in calls:
            t.check("lifecycle.config-frozen", call.ok, f"success of {call.operation}", call.sentence)


@test("lifecycle.prestart-invoked", "lifecycle.createRuntime-invoked", "lifecycle.createContainer-invoked",
      "lifecycle.startContainer-invoked", "lifecycle.poststart-invoked", "lifecycle.poststop-invoked")  # fmt: skip
def hooks_invoked(t: Case) -> None:
    """Every hook of the six lists is invoked once, by the operation that it belongs to."""
    c = t.create(_hooks(t, *AT_CREATE, IN_CONTAINER, "poststart", "poststop"), "pause")
    seen = {"create": _invoked(t, c)}
    c.start()
    c.until("running")
    seen["start"] = _all_invoked(
        t, c, 2 * len(KINDS) - 2
    )  # start may return before the last of them has begun
    c.kill("KILL")
    c.wait()
    c.until("stopped")
    c.delete()
    seen["delete"] = _invoked(t, c)
    # prestart hooks were invoked by start until 1.1.0, and are by create since
    due = {
        "create": ["createRuntime", "createContainer"],
        "start": ["prestart", IN_CONTAINER, "poststart"],
        "delete": ["poststop"],
    }
    if t.spec >= "1.1.0":
        due["create"].append(due["start"].pop(0))
    for operation, names in due.items():
        for name in names:
            count = seen[operation].count(name)
            t.check(
                f"lifecycle.{name}-invoked", count == 2, f"both {name} hooks, by {operation}", f"{count} of 2"
            )
            t.equal(f"lifecycle.{name}-invoked", seen["delete"].count(name), 2)


@test("lifecycle.prestart-fail")
def prestart_fails(t: Case) -> None:
    """A failing prestart hook is an error; the program doesn't run, and the container is destroyed."""
    _fails(t, "prestart")


@test("lifecycle.createRuntime-fail")
def create_runtime_fails(t: Case) -> None:
    """A failing createRuntime hook is an error of create, and the container is destroyed."""
    _fails(t, "createRuntime")


@test("lifecycle.createContainer-fail")
def create_container_fails(t: Case) -> None:
    """A failing createContainer hook is an error of create, and the container is destroyed."""
    _fails(t, "createContainer")


@test("lifecycle.startContainer-fail")
def start_container_fails(t: Case) -> None:
    """A failing startContainer hook is an error of start; the program doesn't run, and the container is destroyed."""
    _fails(t, IN_CONTAINER)


@test("lifecycle.poststart-fail")
def poststart_fails(t: Case) -> None:
    """A failing poststart hook is an error of start; the container is stopped and destroyed."""
    _fails(t, "poststart")


def _fails(t: Case, name: str) -> None:
    """A verdict on what follows from the failure of a hook: steps 12 and 13 of the life cycle, after an error."""
    id = f"lifecycle.{name}-fail"
    good = t.create(_hooks(t, name, "poststop"), "pause")
    good.start()
    good.until("running")
    control = _invoked(t, good)
    if not t.check(id, control.count(name) == 2, f"success where the {name} hooks succeed", control):
        return
    good.kill("KILL")
    good.wait()
    good.until("stopped")
    good.delete()
    for how in FAILURES:
        _fails_by(t, name, how)


def _fails_by(t: Case, name: str, how: str) -> None:
    """The same for one way to fail, which the hook's commands are."""
    id = f"lifecycle.{name}-fail"
    (t.folder / "invoked").unlink(missing_ok=True)
    before = look(t)
    hooks = _hooks(t, name, "poststop")
    hooks[f"hooks.{name}"].insert(0, t.hook(how, path=_path(name)))
    c = t.prepare(hooks, "to /ran", "pause")
    call = c.call("create")
    if call.ok and (name not in AT_CREATE or (name == "prestart" and t.spec < "1.1.0")):
        c.pid  # noqa: B018 - while it exists
        call = c.call("start")
    refused = not call.ok and call.code > NOT_EXECUTED
    if not t.check(id, refused, f"an error after {how}", f"success of {call.operation}"):
        return
    ran = (c.rootfs / "ran").exists() and name != "poststart"
    t.check(id, not ran, f"a program that never ran after {how}", "it ran")
    state = c.call("state")
    t.check(id, not state.ok, "no container after the error (step 12)", state.stdout)
    changes = changes_since(t, before)
    t.check(id, not changes, "all that create made is undone (step 12)", changes)
    count = _invoked(t, c).count("poststop")
    t.check(id, count == 2, "both poststop hooks after that (step 13)", f"{count} of 2")


@test("lifecycle.poststart-fail-warn", "lifecycle.poststart-fail-continue")
def poststart_fails_with_a_warning(t: Case) -> None:
    """A failing poststart hook changes nothing: start succeeds, the next hook runs, the container goes on."""
    hooks = _hooks(t, "poststart")
    hooks["hooks.poststart"].insert(0, _failing(t))
    c = t.create(hooks, "serve")
    c.pid  # noqa: B018 - while it exists
    call = c.call("start")
    seen = _invoked(t, c)
    ok = call.ok and "failing" in seen
    t.check(
        "lifecycle.poststart-fail-warn", ok, "success of start after the failing hook", [call.sentence, seen]
    )
    if not call.ok:
        t.check("lifecycle.poststart-fail-continue", False, "a container that goes on", call.sentence)
        return
    t.equal("lifecycle.poststart-fail-continue", c.ask("echo on").get("result"), "on")
    t.equal("lifecycle.poststart-fail-continue", seen, ["failing", "poststart", "poststart"])
    t.equal("lifecycle.poststart-fail-continue", c.state().get("status"), "running")


@test("lifecycle.poststop-fail-warn", "lifecycle.poststop-fail-continue", "warnings.flow-unchanged")
def poststop_fails(t: Case) -> None:
    """A failing poststop hook is worth a warning: delete succeeds, the next hooks run, nothing is left."""
    before = look(t)
    hooks = _hooks(t, "poststop")
    hooks["hooks.poststop"].insert(0, _failing(t))
    hooks["hooks.poststop"].insert(2, _failing(t))
    c = t.create(hooks)
    c.start()
    c.wait()
    c.until("stopped")
    call = c.call("delete")
    seen = _invoked(t, c)
    ok = call.ok and "failing" in seen
    t.check(
        "lifecycle.poststop-fail-warn", ok, "success of delete after the failing hook", [call.sentence, seen]
    )
    t.equal("lifecycle.poststop-fail-continue", seen, ["failing", "poststop"] * 2)
    left = c.call("state").ok
    changes = "the container still exists" if left else changes_since(t, before)
    t.check("lifecycle.poststop-fail-continue", not changes, "nothing left of the container", changes)
    t.check(
        "warnings.flow-unchanged",
        call.ok and not changes,
        "a delete as if no hook had failed",
        changes or call.sentence,
    )


def _path(name: str) -> str | None:
    """Where the hooks of a list find the probe: in the container's root file system, or on the host (None)."""
    return "/probe" if name == IN_CONTAINER else None


def _hooks(t: Case, *names: str) -> dict[Any, Any]:
    """Two hooks for each list, which note down that they were invoked."""
    hooks: dict[Any, Any] = {}
    for name in names:
        log = "/invoked" if name == IN_CONTAINER else t.folder / "invoked"
        hooks[f"hooks.{name}"] = [t.hook(f"to {log}", f"echo {name}", path=_path(name))] * 2
    return hooks


def _failing(t: Case) -> Hook:
    """A hook that notes down that it was invoked, and fails."""
    return t.hook(f"to {t.folder / 'invoked'}", "echo failing", "exit 3")


def _all_invoked(t: Case, c: Container, number: int) -> list[str]:
    """The same, once there are so many, or after 5 s."""
    until = time.monotonic() + 5
    while len(found := _invoked(t, c)) < number and time.monotonic() < until:
        time.sleep(POLL)
    return found


def _invoked(t: Case, c: Container) -> list[str]:
    """The lists whose hooks were invoked, once for each hook."""
    answers = []
    for log in (t.folder / "invoked", c.rootfs / "invoked"):
        if log.exists():
            answers += probe.parse(log.read_bytes())
    return [str(each.get("result")) for each in answers if each["command"].startswith("echo")]
