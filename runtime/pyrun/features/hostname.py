"""hostname: the name that the container has in its uts namespace. Hot module.

Source: config.md, Hostname; sethostname(2).
"""

from __future__ import annotations

import errno

from pyrun.base.errors import failed
from pyrun.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.making import Inside


def set_(inside: Inside) -> None:
    """Set it. Raises PyrunError if we have no right to."""
    try:
        process.sethostname(inside.plan.config["hostname"])
    except OSError as error:
        hint = "that needs CAP_SYS_ADMIN in the user namespace that the uts namespace belongs to"
        hint = hint if error.errno == errno.EPERM else ""
        raise failed("setting the hostname", error, "hostname", hint) from None
