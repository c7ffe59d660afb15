"""The interface lo of a network namespace."""

from __future__ import annotations

from oci_conformance.core.bundle import Json
from oci_conformance.profiles.habits.tools import NETWORK
from oci_conformance.profiles.support import namespaces
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test


def _loopback(interfaces: list[Json]) -> Json:
    return next((each for each in interfaces if each["name"] == "lo"), {})


@test("habits.loopback", needs=("root", "netns"))
def new(t: Case) -> None:
    """In a new network namespace lo is up and has 127.0.0.1."""
    seen = _loopback(t.run(NETWORK, "net")["net"])
    t.equal("habits.loopback", seen.get("up"), True)
    t.check(
        "habits.loopback", "127.0.0.1/8" in seen.get("addresses", []), "127.0.0.1/8", seen.get("addresses")
    )


@test("habits.loopback-joined", needs=("root", "netns"))
def joined(t: Case) -> None:
    """In a network namespace that somebody else made, and where lo is down, it stays down."""
    with namespaces.held("network") as pid:
        path = str(namespaces.path("network", pid))
        seen = _loopback(t.run({"linux.namespaces[+]": {"type": "network", "path": path}}, "net")["net"])
    t.equal("habits.loopback-joined", seen.get("up"), False)
