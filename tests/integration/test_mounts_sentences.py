"""A mount that fails says why, and what helps: EINVAL, EPERM or EBUSY alone is no sentence."""

from __future__ import annotations

import os
import shlex

import needs
import pytest
from bundles import sleeping

from pyrun.features.mounts import causes
from pyrun.features.mounts.mount import Mount


def refused(pyrun, one):
    """The sentence, about the last mount."""
    sentence = pyrun.refused(one.write())
    assert sentence.startswith(f"mounts[{len(one.config['mounts']) - 1}]")
    return sentence


@pytest.mark.parametrize(
    ("source", "destination", "words"),
    [
        ("data", "/etc/passwd", "not a directory: the source is a folder, and the destination a file"),
        ("data/file", "/etc", "not a directory: the source is a file, and the destination a folder"),
        ("data/file/x", "/tmp", "data/file is a file"),
        ("data", "/etc/passwd/x/y", "(/etc/passwd is a file)"),
        ("data", "/link/y", "(/link is a file)"),
        ("rootfs/etc/passwd/x", "/tmp", "(/etc/passwd is a file)"),
    ],
)
def test_files_and_folders(pyrun, bundle, source, destination, words):
    """A folder bound on a file, the reverse (in the words that docker looks for), and files on the way."""
    one = bundle()
    (one.path / "data").mkdir()
    (one.path / "data/file").touch()
    (one.rootfs / "link").symlink_to("/etc/passwd")
    assert words in refused(pyrun, one.mount(destination, "none", source, "bind"))


@pytest.mark.parametrize(
    ("kind", "namespace", "words"),
    [
        ("proc", "pid", "add a pid namespace, or bind /proc"),
        ("mqueue", "ipc", "add a ipc namespace, or bind /dev/mqueue"),
    ],
)
def test_a_kernel_file_system_of_anothers_namespace(pyrun, bundle, kind, namespace, words):
    """In a user namespace: the cause is the namespace that is missing, and the remedy a bind mount."""
    needs.user_namespaces()
    one = bundle({"process": {"rlimits": None}}).user_namespace()
    one.namespace(namespace, None)
    one.config["mounts"] = []
    assert words in refused(pyrun, one.mount("/tmp", kind, kind))


@pytest.mark.parametrize("options", [["remount", "ro"], ["private"]], ids=" ".join)
def test_nothing_is_mounted_there(pyrun, bundle, options):
    """A change of a mount that isn't there."""
    assert "nothing is mounted there" in refused(pyrun, bundle().mount("/etc", "", "none", *options))


def test_a_source_of_another_mount_namespace(pyrun, bundle):
    """What another process has mounted can't be bound from there."""
    needs.program("unshare")
    with sleeping("unshare", "-m") as pid:
        one = bundle().mount("/tmp", "none", f"/proc/{pid}/root/etc", "bind")
        assert "the source is in another mount namespace" in refused(pyrun, one)


def test_too_many_descriptors(pyrun, bundle):
    """More sources than the caller may open at once: the limit is named."""
    one = bundle({"process": {"rlimits": None}})
    for index in range(60):
        one.mount(f"/tmp/{index}", "none", ".", "bind")
    pyrun.wrapper = ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh"]
    assert "RLIMIT_NOFILE" in pyrun.refused(one)


def held_open(one, path):
    """A hook opens a file in the root file system for writing, and a process of the container's PID namespace, which
    ends with it, holds it open."""
    place = shlex.quote(f"{one.rootfs}{path}")
    script = f"exec 3> {place} && sleep 1000 > /dev/null 2>&1 & while ! [ -e {place} ]; do sleep 0.01; done"
    return one.hook("createContainer", script)


def test_busy_is_tried_again(pyrun, bundle):
    """Nothing becomes read-only while somebody writes there: it is tried for half a second, then the cause is said."""
    one = bundle({"root": {"readonly": False}}).mount("/busy", "tmpfs", "tmpfs", "ro")
    sentence = pyrun.refused(held_open(one, "/busy/file"))
    assert "making /busy read-only" in sentence
    assert "open for writing" in sentence


def test_a_busy_root(pyrun, bundle):
    """The same for a root file system that is to be read-only."""
    sentence = pyrun.refused(held_open(bundle({"root": {"readonly": True}}), "/file"))
    assert sentence.startswith("root.readonly: ")
    assert "open for writing" in sentence


@pytest.mark.parametrize("path", ["/etc/passwd/x", "/etc/passwd/y/x"])
def test_a_file_on_the_way_to_a_device(pyrun, bundle, path):
    """Which component is none of the folders that a device needs."""
    device = {"path": path, "type": "c", "major": 1, "minor": 3}
    assert "(/etc/passwd is a file)" in pyrun.refused(bundle({"linux": {"devices": [device]}}))


@pytest.mark.parametrize(
    "row", causes.CAUSES, ids=lambda row: f"{row[0] or 'any'} {row[1]} {row[2] or 'any'}"
)
def test_each_row_of_the_table_speaks(row):
    """Each cause of the table is found by its own error, and is one line that says more than the error does."""
    kind, number, call, words = row
    entry = {"destination": "/x", "source": "/y", "options": [], "type": kind or "tmpfs"}
    if kind in (causes.BIND, causes.REMOUNT, causes.PROPAGATION):
        option = {causes.BIND: "bind", causes.REMOUNT: "remount"}.get(kind, "private")
        entry |= {"type": "", "options": [option]}
    mount = Mount(0, entry)
    error = OSError(number, f"{call or 'openat2'}: {os.strerror(number)}", "")
    assert causes.known(mount, error) == words
    assert words.isprintable()
    assert os.strerror(number).lower() not in words.lower()
