"""A process that happens to have a dead container's pid is left alone: pid and start time tell who is who."""

from __future__ import annotations

import pytest
from bundles import sleeping


@pytest.mark.parametrize("command", [("kill",), ("delete",), ("delete", "--force")])
def test_a_recycled_pid_is_not_signalled(pyrun, bundle, command):
    """As if the kernel had given the number of a container's process to another process of the host."""
    container = pyrun.start(bundle())
    container.wait()
    with sleeping() as other:
        with open(pyrun.root / container.id / "state.json", "a") as record:  # a line adds to the ones before
            record.write(f'{{"pid":{other}}}\n')
        assert container.status == "stopped"
        if command == ("kill",):
            assert "container not running" in pyrun.error("kill", container.id, "KILL")
        else:
            pyrun.ok(*command, container.id)
        with open(f"/proc/{other}/stat") as stat:
            assert stat.read().rpartition(")")[2].split()[0] not in "ZX"
