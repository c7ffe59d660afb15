"""A run with every status, made of texts that want to break out of whatever they are put into."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oci_conformance.core.records import RESULT_STATUSES
from oci_conformance.run.results import Run
from oci_spec.catalogue import Requirement

EVIL = (
    "</script></pre><img src=x onerror=alert(1)> \"'`&#x3c; ]]> --> \x1b[31mred\x00\x07\u202e\ufeff\ud800\n"
    "# TODO not ok 1\n...\n---\n</testcase> {{x}} $x %s"
)
IDS = {status: f"{status}.id" for status in RESULT_STATUSES}


def requirement(
    id: str,
    level: str = "MUST",
    section: str = "runtime.md#query-state",
    text: str = "Something holds of `config.json`",
    unseen: str = "",
) -> Requirement:
    """A requirement of the specification."""
    return Requirement(id, level, "R", section, text, "1.0.0", unseen=unseen)


def catalogue() -> dict[str, Requirement]:
    """A requirement for each status, over three sections and levels."""
    levels = ("MUST", "SHOULD NOT", "MAY")
    places = ("config-linux.md#cpu", "runtime.md#query-state", "config.md#posix-process")
    found = {
        key: requirement(key, levels[number % 3], places[number % 3])
        for number, key in enumerate([*IDS.values(), "untested.id"])
    }
    found["unseen.id"] = requirement("unseen.id", unseen="nobody can see it")
    found["two.tests"] = requirement("two.tests", section="runtime.md#kill")
    return found


def record(test: str, results: Mapping[str, str], profile: str = "spec", **more: Any) -> dict[str, Any]:
    """A test; what broke has evidence, and every text of it is hostile."""
    rows: list[dict[str, Any]] = []
    for key, status in results.items():
        row: dict[str, Any] = {"id": key, "status": status}
        if status != "pass":
            row["reason"] = f"because {EVIL}"
        if status in ("fail", "xpass"):
            row |= {"expected": f"good {EVIL}", "seen": f"bad {EVIL}"}
        rows.append(row)
    found = {"type": "test", "test": test, "title": "A title", "profile": profile, "seconds": 0.25}
    found["results"] = rows
    if {"fail", "xpass", "error"}.intersection(results.values()):
        found["config_diff"] = [
            {"op": "replace", "path": "process.cwd", "from": "/", "to": EVIL},
            {"op": "add", "path": EVIL, "to": [1, {"a": None}]},
            {"op": "remove", "path": "hostname", "from": "x"},
        ]
        found["calls"] = [
            {"argv": ["/bin/runtime", "create", "a b"], "code": 0, "seconds": 0.01, "stderr": ""},
            {"argv": ["/bin/runtime", "start", EVIL], "code": 1, "seconds": 0.02, "stderr": EVIL},
            {"argv": ["/bin/runtime", "kill"], "code": None, "seconds": 10, "stderr": ""},
        ]
        found["repeat"] = ["cd /tmp", f"runtime create {EVIL}"]
    return found | more


def run(name: str = "runtime", footer: bool = True, **changes: str) -> Run:
    """The run, through the text of its stream; `changes` give ids (with _ for .) another status."""
    statuses = {IDS[status]: status for status in RESULT_STATUSES}
    statuses |= {key.replace("_", ".", 1): status for key, status in changes.items()}
    records = [
        {
            "type": "header",
            "suite": "oci-conformance 0.1.0",
            "started": "2026-01-02T03:04:05+00:00",
            "spec": "1.3.0",
            "level": "may",
            "profiles": ["spec", "hardening"],
            "runtime": {
                "path": f"/bin/{name}",
                "name": name,
                "version": f"{name} 1.2 {EVIL}",
                "sha256": "9f86d081884c7d659a2feaa0c55ad015",
                "adapter": "default",
            },
            "host": {
                "kernel": "6.1",
                "machine": "x86_64",
                "distribution": EVIL,
                "cgroups": "v2",
                "controllers": ["cpu"],
                "lsms": [],
                "uid": 0,
                "systemd": False,
            },
            "bundle_version": "1.3.0",
            "jobs": 2,
            "argv": ["run", EVIL],
        },
        *(record(f"area.{key.partition('.')[0]}", {key: status}) for key, status in statuses.items()),
        record("kill.both", {"two.tests": "pass", "pass.id": "pass"}),
        record("kill.one", {"two.tests": "fail"}),
        record("files.leak", {"leak.id": "fail", "pass.id": "fail"}, "hardening"),
    ]
    if footer:
        records.append({"type": "footer", "finished": "x", "seconds": 61.2, "complete": True, "exit_code": 1})
    return Run.parse("".join(json.dumps(one) + "\n" for one in records))
