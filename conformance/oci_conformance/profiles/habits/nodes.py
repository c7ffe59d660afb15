"""Devices: nodes that are made, left out or left alone, and what may be done with them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from oci_conformance.core.bundle import Json
from oci_conformance.profiles.habits import nested, tools
from oci_conformance.profiles.support import mounting
from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

DENIED = {"linux.resources.devices": [{"allow": False, "access": "rwm"}]}
ZERO = {"type": "c", "major": 1, "minor": 5}
USABLE = ("null", "zero", "full", "random", "urandom", "ptmx")
SPARE = ("/dev/fuse", "/dev/net/tun", "/dev/kmsg")  # devices of the host that no runtime makes by itself


def _number(node: Json) -> list[object]:
    return [node.get("type"), node.get("major"), node.get("minor")]


@test("habits.device-tun", needs=("root", "cap:MKNOD"))
def tun(t: Case) -> None:
    """A rule denies all: a node c 10:200 that the program makes can be opened, one of another device can't."""
    if not _usable(t, 10, 200):
        t.skip("this host lacks a driver for /dev/net/tun")
    changes: dict[Any, Any] = {**DENIED, **mounting.capabilities("CAP_MKNOD")}
    seen = t.run(
        changes,
        "mknod /tun c 10 200", "open /tun rw", "mknod /other c 1 11", "open /other rw",
    )  # fmt: skip
    if seen.error("mknod /tun c 10 200") or seen.error("open /other rw") != "EPERM":
        t.unsupported("habits.device-tun", "device rules don't hold, or no node can be made")
        return
    t.equal("habits.device-tun", seen.error("open /tun rw"), None)


def _usable(t: Case, major: int, minor: int) -> bool:
    """Can a node of this device be opened on the host?"""
    place = t.folder / "tried"
    try:
        os.mknod(place, 0o600 | stat.S_IFCHR, os.makedev(major, minor))
        os.close(os.open(place, os.O_RDWR | os.O_NONBLOCK))
    except OSError:
        return False
    return True


@test("habits.device-ptmx", needs=("root", "cap:MKNOD"))
def ptmx(t: Case) -> None:
    """linux.devices has /dev/ptmx (c 5:2): it is the link in the container, and opens a terminal."""
    entry = {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2, "fileMode": 0o666}
    seen = t.run({"linux.devices": [entry]}, "stat /dev/ptmx", "open /dev/ptmx rw", "list /dev/pts")
    t.equal("habits.device-ptmx", seen["stat /dev/ptmx"]["type"], "link")
    t.equal("habits.device-ptmx", seen.error("open /dev/ptmx rw"), None)


@test("habits.device-exists", needs=("root", "cap:MKNOD"))
def exists(t: Case) -> None:
    """linux.devices has a path where the image has a file: the container is made, and has the file."""
    entry = {"path": "/etc/there", **ZERO}
    seen = t.run({"linux.devices": [entry]}, "read /etc/there", files={"/etc/there": "mine"})
    t.equal("habits.device-exists", seen.answer("read /etc/there").get("result"), "mine")


@test("habits.device-default-path", needs=("root", "cap:MKNOD"))
def default_path(t: Case) -> None:
    """linux.devices has /dev/urandom as c 1:5: that is what is there."""
    seen = t.run({"linux.devices": [{"path": "/dev/urandom", **ZERO}]}, "stat /dev/urandom")
    t.equal("habits.device-default-path", _number(seen["stat /dev/urandom"]), ["char", 1, 5])


@test("habits.device-defaults", needs=("root", "cap:MKNOD"))
def defaults(t: Case) -> None:
    """A rule denies all: the default devices can be opened, a node of any device made, and a terminal used."""
    opened = [f"open /dev/{name} rw" for name in USABLE]
    made = ["mknod /tmp/char c 42 42", "mknod /tmp/block b 42 42"]
    changes: dict[Any, Any] = {**DENIED, **mounting.capabilities("CAP_MKNOD")}
    seen = t.run(changes, *opened, *made)
    t.equal(
        "habits.device-defaults",
        {each: seen.error(each) for each in [*opened, *made] if seen.error(each)},
        {},
    )
    seen = t.run({**changes, "process.terminal": True}, "open /dev/tty rw", "open /dev/console rw")
    wrong = {each["command"]: each.get("errno") for each in seen.answers if "errno" in each}
    t.equal("habits.device-defaults", wrong, {})


@test("habits.device-update", needs=("root", "cap:MKNOD"))
def update(t: Case) -> None:
    """Three updates: what may be opened before may be afterwards, and what may not may not."""
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rwm"},
    ]
    changes: dict[Any, Any] = {
        "linux.resources.devices": rules,
        **mounting.capabilities("CAP_MKNOD", "CAP_SYSLOG"),
    }
    with tools.control(t):
        container = t.serve(changes)
        for command in ("mknod /one c 1 11", "mknod /two c 1 4"):
            container.ask(command)
        before = [container.ask(f"open /{name} r").get("errno") for name in ("one", "two")]
    if before[1] != "EPERM" or before[0] == "EPERM":
        t.unsupported("habits.device-update", f"device rules don't hold: {before}")
        return
    for limit in (1 << 20, 1 << 21, 1 << 22):
        path = t.folder / "resources.json"
        path.write_text(f'{{"memory": {{}}, "pids": {{"limit": {limit}}}}}')
        t.runtime.command("update", "--resources", str(path), container.id)
        after = [container.ask(f"open /{name} r").get("errno") for name in ("one", "two")]
        t.equal("habits.device-update", after, before)


@test("habits.device-mode", needs=("root", "cap:MKNOD"))
def mode(t: Case) -> None:
    """Mode 0666 and an owner, from a caller with umask 077: the node has both."""
    entry = {"path": "/dev/mine", **ZERO, "fileMode": 0o666, "uid": 7, "gid": 8}
    container = t.prepare({"linux.devices": [entry]}, "stat /dev/mine")
    with tools.umask(0o77):
        container.create()
    container.start()
    container.wait()
    node = tools.result(container.stdout, "stat /dev/mine")
    t.equal("habits.device-mode", (oct(node["mode"]), node["uid"], node["gid"]), (oct(0o666), 7, 8))


@test("habits.device-nested", needs=("root", "userns", "program:unshare"))
def nested_devices(t: Case) -> None:
    """The runtime is called by `unshare -Umr`: /dev/null, and a device of the host that is configured, are there."""
    spare = next((each for each in SPARE if Path(each).is_char_device()), None)
    if spare is None:
        t.skip(f"this host lacks each of {', '.join(SPARE)}")
    number = Path(spare).stat().st_rdev
    entry = {"path": spare, "type": "c", "major": os.major(number), "minor": os.minor(number)}
    call, said = nested.run(t, {"linux.devices": [entry]}, "stat /dev/null", f"stat {spare}")
    found = [_number(said.get(f"stat {each}", {}).get("result", {})) for each in ("/dev/null", spare)]
    wanted = [["char", 1, 3], ["char", os.major(number), os.minor(number)]]
    t.check("habits.device-nested", found == wanted, str(wanted), found if call.ok else call.sentence)
