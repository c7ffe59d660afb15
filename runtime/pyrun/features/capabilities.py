"""process.capabilities: names to bit masks.

Hot module. A capability that the kernel does not know, or that can't be granted, is a warning and not an error
(config.md, Linux Process, since 1.1).
"""

from __future__ import annotations

from oci_spec.names import CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
WITHIN = (("effective", ("permitted",)), ("ambient", ("permitted", "inheritable")))


def masks(wanted: dict[str, Sequence[str]], grantable: int) -> tuple[dict[str, int], list[str]]:
    """The five sets as bit masks, each as far as the kernel can have it within `grantable`, and a warning for each
    capability that a set can't have (capabilities(7)): effective lies within permitted, ambient within permitted and
    inheritable, and the program keeps of the permitted ones none that is neither bounding nor inheritable.
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
    for kind, within in WITHIN:
        for needed in within:
            if found[kind] & ~found[needed]:
                for name in names(found[kind] & ~found[needed]):
                    warnings.append(
                        f"process.capabilities.{kind}: {name} is not in the {needed} set too and is left out"
                    )
                found[kind] &= found[needed]
    for name in names(found["permitted"] & ~found["bounding"] & ~found["inheritable"]):
        warnings.append(
            f"process.capabilities.permitted: {name} is neither in the bounding set nor in the inheritable one, and "
            "the program loses it"
        )
    return found, warnings


def names(mask: int) -> list[str]:
    """The capabilities of a bit mask."""
    return [name for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1]
