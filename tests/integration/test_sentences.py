"""Sentences that help: for each way in which a system call of create can fail, the cause, and what to do about it.

"Invalid argument" and its like without a cause are no sentences. Each row makes one failure, and says which words must
be in its sentence.
"""

from __future__ import annotations

import socket

import needs
import pytest

RAW = ("Invalid argument", "Operation not permitted", "[Errno")


def sysctl(name, value):
    """A kernel parameter of the container's."""

    def change(one, folder):
        one.config["linux"]["sysctl"] = {name: value}

    return change


def limit(kind, number):
    """A resource limit."""

    def change(one, folder):
        one.config["process"]["rlimits"] = [{"type": kind, "soft": 1, "hard": number}]

    return change


def ranges(count, width):
    """A user namespace with many ranges of ids."""

    def change(one, folder):
        needs.user_namespaces()
        one.user_namespace()
        first = 10**width
        mappings = [{"containerID": index, "hostID": first + 2 * index, "size": 1} for index in range(count)]
        one.config["linux"]["gidMappings"] = mappings

    return change


def hook(text, mode):
    """A createRuntime hook that is this file."""

    def change(one, folder):
        (folder / "hook").write_text(text)
        (folder / "hook").chmod(mode)
        one.config["hooks"] = {"createRuntime": [{"path": str(folder / "hook")}]}

    return change


def nothing(one, folder):
    """The default bundle."""


def terminal(one, folder):
    """A terminal, and what may stand where its socket should."""
    one.config["process"]["terminal"] = True
    (folder / "file").write_text("")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "deaf"))


def full(one, folder):
    """A terminal; a socket whose queue is full, and one that is well. They live as long as the bundle does."""
    one.config["process"]["terminal"] = True
    one.sockets = []
    for name, room in (("full", 0), ("listens", 9)):
        made = socket.socket(socket.AF_UNIX)
        made.bind(str(folder / name))
        made.listen(room)
        one.sockets.append(made)
    waits = socket.socket(socket.AF_UNIX)
    waits.connect(str(folder / "full"))
    one.sockets.append(waits)


def joins(kind, other):
    """A namespace by a path that leads to one of another type."""

    def change(one, folder):
        one.config.pop("hostname")
        one.namespace(kind, f"/proc/self/ns/{other}")

    return change


WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-sys_admin")

# name -> change of the bundle, options ({} is a folder with files of the change), wrapper, words of the sentence
FAILURES = {
    "a sysctl that is none": (
        sysctl("net.made.up", "1"),
        (),
        (),
        ['linux.sysctl["net.made.up"]', "namespace has no such parameter", "first namespace only"],
    ),
    "a sysctl of the first namespace": (
        sysctl("net.core.bpf_jit_enable", "1"),
        (),
        (),
        ['linux.sysctl["net.core.bpf_jit_enable"]', "no such parameter", "first namespace only"],
    ),
    "a sysctl's value": (
        sysctl("net.ipv4.ip_forward", "many"),
        (),
        (),
        ['linux.sysctl["net.ipv4.ip_forward"]', 'writing "many"', "doesn't take this value", "documentation"],
    ),
    "a sysctl that is read-only": (
        sysctl("net.ipv4.tcp_available_congestion_control", "reno"),
        (),
        (),
        ["linux.sysctl", "can't be written from a container", "read-only"],
    ),
    "a limit above the caller's": (
        limit("RLIMIT_NOFILE", (1 << 63) - 1),
        (),
        (),
        ["process.rlimits[0]: setting RLIMIT_NOFILE", "CAP_SYS_RESOURCE", "nr_open"],
    ),
    "more ranges of ids than there can be": (
        ranges(341, 1),
        (),
        (),
        ["linux.gidMappings: mapping ids", "340 ranges", "these are 341"],
    ),
    "longer ranges of ids than there can be": (
        ranges(300, 9),
        (),
        (),
        ["linux.gidMappings: mapping ids", "in 4095 bytes", "these are 300"],
    ),
    "a hook of no format": (
        hook("no program", 0o755),
        (),
        (),
        ["hooks.createRuntime[0]", "can't be executed", "#!"],
    ),
    "a hook without its interpreter": (
        hook("#!/no/interpreter\n", 0o755),
        (),
        (),
        ["hooks.createRuntime[0]", "can't be executed", "the interpreter that it names"],
    ),
    "a hook that isn't executable": (
        hook("#!/bin/sh\n", 0o644),
        (),
        (),
        ["hooks.createRuntime[0]", "can't be executed", "isn't executable"],
    ),
    "a console socket that isn't there": (
        terminal,
        ("--console-socket", "{}/none"),
        (),
        ["connecting to the console socket", "{}/none", "make the socket, and listen"],
    ),
    "a console socket that is a file": (
        terminal,
        ("--console-socket", "{}/file"),
        (),
        ["connecting to the console socket", "{}/file", "nobody listens"],
    ),
    "a console socket where nobody listens": (
        terminal,
        ("--console-socket", "{}/deaf"),
        (),
        ["connecting to the console socket", "{}/deaf", "nobody listens"],
    ),
    "a console socket that nobody accepts from": (
        full,
        ("--console-socket", "{}/full"),
        (),
        ["connecting to the console socket", "{}/full", "hasn't accepted anybody for 5 s"],
    ),
    "a pidfd socket that nobody accepts from": (
        full,
        ("--pidfd-socket", "{}/full", "--console-socket", "{}/listens"),
        (),
        ["sending a pidfd to {}/full", "hasn't accepted anybody for 5 s"],
    ),
    "a pidfd socket that isn't there": (
        nothing,
        ("--pidfd-socket", "{}/none"),
        (),
        ["sending a pidfd to {}/none", "make the socket, and listen"],
    ),
    "a pid file without its folder": (
        nothing,
        ("--pid-file", "{}/no/pid"),
        (),
        ["writing the pid file {}/no/pid", "its folder must be there"],
    ),
    "a pid file that is a folder": (
        nothing,
        ("--pid-file", "{}/"),
        (),
        ["writing the pid file", "a folder is in its place"],
    ),
    "a namespace of another type": (
        joins("ipc", "net"),
        (),
        (),
        ["linux.namespaces[5].path: joining the ipc namespace", "another type of namespace"],
    ),
    "no right to make namespaces": (
        nothing,
        (),
        WITHOUT_RIGHTS,
        ["linux.namespaces: making the container's namespaces", "CAP_SYS_ADMIN"],
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_cause_and_remedy(pyrun, bundle, tmp_path, name):
    """The sentence names what failed, and says why, and what to do."""
    change, options, wrapper, words = FAILURES[name]
    if wrapper:
        needs.program(wrapper[0])
        pyrun.wrapper = list(wrapper)
    one = bundle()
    folder = tmp_path / "files"
    folder.mkdir()
    change(one, folder)
    sentence = pyrun.refused(one.write(), *[word.format(folder) for word in options])
    for word in words:
        assert word.format(folder) in sentence, sentence
    assert "(" in sentence or not [word for word in RAW if word in sentence], sentence
