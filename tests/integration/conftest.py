"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import needs
import pytest
from bundles import Pyrun
from cgroup_machine import ONLY_V2


@pytest.fixture(params=["this host", "only cgroup v2"])
def any_host(request: pytest.FixtureRequest, pyrun: Pyrun) -> Iterator[Pyrun]:
    """The runtime on this host as it is, and on a view of it that has nothing but cgroup v2."""
    if request.param == "this host":
        yield pyrun
        return
    needs.program("unshare", "mount")
    needs.filesystem("cgroup2")
    pyrun.wrapper = ["unshare", "-m", "sh", "-c", ONLY_V2, "sh"]
    yield pyrun
    for container_id in pyrun.ids:  # while its cgroups can be seen
        pyrun("delete", "--force", container_id)
