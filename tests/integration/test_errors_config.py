"""A config.json that is wrong in any way: one sentence that names the place, exit status 1, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import Bundle, Config, Pyrun, new_id
from error_checks import examples, fails, nothing_made, run, sentence_of
from hypothesis import given
from hypothesis import strategies as st

from oci_spec import config as oci_config
from oci_spec import rules
from oci_spec.fields import ConfigError

sys.path.append(str(Path(__file__).parents[1] / "unit/spec"))
from spec_documents import ODD, at, full, places, put

Make = Callable[..., Bundle]


def create_fails(pyrun: Pyrun, one: Bundle) -> str:
    """`create` fails; its sentence."""
    container_id = new_id()
    sentence = fails(pyrun, ["create", "--bundle", str(one.path), container_id])
    nothing_made(pyrun, container_id)
    return sentence


def with_bytes(pyrun: Pyrun, one: Bundle, data: bytes) -> str:
    """`create` with these bytes as config.json fails; its sentence."""
    (one.path / "config.json").write_bytes(data)
    return create_fails(pyrun, one)


VALID = json.dumps({"ociVersion": "1.3.0", "root": {"path": "rootfs"}}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n",
        b"{",
        b"}",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b"nul",
        VALID[:-1],
        VALID + b"}",
        VALID + VALID,
        VALID + b"\0",
        b"\xef\xbb\xbf" + VALID,
        VALID.decode().encode("utf-16"),
        b"{'ociVersion': '1.3.0'}",
        b'{"ociVersion": "1.3.0",}',
        b'{"ociVersion": "1.3.0" "root": {}}',
        b"// a remark\n" + VALID,
        b'{"ociVersion": NaN}',
        b'{"ociVersion": Infinity}',
        b'{"ociVersion": -Infinity}',
        b'{"ociVersion": "a\nb"}',
        b'{"ociVersion": "\\x"}',
        b'{"ociVersion": "\\ud800"}',
        b'{"ociVersion": "\\uZZZZ"}',
        b'{"ociVersion": "\xff"}',
        b'{"ociVersion": "\xc0\xaf"}',
        b'{"ociVersion": "\xed\xa0\x80"}',
        b'{"\\ud800": 1}',
        b'{"ociVersion": "1.3.0", "ociVersion": "1.3.0"}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": 01}',
        b'{"a": 1.}',
        b'{"a": .5}',
        b'{"a": +1}',
        b'{"a": 0x10}',
        b'{"a": 1' + b"0" * 5000 + b"}",
        b"[" * 100000,
        b"[" * 100000 + b"]" * 100000,
        b'{"a":' * 50000 + b"1" + b"}" * 50000,
        b'{"annotations": ' + b'{"a":' * 900 + b"1" + b"}" * 901,
        b"\0" * 1000,
        b"1e999999999",
        b'"' + b"a" * 1000000,
    ],
    ids=lambda data: repr(data[:24]),
)
def test_not_json(data: bytes, pyrun: Pyrun, bundle: Make) -> None:
    """What isn't JSON, or no object, or JSON that readers understand differently."""
    assert len(with_bytes(pyrun, bundle(), data)) < 500


@examples(150)
@given(data=st.data())
def test_damaged_bytes(data: st.DataObject, pyrun: Pyrun, bundle: Make) -> None:
    """A good file with a few bytes changed: refused, or it is a good file still."""
    text = bytearray(json.dumps(data.draw(st.sampled_from([full(), {"ociVersion": "1.3.0"}]))).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        if data.draw(st.booleans()):
            text[place] = data.draw(st.sampled_from(b'\0"\\{}[],:\xff\xc3e-019 \n') | st.integers(0, 255))
        else:
            del text[place : place + data.draw(st.integers(1, 5))]
    one = _one(pyrun, bundle)
    (one.path / "config.json").write_bytes(text)
    container_id = new_id()
    # full() asks for what isn't supported, so that no change makes it good
    sentence_of(run(pyrun, ["create", "--bundle", str(one.path), container_id]))
    nothing_made(pyrun, container_id)


_bundles: dict[Path, Bundle] = {}


def _one(pyrun: Pyrun, bundle: Make) -> Bundle:
    """One bundle for all examples of a test."""
    if pyrun.folder not in _bundles:
        _bundles[pyrun.folder] = bundle()
    return _bundles[pyrun.folder]


def fault(document: Any) -> str | None:
    """The path of the first fault of a document by tables and rules; None if it has none."""
    try:
        oci_config.parse(document)
        rules.check(document)
    except ConfigError as error:
        return error.path
    return None


def supported(one: Bundle) -> Config:
    """A configuration of nearly all that is supported, which runs."""
    config: Config = json.loads(json.dumps(one.config))
    config["process"].update(
        user={"uid": 0, "gid": 0, "umask": 18, "additionalGids": [5]},
        oomScoreAdj=500,
        env=["PATH=/bin", "A=b"],
    )
    config["process"]["capabilities"]["ambient"] = []
    config["hooks"] = {
        kind: [{"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 5}]
        for kind in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    }
    config["annotations"] = {"a": "b"}
    config["hostname"], config["domainname"] = "host", "domain"
    config["mounts"].append(
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "size=64k"]}
    )
    config["mounts"].append(
        {"destination": "/var", "source": "rootfs/etc", "options": ["rbind", "ro", "rslave"]}
    )
    config["linux"].update(
        resources={
            "memory": {"limit": 1 << 26, "swappiness": 5},
            "cpu": {"shares": 100, "quota": 50000, "period": 100000, "cpus": "0"},
            "pids": {"limit": 50},
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 1, "minor": 3},
            ],
        },
        devices=[
            {
                "path": "/dev/some/null",
                "type": "c",
                "major": 1,
                "minor": 3,
                "fileMode": 438,
                "uid": 1,
                "gid": 1,
            }
        ],
        rootfsPropagation="private",
    )
    return config


