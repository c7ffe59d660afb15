"""Which devices a container may use: `linux.resources.devices` and the defaults, as rules in order.

Hot module. config-linux.md § Allowed Device list. A rule decides for each of the three accesses by itself;
the last rule that covers a device and an access wins. The story starts with "nothing is allowed" and ends
with the devices that every container has. devices_v1.py and devices_v2.py put it into effect.
"""

from __future__ import annotations

from pyrun.base.errors import PyrunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    # allow, "c" or "b", major, minor (ANY for all), access bits, JSON path
    Rule = tuple[bool, str, int, int, int, str]

PATH = "linux.resources.devices"
ANY = -1
MKNOD, READ, WRITE = 1, 2, 4  # the kernel's DEVCG_ACC_*
ALL_ACCESS = MKNOD | READ | WRITE
MOST_NUMBER = 0xFFFFFFFF
_BITS = {"m": MKNOD, "r": READ, "w": WRITE}

# Nodes can always be made (opening them is another matter); then null, zero, full, random, urandom, tty,
# console, ptmx and all terminals of devpts; and /dev/net/tun, as with runc and crun: images for VPNs count on it.
_DEFAULTS = (
    ("c", ANY, ANY, MKNOD),
    ("b", ANY, ANY, MKNOD),
    ("c", 1, 3, ALL_ACCESS),
    ("c", 1, 5, ALL_ACCESS),
    ("c", 1, 7, ALL_ACCESS),
    ("c", 1, 8, ALL_ACCESS),
    ("c", 1, 9, ALL_ACCESS),
    ("c", 5, 0, ALL_ACCESS),
    ("c", 5, 1, ALL_ACCESS),
    ("c", 5, 2, ALL_ACCESS),
    ("c", 10, 200, ALL_ACCESS),
    ("c", 136, ANY, ALL_ACCESS),
)


def ordered(config: Sequence[dict[str, Any]]) -> tuple[bool, list[Rule]]:
    """Return whether all is allowed that no rule covers, and the rules in order. Raises PyrunError for a bad rule.

    Absent or -1 numbers mean all, an absent type both kinds, an absent access all three. A rule that covers
    everything makes those before it void, and is the answer's first half.
    """
    allowed = False
    rules: list[Rule] = []
    for index, entry in enumerate(config):
        path = f"{PATH}[{index}]"
        kind, major, minor = entry.get("type", "a"), entry.get("major", ANY), entry.get("minor", ANY)
        access = 0
        for letter in entry.get("access") or "rwm":
            access |= _BITS[letter]
        if not (ANY <= major <= MOST_NUMBER and ANY <= minor <= MOST_NUMBER):
            raise PyrunError(f"{major}:{minor} is not a device number", path)
        if (kind, major, minor, access) == ("a", ANY, ANY, ALL_ACCESS):
            allowed = entry["allow"]
            rules = []
        else:
            for each in "cb" if kind == "a" else kind:
                rules.append((entry["allow"], each, major, minor, access, path))
    rules += [(True, kind, major, minor, access, PATH) for kind, major, minor, access in _DEFAULTS]
    return allowed, rules
