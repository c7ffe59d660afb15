"""A configuration that can't be had is refused in one sentence that names the property, and nothing is left."""

from __future__ import annotations

import copy
import json
import os
import shutil

import pytest
from bundles import default_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MAPPING = {"containerID": 0, "hostID": 100000, "size": 1}
# what is set: where, to what (None removes it) -> the property that the error names
FAULTS = [
    ("ociVersion", None, "ociVersion"),
    ("ociVersion", "invalid", "ociVersion"),
    ("ociVersion", "1.0", "ociVersion"),
    ("ociVersion", "2.0.0", "ociVersion"),
    ("ociVersion", "", "ociVersion"),
    ("ociVersion", 1, "ociVersion"),
    ("root", None, "root"),
    ("root.path", None, "root.path"),
    ("root.path", "", "root.path"),
    ("root.path", 5, "root.path"),
    ("root.readonly", "yes", "root.readonly"),
    ("process", [], "process"),
    ("process.cwd", None, "process.cwd"),
    ("process.args", None, "process.args"),
    ("process.args", [], "process.args"),
    ("process.args", ["a\0b"], "process.args[0]"),
    ("process.args", [1], "process.args[0]"),
    ("process.args", [""], "process.args[0]"),
    ("process.env", ["A\0=1"], "process.env[0]"),
    ("process.env", {}, "process.env"),
    ("process.user.uid", -1, "process.user.uid"),
    ("process.user.uid", 4294967296, "process.user.uid"),
    ("process.user.uid", 1.5, "process.user.uid"),
    ("process.user.gid", "0", "process.user.gid"),
    ("process.user.umask", -1, "process.user.umask"),
    ("process.user.additionalGids", [-1], "process.user.additionalGids[0]"),
    ("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}], "process.rlimits[0]"),
    ("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2, "process.rlimits[1]"),
    ("process.oomScoreAdj", 1001, "process.oomScoreAdj"),
    ("process.terminal", 1, "process.terminal"),
    ("hostname", "x" * 65, "hostname"),
    ("hostname", "a\0b", "hostname"),
    ("domainname", 5, "domainname"),
    ("mounts", {}, "mounts"),
    ("mounts", [{"type": "tmpfs"}], "mounts[0].destination"),
    ("mounts", [{"destination": "", "type": "tmpfs"}], "mounts[0].destination"),
    ("mounts", [{"destination": "/x\0y", "type": "tmpfs"}], "mounts[0].destination"),
    ("mounts", [{"destination": "/x", "type": "tmpfs", "options": "ro"}], "mounts[0].options"),
    ("mounts", [{"destination": "/x", "source": ".", "options": ["bind"], "uidMappings": [MAPPING]}], "mounts[0]"),
    ("hooks", {"prestart": [{"path": "relative"}]}, "hooks.prestart[0].path"),
    ("hooks", {"prestart": [{}]}, "hooks.prestart[0].path"),
    ("hooks", {"poststop": [{"path": "/x", "timeout": 0}]}, "hooks.poststop[0].timeout"),
    ("hooks", {"poststop": [{"path": "/x", "timeout": -1}]}, "hooks.poststop[0].timeout"),
    ("hooks", {"poststop": [{"path": "/x", "args": "x"}]}, "hooks.poststop[0].args"),
    ("annotations", {"": "x"}, "annotations"),
    ("annotations", {"a": 1}, "annotations"),
    ("annotations", [], "annotations"),
    ("linux.namespaces", [{"type": "other"}], "linux.namespaces[0].type"),
    ("linux.namespaces", [{"path": "/x"}], "linux.namespaces[0].type"),
    ("linux.cgroupsPath", 5, "linux.cgroupsPath"),
    ("linux.cgroupsPath", "/a/../../b", "linux.cgroupsPath"),
    ("linux.rootfsPropagation", "x", "linux.rootfsPropagation"),
    ("linux.maskedPaths", ["x"], "linux.maskedPaths[0]"),
    ("linux.resources.memory", {"swappiness": 101}, "linux.resources.memory.swappiness"),
    ("linux.resources.devices", [{"access": "rwm"}], "linux.resources.devices[0].allow"),
    ("linux.seccomp", {}, "linux.seccomp.defaultAction"),
    ("linux.seccomp", {"defaultAction": "SCMP_ACT_NONE"}, "linux.seccomp.defaultAction"),
    ("linux.personality", {"domain": "BSD"}, "linux.personality.domain"),
]  # fmt: skip


def put(config, where, value):
    """Set, or with None remove, a property."""
    *path, last = where.split(".")
    for name in path:
        config = config.setdefault(name, {})
    if value is None:
        config.pop(last, None)
    else:
        config[last] = value


@pytest.mark.parametrize(("where", "value", "named"), FAULTS)
def test_fault(pyrun, bundle, where, value, named):
    """What the specification forbids is an error that names the property."""
    one = bundle(change=lambda config: put(config, where, value))
    assert pyrun.refused(one).startswith(named)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("unknown", {"a": [1, None]}),
        ("process.unknown", "x"),
        ("linux.unknown", 1),
        ("root.unknown", None),
        ("windows", {"x": 1}),
        ("solaris", {}),
        ("annotations", {"org.example.unknown": ""}),
        ("process.consoleSize", {"height": 1, "width": 1}),
        ("process.apparmorProfile", ""),
        ("process.selinuxLabel", ""),
        ("linux.mountLabel", ""),
        ("linux.resources.blockIO", {}),
        ("hooks", {}),
        ("mounts", []),
        ("ociVersion", "1.0.0"),
        ("ociVersion", "1.0.2-dev"),
        ("ociVersion", "1.2.1+build"),
    ],
)
def test_accepted(pyrun, bundle, where, value):
    """Unknown properties are ignored, empty values ask for nothing, older versions work."""
    pyrun.output(bundle(change=lambda config: put(config, where, value)))


