"""A session keyring of the container's own: what its processes keep in it isn't our caller's. Hot module.

Source: keyrings(7). --no-new-keyring leaves the caller's.
"""

from __future__ import annotations

from pyrun.features import labels
from pyrun.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.making import Inside


def join_new(inside: Inside) -> None:
    """Leave the caller's session keyring for a new one, which has the program's SELinux label."""
    if inside.labels:
        labels.label_keys(inside.labels)
    process.new_session_keyring()
