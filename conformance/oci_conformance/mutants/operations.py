"""Mutants of the operations, the state and the hooks."""

from __future__ import annotations

import json

from oci_conformance.mutants.mutant import Mutant

STATE = ("ociVersion", "id", "status", "pid", "bundle")
KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def _state() -> list[Mutant]:
    found = [
        Mutant(
            f"state-without-{name}",
            f"state doesn't say {name}",
            (f"state.{name}", "state.schema"),
            behaviour="change_state",
            argument=json.dumps([name]),
        )
        for name in STATE
    ]
    wrong: tuple[tuple[str, str, object], ...] = (
        ("ociVersion", "state.ociVersion", 1),
        ("ociVersion", "state.ociVersion", "one"),
        ("id", "state.id", "another"),
        ("pid", "state.pid", 1),
        ("pid", "state.pid", -1),
        ("bundle", "state.bundle", "/"),
        ("bundle", "state.bundle-absolute-when-relative-given", "bundle"),
        ("annotations", "state.annotations", {"org.example.invented": "yes"}),
        ("annotations", "state.schema", ["none"]),
    )
    found += [
        Mutant(
            f"state-wrong:{name}={json.dumps(value)}",
            f"state says a wrong {name}",
            (id, "state.schema", "state-op.returns-state"),
            behaviour="change_state",
            argument=json.dumps([name, value]),
        )
        for name, id, value in wrong
    ]
    statuses = (
        ("created>creating", ("state.status-created",)),
        ("created>running", ("state.status-created",)),
        ("created>stopped", ("state.status-created",)),
        ("running>created", ("state.status-running",)),
        ("running>stopped", ("state.status-running",)),
        ("stopped>running", ("state.status-stopped",)),
        ("stopped>created", ("state.status-stopped",)),
        ("running>active", ("state.status-extra", "state.status-running")),
    )
    found += [
        Mutant(f"status:{change}", f"state says {change}", ids, behaviour="status_always", argument=change)
        for change, ids in statuses
    ]
    found.append(
        Mutant(
            "invent-state", "state knows every container", ("state-op.nonexistent",), behaviour="invent_state"
        )
    )
    return found


def _errors() -> list[Mutant]:
    """Operations that say nothing of an error."""
    ids = {
        "state": ("state-op.no-id", "state-op.nonexistent"),
        "create": (
            "create.no-id",
            "create.id-unique",
            "create.id-valid",
            "create.unappliable-error",
            "lifecycle.env-fail-error",
        ),
        "start": ("start.no-id", "start.not-created-error"),
        "kill": ("kill.no-id", "kill.bad-state-error"),
        "delete": ("delete.no-id", "delete.not-stopped-error"),
    }
    return [
        Mutant(
            f"no-error:{operation}:{id}",
            f"{operation} returns 0 whatever happens",
            (id,),
            behaviour="swallow_error",
            argument=operation,
        )
        for operation, names in ids.items()
        for id in names
    ]


def _life_cycle() -> list[Mutant]:
    table: tuple[tuple[str, tuple[str, ...]], ...] = (
        (
            "start_at_create",
            ("lifecycle.program-not-run-at-create", "create.args-not-applied", "state.status-created"),
        ),
        ("never_start", ("start.runs-program", "lifecycle.run-program")),
        ("start_again", ("start.not-created-error", "start.not-created-no-effect")),
        ("read_config_at_start", ("lifecycle.config-frozen",)),
        ("replace_existing", ("create.id-unique", "create.id-conflict-no-container", "state.id-unique-host")),
        ("kill_nothing", ("kill.signal-delivered",)),
        ("kill_otherwise", ("kill.signal-delivered",)),
        ("kill_created_refused", ("kill.created",)),
        ("restart_on_kill", ("kill.bad-state-no-effect",)),
        ("delete_running", ("delete.not-stopped-error", "delete.not-stopped-no-effect")),
        ("delete_running_with_error", ("delete.not-stopped-no-effect",)),
        (
            "keep_at_delete",
            ("delete.removes-created-resources", "delete.id-reusable", "lifecycle.destroy-undoes-create"),
        ),
        ("delete_bundle", ("delete.keeps-foreign-resources",)),
        ("leave_cgroup", ("delete.removes-created-resources", "lifecycle.destroy-undoes-create")),
        ("leave_process", ("delete.removes-created-resources", "lifecycle.destroy-undoes-create")),
        ("leave_mount", ("delete.removes-created-resources", "lifecycle.destroy-undoes-create")),
    )
    return [
        Mutant(name.replace("_", "-"), name.replace("_", " "), ids, behaviour=name) for name, ids in table
    ]


