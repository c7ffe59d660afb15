"""The operation delete (runtime.md#delete), and that it undoes create (runtime.md#lifecycle, step 12)."""

from __future__ import annotations

import contextlib
from pathlib import Path

from oci_conformance.core import cgroup
from oci_conformance.core.bundle import Changes
from oci_conformance.profiles.support.environment import changes_since, look
from oci_conformance.run.case import Case, Container
from oci_conformance.run.registry import test


@test("delete.no-id")
def no_id(t: Case) -> None:
    """Delete without an ID is an error, and deletes nothing."""
    c = t.create()
    c.start()
    c.wait()
    c.until("stopped")
    before = c.state()
    call = t.runtime.call("delete")
    t.check("delete.no-id", not call.ok, "an error without an ID", f"success: {call.stdout[:200]}")
    t.equal("delete.no-id", c.state(), before)
    control = c.call("delete")
    t.check("delete.no-id", control.ok, "success with an ID", control.sentence)


@test("delete.not-stopped-error", "delete.not-stopped-no-effect", "errors.no-side-effects")
def running(t: Case) -> None:
    """To delete a container that runs, or isn't there, is an error without effect."""
    c = t.serve()
    before, environment = c.state(), look(t)
    call = c.call("delete")
    t.check("delete.not-stopped-error", not call.ok, "an error while running", "success")
    t.equal("delete.not-stopped-no-effect", c.state(), before)
    t.equal("delete.not-stopped-no-effect", c.ask("echo on").get("result"), "on")
    changes = changes_since(t, environment)
    t.check("errors.no-side-effects", not changes, "all as before", changes)
    call = t.runtime.call("delete", "oc-never-created")
    t.check("delete.not-stopped-error", not call.ok, "an error if there is no such container", "success")


@test("delete.not-stopped-error", "delete.not-stopped-no-effect")
def created(t: Case) -> None:
    """To delete a container that is created, and so isn't stopped, is an error without effect."""
    c = t.create({}, "serve")
    before = c.state()
    call = c.call("delete")
    t.check("delete.not-stopped-error", not call.ok, "an error while created", "success")
    if not c.call("state").ok:
        t.check("delete.not-stopped-no-effect", False, "a container that is created still", "it was deleted")
        return
    t.equal("delete.not-stopped-no-effect", c.state(), before)
    c.start()
    t.equal("delete.not-stopped-no-effect", c.ask("echo on").get("result"), "on")


@test("delete.removes-created-resources", "lifecycle.destroy-undoes-create", "delete.id-reusable")
def removes_what_create_made(t: Case) -> None:
    """After delete nothing that create made is left: process, cgroups, mounts, state; the ID may be used again."""
    shared = t.folder / "shared"
    shared.mkdir()
    changes: Changes = {
        "mounts[+]": {"destination": "/mnt", "type": "bind", "source": str(shared), "options": ["rbind"]},
        "hostname": "gone-soon",
        **({} if t.host.uid or t.host.lacks("cgroup:pids") else {"linux.resources.pids.limit": 77}),
    }
    t.run(changes, "cwd")  # so that what a runtime keeps for every container is there
    before = look(t)
    c = t.create(changes, "serve")
    c.start()
    c.ask("fork 1")
    made = before.changes(look(t))
    t.check("delete.removes-created-resources", "processes" in made, "a process made by create", made)
    _end(c)
    left = changes_since(t, before)
    for id in ("delete.removes-created-resources", "lifecycle.destroy-undoes-create"):
        t.check(id, not left, "nothing left of what create made", left)
        state = c.call("state")
        t.check(id, not state.ok, "no container any more", state.stdout)
    again = t.prepare({}, id=c.id)
    call = again.call("create")
    if call.ok:
        again.start()
        again.wait()
        again.delete()
    t.check("delete.id-reusable", call.code >= 0, "success, or an error", call.sentence)


