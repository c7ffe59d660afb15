"""The stream of a run: written, read back, refused when it isn't whole; and what it says by requirement."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oci_conformance.core.records import RESULT_STATUSES, STATUSES
from oci_conformance.run.results import Run, Score, StreamError, Verdict, Writer, counts, score, worst
from oci_spec.catalogue import Requirement


def requirement(id: str, level: str, unseen: str = "") -> Requirement:
    return Requirement(id, level, "R", "runtime.md#state", "Something holds", "1.0.0", unseen=unseen)


HEADER: dict[str, Any] = {
    "type": "header",
    "suite": "oci-conformance 0.1.0",
    "started": "2026-01-02T03:04:05Z",
    "spec": "1.3.0",
    "level": "may",
    "profiles": ["spec"],
    "runtime": {"path": "/bin/x", "name": "x", "version": "x 1", "sha256": "0", "adapter": "default"},
    "host": {},
}
FOOTER = {"type": "footer", "finished": "2026-01-02T03:05:05Z", "seconds": 60, "complete": True}


def record(name: str, profile: str = "spec", **results: str) -> dict[str, Any]:
    rows = [{"id": key, "status": status} for key, status in results.items()]
    return {"type": "test", "test": name, "title": name, "profile": profile, "seconds": 1, "results": rows}


def stream(*records: Any) -> str:
    return "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in records)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Writer(path) as writer:
        for one in (HEADER, record("a.b", x="pass"), FOOTER):
            writer.write(one)  # type: ignore[arg-type]
            assert json.loads(path.read_text().splitlines()[-1]) == one, "each line is there at once"
    run = Run.load(path)
    assert run.header["spec"] == "1.3.0" and run.complete
    assert [test["test"] for test in run.tests] == ["a.b"]


def test_a_writer_leaves_a_file_open_that_it_did_not_open() -> None:
    file = io.BytesIO()
    with Writer(file) as writer:
        writer.write(FOOTER)  # type: ignore[typeddict-item, arg-type]
    assert file.getvalue().endswith(b"}\n")


def test_bytes_that_are_no_text_are_replaced() -> None:
    file = io.BytesIO()
    Writer(file).write({**record("a.b", x="pass"), "title": "\udcff\U0001f600\u2028\n"})  # type: ignore[typeddict-item, arg-type]
    wanted = "\ufffd\U0001f600\u2028\n"
    text = stream(HEADER) + file.getvalue().decode()
    assert Run.parse(text).tests[0]["title"] == wanted
    escaped = json.dumps({**record("a.b", x="pass"), "title": "\udcff\U0001f600\u2028\n"})
    assert Run.parse(stream(HEADER, escaped)).tests[0]["title"] == wanted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "s is empty"),
        (stream(record("a.b", x="pass")), "s doesn't begin with a header"),
        (stream(FOOTER), "s doesn't begin with a header"),
        (stream(HEADER, HEADER), "line 2 of s is a second header"),
        (stream(HEADER)[:-1], "s was cut off in line 1: it has no end"),
        (stream(HEADER, record("a.b", x="pass"))[:-9], "s was cut off in line 2: it has no end"),
        (stream(HEADER, "{"), "line 2 of s isn't JSON"),
        (stream(HEADER, ""), "line 2 of s isn't JSON"),
        (stream(HEADER, "[" * 100_000), "line 2 of s isn't JSON"),
        (stream(HEADER, "[]"), "line 2 of s is neither a header nor a test nor a footer"),
        (stream(HEADER, '{"type":"x"}'), "line 2 of s is neither a header nor a test nor a footer"),
        (stream(HEADER, FOOTER, record("a.b", x="pass")), "line 3 of s comes after the footer"),
        (stream(HEADER, FOOTER, FOOTER), "line 3 of s comes after the footer"),
        (stream(HEADER, record("a.b", x="good")), "line 2 of s has the unknown status 'good'"),
        (stream(HEADER, record("a.b", x="untested")), "line 2 of s has the unknown status 'untested'"),
        (
            stream(HEADER, {**record("a.b"), "seconds": "1"}),
            "line 2 of s has no seconds, or one that isn't as it should be",
        ),
        (
            stream({**HEADER, "host": None}),
            "line 1 of s has no host, or one that isn't as it should be",
        ),
        (stream(HEADER, {**record("a.b"), "results": [1]}), "line 2 of s has a result that isn't an object"),
    ],
)
def test_a_stream_that_is_not_whole_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(StreamError) as caught:
        Run.parse(text, "s")
    assert str(caught.value) == sentence


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match="can't be read: No such file or directory"):
        Run.load(tmp_path / "none")
    (tmp_path / "binary").write_bytes(b"{\xff\n")
    with pytest.raises(StreamError, match="isn't UTF-8 at byte 1"):
        Run.load(tmp_path / "binary")


def test_a_run_without_a_footer_or_with_one_that_says_so_was_cut_short() -> None:
    assert not Run.parse(stream(HEADER)).complete
    assert not Run.parse(stream(HEADER, {**FOOTER, "complete": False})).complete
    assert Run.parse(stream(HEADER, FOOTER)).complete


def test_a_requirement_is_as_bad_as_its_worst_result() -> None:
    for position, bad in enumerate(RESULT_STATUSES):
        for better in RESULT_STATUSES[position:]:
            run = Run.parse(stream(HEADER, record("a.one", x=better), record("a.two", x=bad)))
            verdict = run.by_requirement({"x": requirement("x", "MUST")})["x"]
            assert verdict.status == worst((better, bad)) == bad
            assert [result["status"] for _, result in verdict.results] == [bad, better]
    assert worst([]) == "untested"


def test_requirements_without_results_and_results_without_requirement() -> None:
    catalogue = {
        "b": requirement("b", "MUST"),
        "a": requirement("a", "MAY", "nothing shows it"),
        "c": requirement("c", "MAY"),
    }
    run = Run.parse(stream(HEADER, record("t.t", z="fail", c="pass")))
    verdicts = run.by_requirement(catalogue)
    assert list(verdicts) == ["b", "a", "c"]
    assert (verdicts["b"], verdicts["a"]) == (Verdict("untested"), Verdict("unseen"))
    assert run.strangers(catalogue) == ["z"]


def test_profiles_never_count_in_the_score() -> None:
    catalogue = {"x": requirement("x", "MUST")}
    run = Run.parse(
        stream(HEADER, record("h.x", "hardening", x="fail", y="pass"), record("s.x", x="pass"), FOOTER)
    )
    verdicts = run.by_requirement(catalogue)
    assert verdicts["x"].status == "pass" and not run.strangers(catalogue)
    assert str(score("MUST", verdicts, catalogue)) == "1/1"
    assert run.profiles == ["hardening"]
    assert {key: one.status for key, one in run.by_profile("hardening").items()} == {"x": "fail", "y": "pass"}


def test_scores_by_level() -> None:
    catalogue = {status: requirement(status, "MUST NOT") for status in STATUSES}
    catalogue |= {"one": requirement("one", "SHOULD"), "unseen": requirement("unseen", "MUST", "why")}
    run = Run.parse(
        stream(HEADER, record("t.t", one="pass", **{status: status for status in RESULT_STATUSES}))
    )
    verdicts = run.by_requirement(catalogue)
    assert counts(verdicts, catalogue)["MUST"] == dict.fromkeys(STATUSES, 1)
    assert score("MUST", verdicts, catalogue) == Score(passed=2, seen=4, total=9)
    assert score("SHOULD", verdicts, catalogue) == Score(1, 1, 1)
    assert score("MAY", verdicts, catalogue) == Score(0, 0, 0)


def test_a_reading_counts_in_no_score() -> None:
    known = {
        "a": requirement("a", "MUST"),
        "b": replace(requirement("b", "MUST"), reading="It says who else."),
    }
    verdicts = {"a": Verdict("pass"), "b": Verdict("fail")}
    assert score("MUST", verdicts, known) == Score(1, 1, 1)
