"""Each case of a parametrised test has a name that says what it is."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "value", [["a", "b"], {"memory": {"limit": 1}}, b"bytes", (1, 2), set(), len, "text", 7]
)
def test_no_case_is_a_number_of_a_list(value: object, request: pytest.FixtureRequest) -> None:
    assert not request.node.callspec.id.startswith("value")
