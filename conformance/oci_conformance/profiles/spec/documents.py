"""The bundle and its configuration as documents: name, JSON, version, unknown properties, annotations, values.

bundle.md#container-format, glossary.md#json, and config.md: #specification-version, #annotations, #extensibility,
#valid-values.
"""

from __future__ import annotations

import json
import os
from typing import Any

from oci_conformance.core.bundle import Changes
from oci_conformance.core.runtime import NOT_EXECUTED
from oci_conformance.run.case import DELETE, Case, Container
from oci_conformance.run.registry import test
from oci_spec.catalogue import RELEASES, key

NEWEST_MINOR = 99  # of a version that no runtime knows


def runs(c: Container) -> str:
    """Create a container, start it, await its end and delete it: what was refused, or nothing."""
    for operation in ("create", "start", "delete"):
        call = c.call(operation)
        if not call.ok:
            return f"{operation} was refused: {call.sentence}"
        if operation == "create":
            c.pid  # noqa: B018 - while it exists
        elif operation == "start":
            c.wait()
    return ""


def encoded(t: Case, changes: Changes, *replacements: tuple[bytes, bytes]) -> Container:
    """A container whose config.json has bytes replaced, for what can't be said otherwise."""
    c = t.prepare(changes)
    text = json.dumps(c.config, ensure_ascii=False).encode()
    for old, new in replacements:
        assert text.count(old) == 1, f"{old!r} doesn't stand once in {text!r}"
        text = text.replace(old, new)
    c.config = text
    (c.bundle / "config.json").write_bytes(text)
    return c


# the bundle


@test("bundle.config-name", "bundle.config-missing")
def configuration_file(t: Case) -> None:
    """The configuration is config.json at the root of the bundle, and no other file; without it there is an error."""
    c = t.prepare({}, "echo right")
    decoy = json.dumps({**c.config, "process": {**c.config["process"], "args": ["/probe", "echo wrong"]}})
    places = ("Config.json", "config.json.bak", ".config.json", "config", "rootfs/config.json")
    for name in places:
        (c.bundle / name).write_text(decoy)
    fault = runs(c)
    for id in t.test.ids:
        t.check(id, not fault, "a container from config.json", fault)
    t.equal("bundle.config-name", [each.get("result") for each in c.results()], ["right"])
    for names in ((), places):
        c = t.prepare({}, "echo right")
        (c.bundle / "config.json").unlink()
        for name in names:
            (c.bundle / name).write_text(decoy)
        t.is_refused("bundle.config-missing", c)


@test("bundle.relocatable")
def relocatable(t: Case) -> None:
    """A bundle works the same at another place and under another name, which may have any characters."""
    c = t.prepare({}, "echo here", folder=t.folder / "first")
    fault = runs(c)
    t.check("bundle.relocatable", not fault, "a container from the bundle", fault)
    (t.folder / "deeper").mkdir()
    for name in ("second", "deeper/ein Bündel (1)", "deeper/a=b,c:d'e\"f"):
        os.rename(c.bundle, t.folder / name)
        moved = t.folder / name
        c = t.prepare({}, "echo here", id=f"{c.id}x")
        os.rename(moved / "config.json", moved / "config.json.old")
        os.rename(c.bundle / "config.json", moved / "config.json")
        c.bundle, c.rootfs = moved, moved / "rootfs"
        fault = runs(c)
        t.check("bundle.relocatable", not fault, f"a container from the bundle moved to {name!r}", fault)


# JSON


@test("json.utf8")
def utf8(t: Case) -> None:
    """The configuration is UTF-8: what isn't is refused, and what is comes through unchanged."""
    changes: Changes = {"annotations": {"com.example.a": "größer 好 😀"}}
    good = encoded(t, changes)
    good.create()
    t.equal("json.utf8", (good.state().get("annotations") or {}).get("com.example.a"), "größer 好 😀")
    for bad in (b"\xff", b"\xc3", b"\xed\xa0\x80"):
        c = encoded(t, changes, ("größer".encode(), b"gr" + bad + b"er"))
        t.is_refused("json.utf8", c, expected=f"an error for the bytes {bad!r} in a string")
    c = t.prepare(changes)
    (c.bundle / "config.json").write_bytes(json.dumps(c.config).encode("utf-16"))
    t.is_refused("json.utf8", c, expected="an error for UTF-16")


@test("json.no-dup-names")
def duplicate_names(t: Case) -> None:
    """An object with the same name twice is refused, at the top and deep inside."""
    fault = runs(encoded(t, {"hostname": "one"}))
    t.check("json.no-dup-names", not fault, "a container without duplicates", fault)
    twice = (
        (b'"hostname": "one"', b'"hostname": "one", "hostname": "one"'),
        (b'"gid": 0', b'"gid": 0, "gid": 0'),
    )
    for replacement in twice:
        c = encoded(t, {"hostname": "one"}, replacement)
        t.is_refused("json.no-dup-names", c, expected=f"an error for {replacement[1].decode()}")


