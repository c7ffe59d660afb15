"""linux.netDevices: devices of the caller's network namespace that become the container's.

The runtime is called in a network namespace of the test's, with veth devices in it; the host's is never touched.
"""

from __future__ import annotations

import subprocess

import needs
import pytest
from bundles import sleeping
from networks import Network, furnish


@pytest.fixture
def host():
    """The runtime's network namespace, with the devices pt-a and pt-b."""
    needs.root()
    needs.namespace("net")
    needs.program("ip", "nsenter")
    with sleeping("unshare", "--net") as holder:
        network = Network(holder)
        furnish(network)
        yield network


@pytest.fixture
def guest():
    """Another network namespace, for a container to join."""
    with sleeping("unshare", "--net") as holder:
        yield Network(holder)


@pytest.fixture
def inside(pyrun, host):
    """The runtime, called in the namespace of the devices."""
    pyrun.wrapper = ["nsenter", f"--net={host.path}"]
    return pyrun


def with_devices(one, **devices):
    """Ask for devices: a name on the host, with _ for -, and one in the container."""
    one.config["linux"]["netDevices"] = {
        name.replace("_", "-"): {"name": wanted} if wanted else {} for name, wanted in devices.items()
    }
    return one.write()


@pytest.mark.parametrize("kind", ["own", "user", "joined"])
def test_moved(inside, host, guest, bundle, kind):
    """The devices are in the container under their new names, up, with what they had; the host has them no more."""
    one = with_devices(bundle(), pt_a="eth0", pt_b="")
    if kind == "user":
        needs.user_namespaces()
        one.config["process"]["rlimits"] = None
        one.user_namespace()
    if kind == "joined":
        one.namespace("network", guest.path)
    before = host.devices()
    container = inside.create(one)
    found = Network(container.pid).devices()
    assert found["eth0"] == before["pt-a"]
    assert found["pt-b"][0] is True
    assert {"eth0", "pt-b"} == set(found) - {"lo"}
    assert set(host.devices()) == {"lo", "pt-a-p", "pt-b-p"}
    container.delete("--force")
    left = guest.devices() if kind == "joined" else {}
    assert ("eth0" in left) == (kind == "joined")
    assert "pt-a" not in host.devices()


@pytest.mark.parametrize("call", ["exec", "run"])
def test_the_program_sees_them(inside, host, bundle, call):
    """The program, and one that is added by exec, see the device, and reach its peer by it."""
    needs_ping = "ip -o link show eth0 && ip -o -4 addr show eth0"
    one = with_devices(bundle(sh=needs_ping), pt_a="eth0")
    if call == "run":
        seen = inside.output(one)
    else:
        container = inside.start(one.args("sleep", "1000"))
        seen = container.sh(needs_ping)
        container.delete("--force")
    assert "eth0@" in seen
    assert "10.91.7.5/24" in seen


def test_templates(inside, host, bundle):
    """%d takes numbers that are free, one device after the other."""
    one = with_devices(bundle(sh="ls /sys/class/net"), pt_a="net%d", pt_b="net%d")
    assert sorted(inside.output(one).split()) == ["lo", "net0", "net1"]


def test_a_template_passes_over_what_is_taken(inside, host, guest, bundle):
    """Also where the device's own name is taken in the namespace."""
    for name in ("pt-a", "net0", "net2"):
        guest.add(name)
    one = with_devices(bundle(), pt_a="net%d", pt_b="net%d").namespace("network", guest.path)
    container = inside.create(one)
    assert {"net1", "net3"} < set(guest.devices())
    container.delete("--force")


def test_a_name_that_is_taken_until_it_moves(inside, host, guest, bundle):
    """A device whose name on the host is another's in the container moves under its new name."""
    guest.add("pt-a")
    one = with_devices(bundle(), pt_a="eth7").namespace("network", guest.path)
    before = host.devices()["pt-a"]
    container = inside.create(one)
    assert guest.devices()["eth7"] == before
    container.delete("--force")


def test_names_that_are_exchanged(inside, host, bundle):
    """Each of two devices may get the other's name."""
    before = host.devices()
    container = inside.create(with_devices(bundle(), pt_a="pt-b", pt_b="pt-a"))
    found = Network(container.pid).devices()
    assert found["pt-b"] == before["pt-a"]
    assert found["pt-a"][2] == before["pt-b"][2]
    container.delete("--force")


def test_sysctls_of_a_device(inside, host, bundle):
    """linux.sysctl may name a device by its new name: it is there before they are set."""
    one = with_devices(bundle(sh="cat /proc/sys/net/ipv4/conf/eth0/forwarding"), pt_a="eth0")
    one.config["linux"]["sysctl"] = {"net.ipv4.conf.eth0.forwarding": "1"}
    assert inside.output(one.write()) == "1\n"


