"""How a program comes to be: looked up, in a session, with its limits and its filter; and what if it can't."""

from __future__ import annotations

import os
from typing import Any

from oci_conformance.profiles.habits import tools
from oci_conformance.profiles.habits.tools import MAPPED, USER
from oci_conformance.profiles.robustness.leftovers import left
from oci_conformance.profiles.spec.oom_score import READ, callers_score
from oci_conformance.profiles.spec.rlimits import ceiling
from oci_conformance.profiles.spec.seccomp import CALLS, ERRNO, VICTIM, outcome, profile, rule
from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test

# What a runtime calls to become another user, in its own folder and with its own capabilities.
BECOMING = (
    "setuid", "setresuid", "setgid", "setresgid", "setgroups", "capset", "setsid", "umask", "chdir", "fchdir",
    "fchown", "fchownat", "setfsuid", "setfsgid",
)  # fmt: skip


@test("habits.lookup")
def lookup(t: Case) -> None:
    """PATH=/one:/two, where /one/tool may not be executed and /two/tool may: the latter is the program."""
    changes: dict[Any, Any] = {
        "process.env": ["PATH=/one:/two"],
        "process.args": ["tool", "stat /proc/self/exe"],
    }
    container = t.prepare(changes, files={"/one/tool": "", "/two/other": ""})
    (container.rootfs / "one/tool").chmod(0o644)
    os.link(t.program, container.rootfs / "two/tool")
    container.create()
    container.start()
    container.wait()
    seen = tools.result(container.stdout, "stat /proc/self/exe") or {}
    t.equal("habits.lookup", seen.get("target"), "/two/tool")


@test("habits.session")
def session(t: Case) -> None:
    """With and without a terminal: session, process group and, with one, the foreground group are the program's."""
    for terminal in (False, True):
        seen = t.run({"process.terminal": terminal}, "session")["session"]
        own = {"sid": seen["pid"], "pgid": seen["pid"], "foreground": seen["pid"] if terminal else None}
        t.equal("habits.session", {key: seen[key] for key in own}, own)


@test("habits.filter-last", needs=("root",))
def filter_last(t: Case) -> None:
    """A profile that forbids all by which one becomes a user: with noNewPrivileges the program is that user."""
    changes = {**USER, "process.noNewPrivileges": True}
    with tools.control(t):
        t.run({**changes, **profile(rule(ERRNO, VICTIM))}, "ids")
    seen = t.run({**changes, **profile(rule(ERRNO, *BECOMING, VICTIM))}, "ids", CALLS[VICTIM])
    t.equal("habits.filter-last", (seen["ids"]["uid"], seen["ids"]["gid"]), (1000, 1000))
    t.equal("habits.filter-last", outcome(seen.answer(CALLS[VICTIM])), "EPERM")


@test("habits.filter-privileged", needs=("root",))
def filter_privileged(t: Case) -> None:
    """noNewPrivileges false, no capability and an ordinary user: the profile holds, and is the only one."""
    nothing: dict[Any, Any] = {
        f"process.capabilities.{kind}": [] for kind in ("bounding", "effective", "permitted")
    }
    changes = {**USER, **nothing, "process.noNewPrivileges": False}
    seen = t.run({**changes, **profile(rule(ERRNO, VICTIM))}, "seccomp", "nnp", CALLS[VICTIM])
    t.equal("habits.filter-privileged", (seen["seccomp"]["mode"], seen["nnp"]), (2, False))
    t.equal("habits.filter-privileged", outcome(seen.answer(CALLS[VICTIM])), "EPERM")


@test("habits.oom-score-user", needs=("root",))
def oom_score(t: Case) -> None:
    """An ordinary user's program: the configured score, and the caller's without one."""
    with callers_score(t) as own:
        for wanted, changes in ((own + 45, {"process.oomScoreAdj": own + 45}), (own, {})):
            seen = t.run({**USER, **changes}, READ)[READ]
            t.equal("habits.oom-score-user", int(seen), wanted)


@test("habits.rlimits-user", needs=("root", "userns"))
def rlimits(t: Case) -> None:
    """An ordinary user's program in a user namespace has the configured limits."""
    pairs = {"RLIMIT_NOFILE": (511, 767), "RLIMIT_NPROC": (2001, 2002), "RLIMIT_CORE": (0, 0)}
    wanted = {
        name: {"soft": min(soft, ceiling(name)), "hard": min(hard, ceiling(name))}
        for name, (soft, hard) in pairs.items()
    }
    changes = {**MAPPED, **USER, "process.rlimits": [{"type": name, **pair} for name, pair in wanted.items()]}
    seen = t.run(changes, "rlimits")["rlimits"]
    text = {name: {key: str(value) for key, value in pair.items()} for name, pair in wanted.items()}
    t.equal("habits.rlimits-user", {name: seen[name] for name in wanted}, text)


@test("habits.created-dies")
def created_dies(t: Case) -> None:
    """Three created containers get SIGTERM, SIGINT and SIGHUP, one each: their processes end."""
    with tools.interruptible():
        containers = {name: t.create() for name in ("TERM", "INT", "HUP")}
    for name, container in containers.items():
        container.pid  # noqa: B018 - while it surely exists
        container.kill(name)
    tools.eventually(lambda: all([each.reap() for each in containers.values()]))
    alive = [name for name, container in containers.items() if not container.reap()]
    t.check("habits.created-dies", not alive, "all three end", f"SIG{', SIG'.join(alive)}: goes on")


@test("habits.unfit-program")
def unfit(t: Case) -> None:
    """A file of no known format, and a script without its interpreter: an error or an end, and nothing is left."""
    for name, content in (("garbage", b"\x7fELF and nothing else"), ("script", b"#!/no/such/interpreter\n")):
        container = t.prepare({"process.args": [f"/{name}"]}, files={f"/{name}": content})
        (container.rootfs / name).chmod(0o755)
        try:
            container.create()
            container.start()
        except Refused:
            pass
        else:
            container.wait()
            t.check(
                "habits.unfit-program", container.exit_code != 0, "a status that isn't 0", container.exit_code
            )
        call = container.call("delete-force")
        t.check("habits.unfit-program", call.ok, "delete --force succeeds", call.sentence)
        found = left(t, container)
        t.check("habits.unfit-program", not found, f"{name}: nothing is left", "; ".join(found))
