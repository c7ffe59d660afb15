"""`pyrun validate`: all that is wrong, from all three sources, in one go."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oci_spec import defaults
from pyrun.base.errors import PyrunError
from pyrun.commands import validate
from pyrun.story import create, plan


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "rootfs").mkdir()
    return tmp_path


def example() -> Any:
    return defaults.document()


def examined(document: object, bundle: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Findings by source and path."""
    findings = validate.examine(json.dumps(document).encode(), str(bundle))
    return {(one["source"], one["path"]): one for one in findings}


def test_the_default_has_nothing_wrong(bundle: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (bundle / "config.json").write_text(json.dumps(example()))
    assert validate.run("", {}, [str(bundle)]) == 0
    assert capfdbinary.readouterr().out.decode() == f"{bundle}/config.json is valid\n"
    assert validate.run("", {"format": "json"}, [str(bundle / "config.json")]) == 0
    assert json.loads(capfdbinary.readouterr().out) == []


def test_all_sources_at_once(bundle: Path) -> None:
    config = example()
    config["process"]["cwd"] = "relative"
    config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]
    config["linux"]["intelRdt"] = {"closID": "x"}
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_NOTIFY"}
    config["linux"]["cgroupsPath"] = "/a/../b"
    config["linux"]["namespaces"][0]["path"] = "/nonexistent/ns"
    config["root"]["path"] = "nowhere"
    config["mounts"][0]["options"] = ["idmap=uids=0-0-1"]
    config["mounts"][0]["uidMappings"] = config["mounts"][0]["gidMappings"] = [
        {"containerID": 0, "hostID": 0, "size": 1}
    ]
    config["mounts"][1] = {"destination": "/x", "source": "nowhere", "options": ["bind"]}
    config["hooks"] = {"poststop": [{"path": "/nonexistent/hook"}]}
    config["procces"] = {}
    found = examined(config, bundle)
    assert set(found) >= {
        ("specification", "process.cwd"),
        ("specification", "process.rlimits[0].soft"),
        ("pyrun", "linux.seccomp.listenerPath"),
        ("pyrun", "mounts[0].options[0]"),
        ("host", "linux.cgroupsPath"),
        ("host", "linux.namespaces[0].path"),
        ("host", "root.path"),
        ("host", "mounts[1].source"),
        ("host", "hooks.poststop[0].path"),
        ("specification", "procces"),
    }
    one = found["pyrun", "mounts[0].options[0]"]
    assert one == {
        "severity": "error",
        "source": "pyrun",
        "path": "mounts[0].options[0]",
        "found": '"idmap=uids=0-0-1"',
        "wanted": "there are uidMappings, too: mappings can be given once",
        "section": "config.md#linux-mount-options",
    }
    assert found["specification", "procces"]["severity"] == "warning"
    errors = [one for one in found.values() if one["severity"] == "error"]
    assert all(one["section"].partition("#")[2] and one["wanted"] for one in errors)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b'{"a":', b"\xff", b'{"linux": {"namespaces": [7]}}', b"{}"]
)
def test_what_is_hardly_a_configuration(content: bytes, bundle: Path) -> None:
    findings = validate.examine(content, str(bundle))
    assert findings
    assert all("\n" not in text for one in findings for text in one.values())


def test_text_names_everything(bundle: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    config = example()
    config["process"]["args"] = []
    config["linux"]["maskedPaths"] = ["/"]
    config["vm"] = {}
    (bundle / "config.json").write_text(json.dumps(config))
    assert validate.run("", {}, [str(bundle)]) == 1
    text = capfdbinary.readouterr().out.decode()
    assert text == (
        f"{bundle}/config.json: 2 errors, 1 warning\n"
        "\n"
        "process.args\n"
        "  found   an empty array\n"
        "  wanted  at least one item\n"
        "  see     config.md#process\n"
        "\n"
        "linux.maskedPaths[0]\n"
        '  found   "/"\n'
        "  pyrun   the root itself can't be covered\n"
        "  see     config-linux.md#masked-paths\n"
        "\n"
        "warning vm: a section for another platform, ignored\n"
    )


def test_nothing_to_read(bundle: Path) -> None:
    with pytest.raises(PyrunError, match=r"config\.json does not exist"):
        validate.run("", {}, [str(bundle)])
    with pytest.raises(PyrunError, match="is not a regular file"):
        validate.run("", {"config": str(bundle)}, [])
    with pytest.raises(PyrunError, match="neither text nor json"):
        validate.run("", {"format": "xml"}, [str(bundle)])


SPICE: list[Any] = [
    None,
    True,
    0,
    -1,
    1 << 70,
    1.5,
    "",
    "x",
    "/x",
    "a\0b",
    "\ud800",
    [],
    {},
    [None],
    {"x": 1},
    ["bind"],
]
ADDITIONS: dict[str, Any] = {
    "hooks": {"poststop": [{"path": "/x", "timeout": 1}]},
    "linux": {"intelRdt": {"closID": "x"}, "netDevices": {"eth0": {}}, "sysctl": {"net.x": "1"}},
    "process": {"scheduler": {"policy": "SCHED_OTHER"}, "selinuxLabel": ""},
}


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(*way, key) for key, _ in items] + [p for key, item in items for p in places(item, (*way, key))]


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    """The default configuration and more, with some values replaced or removed."""
    document = copy.deepcopy(example())
    for key, more in ADDITIONS.items():
        if draw(st.booleans()):
            document.setdefault(key, {}).update(copy.deepcopy(more))
    for _ in range(draw(st.integers(0, 4))):
        *way, last = draw(st.sampled_from(places(document)))
        holder = document
        for part in way:
            holder = holder[part]
        if draw(st.booleans()):
            holder[last] = copy.deepcopy(draw(st.sampled_from(SPICE)))
        else:
            del holder[last]
    return document


@settings(max_examples=200, deadline=None)
@given(spoilt())
def test_it_refuses_what_create_refuses(tmp_path_factory: pytest.TempPathFactory, document: Any) -> None:
    bundle = tmp_path_factory.getbasetemp()
    path = bundle / "config.json"
    path.write_text(json.dumps(document))
    try:
        config, _ = plan.load(str(bundle), "")
        plan.make(config, str(bundle), create.NOT_YET)
        refusal = None
    except PyrunError as error:
        refusal = error.json_path
    findings = validate.examine(path.read_bytes(), str(bundle))
    errors = [one for one in findings if one["severity"] == "error" and one["source"] != "host"]
    assert (refusal is None) == (not errors), (refusal, errors)
    if refusal and refusal != str(path):
        assert refusal in [one["path"] for one in errors]
