"""pyrun --version, in the form that dockerd, podman and containerd read. Hot module."""

from __future__ import annotations

from pyrun import built
from pyrun.kernel import calls
from pyrun.lifecycle.container import OCI_VERSION


def run() -> int:
    """Print the version."""
    commit = f"commit: {built.COMMIT}\n" if built.COMMIT else ""
    calls.write_all(1, f"pyrun version {built.VERSION}\n{commit}spec: {OCI_VERSION}\n".encode())
    return 0
