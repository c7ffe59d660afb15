"""Every property of the specification has a test that sees its effect, or a reason why there is none.

The list of properties is made of the tables in spec/oci_spec, so that a property which is added there fails here until
it has a test. A test is one of the conformance suite, `module.function`, or one of ours, `integration/FILE.py::test`.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from oci_spec import schema

TESTS = Path(__file__).parent
KNOWN = TESTS.parent / "conformance/oci_conformance/run/expectations/pyrun.toml"
SUITE = TESTS.parent / "conformance/oci_conformance/profiles/spec"

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
TIMEOUTS = ("prestart", "create", "container", "start", "poststart", "delete")
THROTTLES = ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS")

# A property without properties of its own -> the test that sees its effect.
EFFECTS = {
    "ociVersion": "documents.older_versions",
    "annotations": "state.properties",
    "hostname": "hostname.hostname",
    "domainname": "hostname.domainname",
    "root.path": "root.path_relative",
    "root.readonly": "root.readonly",
    "process.terminal": "terminal.terminal",
    "process.consoleSize.height": "terminal.size",
    "process.consoleSize.width": "terminal.size",
    "process.user.uid": "user.ids",
    "process.user.gid": "user.ids",
    "process.user.umask": "user.umask",
    "process.user.additionalGids": "user.ids",
    "process.args": "process.args",
    "process.env": "process.env",
    "process.cwd": "process.cwd",
    "process.capabilities.bounding": "capabilities.of_root",
    "process.capabilities.effective": "capabilities.of_root",
    "process.capabilities.inheritable": "capabilities.of_root",
    "process.capabilities.permitted": "capabilities.of_root",
    "process.capabilities.ambient": "capabilities.of_user",
    "process.rlimits[].type": "rlimits.applied",
    "process.rlimits[].hard": "rlimits.applied",
    "process.rlimits[].soft": "rlimits.applied",
    "process.noNewPrivileges": "capabilities.no_new_privileges",
    "process.apparmorProfile": "lsm.apparmor",
    "process.selinuxLabel": "lsm.selinux",
    "process.oomScoreAdj": "oom_score.adjusted",
    "process.scheduler.policy": "scheduling.ordinary",
    "process.scheduler.nice": "scheduling.ordinary",
    "process.scheduler.priority": "scheduling.real_time",
    "process.scheduler.flags": "scheduling.flags",
    "process.scheduler.runtime": "scheduling.deadline",
    "process.scheduler.deadline": "scheduling.deadline",
    "process.scheduler.period": "scheduling.deadline",
    "process.ioPriority.class": "io_priority.applied",
    "process.ioPriority.priority": "io_priority.applied",
    "process.execCPUAffinity.initial": "cpu_affinity.executed",
    "process.execCPUAffinity.final": "cpu_affinity.executed",
    "mounts[].destination": "mounts.destination",
    "mounts[].type": "mounts.destination",
    "mounts[].source": "mounts.source_relative",
    "mounts[].options": "mount_options.of_bind_mounts",
    **{
        f"mounts[].{kind}Mappings[].{name}": "idmapped_mounts.explicit_in_user_namespace"
        for kind in ("uid", "gid")
        for name in ("containerID", "hostID", "size")
    },
    **{
        f"hooks.{kind}[].{name}": f"hooks.{test}"
        for kind, limit in zip(HOOKS, TIMEOUTS, strict=True)
        for name, test in (
            ("path", "order" if kind in HOOKS[:3] else "path_relative"),
            ("args", "args"),
            ("env", "env"),
            ("timeout", f"timeout_{limit}"),
        )
    },
    **{
        f"linux.{kind}Mappings[].{name}": "user_namespace.mappings"
        for kind in ("uid", "gid")
        for name in ("containerID", "hostID", "size")
    },
    "linux.namespaces[].type": "namespaces.network",
    "linux.namespaces[].path": "namespaces.joined",
    "linux.cgroupsPath": "cgroup_path.absolute",
    "linux.rootfsPropagation": "rootfs_propagation.slave",
    "linux.maskedPaths": "protected_paths.masked",
    "linux.readonlyPaths": "protected_paths.readonly",
    "linux.mountLabel": "mount_label.label",
    "linux.sysctl": "sysctl.ipc",
    "linux.devices[].path": "devices.available",
    "linux.devices[].type": "devices.available",
    "linux.devices[].major": "devices.available",
    "linux.devices[].minor": "devices.available",
    "linux.devices[].fileMode": "devices.mode_and_owner",
    "linux.devices[].uid": "devices.mode_and_owner",
    "linux.devices[].gid": "devices.mode_and_owner",
    "linux.netDevices{}.name": "net_devices.moved",
    "linux.timeOffsets{}.secs": "time_namespace.offsets",
    "linux.timeOffsets{}.nanosecs": "time_namespace.offsets",
    "linux.personality.domain": "personality.domain",
    "linux.memoryPolicy.mode": "memory_policy.one_node",
    "linux.memoryPolicy.nodes": "memory_policy.one_node",
    "linux.memoryPolicy.flags": "memory_policy.flags",
    "linux.intelRdt.closID": "intel_rdt.own_class",
    "linux.intelRdt.schemata": "intel_rdt.schemata",
    "linux.intelRdt.l3CacheSchema": "intel_rdt.one_schema",
    "linux.intelRdt.memBwSchema": "intel_rdt.one_schema",
    "linux.intelRdt.enableMonitoring": "intel_rdt.monitoring",
    "linux.resources.devices[].allow": "cgroup_devices.order",
    "linux.resources.devices[].type": "cgroup_devices.hole",
    "linux.resources.devices[].major": "cgroup_devices.hole",
    "linux.resources.devices[].minor": "cgroup_devices.order",
    "linux.resources.devices[].access": "cgroup_devices.access",
    "linux.resources.memory.limit": "memory.limit",
    "linux.resources.memory.reservation": "memory.limit",
    "linux.resources.memory.swap": "memory.swap",
    "linux.resources.memory.kernel": "memory.kernel",
    "linux.resources.memory.kernelTCP": "memory.kernel_tcp",
    "linux.resources.memory.swappiness": "memory.swappiness",
    "linux.resources.memory.disableOOMKiller": "memory.oom_killer",
    "linux.resources.memory.useHierarchy": "memory.use_hierarchy",
    "linux.resources.memory.checkBeforeUpdate": "memory.check_before_update",
    "linux.resources.cpu.shares": "cpu.shares",
    "linux.resources.cpu.quota": "cpu.quota",
    "linux.resources.cpu.burst": "cpu.burst",
    "linux.resources.cpu.period": "cpu.quota",
    "linux.resources.cpu.realtimeRuntime": "cpu.realtime",
    "linux.resources.cpu.realtimePeriod": "cpu.realtime",
    "linux.resources.cpu.cpus": "cpu.cpus",
    "linux.resources.cpu.mems": "cpu.mems",
    "linux.resources.cpu.idle": "cpu.idle",
    "linux.resources.pids.limit": "pids.limit",
    "linux.resources.blockIO.weight": "block_io.weight",
    "linux.resources.blockIO.leafWeight": "block_io.leaf_weight",
    "linux.resources.blockIO.weightDevice[].major": "block_io.weight_device",
    "linux.resources.blockIO.weightDevice[].minor": "block_io.weight_device",
    "linux.resources.blockIO.weightDevice[].weight": "block_io.weight_device",
    "linux.resources.blockIO.weightDevice[].leafWeight": "block_io.weight_device_empty",
    **{
        f"linux.resources.blockIO.throttle{kind}Device[].{name}": "block_io.throttle"
        for kind in THROTTLES
        for name in ("major", "minor", "rate")
    },
    "linux.resources.hugepageLimits[].pageSize": "other_controllers.huge_pages",
    "linux.resources.hugepageLimits[].limit": "other_controllers.huge_pages",
    "linux.resources.network.classID": "other_controllers.class_id",
    "linux.resources.network.priorities[].name": "other_controllers.priorities",
    "linux.resources.network.priorities[].priority": "other_controllers.priorities",
    "linux.resources.rdma{}.hcaHandles": "other_controllers.rdma",
    "linux.resources.rdma{}.hcaObjects": "other_controllers.rdma",
    "linux.resources.unified": "unified.controllers",
    "linux.seccomp.defaultAction": "seccomp.default_action",
    "linux.seccomp.defaultErrnoRet": "seccomp.custom_default_errno",
    "linux.seccomp.architectures": "seccomp_filters.x86",
    "linux.seccomp.flags": "integration/test_seccomp_notify.py::test_wait_killable_recv",
    "linux.seccomp.listenerPath": "seccomp_notify.answered",
    "linux.seccomp.listenerMetadata": "seccomp_notify.state",
    "linux.seccomp.syscalls[].names": "seccomp.several_names",
    "linux.seccomp.syscalls[].action": "seccomp.actions",
    "linux.seccomp.syscalls[].errnoRet": "seccomp.rule_errno",
    **{f"linux.seccomp.syscalls[].args[].{name}": "seccomp_filters.masked" for name in ("value", "valueTwo")},
    "linux.seccomp.syscalls[].args[].index": "seccomp_filters.operators",
    "linux.seccomp.syscalls[].args[].op": "seccomp_filters.operators",
}
# A property -> why nothing can be seen of it.
REASONS = {
    "linux.personality.flags": "the specification has no value for it yet, so that each is refused",
}


def leaves() -> list[str]:
    """The properties without properties of their own: lists have "[]" behind their name, maps "{}"."""

    def below(node: dict[str, Any], path: str) -> Iterator[str]:
        children = [(f"{path}.{key}", child) for key, child in node.get("properties", {}).items()]
        if "items" in node:
            children.append((f"{path}[]", node["items"]))
        for child in (node.get("additionalProperties"), *node.get("patternProperties", {}).values()):
            if child and child.get("properties"):
                children.append((f"{path}{{}}", child))
        found = [each for place, child in children for each in below(child, place)]
        yield from found or [path.removesuffix("[]").lstrip(".")]

    return list(below(schema.schema("config"), ""))


@cache
def functions(path: Path) -> dict[str, str]:
    """The functions of a module that are decorated or named as tests, with their text."""
    text = path.read_text(encoding="utf-8")
    return {
        node.name: ast.get_source_segment(text, node) or ""
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and (node.decorator_list or node.name.startswith("test"))
    }


def file_of(test: str) -> tuple[Path, str]:
    """The module of a test, and its name there."""
    if "::" in test:
        path, _, name = test.partition("::")
        return TESTS / path, name
    module, _, name = test.partition(".")
    return SUITE / f"{module}.py", name


def test_every_property_is_there_and_no_other() -> None:
    """Each property of the specification has an effect test or a reason, one of the two, and none has left."""
    assert sorted([*EFFECTS, *REASONS]) == sorted(leaves())


@pytest.mark.parametrize("path", EFFECTS)
def test_the_effect_test_is_there(path: str) -> None:
    """The test exists, and it or what it shares with its neighbours speaks of the property."""
    file, name = file_of(EFFECTS[path])
    assert name in functions(file), EFFECTS[path]
    last = re.split(r"\W+", path.rstrip("[]{}"))[-1]
    assert last in file.read_text(encoding="utf-8"), f"{file.name} has no word of {last}"


def test_no_effect_test_is_expected_to_fail() -> None:
    """The known deviations of pyrun are others: a test that sees a property's effect is one that passes."""
    known = {each["test"] for each in tomllib.loads(KNOWN.read_text())["deviation"] if "test" in each}
    assert not known & set(EFFECTS.values())
