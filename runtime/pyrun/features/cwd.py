"""process.cwd: made, and entered without a way out. Hot module. Source: config.md, Process."""

from __future__ import annotations

import posix

from pyrun.base.errors import PROGRAM_WORDS, PyrunError, failed
from pyrun.kernel import stage2
from pyrun.paths import under_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.last import Last
    from pyrun.story.making import Inside


def make(inside: Inside) -> None:
    """Make process.cwd where it is missing, while everything that it may be in can be written to. What goes wrong is
    said by those who enter it, perhaps as another user."""
    path = inside.plan.program["cwd"]
    if path.strip("/"):
        try:
            posix.close(under_root.make(inside.root, path, under_root.DIRECTORY))
        except OSError:
            pass


def enter(inside: Inside) -> None:
    """Stand in process.cwd. It is reached without magic links, so that /proc/self/fd/N can't lead out of the container
    (CVE-2024-21626), and what we stand in is then checked to be below our root.

    Where root is refused (a user namespace doesn't have the owner, NFS takes root for nobody), the path is left to
    stage 2, which tries again as the program's user. Raises PyrunError if it is missing or leads outside.
    """
    cwd = inside.plan.program["cwd"]
    try:
        if inside.listen_fd >= 0:  # the init: exec makes nothing in a container that lives
            fd = under_root.make(inside.slash, cwd, under_root.DIRECTORY)
        else:
            fd = under_root.lookup(inside.slash, cwd, posix.O_DIRECTORY)
        posix.fchdir(fd)
        posix.close(fd)
        where = posix.getcwd()  # the kernel answers "(unreachable)/…" for a place outside of the root
    except PermissionError:
        inside.cwd = cwd
        return
    except OSError as error:
        why = PROGRAM_WORDS.get(error.errno or 0)
        if why:
            raise PyrunError(f"entering {cwd}: {why}", "process.cwd") from None
        raise failed(f"entering {cwd}", error, "process.cwd") from None
    if where[:1] != "/":
        raise PyrunError(f"{cwd} is outside of the container", "process.cwd")


def enter_late(last: Last) -> None:
    """Have stage 2 enter it as the program's user, with its groups. No magic link is followed there, either."""
    words = "entering it as the program's user"
    refused = [(number, f"{words}: {why}", "") for number, why in PROGRAM_WORDS.items()]
    last.label("process.cwd", words, *refused)
    last.orders.add(stage2.ENTER, data=last.texts([last.inside.cwd]))


def be_inside(last: Last) -> None:
    """Have stage 2 check where that has led."""
    last.label("process.cwd", "it is outside of the container")
    last.orders.add(stage2.INSIDE)
