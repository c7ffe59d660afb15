"""The lines of state.json that create writes: what will be made, and that it is made. Hot module.

Source of what others read of it: container/store.py.
"""

from __future__ import annotations

import posix

from pyrun.base.errors import PyrunError
from pyrun.cgroups import driver
from pyrun.container import states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrun.cgroups.driver import Record
    from pyrun.story.making import Making
    from pyrun.story.plan import Plan

LATER_HOOKS = ("startContainer", "poststart", "poststop")  # start and delete need them, or their names


def begin(making: Making) -> None:
    """Write the first line, and config.json: what will be made, and what later commands need."""
    planned = making.plan
    config = planned.config
    facts = {
        "id": making.id,
        "status": states.CREATING,
        "pid": 0,
        "pidStart": 0,
        "bundle": planned.bundle,
        "rootfs": planned.rootfs,
        "rootNode": _node(planned.rootfs),
        "created": states.timestamp(),
        "owner": posix.geteuid(),
        "annotations": config.get("annotations") or {},
        "cgroup": _plan_cgroups(planned, making.id, str(making.options.get("cgroup-manager", ""))),
        "configVersion": config["ociVersion"],
        "devices": (planned.linux.get("resources") or {}).get("devices") or [],
        "hasProcess": planned.process is not None,
        "ownPids": planned.has_new("pid"),
        "smallMemory": planned.has_small_memory(),
        "seccompAgent": [making.agent.path, making.agent.metadata] if making.agent else [],
        "hooks": {kind: planned.hooks(kind) for kind in LATER_HOOKS if planned.hooks(kind)},
        "program": {"args": planned.process["args"], "env": planned.process.get("env") or []}
        if planned.process
        else {},
    }
    making.container.add(facts, making.data)
    making.cgroup = making.container.record["cgroup"]
    making.inside.state = states.oci_state(making.container.record, states.CREATING)


def _plan_cgroups(planned: Plan, container_id: str, option: str) -> Record:
    if option == "disabled" and planned.asks_for_limits():
        raise PyrunError("limits need cgroups, and --cgroup-manager is disabled", "linux.resources")
    annotations = planned.config.get("annotations") or {}
    return driver.named(option).plan(planned.linux.get("cgroupsPath"), container_id, annotations)


def _node(path: str) -> list[int]:
    """Device and inode of a folder, by which exec knows it again; the init says why if it isn't there."""
    try:
        found = posix.stat(path)
    except OSError:
        return []
    return [found.st_dev, found.st_ino]


def note_birth(making: Making) -> None:
    """Keep in memory which process the init is. It isn't on disk until the last step: if we are killed before,
    PR_SET_PDEATHSIG and the cgroup clean up."""
    making.container.record.update(_born(making.pid))
    making.inside.state["pid"] = making.pid


def born(making: Making) -> None:
    """Write down which process the init is, for hooks that ask for the state."""
    making.container.add(_born(making.pid))


def finish(making: Making) -> None:
    """Write the last line: the container is created."""
    making.container.add({**_born(making.pid), "status": states.CREATED})


def _born(pid: int) -> dict[str, Any]:
    return {"pid": pid, "pidStart": states.process_state(pid)[1]}
