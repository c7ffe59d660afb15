"""Device rules: v1's exceptions and v2's program against what the rules mean."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from cgroup_model import KINDS, LETTERS, MAJORS, MINORS, allowed, config_rules, run, v1_allows
from hypothesis import assume, example, given

from pyrun.base.errors import PyrunError
from pyrun.cgroups import devices, devices_v1, devices_v2

ACCESSES = ("r", "w", "m", "rw", "rm", "rwm")
QUESTIONS = list(itertools.product(KINDS, (*MAJORS, 5, 136, 7), (*MINORS, 0, 8), ACCESSES))
DENY_ALL: dict[str, Any] = {"allow": False, "access": "rwm"}


def bits(access: str) -> int:
    return sum(LETTERS[letter] for letter in access)


@given(config_rules)
@example([])
@example([DENY_ALL, {"allow": True, "type": "c", "major": 60, "access": "rwm"},
          {"allow": False, "type": "c", "major": 60, "minor": 3, "access": "w"}])  # fmt: skip
def test_the_program_means_the_rules(config: list[dict[str, Any]]) -> None:
    code = devices_v2.program(*devices.ordered(config))
    for kind, major, minor, access in QUESTIONS:
        number = 2 if kind == "c" else 1
        result = run(code, number, major, minor, bits(access))
        assert result == int(allowed(config, kind, major, minor, access)), (kind, major, minor, access)


@given(config_rules)
def test_v1s_exceptions_mean_the_rules_or_are_refused(config: list[dict[str, Any]]) -> None:
    allow_all, rules = devices.ordered(config)
    try:
        found = devices_v1.exceptions(allow_all, rules)
    except PyrunError:
        assume(False)
    for kind, major, minor, access in QUESTIONS:
        result = v1_allows(allow_all, found, (kind, major, minor), bits(access))
        assert result == allowed(config, kind, major, minor, access), (kind, major, minor, access, found)


def test_v1_refuses_a_hole_in_a_wider_rule() -> None:
    config = [
        DENY_ALL,
        {"allow": True, "type": "c"},
        {"allow": False, "type": "c", "major": 10, "minor": 200},
    ]
    with pytest.raises(PyrunError) as caught:
        devices_v1.exceptions(*devices.ordered(config))
    assert caught.value.json_path == "linux.resources.devices[2]"
    assert caught.value.sentence == "cgroup v1 can't deny a part of what the rule for c *:* rwm covers"


def test_defaults_and_order() -> None:
    allow_all, rules = devices.ordered([{"allow": True}, DENY_ALL, {"allow": True, "type": "b", "major": 8}])
    assert not allow_all
    assert rules[0][:5] == (True, "b", 8, devices.ANY, devices.ALL_ACCESS)
    assert len(rules) == 1 + len(devices._DEFAULTS)
    assert devices.ordered([{"allow": True, "access": "rwm"}])[0]


@pytest.mark.parametrize("number", [-2, 1 << 32])
def test_numbers_that_no_device_has(number: int) -> None:
    with pytest.raises(PyrunError, match="not a device number") as caught:
        devices.ordered([DENY_ALL, {"allow": True, "type": "c", "major": number}])
    assert caught.value.json_path == "linux.resources.devices[1]"