@test("delete.removes-created-resources", "lifecycle.destroy-undoes-create")
def removes_what_never_ran(t: Case) -> None:
    """A container that was killed before it was started leaves nothing either."""
    before = look(t)
    c = t.create({"hostname": "gone-soon"}, "pause")
    _end(c)
    left = changes_since(t, before)
    for id in ("delete.removes-created-resources", "lifecycle.destroy-undoes-create"):
        t.check(id, not left, "nothing left of what create made", left)
        state = c.call("state")
        t.check(id, not state.ok, "no container any more", state.stdout)


@test("delete.keeps-foreign-resources", needs=("root",))
def keeps_what_others_made(t: Case) -> None:
    """Delete leaves the bundle, volumes, joined namespaces, and other containers with their cgroups."""
    shared = t.folder / "shared"
    shared.mkdir()
    (shared / "kept").write_text("kept")
    other = t.serve()
    other.ask("cwd")
    kinds = ("ipc", "uts", "pid")
    namespaces = {kind: other.proc(f"ns/{kind}") for kind in kinds}
    before, environment, groups = other.state(), look(t), other.proc("cgroup")
    joined = [{"type": kind, "path": f"/proc/{other.pid}/ns/{kind}"} for kind in kinds]
    changes: Changes = {
        "mounts[+]": {"destination": "/mnt", "type": "bind", "source": str(shared), "options": ["rbind"]},
        "linux.namespaces": [{"type": "mount"}, *joined],
    }
    c = t.create(changes, "serve", files={"/etc/kept": "kept"})
    c.start()
    c.ask("write /mnt/new new")
    _end(c)
    id = "delete.keeps-foreign-resources"
    for path in (
        c.bundle / "config.json",
        c.rootfs / "etc/kept",
        c.rootfs / "probe",
        shared / "kept",
        shared / "new",
    ):
        t.check(id, path.exists(), f"{path.name} is still there", "it is gone")
    t.equal(id, other.state(), before)
    t.equal(id, other.ask("echo on").get("result"), "on")
    t.equal(id, other.proc("cgroup"), groups)
    t.equal(id, {kind: other.proc(f"ns/{kind}") for kind in kinds}, namespaces)
    difference = changes_since(t, environment)
    t.check(id, not difference, "nothing else gone or new", difference)


@test("delete.keeps-foreign-resources", needs=("root",))
def keeps_the_parent_cgroup(t: Case) -> None:
    """Delete leaves the parents of the container's cgroup if they were there before create."""
    made = _cgroups(t, "parent")
    c = t.create({"linux.cgroupsPath": f"/{t.cgroups}/parent/child"}, "pause")
    c.start()
    _end(c)
    gone = [str(path) for path in made if not path.is_dir()]
    t.check("delete.keeps-foreign-resources", not gone, "the parent cgroups that were there", f"gone: {gone}")


@test("delete.keeps-foreign-resources", needs=("root",))
def keeps_the_cgroup_itself(t: Case) -> None:
    """Delete leaves the container's cgroup if that was there before create, as an engine may have made it."""
    t.run({}, "cwd")
    made = _cgroups(t, "own")
    c = t.prepare({"linux.cgroupsPath": f"/{t.cgroups}/own"}, "pause")
    call = c.call("create")
    if not call.ok:
        t.unsupported(
            "delete.keeps-foreign-resources", f"no container in a cgroup that is there: {call.sentence}"
        )
        return
    c.start()
    _end(c)
    gone = [str(path) for path in made if not path.is_dir()]
    t.check("delete.keeps-foreign-resources", not gone, "the cgroups that were there", f"gone: {gone}")


def _cgroups(t: Case, name: str) -> list[Path]:
    """Cgroups that are there before a container, in every hierarchy in which they can be made."""
    if t.host.systemd_cgroup:
        t.skip("the runtime has systemd make its cgroups")
    made = []
    for _, point, _ in cgroup.mounted():
        path = point / t.cgroups / name
        with contextlib.suppress(OSError):
            path.mkdir(parents=True)
            made.append(path)
    if not made:
        t.skip("no cgroup can be made on this host")
    return made


def _end(c: Container) -> None:
    """Kill and delete a container."""
    c.pid  # noqa: B018 - while it exists
    c.kill("KILL")
    c.wait()
    c.until("stopped")
    c.hang_up()
    c.delete()
