"""process.terminal and process.consoleSize (config.md#process)."""

from __future__ import annotations

from oci_conformance.run.case import Case
from oci_conformance.run.registry import test

PSEUDOTERMINALS = range(
    136, 144
)  # major numbers of the Unix 98 slaves (Linux: Documentation/admin-guide/devices.txt)


@test("process.terminal")
def terminal(t: Case) -> None:
    """With terminal, standard input, output and error are one pseudoterminal, whose other end the caller gets."""
    links = ("stat /proc/self/fd/0", "stat /proc/self/fd/1", "stat /proc/self/fd/2")
    seen = t.run({"process.terminal": True}, "tty", *links, "echo through the terminal")
    t.equal("process.terminal", seen["tty"]["isatty"], [True, True, True])
    major = str(seen["tty"]["device"]).partition(":")[0]
    t.check(
        "process.terminal",
        major.isdigit() and int(major) in PSEUDOTERMINALS,
        "a pseudoterminal",
        f"device {seen['tty']['device']}",
    )
    names = {seen[link]["target"] for link in links}
    t.check("process.terminal", len(names) == 1, "the same terminal three times", sorted(map(str, names)))
    # What the program prints can only have come through the end that create handed over.
    t.equal("process.terminal", seen["echo"], "through the terminal")


@test("process.terminal-default")
def no_terminal(t: Case) -> None:
    """Without terminal, and with false, the program has none."""
    for changes in ({}, {"process.terminal": False}):
        t.equal("process.terminal-default", t.run(changes, "tty")["tty"]["isatty"], [False, False, False])


@test("process.consoleSize-ignored")
def size_ignored(t: Case) -> None:
    """A consoleSize without a terminal changes nothing."""
    for changes in ({}, {"process.terminal": False}):
        size = {"process.consoleSize": {"height": 33, "width": 101}}
        seen = t.run({**changes, **size}, "tty")["tty"]
        t.equal("process.consoleSize-ignored", seen["isatty"], [False, False, False])


@test("process.consoleSize-applied")
def size(t: Case) -> None:
    """The terminal has the size of process.consoleSize."""
    for height, width in ((33, 101), (1, 65535)):
        changes = {"process.terminal": True, "process.consoleSize": {"height": height, "width": width}}
        seen = t.run(changes, "tty")["tty"]
        t.equal("process.consoleSize-applied", [seen["rows"], seen["columns"]], [height, width])
