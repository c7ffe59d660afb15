"""The container's cgroups, as create makes and limits them. Hot module; how that is done is the driver's."""

from __future__ import annotations

from pyrun.cgroups import driver
from pyrun.cgroups.controllers import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrun.story.making import Making


def make(making: Making) -> None:
    """Make the cgroups of the record, and find the seats that the init takes in them."""
    cgroup, planned = making.cgroup, making.plan
    making.driver = driver.named(str(making.options.get("cgroup-manager", "")))
    hierarchies = cgroup["hierarchies"]
    rootless = str(making.options.get("rootless", "auto")) if planned.may_lack_cgroups() else "false"
    making.driver.create(cgroup, rootless)
    if cgroup["hierarchies"] is not hierarchies:  # the container does without some
        making.container.add({"cgroup": cgroup})
    making.owner = planned.cgroup_owner()
    if making.owner > 0:
        making.driver.give(cgroup, making.owner)
    making.inside.cgroup_view = making.driver.view(cgroup)
    making.inside.cgroup_entrance = making.driver.tasks(cgroup)
    making.seat = making.driver.seat(cgroup)


def begin(making: Making) -> None:
    """Make the rest of the cgroups, now that the init lives: systemd makes its unit around it."""
    planned = making.plan
    resources = planned.linux.get("resources") or {}
    making.resources = table.upgrade(resources, planned.config["ociVersion"])
    annotations = planned.config.get("annotations") or {}
    if making.driver.begin(making.cgroup, making.pid, making.resources, annotations, making.owner):
        making.container.add({"cgroup": making.cgroup})  # from here on it is ours to take away


def limit_devices(making: Making) -> None:
    """Apply the device rules, those that every container has among them."""
    making.driver.limit_devices(making.cgroup, making.resources.get("devices") or [])


def limit(making: Making) -> None:
    """Apply the other limits, while the init makes its mounts."""
    not_now = ("devices", *_late(making))
    making.driver.limit(
        making.cgroup, {key: value for key, value in making.resources.items() if key not in not_now}
    )


def limit_in_the_end(making: Making) -> None:
    """Apply the limits that only stage 2 is to feel."""
    for key in _late(making):
        if making.resources.get(key):
            making.driver.limit(making.cgroup, {key: making.resources[key]})


def _late(making: Making) -> tuple[str, ...]:
    """Memory, of which the init needs more than stage 2; and where a PID namespace is joined, there are two processes
    until the end."""
    return ("memory", "pids") if making.inside.joins_pid else ("memory",)
