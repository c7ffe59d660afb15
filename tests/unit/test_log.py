"""pyrun.log: records as engines read them, and last words whatever happens to the log."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyrun.base import log
from pyrun.base.errors import PyrunError


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """The log as it is at start, before and after."""
    log.configure("", "", "", False)
    yield
    log.configure("", "", "", False)


def test_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log.configure(str(tmp_path / "log"), "json", "", False)
    log.warn("first")
    log.last_words('it "failed"')
    records = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(record["level"], record["msg"]) for record in records] == [
        ("warning", "first"),
        ("error", 'it "failed"'),
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["time"]) for record in records)
    assert capfd.readouterr().err == 'pyrun: it "failed"\n'


def test_text(tmp_path: Path) -> None:
    log.configure(str(tmp_path / "log"), "text", "", False)
    log.last_words('a "b"')
    assert re.fullmatch(r'time="[^"]*" level=error msg="a \\"b\\""\n', (tmp_path / "log").read_text())


def test_it_is_appended_to(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    log.configure(str(tmp_path / "log"), "", "", False)
    log.warn("x")
    assert (tmp_path / "log").read_text().startswith("before\ntime=")


@pytest.mark.parametrize(
    ("name", "debug", "seen"),
    [("error", False, "error"), ("", False, "warning error"), ("warn", False, "warning error"),
     ("info", False, "info warning error"), ("", True, "debug info warning error")],
)  # fmt: skip
def test_levels(name: str, debug: bool, seen: str, tmp_path: Path) -> None:
    log.configure(str(tmp_path / "log"), "json", name, debug)
    for kind in ("debug", "info", "warning", "error"):
        log.write(kind, kind)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [json.loads(line)["msg"] for line in lines] == seen.split()


@pytest.mark.parametrize(("log_format", "level"), [("xml", ""), ("JSON", ""), ("", "loud"), ("", "WARNING")])
def test_refused(log_format: str, level: str) -> None:
    with pytest.raises(PyrunError):
        log.configure("", log_format, level, False)


def test_without_a_log_warnings_go_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    log.warn("look")
    log.write("info", "unseen")
    assert capfd.readouterr().err == "pyrun: warning: look\n"


@pytest.mark.parametrize("kind", ["folder", "missing", "fifo"])
def test_what_can_not_be_opened_is_refused(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "fifo")
    places = {"folder": tmp_path, "missing": tmp_path / "no/log", "fifo": tmp_path / "fifo"}
    with pytest.raises(PyrunError, match="--log: opening it: "):
        log.configure(str(places[kind]), "json", "", False)
    log.last_words("it failed")
    assert capfd.readouterr().err == "pyrun: it failed\n"


@pytest.mark.parametrize("name", ["journald:name", "syslog:name"])
def test_services_of_the_host_are_refused_by_name(name: str) -> None:
    with pytest.raises(PyrunError, match=f"--log: {name[:6]}"):
        log.configure(name, "", "", False)


def test_what_a_full_log_would_have_told_is_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    log.configure("/dev/full", "json", "", False)
    log.warn("look")
    log.last_words("it failed")
    reason = "(the log can't be written: No space left on device)"
    assert capfd.readouterr().err == f"pyrun: warning: look {reason}\npyrun: it failed {reason}\n"


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters()))
def test_any_text_is_one_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "log"
    path.write_text("")
    for log_format in ("json", "text"):
        log.configure(str(path), log_format, "", False)
        log.warn(text)
    first, second = path.read_bytes().split(b"\n")[:-1]
    json.loads(first)
    assert second.decode().isprintable()
