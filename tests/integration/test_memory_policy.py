"""linux.memoryPolicy: the NUMA nodes that the program's memory is allocated on, as /proc/PID/numa_maps tells them."""

from __future__ import annotations

from pathlib import Path

import needs
import pytest

SHOW = "head -n 1 /proc/self/numa_maps | cut -d' ' -f2"
MODES = [
    ({"mode": "MPOL_DEFAULT"}, "default"),
    ({"mode": "MPOL_DEFAULT", "nodes": ""}, "default"),
    ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
    ({"mode": "MPOL_BIND", "nodes": "0,0-0"}, "bind:0"),
    ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"),
    ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
    ({"mode": "MPOL_PREFERRED"}, "local"),
    ({"mode": "MPOL_LOCAL"}, "local"),
    ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, "prefer (many):0"),
    ({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}, "weighted interleave:0"),
    ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "bind=static:0"),
    ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}, "bind=relative:0"),
    ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}, "bind"),
]
SINCE = {"MPOL_PREFERRED_MANY": (5, 15), "MPOL_WEIGHTED_INTERLEAVE": (6, 9)}


def name_of(policy):
    """For a test's id."""
    return "-".join([policy["mode"][5:], policy.get("nodes", ""), *policy.get("flags", ())])


@pytest.fixture(autouse=True)
def numa():
    """The kernel has memory policies."""
    if not Path("/proc/self/numa_maps").exists():
        pytest.skip("needs a kernel with CONFIG_NUMA")


@pytest.mark.parametrize(("policy", "shown"), MODES, ids=[name_of(policy) for policy, _ in MODES])
def test_each_mode(pyrun, bundle, policy, shown):
    """The program and one of exec have mode, nodes and flags that are configured, before their first page."""
    if policy["mode"] in SINCE:
        needs.kernel(*SINCE[policy["mode"]], policy["mode"])
    show = "head -n 1 /proc/self/numa_maps"
    one = bundle({"linux": {"memoryPolicy": policy}}, sh=show)
    assert pyrun.output(one).split(" ", 1)[1].startswith(shown)
    container = pyrun.start(one.args("sleep", "1000"))
    assert container.sh(show).split(" ", 1)[1].startswith(shown)
    container.delete("--force")


REFUSED = [
    ({"mode": "MPOL_X"}, "linux.memoryPolicy.mode: "),
    ({"mode": "MPOL_BIND"}, "linux.memoryPolicy.nodes: "),
    ({"mode": "MPOL_DEFAULT", "nodes": "0"}, "linux.memoryPolicy.nodes: "),
    ({"mode": "MPOL_BIND", "nodes": "0-"}, "linux.memoryPolicy.nodes: "),
    ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_X"]}, "linux.memoryPolicy.flags[0]: "),
    ({"mode": "MPOL_BIND", "nodes": "1024"}, "linux.memoryPolicy.nodes: no machine has a node 1024"),
    (
        {"mode": "MPOL_BIND", "nodes": "0-999999999"},
        "linux.memoryPolicy.nodes: no machine has a node 999999999",
    ),
    (
        {"mode": "MPOL_BIND", "nodes": "1023"},
        "linux.memoryPolicy: setting MPOL_BIND: Invalid argument (the nodes must",
    ),
]


@pytest.mark.parametrize(("policy", "words"), REFUSED, ids=[name_of(policy) for policy, _ in REFUSED])
def test_refused(pyrun, bundle, policy, words):
    """What the specification, the machine or the kernel doesn't have is refused by name."""
    assert pyrun.refused(bundle({"linux": {"memoryPolicy": policy}})).startswith(words)


def test_a_user_namespace(pyrun, bundle):
    """No right is needed for a policy."""
    needs.user_namespaces()
    one = bundle({"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"}}}, sh=SHOW)
    one.config["process"]["rlimits"] = None
    assert pyrun.output(one.user_namespace()).strip() == "bind:0"
