"""Hooks: where their paths are looked up, and where they are executed (config.md#posix-platform-hooks)."""

from __future__ import annotations

import os

from oci_conformance.profiles.support.hooked import PROGRAM, Hooked
from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test

NETWORK = {"linux.namespaces[+]": {"type": "network"}}
OWN = ("ipc", "mnt", "net", "pid", "uts")  # those that the container doesn't share with the runtime
NO_PROGRAM = "this can't be executed\n"


@test("hooks.prestart.path-runtime-ns", "hooks.prestart.exec-runtime-ns")
def prestart(t: Case) -> None:
    """A prestart hook is found and executed in the runtime's namespaces."""
    _outside(t, "prestart")


@test("hooks.createRuntime.path-runtime-ns", "hooks.createRuntime.exec-runtime-ns")
def create_runtime(t: Case) -> None:
    """A createRuntime hook is found and executed in the runtime's namespaces."""
    _outside(t, "createRuntime")


@test("hooks.createContainer.path-runtime-ns", "hooks.createContainer.exec-container-ns")
def create_container(t: Case) -> None:
    """A createContainer hook is found in the runtime's namespace and executed in the container's."""
    # What the container's cgroup namespace shows may not be settled yet.
    _inside(t, "createContainer", "hooks.createContainer.path-runtime-ns", without=("cgroup",))


@test("hooks.startContainer.path-container-ns", "hooks.startContainer.exec-container-ns")
def start_container(t: Case) -> None:
    """A startContainer hook is found and executed in the container's namespaces."""
    _inside(t, "startContainer", "hooks.startContainer.path-container-ns")


@test("hooks.poststart.path-runtime-ns", "hooks.poststart.exec-runtime-ns")
def poststart(t: Case) -> None:
    """A poststart hook is found and executed in the runtime's namespaces."""
    _outside(t, "poststart")


@test("hooks.poststop.path-runtime-ns", "hooks.poststop.exec-runtime-ns")
def poststop(t: Case) -> None:
    """A poststop hook is found and executed in the runtime's namespaces."""
    _outside(t, "poststop")


def _outside(t: Case, kind: str) -> None:
    seen, _ = _namespaces(t, kind, f"hooks.{kind}.path-runtime-ns")
    ours = {name: os.readlink(f"/proc/self/ns/{name}") for name in seen}
    t.check(
        f"hooks.{kind}.exec-runtime-ns", bool(seen) and seen == ours, f"in {ours}", seen or "it didn't run"
    )


def _inside(t: Case, kind: str, path: str, without: tuple[str, ...] = ()) -> None:
    seen, program = _namespaces(t, kind, path)
    wanted = {name: link for name, link in program.items() if name not in without}
    seen = {name: link for name, link in seen.items() if name not in without}
    shared = [name for name in OWN if wanted.get(name) == os.readlink(f"/proc/self/ns/{name}")]
    t.check(
        f"hooks.{kind}.exec-container-ns",
        bool(seen) and seen == wanted and not shared,
        f"in the program's {wanted}",
        f"{seen or 'it did not run'}{f', shared with the runtime: {shared}' if shared else ''}",
    )


def _namespaces(t: Case, kind: str, id: str) -> tuple[dict[str, str], dict[str, str]]:
    """The namespaces of a hook and those of the program. That the hook ran is the verdict on `id`.

    Its path is there for the runtime and for the container, but only one of the two can be executed.
    """
    hooked = Hooked(t)
    hook = hooked.add(kind, kind, "ns")
    tool = t.folder / "tool"
    hook["path"] = str(tool)
    container = hooked.prepare(NETWORK, "ns")
    other = hooked.rootfs / tool.relative_to("/")
    other.parent.mkdir(parents=True)
    right, wrong = (other, tool) if kind == "startContainer" else (tool, other)
    os.link(t.program, right)
    wrong.write_text(NO_PROGRAM)
    wrong.chmod(0o755)
    where = "container" if kind == "startContainer" else "runtime"
    try:
        container.create()
        container.start()
        container.wait()
        container.delete()
    except Refused as error:
        t.check(id, False, f"the hook of the {where}'s namespace runs", error)
        return {}, {}
    t.check(id, hooked.wrote(kind), f"the hook of the {where}'s namespace runs", "it didn't")
    return _links(hooked, kind), _links(hooked, PROGRAM)


def _links(hooked: Hooked, name: str) -> dict[str, str]:
    """Namespaces by name, without those that only children get."""
    links = hooked.answers(name).get("ns") or {}
    return {key: link for key, link in links.items() if not key.endswith("_for_children")}
