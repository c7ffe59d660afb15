"""linux.personality: the machine that the program is told of."""

from __future__ import annotations

import os

import pytest

SHOW = "cat /proc/self/personality; sh -c 'uname -m'"
# What uname(2) calls the machine for a program of the LINUX32 domain (Linux, arch/*/include: COMPAT_UTS_MACHINE).
NAMES_32 = {"x86_64": "i686", "aarch64": "armv8l", "s390x": "s390", "ppc64le": "ppcle"}
OWN = os.uname().machine
EXPECTED = {"LINUX": ["00000000", OWN], "LINUX32": ["00000008", NAMES_32.get(OWN, OWN)]}


def with_domain(one, domain):
    """Ask for a domain."""
    one.config["linux"]["personality"] = {"domain": domain}
    return one.write()


@pytest.mark.parametrize("user", [False, True], ids=["host", "user-namespace"])
@pytest.mark.parametrize("domain", EXPECTED)
def test_domain(pyrun, bundle, domain, user):
    """The program, what it starts, and a program of exec are told of the machine that is configured."""
    one = bundle(sh=SHOW)
    if user:
        one.config["process"]["rlimits"] = None
        one.user_namespace()
    assert pyrun.output(with_domain(one, domain)).split() == EXPECTED[domain]
    container = pyrun.start(one.args("sleep", "1000"))
    assert container.sh(SHOW).split() == EXPECTED[domain]
    container.delete("--force")


def test_a_hook_that_stage_2_runs(pyrun, bundle):
    """A startContainer hook is one of the container's programs."""
    one = with_domain(bundle(sh="true"), "LINUX32")
    one.hook("startContainer", "uname -m >&2; exit 1")
    assert f": {EXPECTED['LINUX32'][1]}" in pyrun.error("run", "-b", str(one.path), pyrun.id())


@pytest.mark.parametrize("no_new_privileges", [True, False], ids=["nnp", "no-nnp"])
def test_a_filter_that_refuses_the_call(pyrun, bundle, no_new_privileges):
    """The personality is set before the container's seccomp filter is loaded, which may refuse to change it."""
    rule = {"names": ["personality"], "action": "SCMP_ACT_ERRNO"}
    one = bundle(
        {
            "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}},
            "process": {"noNewPrivileges": no_new_privileges},
        },
        sh=SHOW,
    )
    assert pyrun.output(with_domain(one, "LINUX32")).split() == EXPECTED["LINUX32"]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"domain": "LINUX64"}, "linux.personality.domain"),
        ({}, "linux.personality.domain"),
        ({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}, "linux.personality.flags"),
    ],
    ids=["other-domain", "no-domain", "flag"],
)
def test_refused(pyrun, bundle, value, path):
    """A domain that isn't one of the two, and any flag, are refused by name."""
    assert pyrun.refused(bundle({"linux": {"personality": value}})).startswith(f"{path}: ")
