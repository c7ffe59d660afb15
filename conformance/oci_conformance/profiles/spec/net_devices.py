"""linux.netDevices (config-linux.md#network-devices).

The runtime is called in a network namespace of the test's, where the devices are: one end of a veth pair each, the
other end stays. Everything goes with that namespace.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

from oci_conformance.core.bundle import Json
from oci_conformance.profiles.support.namespaces import apart, held, inside, path
from oci_conformance.run.case import Broken, Case
from oci_conformance.run.registry import test

KEY = "linux.netDevices"
NEEDS = ("root", "netns", "program:ip")
NAMESPACE = {"linux.namespaces[+]": {"type": "network"}}
MAC, MTU, ALIAS, QUEUE = "02:0c:1e:57:00:01", 1437, "oc-alias", 321
ADDRESSES = ("10.91.7.5/24", "10.92.0.1/32")
ADDRESSES_6 = ("2001:db8:91::5/64", "fd00:91::7/128")


def ip(*words: str) -> None:
    """A command of iproute2, which has to succeed."""
    subprocess.run(("ip", *words), check=True, capture_output=True, timeout=10)


def interfaces() -> dict[str, Json]:
    """The interfaces of this process's network namespace, by name, as iproute2 tells them."""
    output = subprocess.run(
        ("ip", "-json", "-details", "address"), check=True, capture_output=True, timeout=10
    ).stdout
    return {each["ifname"]: each for each in json.loads(output) if "ifname" in each}


def addresses(interface: Json) -> list[str]:
    """Its addresses of global scope, as 10.0.0.2/24."""
    found = interface.get("addr_info", ())
    return sorted(f"{each['local']}/{each['prefixlen']}" for each in found if each.get("scope") == "global")


@contextlib.contextmanager
def devices(*names: str) -> Iterator[None]:
    """This process is for a while in a network namespace with veth devices of these names, and their peers."""
    with apart("network"):
        ip("link", "set", "lo", "up")
        for name in names:
            ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-peer")
            ip("link", "set", f"{name}-peer", "up")
        yield


def _of(container_pid: int) -> dict[str, Json]:
    """The interfaces of a container's network namespace."""
    with inside(container_pid, "network"):
        return interfaces()


def _one(found: dict[str, Json], name: str) -> Json:
    if name not in found:
        raise Broken(f"the container's network namespace has no {name}, only {', '.join(found)}")
    return found[name]


@test("netdev.available", "netdev.name", "netdev.up", needs=NEEDS)
def moved(t: Case) -> None:
    """The devices are in the container, up, with the names that are given, or the host's, and no longer outside."""
    with devices("oc-a", "oc-b", "oc-c"):
        ip("link", "set", "oc-c", "up")
        before = {interfaces()[name]["address"]: name for name in ("oc-a", "oc-b", "oc-c")}
        container = t.serve(
            {**NAMESPACE, KEY: {"oc-a": {}, "oc-b": {"name": "eth0"}, "oc-c": {"name": "oc-c"}}}
        )
        there = _of(container.pid)
        t.equal("netdev.available", sorted(there), ["eth0", "lo", "oc-a", "oc-c"])
        kept = {before.get(each.get("address", "")): name for name, each in there.items() if name != "lo"}
        t.equal("netdev.name", kept, {"oc-a": "oc-a", "oc-b": "eth0", "oc-c": "oc-c"})
        t.equal("netdev.available", sorted(set(interfaces()) & set(before.values())), [])
        down = [name for name, each in there.items() if name != "lo" and "UP" not in each["flags"]]
        t.equal("netdev.up", down, [])
        seen = container.ask("net").get("result", [])
        up = sorted(each["name"] for each in seen if each["up"] and each["name"] != "lo")
        t.equal("netdev.up", up, ["eth0", "oc-a", "oc-c"])


@test("netdev.preserve-attrs", "netdev.preserve-addrs", needs=NEEDS)
def preserved(t: Case) -> None:
    """The device keeps its attributes, and all permanent addresses of global scope, of IPv4 and IPv6."""
    with devices("oc-a"):
        ip("link", "set", "oc-a", "mtu", str(MTU), "address", MAC, "txqueuelen", str(QUEUE), "alias", ALIAS)
        ip("link", "set", "oc-a", "up")
        wanted = [*ADDRESSES]
        with contextlib.suppress(subprocess.CalledProcessError):  # a host without IPv6
            for address in ADDRESSES_6:
                ip("address", "add", address, "dev", "oc-a", "nodad")
            wanted += ADDRESSES_6
        for address in ADDRESSES:
            ip("address", "add", address, "dev", "oc-a")
        attributes = {"address": MAC, "mtu": MTU, "txqlen": QUEUE, "ifalias": ALIAS}
        container = t.serve({**NAMESPACE, KEY: {"oc-a": {"name": "eth0"}}})
        there = _of(container.pid)
        for id in t.test.ids if "eth0" not in there else ():
            t.check(id, False, "the device in the container, as eth0", f"only {', '.join(there)}")
        if "eth0" not in there:
            return
        seen = there["eth0"]
        t.equal("netdev.preserve-attrs", {name: seen.get(name) for name in attributes}, attributes)
        t.equal("netdev.preserve-addrs", addresses(seen), sorted(wanted))
        told = {each["name"]: each["addresses"] for each in container.ask("net").get("result", [])}
        t.equal("netdev.preserve-addrs", sorted(set(wanted) - set(told.get("eth0", ()))), [])


