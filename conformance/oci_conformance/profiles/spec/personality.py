"""linux.personality (config-linux.md#personality)."""

from __future__ import annotations

import os

from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

KEY = "linux.personality"
# What uname(2) calls the machine for a program of the LINUX32 domain (Linux, arch/*/include: COMPAT_UTS_MACHINE).
NAMES_32 = {
    "x86_64": "i686",
    "aarch64": "armv8l",
    "ppc64le": "ppcle",
    "ppc64": "ppc",
    "s390x": "s390",
    "mips64": "mips",
}


@test("personality.domain", may_refuse=True)
def domain(t: Case) -> None:
    """With LINUX32 the program, and what it starts, is told of a 32-bit machine; with LINUX of the one that it is."""
    seen = t.run({KEY: {"domain": "LINUX"}}, "personality", "uname")
    t.equal("personality.domain", seen["personality"]["value"], 0)
    t.equal("personality.domain", seen["uname"]["machine"], os.uname().machine)
    seen = t.run({KEY: {"domain": "LINUX32", "flags": []}}, "personality", "uname", "exec /probe personality")
    t.equal("personality.domain", seen["personality"]["value"], 8)
    children = seen["exec"]["stdout"]
    t.check("personality.domain", '"LINUX32"' in children, "LINUX32 for its children", children)
    if name := NAMES_32.get(os.uname().machine):
        t.equal("personality.domain", seen["uname"]["machine"], name)


@test("personality.domain-invalid")
def unknown_domain(t: Case) -> None:
    """A domain other than LINUX and LINUX32 is an error, also one that the kernel knows."""
    for name in ("BSD", "linux32", "PER_LINUX32", ""):
        t.refused("personality.domain-invalid", {KEY: {"domain": "LINUX"}}, {f"{KEY}.domain": name})


@test("personality.flags-invalid")
def flags(t: Case) -> None:
    """No flag is defined, so any flag is an error, also one that the kernel knows."""
    for name in ("ADDR_NO_RANDOMIZE", "NO_SUCH_FLAG"):
        t.refused("personality.flags-invalid", {KEY: {"domain": "LINUX"}}, {f"{KEY}.flags": [name]})
