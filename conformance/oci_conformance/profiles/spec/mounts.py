"""Mounts but for their options (config.md#mounts, config.md#posix-platform-mounts)."""

from __future__ import annotations

from pathlib import Path

from oci_conformance.profiles.support import mounting
from oci_conformance.profiles.support.mounting import Entry, add, bind, tmpfs
from oci_conformance.run.case import Case, Container, Seen
from oci_conformance.run.registry import test
from oci_spec.version import parse


def _folder(t: Case, name: str) -> Path:
    """A folder of the host that holds a file `name` with its name in it."""
    folder = t.folder / "sources" / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(name)
    return folder


def _run(container: Container) -> Seen:
    container.start()
    container.wait()
    return Seen(container)


@test("mounts.order")
def order(t: Case) -> None:
    """Mounts are made in the order of the list: a later one covers what an earlier one put there."""
    first, second, third = (_folder(t, name) for name in ("first", "second", "third"))
    entries = [
        bind(first, "/mnt/twice"), bind(second, "/mnt/twice"),
        bind(first, "/mnt/covered/deep"), tmpfs("/mnt/covered"),
        tmpfs("/mnt/open"), bind(third, "/mnt/open/deep"),
        bind(first, "/mnt/a"), bind(second, "/mnt/b"), bind(third, "/mnt/a"),
    ]  # fmt: skip
    places = ("/mnt/twice", "/mnt/covered/deep", "/mnt/open/deep", "/mnt/a", "/mnt/b")
    seen = t.run(
        add(t, *entries), *(f"read {place}/name" for place in places), files=mounting.points(*entries)
    )
    found = {place: _said(seen, f"read {place}/name") for place in places}
    names = ("second", "ENOENT", "third", "third", "second")
    t.equal("mounts.order", found, dict(zip(places, names, strict=True)))


def _said(seen: Seen, command: str) -> object:
    answer = seen.answer(command)
    return answer.get("result", answer.get("errno"))


@test("mounts.dest-created")
def destination(t: Case) -> None:
    """The destination is the path inside the container at which the file system appears, and only there."""
    source = _folder(t, "source")
    entries = [bind(source, "/mnt/one"), tmpfs("/mnt/two"), bind(source / "name", "/mnt/file")]
    container = t.create(
        add(t, *entries), "mounts", "read /mnt/one/name", "statfs /mnt/two", "read /mnt/file", "list /",
        files={**mounting.points(*entries[:2]), "/mnt/file": "covered"},
    )  # fmt: skip
    seen = _run(container)
    mounted = {mount.point for mount in mounting.of(seen)}
    t.check(
        "mounts.dest-created",
        {"/mnt/one", "/mnt/two", "/mnt/file"} <= mounted,
        "the three mounts",
        [*mounted],
    )
    t.equal("mounts.dest-created", _said(seen, "read /mnt/one/name"), "source")
    t.equal("mounts.dest-created", _said(seen, "read /mnt/file"), "source")
    kind = seen.answer("statfs").get("result", {}).get("type")
    t.check("mounts.dest-created", kind == "0x1021994", "a tmpfs at /mnt/two", kind)
    left = [*container.rootfs.glob("mnt/one/name")]
    t.check("mounts.dest-created", not left, "nothing of it outside of the container", str(left))


@test("mounts.dest-relative")
def destination_relative(t: Case) -> None:
    """A destination that doesn't begin with / is taken from the container's root, not from its working directory."""
    entry = bind(_folder(t, "source"), "mnt/place")
    seen = t.run(
        {**add(t, entry), "process.cwd": "/run"}, "read /mnt/place/name", "read /run/mnt/place/name",
        files={"/mnt/place/.there": "", "/run/mnt/place/.there": ""},
    )  # fmt: skip
    t.equal("mounts.dest-relative", _said(seen, "read /mnt/place/name"), "source")
    t.equal("mounts.dest-relative", _said(seen, "read /run/mnt/place/name"), "ENOENT")


@test("mounts.dest-absolute-only")
def destination_absolute_only(t: Case) -> None:
    """Before 1.2.0 a destination that doesn't begin with / is refused.

    Version 1.2.0 allows it for old configurations too, so nothing is said of a runtime that follows that version.
    """
    newest = parse(str((t.features or {}).get("ociVersionMax")))
    if newest and newest[:2] >= (1, 2):
        t.unsupported(
            "mounts.dest-absolute-only", "it follows 1.2.0, which allows it in old configurations too"
        )
        return
    good, bad = tmpfs("/mnt/place"), tmpfs("mnt/place")
    t.refused("mounts.dest-absolute-only", add(t, good), add(t, bad))


@test("mounts.source-relative")
def source_relative(t: Case) -> None:
    """A relative source of a bind mount begins at the bundle, wherever the runtime is called."""
    elsewhere = t.folder / "elsewhere"
    container = t.prepare(
        add(t, bind("data", "/mnt/plain"), bind("./data/../data", "/mnt/dots", how="rbind")),
        "read /mnt/plain/name", "read /mnt/dots/name",
        files={"/mnt/plain/.there": "", "/mnt/dots/.there": ""},
    )  # fmt: skip
    for folder in (elsewhere, container.bundle):
        (folder / "data").mkdir(parents=True)
        (folder / "data/name").write_text(folder.name)
    call = container.call("create", cwd=elsewhere)
    if t.check("mounts.source-relative", call.ok, "a container", call.sentence):
        seen = _run(container)
        for place in ("plain", "dots"):
            found = _said(seen, f"read /mnt/{place}/name")
            t.equal("mounts.source-relative", found, container.bundle.name)


@test("mounts.bind-by-option", "mounts.type-dummy-for-bind", "mounts.type-optional")
def bind_by_option(t: Case) -> None:
    """The options bind and rbind make a bind mount, whatever type says and also without any."""
    source = _folder(t, "source")
    kinds = {
        "none": "mounts.bind-by-option", "bind": "mounts.bind-by-option", "tmpfs": "mounts.type-dummy-for-bind",
        "no-such-type": "mounts.type-dummy-for-bind", "": "mounts.type-optional",
    }  # fmt: skip
    entries: list[Entry] = []
    for kind in kinds:
        for how in ("bind", "rbind"):
            entry = bind(source, f"/mnt/{how}-{kind or 'absent'}", how=how)
            entry["type"] = kind
            if not kind:
                del entry["type"]
            entries.append(entry)
    commands = [f"read {entry['destination']}/name" for entry in entries]
    for entry, command, answer in zip(
        entries, commands, mounting.attempt(t, entries, *commands), strict=True
    ):
        id = kinds[entry.get("type", "")]
        if isinstance(answer, tuple):
            t.equal(id, _said(answer[1], command), "source")
        else:
            t.check(id, False, f"a bind mount by {entry}", str(answer))