@test("netdev.template", needs=NEEDS)
def template(t: Case) -> None:
    """With %d in the name the kernel chooses one that is free, though the device's own and the first are taken."""
    with devices("oc-a"), held("network") as holder:
        with inside(holder, "network"):
            for name in ("oc-a", "oc0"):
                ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-p")
            before = set(interfaces())
        listed = {"type": "network", "path": str(path("network", holder))}
        t.run({"linux.namespaces[+]": listed, KEY: {"oc-a": {"name": "oc%d"}}}, "net")
        new = sorted(set(_of(holder)) - before)
        numbered = len(new) == 1 and re.fullmatch(r"oc\d+", new[0]) is not None
        t.check("netdev.template", numbered, "one more device, oc and a number", new)


@test("netdev.name-exists-error", "errors.no-side-effects", needs=NEEDS)
def name_taken(t: Case) -> None:
    """A name that a device of the container has already is an error; the device then stays where it is."""
    with devices("oc-a", "oc-b"), held("network") as holder:
        with inside(holder, "network"):
            ip("link", "add", "taken", "type", "veth", "peer", "name", "taken-p")
        listed = {"type": "network", "path": str(path("network", holder))}
        base: dict[Any, Any] = {"linux.namespaces[+]": listed, KEY: {"oc-a": {"name": "free"}}}
        t.refused("netdev.name-exists-error", base, {KEY: {"oc-b": {"name": "taken"}}})
        _stays(t, "oc-b")
        there = _of(holder).get("taken", {})
        t.equal("errors.no-side-effects", there.get("linkinfo", {}).get("info_kind"), "veth")


@test("netdev.name-exists-error", "errors.no-side-effects", needs=NEEDS)
def loopback_name(t: Case) -> None:
    """In a new network namespace the name lo is taken."""
    with devices("oc-a", "oc-b"):
        base: dict[Any, Any] = {**NAMESPACE, KEY: {"oc-a": {}}}
        t.refused("netdev.name-exists-error", base, {KEY: {"oc-b": {"name": "lo"}}})
        _stays(t, "oc-b")


def _stays(t: Case, name: str) -> None:
    """A verdict: a device that was refused is still outside, and isn't lost with the container's namespace."""
    outside = [*interfaces()]
    t.check("errors.no-side-effects", name in outside, f"the device {name} where it was", outside)


@test("netdev.check-possible", "errors.no-side-effects", needs=NEEDS)
def impossible(t: Case) -> None:
    """A device that doesn't exist, one that Linux never moves, and a name that no device can have are errors."""
    faults: tuple[dict[str, dict[str, str]], ...] = (
        {"oc-none": {}},
        {"lo": {"name": "oc-lo"}},
        {"oc-b": {"name": "longer-than-it-may"}},
    )
    for fault in faults:
        with devices("oc-a", "oc-b"):
            base: dict[Any, Any] = {**NAMESPACE, KEY: {"oc-a": {}}}
            t.refused("netdev.check-possible", base, {KEY: fault})
            _stays(t, "oc-b")


@test("netdev.no-lifecycle", needs=NEEDS)
def left_alone(t: Case) -> None:
    """Once it is moved, the runtime leaves the device as it is: no later operation undoes what is changed in it."""
    with devices("oc-a"):
        ip("address", "add", ADDRESSES[0], "dev", "oc-a")
        container = t.create({**NAMESPACE, KEY: {"oc-a": {"name": "eth0"}}}, "serve")
        _one(_of(container.pid), "eth0")
        with inside(container.pid, "network"):
            ip("address", "flush", "dev", "eth0")
            ip("link", "set", "eth0", "down", "mtu", "1399")
            ip("link", "set", "eth0", "name", "renamed")
        container.start()
        container.state()
        container.kill(0)
        seen = _one(_of(container.pid), "renamed")
        now = ["UP" in seen["flags"], seen["mtu"], addresses(seen)]
        t.equal("netdev.no-lifecycle", now, [False, 1399, []])


@test("netdev.no-move-back", "netdev.no-lifecycle", needs=NEEDS)
def stays(t: Case) -> None:
    """The device stays in a network namespace that outlives the container, and isn't brought back or put down."""
    with devices("oc-a"), held("network") as holder:
        listed = {"type": "network", "path": str(path("network", holder))}
        t.run({"linux.namespaces[+]": listed, KEY: {"oc-a": {"name": "eth0"}}}, "net")
        seen = _of(holder)
        t.check("netdev.no-move-back", "eth0" in seen, "eth0 in the namespace that was joined", [*seen])
        t.check("netdev.no-move-back", "oc-a" not in interfaces(), "no oc-a outside", [*interfaces()])
        t.check("netdev.no-lifecycle", "UP" in seen.get("eth0", {}).get("flags", ()), "eth0 is up", [*seen])


@test("netdev.no-move-back", needs=NEEDS)
def gone(t: Case) -> None:
    """With a network namespace of its own the container takes a virtual device with it: nothing is moved out."""
    with devices("oc-a"):
        t.run({**NAMESPACE, KEY: {"oc-a": {"name": "eth0"}}}, "net")
        left = sorted({"oc-a", "eth0"} & set(interfaces()))
        t.equal("netdev.no-move-back", left, [])
