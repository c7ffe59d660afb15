"""linux.netDevices: network devices of the host that become the container's.

Hot module, loaded only for such a configuration, and the parent's: it alone has rights over both network namespaces.
Linux moves a device with what belongs to its hardware or kind (MTU, MAC address, queue length, alias) and takes its
addresses away; the permanent ones of global scope are read before and given again. What isn't possible is found out
before anything is moved, and what was moved goes back where a create fails. From then on the devices are left alone:
with the last process of the network namespace Linux takes virtual devices away, and gives hardware back to the host.
Source: config-linux.md, Network Devices; rtnetlink(7).
"""

from __future__ import annotations

import errno
import posix

from oci_spec.fields import join
from pyrun.base import log
from pyrun.base.errors import PyrunError, failed, words
from pyrun.kernel import netlink, process
from pyrun.kernel.netlink import IFLA_IFNAME, IFLA_NET_NS_FD, attribute, number, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from oci_spec import types
    from pyrun.story.making import Making

IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS, IFA_RT_PRIORITY, IFA_PROTO = 1, 2, 4, 8, 9, 11
KEPT = (IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS, IFA_RT_PRIORITY, IFA_PROTO)
IFA_F_PERMANENT, IFA_F_TENTATIVE, IFA_F_DADFAILED = 0x80, 0x40, 0x08
RT_SCOPE_UNIVERSE = 0
MOST_NUMBERS = 32768  # of a name's template, as the kernel has it

CAUSES = {
    errno.EPERM: "that needs CAP_NET_ADMIN in the user namespaces of both network namespaces",
    errno.EINVAL: "Linux doesn't move devices of its kind, such as bridges and tunnels' own, to another namespace",
    errno.EEXIST: "the container's network namespace has a device of that name",
    errno.EACCES: "IPv6 is disabled in the container's network namespace",
}


class Device:
    """One device: its names on the host and in the container, and what is to be kept of it."""

    __slots__ = ("addresses", "index", "json_path", "name", "there", "up", "wanted")

    def __init__(self, name: str, wanted: str) -> None:
        self.name = name
        self.wanted = wanted  # perhaps with %d
        self.there = ""  # what it is called when it is there
        self.json_path = join(("linux", "netDevices", name))
        self.index = 0
        self.up = False
        self.addresses: list[bytes] = []


class Devices:
    """All of them, and the sockets and descriptors of the two namespaces."""

    __slots__ = ("found", "here", "moved", "own_namespace", "there")

    def __init__(self) -> None:
        self.found: list[Device] = []
        self.moved: list[Device] = []
        self.here = self.there = self.own_namespace = -1

    def close(self) -> None:
        """Forget the namespaces."""
        for fd in (self.here, self.there, self.own_namespace):
            try:
                posix.close(fd)
            except OSError:
                pass  # it was never open
        self.here = self.there = self.own_namespace = -1