def test_hooks_find_them(inside, host, bundle, tmp_path):
    """createRuntime hooks, which set up networks, find the devices in the container's namespace."""
    one = with_devices(bundle(), pt_a="eth0")
    find = """sed 's/.*"pid": *\\([0-9]*\\).*/\\1/'"""
    one.hook("createRuntime", f"pid=$({find}); nsenter -t $pid -n ip -o link show eth0 > {tmp_path}/seen")
    container = inside.create(one)
    assert "eth0@" in (tmp_path / "seen").read_text()
    container.delete("--force")


REFUSED = {
    "missing": ({"pt_a": "", "nothing0": ""}, "linux.netDevices.nothing0", "has no device nothing0"),
    "loopback": ({"pt_a": "", "lo": "eth1"}, "linux.netDevices.lo", "no namespace gives its own away"),
    "lo is taken": ({"pt_a": "", "pt_b": "lo"}, 'linux.netDevices["pt-b"]', "has a device lo already"),
    "taken": ({"pt_a": "", "pt_b": "taken"}, 'linux.netDevices["pt-b"]', "has a device taken already"),
    "a bridge": ({"pt_a": "eth0", "bridge0": ""}, "linux.netDevices.bridge0", "Linux doesn't move devices of its kind"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_moved(inside, host, guest, bundle, case):
    """A device that isn't there, can't be moved, or a name that is taken: one sentence with its JSON path, and every
    device is where it was, with all that it had, also one that was moved before."""
    devices, place, sentence = REFUSED[case]
    if case == "a bridge":
        host.ip("link", "add", "bridge0", "type", "bridge")
    guest.add("taken")
    before, there = host.devices(), guest.devices()
    one = with_devices(bundle(), **devices).namespace("network", guest.path)
    said = inside.refused(one)
    assert said.startswith(f"{place}: ")
    assert sentence in said
    if case in ("missing", "loopback"):
        checked = inside("validate", str(one.path))
        assert checked.code == 1
        assert place in checked.out
    assert host.devices() == before
    assert guest.devices() == there


def test_ipv6_that_is_disabled(inside, host, guest, bundle):
    """Addresses that the container's namespace doesn't take are an error, and never lost."""
    subprocess.run(
        ["nsenter", f"--net={guest.path}", "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"],
        check=True,
    )
    before = host.devices()
    said = inside.refused(with_devices(bundle(), pt_a="eth0").namespace("network", guest.path))
    assert said.startswith('linux.netDevices["pt-a"]: moving the network device pt-a: RTM_NEWADDR: ')
    assert "IPv6 is disabled in the container's network namespace" in said
    assert host.devices() == before
    assert set(guest.devices()) == {"lo"}


@pytest.mark.parametrize("fault", ["mount", "hook", "program"])
@pytest.mark.parametrize("joined", [False, True], ids=["own", "joined"])
def test_a_create_that_fails_later(inside, host, guest, bundle, fault, joined):
    """Whatever fails after the devices were moved, they are where they were, with name, addresses and state."""
    one = with_devices(bundle(), pt_a="eth0", pt_b="")
    if joined:
        one.namespace("network", guest.path)
    if fault == "mount":
        one.mount("/m", "tmpfs", "tmpfs", "no_such_option")
    elif fault == "hook":
        one.hook("createRuntime", "exit 1")
    else:
        one.args("/no/such/program")
    before = host.devices()
    inside.refused(one)
    assert host.devices() == before
    assert set(guest.devices()) == {"lo"}


def test_the_hosts_namespace(inside, host, bundle):
    """The runtime's own network namespace isn't one to move a device to: it would be renamed on the host."""
    before = host.devices()
    said = inside.refused(with_devices(bundle(), pt_a="eth0").namespace("network", host.path))
    assert said.startswith('linux.netDevices["pt-a"]: ')
    assert "is the host's: the device would stay the host's" in said
    assert host.devices() == before


def test_no_network_namespace(inside, host, bundle):
    """Devices want a network namespace in the configuration."""
    said = inside.refused(with_devices(bundle(), pt_a="eth0").namespace("network", None))
    assert said.startswith("linux.netDevices: found devices, wanted a network namespace")
    assert "pt-a" in host.devices()


def test_without_the_right(inside, host, bundle):
    """A caller without CAP_NET_ADMIN is told what is missing, and nothing is moved."""
    needs.program("setpriv")
    inside.wrapper += ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    before = host.devices()
    said = inside.refused(with_devices(bundle(), pt_a="eth0"))
    assert "CAP_NET_ADMIN" in said
    assert host.devices() == before
