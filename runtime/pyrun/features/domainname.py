"""domainname: the NIS domain's name in the container's uts namespace. Hot module.

Source: config.md, Domainname; setdomainname(2).
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
        process.setdomainname(inside.plan.config["domainname"])
    except OSError as error:
        hint = "that needs CAP_SYS_ADMIN in the user namespace that the uts namespace belongs to"
        hint = hint if error.errno == errno.EPERM else ""
        raise failed("setting the domainname", error, "domainname", hint) from None
