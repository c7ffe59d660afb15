"""linux.sysctl (config-linux.md#sysctl)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oci_conformance.profiles.support.namespaces import apart
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

# Parameters that belong to an IPC or network namespace, with values that no kernel starts with.
IPC = {
    "kernel.msgmax": "8193",
    "kernel.shm_rmid_forced": "1",
    "fs.mqueue.msg_max": "11",
    "kernel.sem": "251 32001 33 129",
}
NETWORK = {
    "net.ipv4.ip_forward": "1",
    "net.core.somaxconn": "257",
    "net.ipv4.ip_local_port_range": "32770 60001",
}


def _file(name: str) -> str:
    return "/proc/sys/" + name.replace(".", "/")


def _check(t: Case, changes: dict[Any, Any], wanted: dict[str, str]) -> None:
    """Run with the parameters, and compare what the program reads; the runtime's own must stay.

    The runtime's namespaces are the test's, so that a runtime that sets its own parameters doesn't change the host's.
    """
    with apart("network", "ipc"):
        before = {name: Path(_file(name)).read_text() for name in wanted}
        seen = t.run({**changes, "linux.sysctl": wanted}, *(f"read {_file(name)}" for name in wanted))
        after = {name: Path(_file(name)).read_text() for name in wanted}
    values = {name: " ".join(str(seen[f"read {_file(name)}"]).split()) for name in wanted}
    t.equal("sysctl", values, wanted)
    t.check("sysctl", after == before, "the runtime's parameters as they were", after)


@test("sysctl", needs=("root", "filesystem:mqueue"))
def ipc(t: Case) -> None:
    """Parameters of the container's IPC namespace have the configured values."""
    _check(t, {}, IPC)


@test("sysctl", needs=("root", "netns"))
def network(t: Case) -> None:
    """Parameters of the container's network namespace have the configured values."""
    _check(t, {"linux.namespaces[+]": {"type": "network"}}, NETWORK)


@test("sysctl", needs=("root", "netns"))
def protected(t: Case) -> None:
    """Parameters are set though /proc/sys is read-only for the program."""
    namespace = {"linux.namespaces[+]": {"type": "network"}, "linux.readonlyPaths": ["/proc/sys"]}
    _check(t, namespace, NETWORK)


@test("sysctl", needs=("root", "netns"))
def impossible(t: Case) -> None:
    """A parameter that doesn't exist, or a value that the kernel refuses, is an error: it can't be applied."""
    base: dict[Any, Any] = {
        "linux.namespaces[+]": {"type": "network"},
        "linux.sysctl": {"net.core.somaxconn": "257"},
    }
    with apart("network", "ipc"):
        for name, value in (("net.core.no_such_parameter", "1"), ("net.ipv4.ip_local_port_range", "many")):
            wrong: dict[Any, Any] = {("linux", "sysctl", name): value}
            t.refused("sysctl", base, wrong, at="start")
