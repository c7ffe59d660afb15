"""Rules, versions, defaults, mount options: each rule with documents that break it and that don't."""

from __future__ import annotations

import re
from typing import Any

import pytest
import spec_documents as documents
from hypothesis import given
from hypothesis import strategies as st

from oci_spec import config, defaults, mount_options, names, rules, version
from oci_spec.fields import ConfigError

USER = ("linux", "namespaces", 5)
UTS = ("linux", "namespaces", 4)
MAPS = documents.MAPPINGS


def faults(document: dict[str, Any]) -> list[str]:
    """All faults of the rules, as `path: wanted`; the tables must have none."""
    config.parse(document)
    return [f"{fault.path}: {fault.wanted}" for fault in rules.faults(document)]


def plain(**linux: object) -> dict[str, Any]:
    """The default configuration with some properties of linux."""
    document: dict[str, Any] = dict(defaults.document())
    document["linux"] |= linux
    return document


def mapping(container: int, host: int, size: int) -> dict[str, int]:
    """One ID mapping."""
    return {"containerID": container, "hostID": host, "size": size}


def test_the_full_configuration_keeps_all_rules() -> None:
    assert faults(documents.full()) == []


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("ociVersion",), "2.4.0", "ociVersion"),
        (("ociVersion",), "invalid", "ociVersion"),
        (("linux", "namespaces", 1, "type"), "pid", "linux.namespaces[1].type"),
        (UTS, {"type": "ipc", "path": "/x"}, "hostname"),
        (("hostname",), "h" * 65, "hostname"),
        (("domainname",), "ü" * 33, "domainname"),
        (("process", "consoleSize", "width"), 65536, "process.consoleSize.width"),
        (
            ("process", "rlimits"),
            [{"type": "RLIMIT_CPU", "hard": 1, "soft": 1}] * 2,
            "process.rlimits[1].type",
        ),
        (("process", "rlimits", 0, "hard"), 1000, "process.rlimits[0].soft"),
        (("annotations", ""), "x", 'annotations[""]'),
        (("mounts", 1, "uidMappings"), [], "mounts[1].uidMappings"),
        (("mounts", 1, "gidMappings"), None, "mounts[1].gidMappings"),
        (("mounts", 1, "uidMappings"), [mapping(0, 0, 0)], "mounts[1].uidMappings[0].size"),
        (("linux", "uidMappings"), [], "linux.uidMappings"),
        (("linux", "gidMappings"), None, "linux.gidMappings"),
        (
            ("linux", "uidMappings"),
            [mapping(0, 5, 10), mapping(9, 50, 1)],
            "linux.uidMappings[1].containerID",
        ),
        (("linux", "uidMappings"), [mapping(0, 5, 10), mapping(10, 0, 6)], "linux.uidMappings[1].hostID"),
        (("linux", "uidMappings"), [mapping(1, 0, 2**32 - 1)], "linux.uidMappings[0].containerID"),
        (("process", "user", "uid"), 100000, "process.user.uid"),
        (("process", "execCPUAffinity", "initial"), "0-", "process.execCPUAffinity.initial"),
        (("process", "execCPUAffinity", "final"), "3-1", "process.execCPUAffinity.final"),
        (("process", "execCPUAffinity", "final"), "0,,1", "process.execCPUAffinity.final"),
        (("process", "user", "gid"), 100000, "process.user.gid"),
        (("process", "user", "additionalGids", 1), 100000, "process.user.additionalGids[1]"),
        (("linux", "devices", 0, "uid"), 100000, "linux.devices[0].uid"),
        (("mounts", 0, "options"), ["uid=0xffffffff"], "mounts[0].options[0]"),
        (("mounts", 0, "options"), ["uid=037777777777"], "mounts[0].options[0]"),
        (("mounts", 0, "options"), ["gid=4294967295"], "mounts[0].options[0]"),
        (("mounts", 0, "options"), ["ro", "size=64k,uid=-1"], "mounts[0].options[1]"),
        (("linux", "sysctl", "vm.swappiness"), "1", 'linux.sysctl["vm.swappiness"]'),
        (("linux", "sysctl", "net/../vm/x"), "1", 'linux.sysctl["net/../vm/x"]'),
        (("linux", "sysctl", "net"), "1", "linux.sysctl.net"),
        (("linux", "sysctl", "/net/x"), "1", 'linux.sysctl["/net/x"]'),
        (("linux", "devices", 0, "major"), None, "linux.devices[0].major"),
        (("linux", "devices", 0, "minor"), 2**20, "linux.devices[0].minor"),
        (("linux", "devices", 0, "major"), -1, "linux.devices[0].major"),
        (("linux", "resources", "cpu", "burst"), 1000001, "linux.resources.cpu.burst"),
        (
            ("linux", "resources", "blockIO", "weightDevice", 0),
            {"major": 8, "minor": 0},
            "linux.resources.blockIO.weightDevice[0]",
        ),
        (("linux", "resources", "rdma", "x"), {}, "linux.resources.rdma.x"),
        (("linux", "resources", "unified", "../memory.max"), "1", 'linux.resources.unified["../memory.max"]'),
        (("linux", "resources", "unified", ".."), "1", 'linux.resources.unified[".."]'),
        (("linux", "seccomp", "defaultAction"), "SCMP_ACT_KILL", "linux.seccomp.defaultErrnoRet"),
        (("linux", "seccomp", "defaultErrnoRet"), 65536, "linux.seccomp.defaultErrnoRet"),
        (("linux", "seccomp", "listenerPath"), None, "linux.seccomp.listenerMetadata"),
        (
            ("linux", "seccomp", "syscalls", 1, "action"),
            "SCMP_ACT_ALLOW",
            "linux.seccomp.syscalls[1].errnoRet",
        ),
        (("linux", "seccomp", "syscalls", 0, "names", 1), "", "linux.seccomp.syscalls[0].names[1]"),
        (("linux", "timeOffsets", "realtime"), {}, "linux.timeOffsets.realtime"),
        (("linux", "namespaces", 7), {"type": "ipc", "path": "/x"}, "linux.timeOffsets"),
        (("linux", "netDevices", "a b"), {}, 'linux.netDevices["a b"]'),
        (("linux", "netDevices", "eth2", "name"), "x" * 16, "linux.netDevices.eth2.name"),
        (("linux", "netDevices", "eth1", "name"), "eth2", "linux.netDevices.eth2.name"),
        (("linux", "intelRdt", "closID"), "../x", "linux.intelRdt.closID"),
        (("linux", "intelRdt", "closID"), "..", "linux.intelRdt.closID"),
        (("linux", "memoryPolicy", "nodes"), "3-1", "linux.memoryPolicy.nodes"),
        (("linux", "memoryPolicy", "nodes"), None, "linux.memoryPolicy.nodes"),
        (("linux", "memoryPolicy", "flags"), ["MPOL_F_NUMA_BALANCING"], None),
        (
            ("linux", "memoryPolicy", "flags"),
            ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"],
            "linux.memoryPolicy.flags",
        ),
        (
            ("linux", "memoryPolicy"),
            {"mode": "MPOL_LOCAL", "nodes": "0"},
            "linux.memoryPolicy.nodes",
        ),
        (
            ("linux", "memoryPolicy"),
            {"mode": "MPOL_DEFAULT", "flags": ["MPOL_F_STATIC_NODES"]},
            "linux.memoryPolicy.flags",
        ),
        (
            ("linux", "memoryPolicy"),
            {"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]},
            "linux.memoryPolicy.flags",
        ),
        (("linux", "memoryPolicy"), {"mode": "MPOL_DEFAULT", "nodes": ""}, None),
        (("linux", "personality", "flags"), ["ADDR_NO_RANDOMIZE"], "linux.personality.flags"),
        (("process", "scheduler", "runtime"), 20001, "process.scheduler"),
        (("process", "scheduler", "nice"), 20, "process.scheduler.nice"),
        (("process", "scheduler", "priority"), 1, "process.scheduler.priority"),
        (("process", "scheduler"), {"policy": "SCHED_FIFO"}, "process.scheduler.priority"),
        (("process", "scheduler"), {"policy": "SCHED_RR", "priority": 99}, None),
        (("process", "scheduler"), {"policy": "SCHED_BATCH", "period": 1}, "process.scheduler.period"),
    ],
)
def test_each_rule(path: documents.Path, value: object, where: str | None) -> None:
    document = documents.changed(path, value)
    found = faults(document)
    if where is None:
        assert found == []
        rules.check(document)
        return
    assert [fault for fault in found if fault.startswith(where + ": ")], found
    with pytest.raises(ConfigError):
        rules.check(document)


