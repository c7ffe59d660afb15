"""process.user: the program's user, its groups and its umask, which stage 2 takes on.

Hot module. Source: config.md, User; user_namespaces(7).
"""

from __future__ import annotations

import errno
import posix
import sys

from pyrun.features import crun_annotations
from pyrun.kernel import stage2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.last import Last

UMASK = 0o022  # where none is configured: runc's and crun's, whatever their caller's is
CAP_SETGID = 1 << 6


def set_umask(last: Last) -> None:
    """process.user.umask."""
    umask = last.user.get("umask")
    last.orders.call(stage2.NR_UMASK, UMASK if umask is None else umask)


def set_groups(last: Last) -> None:
    """process.user.additionalGids.

    Nothing is done where the groups that there are can't be changed: the user namespace
    denies setgroups(2) to its root. They are gone then already, or the container's user is the caller, who keeps them.
    Without the right to set groups stage 2 tries all the same, and reports that it can't.
    """
    groups: list[int] = last.user.get("additionalGids") or []
    if last.plan.keeps_groups:  # an annotation of crun's: nothing is set, and nothing given up
        if groups:
            last.inside.warn(f"process.user.additionalGids: left out, for {crun_annotations.KEEP_GROUPS}")
        return
    try:
        posix.setgroups([])
    except OSError:
        if last.rights & CAP_SETGID:
            if groups:
                last.inside.warn(
                    "process.user.additionalGids: left out: this user namespace has given up setgroups(2)"
                )
            return
        if not groups and "user" in last.plan.namespaces:
            return
    last.label(
        "process.user.additionalGids", "setting the supplementary groups", _unknown("one of these groups")
    )
    data = b"".join([gid.to_bytes(4, sys.byteorder) for gid in groups])
    last.orders.call(stage2.NR_SETGROUPS, len(groups), data or 0)


def become_group(last: Last) -> None:
    """process.user.gid."""
    gid = last.user.get("gid", 0)
    last.label("process.user.gid", "becoming this group", _unknown("this group"))
    last.orders.call(stage2.NR_SETRESGID, gid, gid, gid)


def become_user(last: Last) -> None:
    """process.user.uid."""
    uid = last.user.get("uid", 0)
    last.label("process.user.uid", "becoming this user", _unknown("this user"))
    last.orders.call(stage2.NR_SETRESUID, uid, uid, uid)


def _unknown(who: str) -> tuple[int, str, str]:
    """What EINVAL means."""
    return errno.EINVAL, f"{who} does not exist in the container's user namespace", ""