def _hooks() -> list[Mutant]:
    found = []
    for kind in KINDS:
        path = f"hooks.{kind}"
        found += [
            Mutant(
                f"hooks-dropped:{kind}",
                f"{kind} hooks aren't run",
                (f"lifecycle.{kind}-invoked",),
                edits=(("drop", path, None),),
            ),
            Mutant(
                f"hooks-reversed:{kind}",
                f"{kind} hooks run in reverse order",
                ("hooks.order",),
                edits=(("reverse", path, None),),
            ),
        ]
        if kind == "poststop":
            continue
        found.append(
            Mutant(
                f"hooks-at-poststop:{kind}",
                f"{kind} hooks run after the container is deleted",
                (f"lifecycle.{kind}-invoked", f"hooks.{kind}.timing", f"hooks.{kind}.timing-after-exec"),
                edits=(("set", "hooks.poststop", []), ("move", path, "hooks.poststop")),
            )
        )
    moves = (
        (
            "createContainer",
            "createRuntime",
            ("hooks.createContainer.exec-container-ns", "hooks.createContainer.after-createRuntime"),
        ),
        ("createRuntime", "createContainer", ("hooks.createRuntime.exec-runtime-ns",)),
        (
            "prestart",
            "createContainer",
            ("hooks.prestart.exec-runtime-ns", "hooks.prestart.before-createRuntime"),
        ),
        ("poststart", "createRuntime", ("hooks.poststart.timing-after-exec",)),
        ("poststop", "poststart", ("hooks.poststop.timing-after-delete",)),
        ("prestart", "poststart", ("hooks.prestart.timing",)),
        ("createRuntime", "poststart", ("hooks.createRuntime.timing",)),
    )
    found += [
        Mutant(
            f"hooks-moved:{old}-to-{new}",
            f"{old} hooks run as {new} hooks",
            ids,
            edits=(("move", f"hooks.{old}", f"hooks.{new}"), ("drop", f"hooks.{old}", None)),
        )
        for old, new, ids in moves
    ]
    weak = (
        ("no-state", 'exec "$@" </dev/null', ("hooks.state-stdin",)),
        ("more-environment", 'LEAKED=1 exec "$@"', ("hooks.env",)),
        ("wrong-argv0", 'p=$1; shift; exec "$p" "$@"', ("hooks.args",)),
        (
            "failure-ignored",
            '"$@" || true',
            tuple(f"lifecycle.{kind}-fail" for kind in KINDS if kind != "startContainer"),
        ),
        (
            "always-fails",
            '"$@"; exit 1',
            ("lifecycle.createRuntime-invoked", "lifecycle.poststop-fail-warn", "lifecycle.prestart-invoked"),
        ),
        ("not-stopped-in-time", 'setsid "$@" & wait', ("hooks.timeout",)),
    )
    found += [
        Mutant(f"hooks:{name}", f"hooks are run as {script}", ids, behaviour="weaken_hooks", argument=script)
        for name, script, ids in weak
    ]
    return found


def mutants() -> list[Mutant]:
    """All of them."""
    return [*_state(), *_errors(), *_life_cycle(), *_hooks()]
