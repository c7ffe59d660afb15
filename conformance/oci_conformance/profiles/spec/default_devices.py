"""The devices that a runtime supplies by itself (config-linux.md#default-devices)."""

from __future__ import annotations

import os
from typing import Any

from oci_conformance.profiles.spec.devices import found
from oci_conformance.run.case import Broken, Case, Container
from oci_conformance.run.registry import test

DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
IDS = tuple(f"devices.default-{name}" for name in DEVICES)


def _there(t: Case, container: Container) -> None:
    """Verdicts: each default device has its type and its numbers."""
    for name, numbers in DEVICES.items():
        try:
            seen = found(container, f"/dev/{name}")
        except Broken as error:
            t.check(f"devices.default-{name}", False, f"the device /dev/{name}", str(error))
            continue
        t.equal(f"devices.default-{name}", [seen["type"], seen["major"], seen["minor"]], ["char", *numbers])


@test(*IDS)
def default(t: Case) -> None:
    """null, zero, full, random, urandom and tty are there and do what they are for."""
    container = t.serve()
    _there(t, container)

    def tried(command: str) -> Any:
        answer = container.ask(command)
        return answer.get("result", answer.get("errno"))

    t.equal("devices.default-null", [tried("write /dev/null x"), tried("read /dev/null")], [1, ""])
    t.equal("devices.default-zero", [tried("write /dev/zero x"), tried("read /dev/zero 9")], [1, "\0" * 9])
    t.equal(
        "devices.default-full", [tried("write /dev/full x"), tried("read /dev/full 9")], ["ENOSPC", "\0" * 9]
    )
    for name in ("random", "urandom"):
        first, second = (tried(f"read /dev/{name} 16") for _ in range(2))
        t.check(
            f"devices.default-{name}", first != second, f"other bytes at each reading of /dev/{name}", first
        )
    t.equal("devices.default-tty", tried("open /dev/tty rw"), "ENXIO")  # as the program has no terminal


@test(*IDS, needs=("root",))
def without_dev(t: Case) -> None:
    """The default devices are there, too, if the configuration mounts nothing on /dev."""
    proc = {"destination": "/proc", "type": "proc", "source": "proc"}
    _there(t, t.serve({"mounts": [proc]}))


@test(*IDS, needs=("root", "userns"))
def in_user_namespace(t: Case) -> None:
    """The default devices are there and can be opened in a user namespace, where nobody may make device files."""
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    container = t.serve(
        {"linux.namespaces[+]": {"type": "user"}, "linux.uidMappings": mapping, "linux.gidMappings": mapping}
    )
    _there(t, container)
    for name in DEVICES:
        expected = "ENXIO" if name == "tty" else None
        t.equal(f"devices.default-{name}", container.ask(f"open /dev/{name} rw").get("errno"), expected)


@test(*IDS, needs=("root",))
def of_a_user(t: Case) -> None:
    """An ordinary user can open the default devices for reading and writing."""
    container = t.serve({"process.user": {"uid": 1000, "gid": 1000}, "process.capabilities": {}})
    for name in DEVICES:
        expected = "ENXIO" if name == "tty" else None
        seen = container.ask(f"open /dev/{name} rw").get("errno")
        t.equal(f"devices.default-{name}", f"{name}: {seen}", f"{name}: {expected}")


@test("devices.default-ptmx")
def ptmx(t: Case) -> None:
    """/dev/ptmx is a link to, or a bind mount of, the ptmx of the container's own /dev/pts, and makes terminals."""
    container = t.serve({})
    link = container.ask("stat /dev/ptmx").get("result", {})
    if link.get("type") == "link":
        target = os.path.normpath(os.path.join("/dev", link["target"]))
        t.equal("devices.default-ptmx", target, "/dev/pts/ptmx")
    ours, pts = (found(container, path) for path in ("/dev/ptmx", "/dev/pts/ptmx"))
    same = [(each["type"], each["dev"], each["ino"]) for each in (ours, pts)]
    t.check("devices.default-ptmx", same[0] == same[1], "the same file as /dev/pts/ptmx", same)
    t.equal("devices.default-ptmx", container.ask("open /dev/ptmx rw").get("errno"), None)


@test("devices.default-console")
def console(t: Case) -> None:
    """With process.terminal, /dev/console is a bind mount of the program's terminal."""
    container = t.create(
        {"process.terminal": True}, "tty", "stat /dev/console", "mounts", "write /dev/console oc-here"
    )
    container.start()
    container.wait()
    answers = {each["command"]: each.get("result") for each in container.results()}
    tty, console = answers.get("tty"), answers.get("stat /dev/console")
    if not isinstance(tty, dict) or not isinstance(console, dict):
        raise Broken(f"the program has no terminal, or no /dev/console: {answers}")
    name = str(tty.get("name"))
    t.check("devices.default-console", console["type"] == "char" and console["major"] in range(136, 144),
            "a pseudo-terminal at /dev/console", console)  # fmt: skip
    t.equal("devices.default-console", f"/dev/pts/{console['minor']}", name)
    points = [line.split()[4] for line in answers.get("mounts") or ()]
    t.check("devices.default-console", "/dev/console" in points, "a mount on /dev/console", points)
    t.check(
        "devices.default-console",
        "oc-here" in container.stdout,
        "what is written to it in the terminal",
        "nothing",
    )
