"""Known deviations of a runtime: results that are expected to fail, each with its reason and a link.

A file has `[[deviation]]` tables: `id` of the requirement, `reason`, and optionally `test` (only that test's result),
`link`, `cgroups` ("v1", "v2", …: only on such hosts), `version` (only if the runtime's version line contains it),
`sometimes` (true: it depends on the moment, and may pass).
An expected failure is reported as `xfail`. A pass where a failure was expected is `xpass`, and breaks the run, so that
the file stays true: where several tests show one requirement, only for deviations that name their test.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from oci_conformance.core.records import Header, TestRecord

KEYS = {"id", "test", "reason", "link", "cgroups", "version", "sometimes"}


class ExpectationsError(Exception):
    """A file of expectations that can't be used, in one sentence."""


@dataclass(frozen=True)
class Deviation:
    """One known deviation."""

    id: str
    reason: str
    test: str = ""
    link: str = ""
    cgroups: str = ""
    version: str = ""
    sometimes: bool = False


def load(name: str, known: Collection[str]) -> list[Deviation]:
    """Read a file given by path, or one of ours by the runtime's name. `known` are the ids that exist."""
    own = resources.files(__name__) / f"{name}.toml"
    try:
        text = own.read_text() if own.is_file() and "/" not in name else Path(name).read_text()
        entries = tomllib.loads(text).get("deviation", [])
    except (OSError, ValueError) as error:
        raise ExpectationsError(f"expectations {name}: {error}") from None
    found = []
    for number, entry in enumerate(entries, 1):
        where = f"expectations {name}, deviation {number}"
        if unknown := set(entry) - KEYS:
            raise ExpectationsError(f"{where}: unknown key {sorted(unknown)[0]!r}")
        if entry.get("id") not in known:
            raise ExpectationsError(f"{where}: there is no requirement {entry.get('id')!r}")
        if not entry.get("reason"):
            raise ExpectationsError(f"{where} ({entry['id']}): it has no reason")
        found.append(Deviation(**entry))
    return found


def apply(deviations: list[Deviation], record: TestRecord, header: Header, alone: Collection[str]) -> None:
    """Turn the results of one test into xfail and xpass. `alone` are ids that only one selected test shows."""
    for result in record["results"]:
        for deviation in deviations:
            if (
                deviation.id != result["id"]
                or deviation.test not in ("", record["test"])
                or deviation.cgroups not in ("", header["host"]["cgroups"])
                or deviation.version not in header["runtime"]["version"]
            ):
                continue
            reason = f"{deviation.reason} {deviation.link}".strip()
            if result["status"] == "fail":
                result["status"], result["reason"] = "xfail", reason
            elif deviation.sometimes:
                continue
            elif result["status"] == "pass" and (deviation.test or deviation.id in alone):
                result["status"], result["reason"] = "xpass", f"expected to fail: {reason}"
