"""The records of the profile `habits` are whole, and agree with what is known of the peers."""

from __future__ import annotations

import pytest

from oci_conformance.run import expectations, requirements
from oci_conformance.run import habits as records

HABITS = records.load()
PEERS = ("runc", "crun")


@pytest.mark.parametrize("id", HABITS)
def test_each_habit_says_who_relies_on_it_and_who_has_it(id: str) -> None:
    habit = HABITS[id]
    assert id.startswith("habits.")
    assert habit.weight in records.LEVELS
    assert habit.who and habit.text
    assert habit.peers, "a habit that no runtime has is none"
    assert set(habit.peers) <= set(PEERS)
    assert "|" not in habit.who + habit.text  # they stand in a table


@pytest.mark.parametrize("peer", PEERS)
def test_what_a_peer_lacks_is_what_it_is_expected_to_fail(peer: str) -> None:
    """Of its newest version, on every host: entries for others have a `version` or `cgroups`."""
    known = expectations.load(peer, requirements.every())
    lacking = {each.id for each in known if each.id in HABITS and not (each.version or each.cgroups)}
    assert lacking == {id for id, habit in HABITS.items() if peer not in habit.peers}