def test_namespaces_that_properties_need() -> None:
    needs_user = "linux.uidMappings: a user namespace in linux.namespaces to have them"
    assert needs_user in faults(plain(uidMappings=MAPS))
    joined = [{"type": "user", "path": "/proc/1/ns/user"}]
    assert faults(plain(namespaces=[*joined, {"type": "uts"}], uidMappings=MAPS, gidMappings=MAPS)) == []
    few = [{"type": "mount"}, {"type": "uts"}]
    for key in ("net.ipv4.ip_forward", "kernel.sem", "fs.mqueue.msg_max", "user.max_user_namespaces"):
        assert len(faults(plain(namespaces=few, sysctl={key: "1"}))) == 1
    assert len(faults(plain(namespaces=few, netDevices={"eth0": {}}))) == 1
    assert faults(plain(namespaces=few, sysctl={"kernel.domainname": "x"})) == []
    assert faults(plain(sysctl={"net.ipv4.conf.eth0/1.forwarding": "1", "net/ipv4/conf/a.b/x": "1"})) == []
    document = plain(namespaces=[])
    assert faults(document) == ["hostname: a uts namespace in linux.namespaces to set it in"]
    document["hostname"] = ""
    assert faults(document) == []
    document["mounts"].append({"destination": "/x", "source": "/", "options": ["rbind", "ridmap"]})
    assert [fault.split(":")[0] for fault in faults(document)] == ["mounts[7].options[1]"]


