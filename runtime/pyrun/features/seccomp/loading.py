"""linux.seccomp: when stage 2 loads the filter, and with which right.

Hot module. Without no_new_privs that needs CAP_SYS_ADMIN, which the program mustn't have (kernel/stage2_filter.h).
"""

from __future__ import annotations

import errno

from pyrun.features import capabilities
from pyrun.kernel import stage2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.last import Last


def hold(last: Last) -> None:
    """Give stage 2 the filter."""
    if last.inside.seccomp:
        flags, filter_program = last.inside.seccomp
        last.label(
            "linux.seccomp",
            "loading the filter",
            (
                errno.EBUSY,
                "loading the filter for another agent: who called the runtime is under one's already",
                "",
            ),
        )
        last.orders.add(stage2.FILTER, (flags,), filter_program)


def load_early(last: Last) -> None:
    """Only if it lets all pass that stage 2 still does: then CAP_SYS_ADMIN is gone before anybody can see us."""
    if capabilities.right_to_load(last):
        sets = [last.sets[name] for name in ("effective", "permitted", "inheritable")]
        last.label("process.capabilities", "setting the capabilities")
        last.orders.add(stage2.EARLY, sets)


def load(last: Last) -> None:
    """Directly before the program, if it isn't loaded yet."""
    last.orders.add(stage2.LOAD)


def give_listener(last: Last) -> None:
    """Have the agent get the listener of a filter that is loaded (notify.py)."""
    last.orders.add(stage2.GIVE)
