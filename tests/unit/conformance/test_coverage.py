"""Every requirement has a test or a stated reason, and every test says true things about itself."""

from __future__ import annotations

import pytest

from oci_conformance.core import host
from oci_conformance.run import registry, requirements

TESTS = registry.tests()
KNOWN = requirements.every()
SHOWN = {id: test.profile for test in TESTS.values() for id in test.ids}


@pytest.mark.parametrize("id", KNOWN)
def test_each_requirement_is_shown_or_says_why_not(id: str) -> None:
    assert id in SHOWN or KNOWN[id].unseen  # both where it can be seen held to, but not broken


@pytest.mark.parametrize("name", TESTS)
def test_each_test_names_what_exists(name: str) -> None:
    test = TESTS[name]
    here = host.look()
    assert not set(test.ids) - set(KNOWN)
    assert len(test.ids) == len(set(test.ids))
    for need in test.needs:
        here.lacks(need)  # a need that nobody knows is a KeyError


def test_profiles_are_apart() -> None:
    """The specification's score is made by its own tests alone."""
    for id, profile in SHOWN.items():
        assert (profile == "spec") == (KNOWN[id].section not in requirements.PROFILES), id