def test_a_configuration_without_linux_or_process_is_fine() -> None:
    assert faults({"ociVersion": "1.0.0", "root": {"path": "x"}}) == []


def test_warnings() -> None:
    document = documents.full()
    document["process"]["capabilities"]["ambient"].append("CAP_NEW")
    document["linux"]["intelRdt"]["l3CacheSchema"] = "MB:1"
    document["linux"]["devices"].append({**document["linux"]["devices"][0], "path": "/dev/x"})
    document["mounts"][1]["options"] = ["rbind"]
    assert faults(document) == []
    assert list(rules.warnings(document)) == [
        'process.capabilities.ambient: unknown capability "CAP_NEW" is ignored',
        'mounts[1].destination: "data" is taken relative to "/"',
        "mounts[1]: ID mappings should come with the option idmap or ridmap",
        'linux.intelRdt.l3CacheSchema: should be one line that starts with "L3:"',
        "linux.devices[2]: same type and numbers as linux.devices[0]",
    ]
    assert list(rules.warnings({"ociVersion": "1.0.0", "root": {"path": "x"}})) == []


# https://semver.org/spec/v2.0.0.html, the suggested regular expression
SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
)


@given(st.from_regex(SEMVER, fullmatch=True) | st.text("01a.-+ ٣", max_size=12))
def test_versions_are_parsed_as_semver_says(text: str) -> None:
    if len(text) < 50:
        match = SEMVER.fullmatch(text)
        parsed = version.parse(text)
        assert (parsed is None) == (match is None)
        if match and parsed:
            assert parsed == (int(match[1]), int(match[2]), int(match[3]), match[4] or "", match[5] or "")


@pytest.mark.parametrize(
    ("text", "supported"),
    [
        ("1.0.0", True),
        ("1.0.2-dev", True),
        ("1.2.1+dev", True),
        ("1.3.0-rc.1", True),
        ("1.3.99", True),
        ("1.0.0-rc5", False),
        ("0.5.0", False),
        ("1.4.0", True),
        ("1.4.0-rc.1", True),
        ("2.0.0", False),
        ("0.4.0", False),
        ("1.0", False),
        ("v1.0.0", False),
        ("01.0.0", False),
        ("1.0.0-01", False),
        ("1.0.0-", False),
        ("1.0.0+", False),
        ("1.0.0\n", False),
        ("1.0." + "9" * 5000, False),
        ("", False),
    ],
)
def test_supported_versions(text: str, supported: bool) -> None:
    assert (version.wanted(text) == "") == supported


@pytest.mark.parametrize("rootless", [None, (1000, 100)])
def test_the_default_configuration_is_valid_and_quiet(rootless: tuple[int, int] | None) -> None:
    document: dict[str, Any] = dict(defaults.document(rootless))
    assert faults(document) == []
    assert list(rules.warnings(document)) == []
    types = [namespace["type"] for namespace in document["linux"]["namespaces"]]
    assert ("network" in types) == (rootless is None)
    assert ("user" in types) == (rootless is not None)
    for mount in document["mounts"]:
        for option in mount.get("options", ()):
            assert "=" in option or option == "newinstance" or option in mount_options.known()


def test_mount_options() -> None:
    known = mount_options.known()
    assert len(known) == len(set(known)) == 62
    assert set(mount_options.ATTRIBUTES) < set(mount_options.FLAGS)
    for option, attributes in mount_options.RECURSIVE.items():
        assert attributes == mount_options.ATTRIBUTES[option[1:]]
        assert set(attributes) != {0}


def test_hook_names_are_those_of_the_table() -> None:
    assert set(names.HOOKS) == set(config.CONFIG[1]["hooks"][1])


@pytest.mark.parametrize(("version", "wanted"), [("1.2.1", 1), ("1.3.0", 0)], ids=["required", "optional"])
def test_a_pids_limit_is_required_before_1_3_0(version: str, wanted: int) -> None:
    document = plain(resources={"pids": {}}) | {"ociVersion": version}
    assert len([each for each in faults(document) if each.startswith("linux.resources.pids.limit")]) == wanted
