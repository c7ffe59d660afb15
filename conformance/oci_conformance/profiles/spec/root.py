"""The root file system (config.md#root)."""

from __future__ import annotations

from oci_conformance.core import bundle
from oci_conformance.profiles.support import mounting
from oci_conformance.run.case import DELETE, Case, Seen
from oci_conformance.run.registry import test

# so that nothing but the mount itself forbids to write
ABLE = mounting.capabilities("CAP_DAC_OVERRIDE", "CAP_FOWNER")


@test("root.required")
def required(t: Case) -> None:
    """A configuration without root is refused."""
    t.refused("root.required", {}, {"root": DELETE})


@test("root.path-required")
def path_required(t: Case) -> None:
    """A root without path is refused."""
    t.refused("root.path-required", {}, {"root": {"readonly": False}})


@test("root.path-exists")
def path_exists(t: Case) -> None:
    """A root whose path isn't there, or isn't a directory, is refused."""
    t.refused("root.path-exists", {}, {"root.path": "nowhere"}, why="an error: no such directory")
    t.refused("root.path-exists", {}, {"root.path": "config.json"}, why="an error: it is a file")


@test("root.path-relative")
def path_relative(t: Case) -> None:
    """A relative root.path begins at the bundle, wherever the runtime is called."""
    elsewhere = t.folder / "elsewhere"
    bundle.make_rootfs(elsewhere / "rootfs", t.program)
    container = t.prepare({}, "read /mark", files={"/mark": "bundle"})
    (elsewhere / "rootfs/mark").write_text("working directory")
    call = container.call("create", cwd=elsewhere)
    if t.check("root.path-relative", call.ok, "a container", call.sentence):
        container.start()
        container.wait()
        t.equal("root.path-relative", Seen(container)["read"], "bundle")


@test("root.path-absolute")
def path_absolute(t: Case) -> None:
    """An absolute root.path may lead out of the bundle."""
    root = t.folder / "elsewhere/system"
    bundle.make_rootfs(root, t.program)
    (root / "mark").write_text("outside")
    seen = t.run({"root.path": str(root)}, "read /mark", files={"/mark": "bundle"})
    t.equal("root.path-absolute", seen.answer("read").get("result"), "outside")


@test("root.readonly")
def readonly(t: Case) -> None:
    """With readonly nothing can be written to the root file system, whatever capabilities a process has."""
    seen = t.run(
        {**ABLE, "root.readonly": True}, "mounts", "write /tmp/new x", "mkdir /new", "write /old x", "unlink /old",
        files={"/old": "old"},
    )  # fmt: skip
    root = mounting.top(mounting.of(seen), "/")
    t.check(
        "root.readonly",
        root is not None and "ro" in root.flags,
        "/ mounted with ro",
        root and sorted(root.flags),
    )
    tried = [
        seen.error(command) for command in ("write /tmp/new x", "mkdir /new", "write /old x", "unlink /old")
    ]
    t.equal("root.readonly", tried, ["EROFS"] * 4)


@test("root.readonly-default")
def readonly_default(t: Case) -> None:
    """Without readonly, and with false, the root file system can be written, and the directory is what is written."""
    for changes in ({}, {"root.readonly": False}):
        container = t.create(changes, "write /tmp/new content")
        container.start()
        container.wait()
        new = container.rootfs / "tmp/new"
        written = new.read_text() if new.exists() else None
        t.check(
            "root.readonly-default",
            written == "content",
            "what is written to /tmp/new is in the root directory",
            Seen(container).answer("write").get("errno") or written,
        )
