"""What becomes of the requirements of a test that stops before its end."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from oci_conformance.core import bundle
from oci_conformance.core.host import Host
from oci_conformance.core.runtime import Call, Runtime
from oci_conformance.run.case import Broken, Case, Refused, Skip
from oci_conformance.run.registry import Test

BASE = bundle.base("1.3.0", 0, 0, "/oci")


def case(*ids: str, may_refuse: bool = False) -> Case:
    """A case of a test with these requirements, that has made a container c1 with a change, and c0 without."""
    test = Test("some.test", "A title", ids, lambda t: None, (), may_refuse, "spec", False)
    host = cast(Host, SimpleNamespace(uid=0, gid=0, systemd_cgroup=False))
    made = Case(test, cast(Runtime, None), host, Path("/none"), "1.3.0", "1.3.0", Path("/probe"))
    for name, changes in {"c0": {"process.args": ["/probe", "cwd"]}, "c1": {"hostname": "x"}}.items():
        config: Any = copy.deepcopy(made.base(name))
        bundle.apply(config, changes)
        made.containers.append(cast(Any, SimpleNamespace(id=name, config=config)))
    return made


def refused(container: str, operation: str = "create") -> Refused:
    return Refused(Call(operation, ("runtime", operation, container), 1, "", "no", 0.1))


def statuses(made: Case, error: BaseException | None) -> dict[str, str]:
    return {result["id"]: result["status"] for result in made.settle(error)}


def test_a_container_that_is_refused_fails_the_one_requirement_that_it_could_show() -> None:
    assert statuses(case("a"), refused("c1")) == {"a": "fail"}


def test_a_container_that_is_refused_fails_no_neighbour() -> None:
    made = case("a", "b", "c")
    made.check("a", True, "", "")
    assert statuses(made, refused("c1")) == {"a": "pass", "b": "error", "c": "error"}


def test_what_was_found_before_a_test_stopped_stays() -> None:
    made = case("a", "b")
    made.check("a", False, "this", "that")
    assert statuses(made, Broken("nonsense")) == {"a": "fail", "b": "fail"}


@pytest.mark.parametrize("operation", ["create", "start"])
def test_a_control_that_is_refused_is_no_verdict(operation: str) -> None:
    assert statuses(case("a"), refused("c0", operation)) == {"a": "error"}
    assert statuses(case("a", may_refuse=True), refused("c0", operation)) == {"a": "error"}


def test_a_plain_container_whose_deletion_is_refused_is_a_failure() -> None:
    assert statuses(case("a"), refused("c0", "delete")) == {"a": "fail"}


def test_a_refusal_with_leave_is_unsupported() -> None:
    assert statuses(case("a", "b", may_refuse=True), refused("c1")) == {
        "a": "unsupported",
        "b": "unsupported",
    }


def test_a_test_that_is_skipped_halfway_keeps_its_verdicts() -> None:
    made = case("a", "b")
    made.check("a", True, "", "")
    assert statuses(made, Skip("this host lacks it")) == {"a": "pass", "b": "skip"}


def test_a_mishap_of_the_suite_is_an_error() -> None:
    assert statuses(case("a", "b"), ZeroDivisionError()) == {"a": "error", "b": "error"}