def find(making: Making) -> None:
    """Before there is a container: every device, with what it has. Raises PyrunError if one isn't there, or can't be
    moved."""
    devices = making.net_devices = Devices()
    configured: dict[str, types.NetDevice] = making.plan.linux["netDevices"]
    try:
        devices.here = netlink.connect()
        devices.own_namespace = posix.open("/proc/self/ns/net", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        raise failed("asking for network devices", error, "linux.netDevices") from None
    for name, entry in configured.items():
        devices.found.append(_find_one(devices.here, name, entry.get("name") or name))


def _find_one(sock: int, name: str, wanted: str) -> Device:
    """A device with what it has. Raises PyrunError if it isn't there, or can't be moved."""
    device = Device(name, wanted)
    try:
        index, flags = _look_up(sock, name)
        if flags & netlink.IFF_LOOPBACK:
            loopback = f"{name} is a loopback device, and no namespace gives its own away"
            raise PyrunError(loopback, device.json_path)
        device.index, device.up = index, flags & netlink.IFF_UP != 0
        device.addresses = _addresses(sock, index)
    except OSError as error:
        if error.errno == errno.ENODEV:
            text = f"the runtime's network namespace has no device {name}"
            raise PyrunError(text, device.json_path) from None
        raise failed(f"looking up the network device {name}", error, device.json_path) from None
    return device


def refusals(configured: dict[str, types.NetDevice]) -> Iterator[PyrunError]:
    """What this host doesn't have of the devices, one by one."""
    try:
        sock = netlink.connect()
    except OSError as error:
        yield failed("asking for network devices", error, "linux.netDevices")
        return
    for name in configured:
        try:
            _find_one(sock, name, name)
        except PyrunError as error:
            yield error
    posix.close(sock)


def _look_up(sock: int, name: str) -> tuple[int, int]:
    """Index and flags of a device. OSError(ENODEV) if there is none of that name."""
    body = netlink.link(0) + attribute(IFLA_IFNAME, name.encode() + b"\0")
    answer = netlink.request(sock, netlink.RTM_GETLINK, 0, body, "RTM_GETLINK")[0]
    return read(answer, 4), read(answer, 8)


def _is_taken(sock: int, name: str) -> bool:
    try:
        _look_up(sock, name)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return False
    return True


def _addresses(sock: int, index: int) -> list[bytes]:
    """The permanent addresses of global scope that a device has, each as a request makes one, but for the index."""
    kept = []
    flags = netlink.NLM_F_DUMP
    for answer in netlink.request(sock, netlink.RTM_GETADDR, flags, number(0, 8), "RTM_GETADDR"):
        items = netlink.attributes(answer[8:])
        status = dict(items).get(IFA_FLAGS, answer[2:3] + b"\0\0\0")
        is_permanent = read(status, 0) & IFA_F_PERMANENT
        if read(answer, 4) != index or answer[3] != RT_SCOPE_UNIVERSE or not is_permanent:
            continue
        parts = [answer[:2], b"\0", answer[3:4]]  # family and length of the prefix; flags; scope
        for kind, data in items:
            if kind == IFA_FLAGS:
                data = number(read(data, 0) & ~(IFA_F_TENTATIVE | IFA_F_DADFAILED))
            if kind in KEPT:
                parts.append(attribute(kind, data))
        kept.append(b"".join(parts))
    return kept


def move(making: Making) -> None:
    """Move them into the network namespace of the init. Raises PyrunError if that can't be done for one of them."""
    devices = making.net_devices
    assert devices
    namespace = -1
    try:
        namespace = posix.open(f"/proc/{making.pid}/ns/net", posix.O_RDONLY | posix.O_CLOEXEC)
        devices.there = _connect_in(namespace, devices.own_namespace)
        for device in devices.found:
            if "%" not in device.wanted and _is_taken(devices.there, device.wanted):
                raise PyrunError(
                    f"the container's network namespace has a device {device.wanted} already",
                    device.json_path,
                )
        for device in devices.found:
            _move_one(devices, device, namespace)
    except OSError as error:
        raise failed("entering the container's network namespace", error, "linux.netDevices") from None
    finally:
        if namespace >= 0:
            posix.close(namespace)


def _connect_in(namespace: int, own: int) -> int:
    """A socket to the kernel in another network namespace."""
    process.setns(namespace, process.CLONE_NEWNET, "")
    try:
        return netlink.connect()
    finally:
        process.setns(own, process.CLONE_NEWNET, "")


def _move_one(devices: Devices, device: Device, namespace: int) -> None:
    try:
        _move_by_name(devices, device, namespace)
        devices.moved.append(device)
        _furnish(devices.there, device.there, device.addresses, True)
    except OSError as error:
        doing = f"moving the network device {device.name}"
        raise failed(doing, error, device.json_path, CAUSES.get(error.errno or 0, "")) from None


def _move_by_name(devices: Devices, device: Device, namespace: int) -> None:
    """Move and rename a device. A template takes the first number that is free, and the next if somebody in a joined
    namespace was faster."""
    first, template, rest = device.wanted.partition("%d")
    for count in range(MOST_NUMBERS if template else 1):
        name = f"{first}{count}{rest}" if template else device.wanted
        if template and _is_taken(devices.there, name):
            continue
        try:
            _send(devices.here, device.index, name, namespace)
            device.there = name
            return
        except OSError as error:
            # It is renamed after it was moved: is it over there, under its old name or the new one?
            if _is_taken(devices.here, device.name):
                if error.errno != errno.EEXIST or not template:
                    raise
                continue
            device.there = name if _is_taken(devices.there, name) else device.name
            devices.moved.append(device)
            raise
    raise OSError(errno.EEXIST, "RTM_NEWLINK: every name of the template is taken")


def _send(sock: int, index: int, name: str, namespace: int) -> None:
    body = netlink.link(index) + attribute(IFLA_NET_NS_FD, number(namespace))
    body += attribute(IFLA_IFNAME, name.encode() + b"\0")
    netlink.request(sock, netlink.RTM_NEWLINK, 0, body, "RTM_NEWLINK")


def _furnish(sock: int, name: str, addresses: list[bytes], up: bool) -> None:
    """Give a moved device its addresses again, and set it up."""
    index, _ = _look_up(sock, name)
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_EXCL
    for address in addresses:
        body = address[:4] + number(index) + address[4:]
        netlink.request(sock, netlink.RTM_NEWADDR, flags, body, "RTM_NEWADDR")
    if up:
        body = netlink.link(index, netlink.IFF_UP, netlink.IFF_UP)
        netlink.request(sock, netlink.RTM_NEWLINK, 0, body, "RTM_NEWLINK")


def close(making: Making) -> None:
    """Forget the namespaces: the devices are the container's."""
    if making.net_devices:
        making.net_devices.close()


def put_back(making: Making) -> None:
    """After a failed create: what was moved is as it was before. The namespace is there as long as our socket is. A
    failure is a warning."""
    devices = making.net_devices
    while devices and devices.moved:
        device = devices.moved.pop()
        try:
            index, _ = _look_up(devices.there, device.there)
            _send(devices.there, index, device.name, devices.own_namespace)
            _furnish(devices.here, device.name, device.addresses, device.up)
        except OSError as error:
            log.warn(f"{device.json_path}: taking the network device {device.name} back: {words(error)}")
