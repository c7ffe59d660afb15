"""process.capabilities: names to bit masks.

Hot module. A capability that the kernel does not know, or that can't be granted, is a warning and not an error
(config.md, Linux Process, since 1.1).
"""

from __future__ import annotations

from oci_spec.names import CAPABILITIES
from pyrun.base.errors import joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
WITHIN = (("effective", ("permitted",)), ("ambient", ("permitted", "inheritable")))


def masks(wanted: dict[str, Sequence[str]], grantable: int) -> tuple[dict[str, int], list[str]]:
    """The five sets as bit masks, each as far as the kernel can have it within `grantable`, and warnings that name
    each capability that a set can't have (capabilities(7)): effective lies within permitted, ambient within permitted
    and inheritable, and the program keeps of the permitted ones none that is neither bounding nor inheritable.
    """
    found = dict.fromkeys(SETS, 0)
    warnings: list[str] = []
    for kind in SETS:
        unknown: list[str] = []
        refused: list[str] = []
        for name in wanted.get(kind) or ():
            bit = 1 << CAPABILITIES.index(name) if name in CAPABILITIES else 0
            if bit & grantable:
                found[kind] |= bit
            else:
                (refused if bit else unknown).append(name)
        _warn(warnings, kind, refused, "may not be granted here and {is} left out")
        _warn(warnings, kind, unknown, "{is} not known and {is} left out")
    for kind, within in WITHIN:
        for needed in within:
            lacking = names(found[kind] & ~found[needed])
            _warn(warnings, kind, lacking, f"{{is}} not in the {needed} set too and {{is}} left out")
            found[kind] &= found[needed]
    lost = names(found["permitted"] & ~found["bounding"] & ~found["inheritable"])
    why = "{is} neither in the bounding set nor in the inheritable one, and the program loses {it}"
    _warn(warnings, "permitted", lost, why)
    return found, warnings


def _warn(warnings: list[str], kind: str, lacking: list[str], why: str) -> None:
    """One warning for all of a kind: engines that ask for many show each line to people, buildah at every step."""
    if lacking:
        one = len(lacking) == 1
        why = why.replace("{is}", "is" if one else "are").replace("{it}", "it" if one else "them")
        warnings.append(f"process.capabilities.{kind}: {joined(lacking)} {why}")


def names(mask: int) -> list[str]:
    """The capabilities of a bit mask."""
    return [name for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1]
