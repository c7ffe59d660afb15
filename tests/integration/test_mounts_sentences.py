"""A mount that fails says why, and what helps: EINVAL, EPERM or EBUSY alone is no sentence."""

from __future__ import annotations

import os
import shlex
import signal

import needs
import pytest
from bundles import sleeping


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
        ("sysfs", "network", "add a network namespace, or bind /sys"),
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


def test_busy_is_tried_again(pyrun, bundle, tmp_path):
    """Nothing becomes read-only while somebody writes there: it is tried for half a second, then the cause is said."""
    one = bundle({"root": {"readonly": False}})
    # a hook opens a file in the tmpfs for writing, and holds it
    holder = f"exec 3> {shlex.quote(str(one.rootfs))}/busy/file; sleep 1000 & echo $! > {tmp_path}/holder"
    one.mount("/busy", "tmpfs", "tmpfs", "ro")
    one.hook("createContainer", f"({holder}) > /dev/null 2>&1")
    try:
        sentence = pyrun.refused(one)
    finally:
        os.kill(int((tmp_path / "holder").read_text()), signal.SIGKILL)
    assert "making /busy read-only" in sentence
    assert "open for writing" in sentence
