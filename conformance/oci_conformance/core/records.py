"""The records of a stream of results, and the words for what became of a requirement."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

# Worst first: a requirement is as bad as its worst result. The last two have no result: nobody asked, or nobody can.
STATUSES = ("error", "fail", "xpass", "xfail", "unsupported", "pass", "skip", "untested", "unseen")
RESULT_STATUSES = STATUSES[:7]
BREAKING = frozenset(
    {"error", "fail", "xpass"}
)  # what a green run doesn't have, and what comes with evidence
PASSED = frozenset({"pass", "xpass"})
SEEN = frozenset({"pass", "xpass", "fail", "xfail"})  # the runtime did it right or wrong
LEVELS = ("MUST", "SHOULD", "MAY")
SPEC = "spec"  # the profile that alone counts in the score

Status = str  # one of STATUSES


class RuntimeRecord(TypedDict):
    """The runtime under test."""

    path: str
    name: str
    version: str
    sha256: str
    adapter: str


class HostRecord(TypedDict):
    """The host that a run was on."""

    kernel: str
    machine: str
    distribution: str
    cgroups: str
    controllers: list[str]
    lsms: list[str]
    uid: int
    systemd: bool


class Header(TypedDict):
    """The first record: what is run, against what, where."""

    type: Literal["header"]
    suite: str
    started: str  # ISO 8601, UTC
    spec: str
    level: str  # must, should or may
    profiles: list[str]
    runtime: RuntimeRecord
    host: HostRecord
    bundle_version: str
    jobs: int
    argv: list[str]


Change = TypedDict(  # `from` is no name for a class's body
    "Change",
    {
        "op": str,  # add, replace or remove
        "path": str,
        "from": NotRequired[Any],  # the value before
        "to": NotRequired[Any],
    },
)


class CallRecord(TypedDict):
    """One call of the runtime."""

    argv: list[str]
    code: int | None  # None: it was stopped because it took too long
    seconds: float
    stderr: str


class Words(TypedDict, total=False):
    """What is said of a result: why it is so, or what was expected and what was seen."""

    reason: str
    expected: str
    seen: str


class Result(Words):
    """What one test says of one requirement."""

    id: str
    status: Status  # one of RESULT_STATUSES


class Evidence(TypedDict, total=False):
    """What helps to understand a result that broke."""

    config_diff: list[Change]
    calls: list[CallRecord]
    repeat: list[str]  # commands for a shell
    traceback: str  # of an error of the suite


class TestRecord(Evidence):
    """One test that was run."""

    type: Literal["test"]
    test: str
    title: str
    profile: str
    seconds: float
    results: list[Result]
    properties: NotRequired[list[str]]  # which its containers' configurations set
    refused: NotRequired[list[str]]  # and those of refused ones alone


class Footer(TypedDict):
    """The last record: how the run ended."""

    type: Literal["footer"]
    finished: str  # ISO 8601, UTC
    seconds: float
    complete: bool
    exit_code: int


Record = Header | TestRecord | Footer
