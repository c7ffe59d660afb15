"""`pyrun features`: valid by the contract, and nothing claimed that create refuses."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from oci_spec import features, mount_options, names, schema
from pyrun.commands import features as command
from pyrun.features import crun_annotations
from pyrun.features.mounts import mount
from pyrun.story import create, plan


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return command.document()


def test_valid(document: dict[str, Any]) -> None:
    jsonschema.Draft4Validator(schema.schema("features")).validate(document)
    features.parse(document)


def test_nothing_unknown(document: dict[str, Any]) -> None:
    """Every property of the features structure is there, at each level: null and absence would mean that it isn't known
    whether something is supported."""

    def compare(node: dict[str, Any], found: Any) -> None:
        if "properties" in node:
            assert found.keys() == node["properties"].keys()
            for name, child in node["properties"].items():
                compare(child, found[name])
        assert found is not None

    compare(schema.schema("features"), document)


def test_mount_options_are_those_that_create_takes(document: dict[str, Any]) -> None:
    claimed = set(document["mountOptions"])
    assert claimed == set(mount_options.known())
    ids = [{"containerID": 0, "hostID": 0, "size": 1}]
    for option in claimed:
        entry: dict[str, Any] = {"destination": "/x", "type": "tmpfs", "source": "/x", "options": [option]}
        if option in mount_options.IDMAP:
            entry |= {"uidMappings": ids, "gidMappings": ids}
        if option != "remount":
            assert mount.understand(0, entry, "/bundle", {}).options.data == []


def test_namespaces_are_those_that_create_makes(document: dict[str, Any]) -> None:
    assert set(document["linux"]["namespaces"]) == set(plan.NAMESPACES)


@pytest.mark.parametrize(
    ("feature", "changes"),
    [
        ("intelRdt", {"linux": {"intelRdt": {"closID": "x"}}}),
        ("netDevices", {"linux": {"netDevices": {"eth0": {}}}}),
    ],
)
def test_what_is_off_is_refused(document: dict[str, Any], feature: str, changes: dict[str, Any]) -> None:
    refused = [
        error.json_path
        for error in plan.refusals(changes, create.NOT_YET)
        if error.json_path != "linux.namespaces"
    ]
    assert document["linux"][feature]["enabled"] is (not refused)


def test_seccomp(document: dict[str, Any]) -> None:
    compiler = pytest.importorskip("pyrun.features.seccomp.compiler")
    claimed = document["linux"]["seccomp"]
    assert claimed["enabled"] is True
    assert sorted(claimed["actions"]) == sorted(names.SECCOMP_ACTIONS)
    for action in claimed["actions"]:
        compiler.compile_profile({"defaultAction": action, "architectures": claimed["archs"]})
    for operator in claimed["operators"]:
        rule = {
            "names": ["getpid"],
            "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": 1, "op": operator}],
        }
        compiler.compile_profile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    assert sorted(claimed["knownFlags"]) == sorted(names.SECCOMP_FLAGS)
    assert set(claimed["supportedFlags"]) <= set(claimed["knownFlags"])
    assert document["annotations"]["io.github.seccomp.libseccomp.version"].startswith("2.")


def test_annotations_that_change_what_is_done(document: dict[str, Any]) -> None:
    """Each annotation of a configuration that pyrun carries out is listed (features.md): create doesn't warn of it."""
    listed = document["potentiallyUnsafeConfigAnnotations"]
    assert crun_annotations.without_effect(dict.fromkeys(listed, "1")) == []
    assert crun_annotations.without_effect({"run.oci.handler": "wasm"}) == ["run.oci.handler"]
    assert "run.oci.keep_original_groups" in listed
