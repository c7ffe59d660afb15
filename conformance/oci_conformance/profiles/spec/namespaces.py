"""linux.namespaces (config-linux.md#namespaces)."""

from __future__ import annotations

import os

from oci_conformance.core import kernel
from oci_conformance.profiles.support import namespaces
from oci_conformance.profiles.support.namespaces import KINDS, held, link, path
from oci_conformance.run.case import Case, Refused
from oci_conformance.run.registry import test

MAPPINGS = {
    "linux.uidMappings": [{"containerID": 0, "hostID": 0, "size": 100}],
    "linux.gidMappings": [{"containerID": 0, "hostID": 0, "size": 100}],
}


def _new(t: Case, kind: str, **changes: object) -> None:
    """A new namespace of a kind is supported, and really a new one."""
    if {"type": kind} in t.base("any")["linux"]["namespaces"]:  # an ordinary user's has a user namespace
        changes = {}
    else:
        changes["linux.namespaces[+]"] = {"type": kind}
    supported = f"ns.supported-{kind}"
    try:
        container = t.serve(changes)
    except Refused as error:
        t.check(supported, False, f"a container with a {kind} namespace of its own", error)
        t.unsupported("ns.new-without-path", str(error))
        return
    own = container.ask("ns").get("result", {}).get(KINDS[kind][0])
    fresh = own is not None and own == link(kind, container.pid) and own != link(kind)
    expected = f"another {kind} namespace than the runtime's {link(kind)}"
    t.check(supported, fresh, expected, own)
    t.check("ns.new-without-path", fresh, expected, own)


@test("ns.supported-pid", "ns.new-without-path")
def pid(t: Case) -> None:
    """A container can have a PID namespace of its own: its program is process 1."""
    _new(t, "pid")
    t.equal("ns.new-without-path", t.run({}, "session")["session"]["pid"], 1)


@test("ns.supported-network", "ns.new-without-path", needs=("netns",))
def network(t: Case) -> None:
    """A container can have a network namespace of its own, without the host's network cards."""
    _new(t, "network")
    seen = t.run({"linux.namespaces[+]": {"type": "network"}}, "net")["net"]
    cards = [each["name"] for each in seen if os.path.exists(f"/sys/class/net/{each['name']}/device")]
    t.equal("ns.new-without-path", cards, [])


@test("ns.supported-mount", "ns.new-without-path")
def mount(t: Case) -> None:
    """A container can have a mount namespace of its own."""
    _new(t, "mount")


@test("ns.supported-ipc", "ns.new-without-path")
def ipc(t: Case) -> None:
    """A container can have an IPC namespace of its own."""
    _new(t, "ipc")


@test("ns.supported-uts", "ns.new-without-path")
def uts(t: Case) -> None:
    """A container can have a UTS namespace of its own."""
    _new(t, "uts")


@test("ns.supported-user", "ns.new-without-path", needs=("userns",))
def user(t: Case) -> None:
    """A container can have a user namespace of its own."""
    _new(t, "user", **MAPPINGS)


@test("ns.supported-cgroup", "ns.new-without-path", needs=("cgroupns",))
def cgroup(t: Case) -> None:
    """A container can have a cgroup namespace of its own, whose root is its cgroup."""
    _new(t, "cgroup")
    seen = t.run({"linux.namespaces[+]": {"type": "cgroup"}}, "read /proc/self/cgroup")["read"]
    paths = {line.split(":", 2)[2] for line in seen.splitlines()}
    t.equal("ns.new-without-path", sorted(paths), ["/"])


@test("ns.supported-time", "ns.new-without-path", needs=("timens",))
def time(t: Case) -> None:
    """A container can have a time namespace of its own."""
    _new(t, "time")


@test("ns.path-joined", needs=("root", "netns", "cgroupns"))
def joined(t: Case) -> None:
    """The program is in the namespaces whose paths are given."""
    kinds = ("network", "ipc", "uts", "pid", "cgroup")
    with held(*kinds) as holder:
        listed = [{"type": kind, "path": str(path(kind, holder))} for kind in kinds]
        seen = t.run({"linux.namespaces": [*listed, {"type": "mount"}]}, "ns")["ns"]
        expected = {KINDS[kind][0]: link(kind, holder) for kind in kinds}
        t.equal("ns.path-joined", {name: seen.get(name) for name in expected}, expected)
        t.check("ns.path-joined", seen.get("mnt") != link("mount"), "a new mount namespace", seen)