@pytest.mark.parametrize(
    "text",
    [
        '{"ociVersion": "1.0.0", "ociVersion": "1.0.0"}',
        "[" * 100_000,
        '{"a":' * 5_000 + "1" + "}" * 5_000,
        '{"ociVersion": "1.3.0", "root": {"path": "\\ud800"}}',
        '{"ociVersion": NaN}',
        '{"ociVersion": 1e999}',
        '{"ociVersion": ' + "9" * 10_000 + "}",
        "null",
        '"text"',
        "\ufeff{}",
        "{'a': 1}",
        '{"a": 1,}',
        '{"a": "\x01"}',
        "{} {}",
    ],
    ids=range(14),
)
def test_malformed(pyrun, bundle, text):
    """A text that isn't JSON, or not what the specification means by it, is refused at once."""
    one = bundle()
    (one.path / "config.json").write_text(text)
    assert len(pyrun.refused(one, time_limit=10)) < 1000


def test_huge(pyrun, bundle):
    """A config.json beyond all measure is refused, not read."""
    one = bundle()
    with open(one.path / "config.json", "wb") as file:
        file.truncate(1 << 36)
    assert "config.json" in pyrun.refused(one, time_limit=10)


def test_key_order(pyrun, bundle):
    """The order of keys in objects has no meaning."""

    def turned(value):
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(item) for item in value] if isinstance(value, list) else value

    one = bundle(sh="hostname")
    one.config = turned(one.config)
    assert pyrun.output(one.write()) == "pyrun\n"


def test_errors_without_control_characters(pyrun, bundle):
    """What the configuration holds can't write to a terminal through an error."""
    sentence = pyrun.refused(bundle().args("\x1b[2Jtool\r\n\x9b"))
    assert sentence.isprintable()


def test_path_of_bundle_that_is_not_utf8(pyrun, bundle):
    """A bundle whose path isn't UTF-8 is refused: the state, which is JSON, couldn't name it."""
    one = bundle()
    odd = os.fsencode(one.path.parent) + b"/odd\xff\xfe"
    shutil.copytree(os.fsencode(one.path), odd, symlinks=True)
    assert "not UTF-8" in pyrun.error("create", "--bundle", os.fsdecode(odd), pyrun.id())
    assert "not UTF-8" in pyrun.error("create", pyrun.id(), cwd=odd)


def places(value, path=()):
    """All places in a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


RICH = default_config()
RICH["hooks"] = {"createRuntime": [{"path": "/bin/true", "args": ["true"], "env": ["A=1"], "timeout": 5}]}
RICH["linux"]["devices"] = [
    {"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}
]
RICH["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
RICH["linux"]["resources"] |= {"memory": {"limit": 1 << 28}, "pids": {"limit": 50}, "cpu": {"shares": 100}}
RICH["linux"]["rootfsPropagation"] = "slave"
RICH["annotations"] = {"a": "b"}
RICH["process"]["user"] |= {"umask": 18, "additionalGids": [5]}
RICH["process"]["oomScoreAdj"] = 500
PLACES = sorted(places(RICH), key=repr)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**30, 1.5, 1e300]),
    st.sampled_from(
        ["", ".", "/", "..", "a\0b", "\n", "\ud7ff", "x" * 5000, "/proc/self/fd/0", "true", "rwm", "%s%n"]
    ),
    st.sampled_from([[], {}, [[]], [{}], {"a": {}}, [None], ["x"] * 3, {"type": "x"}, [{"type": "pid"}]]),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=2))
def test_any_fault(pyrun, bundle, changes):
    """Whatever stands where in a configuration: a container, or one sentence; no hang, no crash, nothing left."""
    config = copy.deepcopy(RICH)
    for path, value in changes:
        target = config
        try:
            for key in path[:-1]:
                target = target[key]
            if path:
                target[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # the first change took the place of the second
    global _bundle
    if _bundle is None or not _bundle.path.exists():
        _bundle = bundle()
    (_bundle.path / "config.json").write_text(json.dumps(config))
    container_id = pyrun.id()
    result = pyrun("create", "--bundle", str(_bundle.path), container_id, time_limit=20)
    assert "internal error" not in result.err, (changes, result.err)
    if result.code == 0:
        pyrun.ok("delete", "--force", container_id)
    else:
        lines = [line for line in result.err.splitlines() if ": warning: " not in line]
        assert result.code == 1
        assert len(lines) == 1, (changes, result.err)
    pyrun.assert_gone(container_id)


_bundle = None


@pytest.mark.parametrize("version", ["1.4.0", "1.99.3-rc.1", "1.3.1"])
def test_newer_version(pyrun, bundle, version):
    """A minor version newer than the newest known one is a warning that says so, and the container is run."""
    newer = not version.startswith("1.3.")
    one = bundle({"ociVersion": version}, sh="echo run")
    result = pyrun.run(one)
    assert (result.code, result.out) == (0, "run\n")
    warning = f'pyrun: warning: ociVersion: "{version}" is newer than 1.3.0: '
    assert (result.err.startswith(warning), result.err.count("\n")) == (newer, newer)
    assert pyrun("validate", str(one.path)).out.count("ociVersion: ") == newer


def test_annotations_of_crun(pyrun, bundle):
    """What crun would do for an annotation isn't done without a word; other annotations are nobody's business."""
    one = bundle({"annotations": {"run.oci.handler": "wasm", "org.example": "x"}}, sh="echo run")
    result = pyrun.run(one)
    assert (result.code, result.out) == (0, "run\n")
    name = "annotations['run.oci.handler']"
    assert result.err == f"pyrun: warning: {name}: it is crun's, and without effect here\n"
