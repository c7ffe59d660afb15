"""buildah with its own defaults, but for the runtime's path, as root and as an ordinary user."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from guest import Host

FILE = """
FROM localhost/bb
RUN id -u > /who && cat /proc/self/cgroup > /where
RUN grep -q 0 /who
"""


@pytest.mark.parametrize("isolation", ["oci", "rootless"])
def test_a_build(anyone: Host, image: str, isolation: str) -> None:
    """Each RUN step is a container of pyrun's."""
    if isolation == "rootless" and anyone.name == "root":
        pytest.skip("the isolation rootless is for ordinary users")
    folder = Path(f"/var/tmp/build-{anyone.name}")
    folder.mkdir()
    (folder / "Containerfile").write_text(FILE)
    anyone.chown(folder)
    try:
        words = ("--isolation", isolation, "--network", "none", "-t", "built", str(folder))
        anyone.ok("buildah", "bud", *words)
        assert anyone.ok("podman", "run", "--rm", "built", "cat", "/who") == "0\n"
    finally:
        shutil.rmtree(folder)
        anyone("podman", "rmi", "-f", "built")