@test("json.order")
def order(t: Case) -> None:
    """The order of the properties in objects has no effect."""
    changes: Changes = {"hostname": "ordered", "annotations": {"com.example.b": "1", "com.example.a": "2"}}
    seen = []
    for arrange in (lambda items: items, lambda items: items[::-1], sorted):
        c = t.prepare(changes, "uname", "caps", "mounts")
        (c.bundle / "config.json").write_text(json.dumps(_arranged(c.config, arrange)))
        fault = runs(c)
        t.check("json.order", not fault, "a container, whatever the order", fault)
        said = {each["command"]: each.get("result") for each in c.results()}
        mounts = [line.split(" ")[4] for line in said.get("mounts") or []]
        seen.append(((said.get("uname") or {}).get("nodename"), said.get("caps"), mounts))
    t.check(
        "json.order", seen[0][0] == "ordered" and seen[1:] == seen[:1] * 2, "the same for every order", seen
    )


def _arranged(value: Any, arrange: Any) -> Any:
    if isinstance(value, dict):
        return {name: _arranged(each, arrange) for name, each in arrange(list(value.items()))}
    return [_arranged(each, arrange) for each in value] if isinstance(value, list) else value


# ociVersion


@test("version.semver", "version.required")
def version_form(t: Case) -> None:
    """A version that is missing, or not in the form of Semantic Versioning 2.0.0, is refused."""
    t.run({}, "cwd")
    t.is_refused(
        "version.required", t.prepare({"ociVersion": DELETE}), expected="an error without ociVersion"
    )
    for version in (
        "invalid",
        "",
        "1",
        "1.0",
        "1.0.0.0",
        "v1.0.0",
        "01.0.0",
        "1.0.0-",
        "1.0.0-01",
        " 1.0.0",
        "1.0.0\n",
    ):
        c = t.prepare({"ociVersion": version})
        t.is_refused("version.semver", c, expected=f"an error for the version {version!r}")


@test("version.older-minor")
def older_versions(t: Case) -> None:
    """Configurations of every older version of the same major version run, and those of the tested one."""
    for version in RELEASES:
        if key(version) <= key(t.spec):
            fault = runs(t.prepare({"ociVersion": version}))
            t.check("version.older-minor", not fault, f"a container for version {version}", fault)


@test("version.newer-minor")
def newer_versions(t: Case) -> None:
    """A configuration of a newer minor or major version than the runtime can know is refused."""
    t.run({}, "cwd")
    for version in (f"1.{NEWEST_MINOR}.0", f"{NEWEST_MINOR}.0.0"):
        c = t.prepare({"ociVersion": version})
        t.is_refused("version.newer-minor", c, expected=f"an error for version {version}")


# unknown properties


@test("ext.unknown-ignored", "ext.unknown-log")
def unknown_properties(t: Case) -> None:
    """Unknown properties are no error anywhere, whatever their value, and change nothing."""
    limits = {"linux.resources": {"devices": [{"allow": True, "access": "rwm"}]}} if t.host.uid == 0 else {}
    base: Changes = {
        "hostname": "unchanged",
        "hooks": {"poststop": [t.hook("echo gone")]},
        "linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
        **limits,
    }
    places = [
        "",
        "process",
        "process.user",
        "process.capabilities",
        "root",
        "mounts[0]",
        "hooks",
        "hooks.poststop[0]",
    ]
    places += ["linux", "linux.namespaces[0]", "linux.seccomp"]
    places += ["linux.resources", "linux.resources.devices[0]"] if limits else []
    values: list[Any] = [1, "text", {"inner": [True]}, [], None]
    plain = t.run(base, "uname", "caps")
    unknown: dict[Any, Any] = dict(base)
    for number, place in enumerate(places):
        name = f"x-unknown{number}"
        unknown[f"{place}.{name}" if place else name] = values[number % len(values)]
    c = t.prepare(unknown, "uname", "caps")
    fault = runs(c)
    t.check("ext.unknown-ignored", not fault, "a container, for all that is unknown", fault)
    t.check("ext.unknown-log", not fault, "a warning, or none", fault)
    said = {each["command"]: each.get("result") for each in c.results()}
    t.equal("ext.unknown-ignored", (said.get("uname") or {}).get("nodename"), "unchanged")
    t.equal("ext.unknown-ignored", said.get("caps"), plain["caps"])


# values


@test("values.invalid-error")
def not_json(t: Case) -> None:
    """A configuration that isn't JSON, or isn't an object, is an error."""
    t.run({}, "cwd")
    spoilt = encoded(t, {"hostname": "one"}, (b'"hostname": "one"', b'"hostname": one'))
    t.is_refused("values.invalid-error", spoilt, expected="an error for a string without quotes")
    for raw in (b"", b"[]", b"null", b'"text"', b"{}"):
        t.is_refused("values.invalid-error", t.prepare({}, raw=raw), expected=f"an error for {raw!r}")


@test("values.subset")
def subset(t: Case) -> None:
    """A valid value that a runtime needn't support works, or is refused with an error."""
    call = t.prepare({"linux.namespaces[+]": {"type": "time"}}).call("create")
    c = t.containers[-1]
    if not call.ok:
        t.check("values.subset", call.code > NOT_EXECUTED, "an error", call.sentence)
        return
    theirs = c.proc("ns/time_for_children")
    ours = os.readlink("/proc/self/ns/time_for_children")
    t.check("values.subset", ours != theirs, "a time namespace, or an error", theirs)