@test("ns.path-joined", needs=("root", "netns"))
def joined_bind_mount(t: Case) -> None:
    """A namespace is joined by a file that it is bind-mounted on, as `ip netns` does it, while no process is in it."""
    file = t.folder / "netns"
    file.touch()
    with namespaces.apart("network"):
        kernel.mount(str(path("network")), file, flags=kernel.MS_BIND)
        expected = link("network")
    seen = t.run({"linux.namespaces[+]": {"type": "network", "path": str(file)}}, "ns")["ns"]
    t.equal("ns.path-joined", seen.get("net"), expected)


@test("ns.path-joined", needs=("root",), may_refuse=True)
def joined_mount(t: Case) -> None:
    """The program is in the mount namespace whose path is given."""
    with held("mount") as holder:
        listed = {"type": "mount", "path": str(path("mount", holder))}
        container = t.serve({"linux.namespaces[3]": listed})
        t.equal("ns.path-joined", link("mount", container.pid), link("mount", holder))


@test("ns.path-joined", needs=("root", "userns"), may_refuse=True)
def joined_user(t: Case) -> None:
    """The program is in the user namespace whose path is given, with or without its mappings beside it."""
    with held("user") as holder:
        listed = {"linux.namespaces[+]": {"type": "user", "path": str(path("user", holder))}}
        try:
            seen = t.run(listed, "ns", "ids")
        except Refused:  # some want the mappings though they are the namespace's
            seen = t.run({**listed, **MAPPINGS}, "ns", "ids")
        t.equal("ns.path-joined", seen["ns"].get("user"), link("user", holder))
        t.equal("ns.path-joined", (seen["ids"]["uid"], seen["ids"]["gid"]), (0, 0))


@test("ns.path-joined", needs=("root", "timens"), may_refuse=True)
def joined_time(t: Case) -> None:
    """The program is in the time namespace whose path is given."""
    with held("time") as holder:
        listed = {"type": "time", "path": str(path("time", holder))}
        seen = t.run({"linux.namespaces[+]": listed}, "ns")["ns"]
        t.equal("ns.path-joined", seen.get("time"), link("time", holder))


@test("ns.path-absolute", needs=("root", "netns"))
def relative(t: Case) -> None:
    """A relative path is an error, even where it leads to a namespace: from the bundle, which is the directory, too."""
    with held("network") as holder:
        place = t.folder / "netns"
        place.symlink_to(path("network", holder))
        t.run({"linux.namespaces[+]": {"type": "network", "path": str(place)}}, "ns")
        container = t.prepare({"linux.namespaces[+]": {"type": "network", "path": place.name}})
        (container.bundle / place.name).symlink_to(path("network", holder))
        call = container.call("create", cwd=container.bundle)
        t.check("ns.path-absolute", not call.ok, "an error", "create succeeded")


@test("ns.path-type-error", needs=("root", "netns"))
def wrong_type(t: Case) -> None:
    """A path that leads to a namespace of another type, or to none at all, is an error."""
    with held("network", "uts", "ipc") as holder:
        key = "linux.namespaces[+]"
        base = {key: {"type": "network", "path": str(path("network", holder))}}
        for wrong in (path("uts", holder), path("ipc", holder), t.program, t.folder / "nothing"):
            t.refused("ns.path-type-error", base, {key: {"type": "network", "path": str(wrong)}})


@test("ns.inherit", needs=("root",))
def inherited(t: Case) -> None:
    """Namespaces of types that aren't listed are the runtime's, which needn't be the host's."""
    with namespaces.apart("network", "ipc", "uts", *(() if namespaces.borders() else ("cgroup",))):
        seen = t.run({"linux.namespaces": [{"type": "mount"}]}, "ns")["ns"]
        for kind, (name, _) in KINDS.items():
            if kind != "mount" and name in seen:
                t.check("ns.inherit", seen[name] == link(kind), f"{name}: {link(kind)}", seen[name])
        t.check("ns.inherit", seen.get("mnt") != link("mount"), "a new mount namespace", seen.get("mnt"))


@test("ns.inherit", needs=("root",), may_refuse=True)
def inherited_mounts(t: Case) -> None:
    """Without a mount namespace in the list, the program is in the runtime's; nothing is asked for that would mount."""
    container = t.serve({"linux.namespaces": [{"type": "pid"}], "mounts": []})
    t.equal("ns.inherit", link("mount", container.pid), link("mount"))


@test("ns.dup-error")
def duplicates(t: Case) -> None:
    """A type that is listed twice is an error, with or without paths."""
    for entry in ({"type": "uts"}, {"type": "uts", "path": str(path("uts"))}, {"type": "mount"}):
        t.refused("ns.dup-error", {}, {"linux.namespaces[+]": entry})
