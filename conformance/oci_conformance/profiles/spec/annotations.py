"""The annotations of a configuration (config.md#annotations)."""

from __future__ import annotations

from oci_conformance.core.bundle import Changes
from oci_conformance.profiles.spec.documents import encoded
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test


@test("annotations.map", "annotations.value-string", "annotations.key-nonempty")
def invalid(t: Case) -> None:
    """Annotations that aren't a map, an empty key, and values that aren't strings, are refused."""
    t.run({"annotations": {"com.example.a": "1"}}, "cwd")
    faults: dict[str, tuple[object, ...]] = {
        "annotations.map": ([], ["com.example.a"], "com.example.a=1", 1, True),
        "annotations.value-string": tuple(
            {"com.example.a": value} for value in (1, True, None, ["1"], {"b": "1"})
        ),
        "annotations.key-nonempty": ({"": "1"},),
    }
    for id, values in faults.items():
        for value in values:
            c = t.prepare({"annotations": value})
            t.is_refused(id, c, expected=f"an error for the annotations {value!r}")


@test("annotations.key-string")
def keys(t: Case) -> None:
    """A key that isn't a string is refused."""
    changes: Changes = {"annotations": {"com.example.a": "1"}}
    for bad in (b"1", b"true", b"null", b"com.example.a"):
        c = encoded(t, changes, (b'"com.example.a"', bad))
        t.is_refused("annotations.key-string", c, expected=f"an error for the key {bad.decode()}")
    encoded(t, changes).create()


@test("annotations.value-empty", "annotations.unknown-ignored")
def accepted(t: Case) -> None:
    """Unknown keys, also in the reserved namespace, and empty values are no error and change nothing."""
    plain = t.run({}, "caps", "ids", "env")
    annotations = {
        "com.example.unknown": "1",
        "org.opencontainers.unknown": "1",
        "no-reverse-domain": "1",
        "com.example/with a slash": "{}",
    }
    seen = t.run({"annotations": annotations}, "caps", "ids", "env")
    for command in ("caps", "ids", "env"):
        t.equal("annotations.unknown-ignored", seen[command], plain[command])
    c = t.create({"annotations": {"com.example.empty": ""}})
    kept = (c.state().get("annotations") or {"com.example.empty": ""}).get("com.example.empty")
    t.check("annotations.value-empty", kept == "", "an empty value in the state's annotations too", kept)
