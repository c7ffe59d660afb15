"""hostname and domainname (config.md#hostname, #domainname)."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from oci_conformance.profiles.support.namespaces import apart, held, inside, path
from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test

LONGEST = "a-name-of-sixty-four-bytes-the-most-that-linux-takes-for-it.abcd"  # __NEW_UTS_LEN


@test("hostname")
def hostname(t: Case) -> None:
    """The program sees the host name of the configuration, also the longest; the host keeps its own."""
    before = socket.gethostname()
    assert len(LONGEST) == 64
    for name in ("mrs-dalloway.test", LONGEST):
        t.equal("hostname", t.run({"hostname": name}, "uname")["uname"]["nodename"], name)
    t.equal("hostname", socket.gethostname(), before)


def _joined(t: Case, change: dict[Any, Any]) -> tuple[Any, list[str]]:
    """What uname(2) tells the program, and the host and domain name of the UTS namespace that it joins."""
    with held("uts") as holder:
        listed = {"linux.namespaces[2]": {"type": "uts", "path": str(path("uts", holder))}}
        seen = t.run({**listed, **change}, "uname")["uname"]
        with inside(holder, "uts"):
            return seen, [socket.gethostname(), _domain()]


@test("hostname", needs=("root",))
def joined_hostname(t: Case) -> None:
    """Where the container joins a UTS namespace, the host name is set in that one."""
    seen, outside = _joined(t, {"hostname": "clarissa"})
    t.equal("hostname", [seen["nodename"], outside[0]], ["clarissa", "clarissa"])


@test("domainname", needs=("root",))
def joined_domainname(t: Case) -> None:
    """Where the container joins a UTS namespace, the domain name is set in that one."""
    seen, outside = _joined(t, {"domainname": "joined.test"})
    t.equal("domainname", [seen["domainname"], outside[1]], ["joined.test", "joined.test"])


@test("domainname")
def domainname(t: Case) -> None:
    """The program sees the NIS domain name of the configuration; the host keeps its own."""
    before = _domain()
    for name in ("foobarbaz.test", LONGEST):
        t.equal("domainname", t.run({"domainname": name}, "uname")["uname"]["domainname"], name)
    t.equal("domainname", _domain(), before)


@test("hostname.no-uts", needs=("root",))
def without_own(t: Case) -> None:
    """Without a UTS namespace in the list the name is either refused, leaving the runtime's, or set in the runtime's.

    The runtime is called in a UTS namespace of the test's, so that the host's name is safe.
    """
    namespaces = [{"type": kind} for kind in ("pid", "ipc", "mount")]
    with apart("uts"):
        socket.sethostname("the-runtimes-own")
        try:
            seen = t.run({"linux.namespaces": namespaces, "hostname": "septimus"}, "uname")["uname"]
        except Refused:
            kept = socket.gethostname()
            t.check("hostname.no-uts", kept == "the-runtimes-own", "the old name after the error", kept)
            return
        names = seen["nodename"], socket.gethostname()
        expected = "an error, or the name in the UTS namespace that both share"
        t.check("hostname.no-uts", names == ("septimus", "septimus"), expected, names)


def _domain() -> str:
    return Path("/proc/sys/kernel/domainname").read_text().strip()
