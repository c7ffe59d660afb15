"""pyrun --version, in the form that dockerd, podman and containerd read. Hot module."""

from __future__ import annotations

from pyrun.base import built
from pyrun.container.states import OCI_VERSION
from pyrun.kernel import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.commandline.parse import Values


def run(root: str, values: Values, arguments: list[str]) -> int:
    """Print the version."""
    commit = f"commit: {built.COMMIT}\n" if built.COMMIT else ""
    calls.write_all(1, f"pyrun version {built.VERSION}\n{commit}spec: {OCI_VERSION}\n".encode())
    return 0
