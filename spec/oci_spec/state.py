"""Table of the state document, which `state` prints and hooks read (runtime.md#state)."""

from __future__ import annotations

from oci_spec import names
from oci_spec.fields import NAME, PATH, STRING, TEXT, check_enum, check_integer, check_object, map_of, table

# A container whose cgroup is frozen: a state of its own, which the specification lets a runtime add.
PAUSED = "paused"

STATE = table(
    {
        "ociVersion": STRING,
        "id": NAME,
        "status": (check_enum, (*names.STATUSES, PAUSED)),
        "pid": (check_integer, 0, (1 << 31) - 1),
        "bundle": PATH,
        "annotations": map_of(TEXT, TEXT),
    },
    ("ociVersion", "id", "status", "bundle"),
    "runtime.md#state",
)


def parse(document: object) -> None:
    """Check a state document; raises ConfigError at the first fault."""
    check_object(STATE, document)
