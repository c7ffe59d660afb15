"""linux.personality: whether the program is told of a 32-bit machine. Hot module.

Sources: config-linux.md, Personality; personality(2). No flag is defined, so that any is an error (oci_spec's rules).
"""

from __future__ import annotations

from oci_spec.names import PERSONALITY_DOMAINS
from pyrun.kernel import stage2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.last import Last


def set_(last: Last) -> None:
    """Have stage 2 set its execution domain, which the program and what that starts inherit."""
    domain: str = last.plan.linux["personality"]["domain"]
    last.label("linux.personality", f"setting the domain {domain}")
    last.orders.call(stage2.NR_PERSONALITY, PERSONALITY_DOMAINS[domain])