@examples(250)
@given(data=st.data())
def test_any_value_anywhere(data: st.DataObject, pyrun: Pyrun, bundle: Make) -> None:
    """One to three values of a configuration replaced, removed or added: what tables and rules refuse is refused with
    the same path; what they let pass works, or is one sentence."""
    one = _one(pyrun, bundle)
    document = supported(one)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(document)))
        if data.draw(st.integers(0, 9)):
            put(document, place, json.loads(json.dumps(data.draw(ODD))))  # a copy: it may be changed next
        else:
            del at(document, place[:-1])[place[-1]]
        if not document:
            break
    if isinstance(document.get("root"), dict) and "path" in document["root"]:
        document["root"]["path"] = "rootfs"  # whatever else is asked for is done in there
    (one.path / "config.json").write_text(json.dumps(document))
    container_id = new_id()
    ended = run(pyrun, ["create", "--bundle", str(one.path), container_id])
    wrong = fault(json.loads(json.dumps(document)))
    if wrong is not None:
        sentence = sentence_of(ended)
        assert sentence.startswith(f"{wrong}: " if wrong else str(one.path)), (sentence, wrong)
    elif ended.returncode:
        sentence_of(ended)
    if ended.returncode == 0:
        assert run(pyrun, ["delete", "--force", container_id]).returncode == 0
    nothing_made(pyrun, container_id)


STRINGS = [place for place in places(full()) if isinstance(at(full(), place), str)]


@pytest.mark.parametrize("text", ["\0", "a\0b", "/a\0"], ids=repr)
def test_nul_in_every_string(text: str, pyrun: Pyrun, bundle: Make) -> None:
    """The kernel would read less than what is there."""
    one = bundle()
    for place in STRINGS:
        if place[0] == "annotations":
            continue  # text that never meets the kernel
        document = full()
        put(document, place, text)
        wrong = fault(json.loads(json.dumps(document)))
        assert wrong is not None, place
        (one.path / "config.json").write_text(json.dumps(document))
        container_id = new_id()
        sentence = sentence_of(run(pyrun, ["create", "--bundle", str(one.path), container_id]))
        assert sentence.startswith(f"{wrong}: "), (sentence, place)
        nothing_made(pyrun, container_id)


@pytest.mark.parametrize(
    "value", [None, True, 0, -1, 1.5, "", "x", [], {}, [None], {"": None}, 2**64, -(2**63) - 1], ids=repr
)
def test_wrong_kind_at_every_place(value: object, pyrun: Pyrun, bundle: Make) -> None:
    """The same value at every place of a configuration with every property, in the library; and some by the binary."""
    one = bundle()
    tried = 0
    for number, place in enumerate(places(full())):
        document = full()
        put(document, place, value)
        wrong = fault(json.loads(json.dumps(document)))
        if wrong is None or number % 9:
            continue
        tried += 1
        (one.path / "config.json").write_text(json.dumps(document))
        container_id = new_id()
        sentence = sentence_of(run(pyrun, ["create", "--bundle", str(one.path), container_id]))
        assert sentence.startswith(f"{wrong}: "), (sentence, place)
        nothing_made(pyrun, container_id)
    assert tried > 5


def test_unreadable(pyrun: Pyrun, bundle: Make, tmp_path: Path) -> None:
    """A file closed to the user, who can get to it and to the runtime; for root, nothing is closed."""
    one = bundle()
    (one.path / "config.json").chmod(0)
    container_id = new_id()
    pyrun.runtime = Path(
        shutil.copy(pyrun.runtime, pyrun.folder)
    )  # wherever it was built, others may not enter
    for folder in (tmp_path.parent, tmp_path, one.path):
        folder.chmod(0o755)
    pyrun.folder.chmod(0o777)

    def drop() -> None:
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)

    ended = run(pyrun, ["create", "--bundle", str(one.path), container_id], preexec_fn=drop)
    assert "access refused" in sentence_of(ended)
    nothing_made(pyrun, container_id)


def test_truncated(pyrun: Pyrun, bundle: Make) -> None:
    """A file that ends too early, wherever."""
    one = bundle()
    good = (one.path / "config.json").read_bytes()
    path = one.path / "config.json"
    for number in range(20):
        with path.open("r+b") as file:
            file.truncate(len(good) * number // 20)
        sentence_of(run(pyrun, ["create", "--bundle", str(one.path), new_id()]))
        path.write_bytes(good)
