"""linux.memoryPolicy (config-linux.md#memory-policy)."""

from __future__ import annotations

from typing import Any

from oci_conformance.profiles.support.claims import may_lack
from oci_conformance.run.case import DELETE, Case, Refused
from oci_conformance.run.registry import test

KEY = "linux.memoryPolicy"
NEEDS = ("numa:1",)
# Modes with nodes of a host that has node 0 alone, and the nodes that get_mempolicy(2) then tells.
ONE_NODE: tuple[tuple[str, str | None, list[int]], ...] = (
    ("MPOL_DEFAULT", None, []),
    ("MPOL_DEFAULT", "", []),
    ("MPOL_BIND", "0", [0]),
    ("MPOL_INTERLEAVE", "0", [0]),
    ("MPOL_PREFERRED", "0", [0]),
)


def policy(mode: str, nodes: str | None = None, *flags: str) -> dict[str, object]:
    """The change that gives a container a memory policy."""
    value: dict[str, object] = {"mode": mode}
    if nodes is not None:
        value["nodes"] = nodes
    if flags:
        value["flags"] = [*flags]
    return {KEY: value}


def _each(t: Case, policies: tuple[tuple[str, str | None, list[int]], ...]) -> None:
    """Run with each policy. Modes and nodes that are refused with an error are ones that a runtime may lack."""
    refused = []
    for mode, nodes, expected in policies:
        try:
            seen = t.run(policy(mode, nodes), "mempolicy")["mempolicy"]
        except Refused as error:
            may_lack(t, error, mode, "linux", "memoryPolicy", "modes")
            refused.append(error)
            continue
        t.equal("mempolicy.mode", seen["mode"], mode)
        t.equal(
            "mempolicy.nodes", [seen["mode"], *seen["nodes"]], [mode, *expected]
        )  # they mean nothing without it
    if len(refused) == len(policies):
        raise refused[0]


@test("mempolicy.mode", "mempolicy.nodes", needs=NEEDS, may_refuse=True)
def one_node(t: Case) -> None:
    """The program has the memory policy's mode, and the only node where it has any."""
    _each(t, ONE_NODE)


@test("mempolicy.mode", "mempolicy.nodes", needs=(*NEEDS, "kernel:5.14"), may_refuse=True)
def local(t: Case) -> None:
    """MPOL_LOCAL, which older kernels tell as MPOL_PREFERRED, is the program's mode."""
    _each(t, (("MPOL_LOCAL", None, []),))


@test("mempolicy.mode", "mempolicy.nodes", needs=(*NEEDS, "kernel:5.15"), may_refuse=True)
def preferred_many(t: Case) -> None:
    """MPOL_PREFERRED_MANY is the program's mode."""
    _each(t, (("MPOL_PREFERRED_MANY", "0", [0]),))


@test("mempolicy.mode", "mempolicy.nodes", needs=(*NEEDS, "kernel:6.9"), may_refuse=True)
def weighted_interleave(t: Case) -> None:
    """MPOL_WEIGHTED_INTERLEAVE is the program's mode."""
    _each(t, (("MPOL_WEIGHTED_INTERLEAVE", "0", [0]),))


@test("mempolicy.mode", "mempolicy.nodes", needs=("numa:2",), may_refuse=True)
def nodes(t: Case) -> None:
    """The nodes are those of the list, by numbers and ranges."""
    modes = ("MPOL_BIND", "MPOL_INTERLEAVE")
    lists = (("0-1", [0, 1]), ("1", [1]), ("1,0", [0, 1]), ("0,0-1", [0, 1]))
    _each(t, tuple((mode, text, numbers) for mode in modes for text, numbers in lists))


@test("mempolicy.flags", needs=NEEDS, may_refuse=True)
def flags(t: Case) -> None:
    """The program's memory policy has the flags."""
    for names in (("MPOL_F_STATIC_NODES",), ("MPOL_F_RELATIVE_NODES",), ()):
        seen = t.run(policy("MPOL_BIND", "0", *names), "mempolicy")["mempolicy"]
        t.equal("mempolicy.flags", seen["flags"], [*names])
        t.equal("mempolicy.flags", seen["mode"], "MPOL_BIND")


@test("mempolicy.flags", needs=(*NEEDS, "kernel:5.12"), may_refuse=True)
def numa_balancing(t: Case) -> None:
    """MPOL_F_NUMA_BALANCING is one of the flags of the program's memory policy, alone and with another."""
    for names in (("MPOL_F_NUMA_BALANCING",), ("MPOL_F_NUMA_BALANCING", "MPOL_F_STATIC_NODES")):
        seen = t.run(policy("MPOL_BIND", "0", *names), "mempolicy")["mempolicy"]
        t.equal("mempolicy.flags", sorted(seen["flags"]), sorted(names))


@test("mempolicy.invalid", needs=NEEDS)
def invalid(t: Case) -> None:
    """Unknown modes and flags, lists of nodes that are none, and nodes that don't fit the mode are errors."""
    faults = (
        {f"{KEY}.mode": "MPOL_NO_SUCH_MODE"},
        {f"{KEY}.mode": DELETE},
        {f"{KEY}.flags": ["MPOL_F_NO_SUCH_FLAG"]},
        {f"{KEY}.flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]},  # they exclude each other
        {f"{KEY}.nodes": "zero"},
        {f"{KEY}.nodes": "0-"},
        {f"{KEY}.nodes": DELETE},
        {f"{KEY}.mode": "MPOL_DEFAULT"},
        {f"{KEY}.mode": "MPOL_LOCAL"},
    )
    base = policy("MPOL_BIND", "0")
    for fault in faults:
        changes: dict[Any, Any] = dict(fault)
        t.refused("mempolicy.invalid", base, changes, at="start")
