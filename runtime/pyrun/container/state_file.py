"""What stands in a state.json, and whether all of it does. Hot module; container.py says what the lines are."""

from __future__ import annotations

from pyrun.base import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONFIG = b"config "  # begins the line of state.json that says how many bytes of config.json follow
CUT_OFF = "it is cut off"
# What the first line of state.json has.
KINDS = (
    ("id", str),
    ("status", str),
    ("pid", int),
    ("pidStart", int),
    ("bundle", str),
    ("rootfs", str),
    ("created", str),
    ("owner", int),
    ("annotations", dict),
    ("cgroup", dict),
    ("hasProcess", bool),
    ("hooks", dict),
    ("program", dict),
)


def parse(data: bytes, container_id: str) -> tuple[dict[str, Any], bytes, str]:
    """Return the record that the lines add up to, the bytes of config.json, and what is wrong.

    The last is "" if nothing is, CUT_OFF if the end is missing. The record is what we can use of it: {} if it isn't one
    of this container.
    """
    record: dict[str, Any] = {}
    config = b""
    why = ""
    try:
        config = _read(data, record)
    except (ValueError, TypeError) as error:  # not JSON, or no object
        why = str(error)
    if all([type(record.get(key)) is kind for key, kind in KINDS]) and record["id"] == container_id:
        return record, config, why
    return {}, b"", why or ("it is not this container's" if record else "")


def _read(data: bytes, record: dict[str, Any]) -> bytes:
    """Add the lines of a state.json to the record; returns the bytes of config.json. Raises ValueError or TypeError."""
    config = b""
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        line = data[at:end]
        at = end + 1
        if line.startswith(CONFIG):
            size = int(line[len(CONFIG) :])
            config = data[at : at + size]
            at += size + 1
            if at > len(data):
                raise ValueError(CUT_OFF)
        else:
            record.update(jsontext.decode(line))
    if at < len(data):
        raise ValueError(CUT_OFF)
    return config
