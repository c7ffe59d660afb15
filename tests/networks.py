"""Network namespaces of tests, with veth devices in them: the host's own is never touched."""

from __future__ import annotations

import json
import subprocess


class Network:
    """A network namespace that somebody sleeps in."""

    def __init__(self, pid):
        self.path = f"/proc/{pid}/ns/net"

    def ip(self, *words):
        """A command of iproute2 in there."""
        command = ["nsenter", f"--net={self.path}", "ip", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    def add(self, name):
        """A veth device, and its peer, which is up."""
        self.ip("link", "add", name, "type", "veth", "peer", "name", f"{name}-p")
        self.ip("link", "set", f"{name}-p", "up")

    def devices(self):
        """Name to what is configured: is it up, MTU, MAC address, and addresses of global scope."""
        found = {}
        for each in json.loads(self.ip("-json", "-details", "address")):
            addresses = [
                f"{one['local']}/{one['prefixlen']}" for one in each["addr_info"] if one["scope"] == "global"
            ]
            found[each["ifname"]] = ("UP" in each["flags"], each["mtu"], each["address"], sorted(addresses))
        return found


ADDRESSES = ("10.91.7.5/24", "10.92.0.1/32", "2001:db8:91::5/64")


def furnish(network):
    """Make the devices pt-a, with addresses and up, and pt-b."""
    network.ip("link", "set", "lo", "up")
    for name in ("pt-a", "pt-b"):
        network.add(name)
    for address in ADDRESSES:
        network.ip("address", "add", address, "dev", "pt-a", *(["nodad"] if ":" in address else []))
    network.ip("link", "set", "pt-a", "up", "mtu", "1437", "address", "02:0c:1e:57:00:01")
