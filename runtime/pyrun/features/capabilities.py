"""process.capabilities and process.noNewPrivileges: names to bit masks, and what stage 2 does with them.

Hot module. A capability that the kernel does not know, or that can't be granted, is a warning and not an error
(config.md, Linux Process, since 1.1).
"""

from __future__ import annotations

import sys

from oci_spec.names import CAPABILITIES
from pyrun.base.errors import joined
from pyrun.kernel import stage2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from oci_spec import types
    from pyrun.story.last import Last

CAP_SYS_ADMIN = 1 << 21
EVERY = (1 << 64) - 1
CAPSET_HEADER = 0x20080522  # _LINUX_CAPABILITY_VERSION_3 of linux/capability.h, and this process
PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 8, 24, 38, 47  # prctl(2)
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_CLEAR_ALL = 2, 4

SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
WITHIN = (("effective", ("permitted",)), ("ambient", ("permitted", "inheritable")))


def masks(wanted: types.Capabilities, grantable: int) -> tuple[dict[str, int], list[str]]:
    """The five sets as bit masks, each as far as the kernel can have it within `grantable`, and warnings that name
    each capability that a set can't have (capabilities(7)): effective lies within permitted, ambient within permitted
    and inheritable, and the program keeps of the permitted ones none that is neither bounding nor inheritable.
    """
    found = dict.fromkeys(SETS, 0)
    warnings: list[str] = []
    sets: Mapping[str, Any] = wanted
    for kind in SETS:
        unknown: list[str] = []
        refused: list[str] = []
        for name in sets.get(kind) or ():
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


def clear_ambient(last: Last) -> None:
    """Not to inherit our caller's ambient capabilities; where there are none, the kernel may not know the call."""
    last.orders.try_call(stage2.NR_PRCTL, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def set_inheritable(last: Last) -> None:
    """First of all, since a capability can be made inheritable only while it is in the bounding set."""
    _capset(last, last.rights, last.rights, last.sets["inheritable"])


def drop_bounding(last: Last) -> None:
    """Drop all that the bounding set isn't to have, past the last one that the kernel knows."""
    last.orders.call_each(EVERY & ~last.sets["bounding"], stage2.NR_PRCTL, 1, PR_CAPBSET_DROP)


def keep_until_execve(last: Last) -> None:
    """Keep the permitted set when the user changes; execve(2) ends that."""
    last.orders.call(stage2.NR_PRCTL, PR_SET_KEEPCAPS, 1, 0, 0, 0)


def take_on(last: Last) -> None:
    """The program's capabilities, and the one by which the seccomp filter is to be loaded.

    What the program may do after execve(2) follows from its uid and the inheritable, bounding and ambient sets; what is
    permitted until then only matters under no_new_privs. So to keep CAP_SYS_ADMIN until the filter is loaded gives the
    program nothing.
    """
    sets, extra = last.sets, right_to_load(last)
    _capset(last, sets["effective"] | extra, sets["permitted"] | extra, sets["inheritable"])


def right_to_load(last: Last) -> int:
    """CAP_SYS_ADMIN as a mask if a seccomp filter needs it to be loaded, else 0: seccomp(2)."""
    needed = last.inside.seccomp is not None and not last.program.get("noNewPrivileges")
    return CAP_SYS_ADMIN & last.rights if needed else 0


def raise_ambient(last: Last) -> None:
    """The ambient set."""
    last.orders.call_each(last.sets["ambient"], stage2.NR_PRCTL, 2, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE)


def forbid_new_privileges(last: Last) -> None:
    """process.noNewPrivileges: execve(2) gives no rights any more, be a file setuid or not."""
    last.orders.call(stage2.NR_PRCTL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _capset(last: Last, effective: int, permitted: int, inheritable: int) -> None:
    words = [mask >> shift & 0xFFFFFFFF for shift in (0, 32) for mask in (effective, permitted, inheritable)]
    data = b"".join([word.to_bytes(4, sys.byteorder) for word in words])
    last.orders.call(stage2.NR_CAPSET, CAPSET_HEADER.to_bytes(4, sys.byteorder) + bytes(4), data)
