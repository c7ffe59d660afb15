"""The loopback interface of a new network namespace. Hot module.

No text asks for it; runc and crun set it up, and images rely on it.
"""

from __future__ import annotations

import errno

from pyrun.base.errors import failed
from pyrun.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.making import Inside


def set_up(_: Inside) -> None:
    """Set lo up, which gives it 127.0.0.1 and ::1. Raises PyrunError if we have no right to."""
    try:
        process.set_up_interface("lo")
    except OSError as error:
        hint = "setting it up needs CAP_NET_ADMIN" if error.errno == errno.EPERM else ""
        raise failed("setting up the loopback interface", error, "linux.namespaces", hint) from None
