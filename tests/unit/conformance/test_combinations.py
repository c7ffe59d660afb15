"""The rows of combinations: any two properties are both there, and each without the other."""

from __future__ import annotations

import itertools

import pytest

from oci_conformance.profiles.spec import combinations

NAMES = [each.name for each in combinations.FACTORS]
ROWS = [{each.name for each in row} for row in combinations.rows()]
NEVER = {"a user namespace", combinations.TWO_MORE}  # the kernel doesn't do these together


@pytest.mark.parametrize(
    ("one", "other"), list(itertools.combinations(NAMES, 2)), ids=lambda name: name.replace(" ", "-")
)
def test_each_pair_is_together_and_apart(one: str, other: str) -> None:
    assert any({one, other} <= row for row in ROWS) or {one, other} == NEVER
    assert any(one in row and other not in row for row in ROWS)
    assert any(other in row and one not in row for row in ROWS)


def test_the_rows_are_few() -> None:
    assert len(ROWS) <= 16
