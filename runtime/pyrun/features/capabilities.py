"""process.capabilities: names to bit masks.

Hot module. A capability that the kernel does not know, or that the runtime may not grant, is a warning and not an
error (config.md, Linux Process, since 1.1).
"""

from __future__ import annotations

from oci_spec.names import CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def masks(wanted: dict[str, Sequence[str]], grantable: int) -> tuple[dict[str, int], list[str]]:
    """The five sets as bit masks, each within `grantable`, and warnings for what had to be left out.

    The kernel has effective and ambient only within permitted, ambient also only within inheritable
    (capabilities(7)); engines often ask for ambient ones without the others, and mean those that are possible.
    """
    found = dict.fromkeys(SETS, 0)
    warnings = []
    for kind in SETS:
        for name in wanted.get(kind) or ():
            bit = 1 << CAPABILITIES.index(name) if name in CAPABILITIES else 0
            if bit & grantable:
                found[kind] |= bit
            else:
                why = "may not be granted here" if bit else "is not known"
                warnings.append(f"process.capabilities.{kind}: {name} {why} and is left out")
    found["effective"] &= found["permitted"]
    found["ambient"] &= found["permitted"] & found["inheritable"]
    return found, warnings
