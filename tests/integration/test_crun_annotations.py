"""crun's annotations that are carried out, as crun(1) describes them: engines send them beside the specification."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import needs
import pytest

KEEP = {"run.oci.keep_original_groups": "1"}
GROUPS = [4242, 4343]


def groups_of(pid):
    """The supplementary groups of a process, as the host has them."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [int(number) for number in next(line for line in lines if line.startswith("Groups:")).split()[1:]]


@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "dropped"])
@pytest.mark.parametrize("user", ["root", "other", "userns"])
def test_groups_of_the_caller(pyrun, bundle, user, keeps):
    """run.oci.keep_original_groups keeps the caller's groups, for the program and for exec; otherwise they are
    dropped."""
    config = {"annotations": KEEP if keeps else {}}
    if user == "other":
        config["process"] = {"user": {"uid": 1000, "gid": 1000}}
    made = bundle(config, sh="sleep 1000")
    if user == "userns":
        needs.user_namespaces()
        made.user_namespace()
    container = pyrun.create(made, extra_groups=GROUPS)
    container.start()
    assert groups_of(container.pid) == (GROUPS if keeps else [])
    pid_file = pyrun.folder / "pid"
    pyrun.ok("exec", "-d", "--pid-file", str(pid_file), container.id, "sleep", "1000", extra_groups=GROUPS)
    assert groups_of(int(pid_file.read_text())) == (GROUPS if keeps else [])
    container.delete("--force")


def test_groups_of_the_caller_in_a_joined_namespace(pyrun, bundle):
    """The same where the user namespace is joined."""
    needs.user_namespaces()
    first = pyrun.start(bundle(sh="sleep 1000").user_namespace())
    made = bundle({"annotations": KEEP}, sh="sleep 1000").user_namespace()
    made.namespace("user", f"/proc/{first.pid}/ns/user")
    second = pyrun.create(made, extra_groups=GROUPS)
    assert groups_of(second.pid) == GROUPS
    second.delete("--force")
    first.delete("--force")


def test_own_groups_are_left_out(pyrun, bundle):
    """With the caller's groups there are none of the configuration's, and a warning says so."""
    made = bundle({"annotations": KEEP, "process": {"user": {"additionalGids": [7]}}}, sh="id -G")
    result = pyrun.run(made, extra_groups=GROUPS)
    assert result.out.split() == ["0", "4242", "4343"]
    assert result.err.startswith("pyrun: warning: process.user.additionalGids: left out")


def test_files_for_hooks(pyrun, bundle, tmp_path):
    """What hooks write is appended to the files of run.oci.hooks.stdout and .stderr, which are made if need be."""
    out, err = tmp_path / "out", tmp_path / "err"
    err.write_text("before\n")
    made = bundle({"annotations": {"run.oci.hooks.stdout": str(out), "run.oci.hooks.stderr": str(err)}})
    kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    for kind in kinds:
        made.hook(kind, f"echo {kind}; echo {kind} failed >&2")
    pyrun.output(made)
    assert out.read_text().split() == kinds
    assert err.read_text().splitlines() == ["before", *(f"{kind} failed" for kind in kinds)]


def test_files_for_hooks_of_a_user_namespace(pyrun, bundle, tmp_path):
    """A createContainer hook has the file, though root of its user namespace has no right to it."""
    needs.user_namespaces()
    out = tmp_path / "private" / "out"
    out.parent.mkdir(mode=0o700)
    made = bundle({"annotations": {"run.oci.hooks.stdout": str(out)}}).user_namespace()
    made.hook("createContainer", "id -u")
    pyrun.output(made)
    assert out.read_text() == "0\n"


@pytest.mark.parametrize("kind", ["createRuntime", "poststart"])
def test_a_file_for_hooks_that_cannot_be_had(pyrun, bundle, tmp_path, kind):
    """A file that can't be opened is an error that names the annotation, and no hook runs."""
    path = tmp_path / "missing" / "out"
    ran = tmp_path / "ran"
    made = bundle({"annotations": {"run.oci.hooks.stderr": str(path)}})
    made.hook(kind, f"touch {ran}")
    sentence = pyrun.error("run", "-b", str(made.path), pyrun.id())
    assert sentence.startswith("annotations['run.oci.hooks.stderr']: "), sentence
    assert str(path) in sentence
    assert not ran.exists()


def test_what_a_hook_says_is_quoted_without_a_file(pyrun, bundle, tmp_path):
    """The stream that has no file is still quoted when a hook fails."""
    made = bundle({"annotations": {"run.oci.hooks.stdout": str(tmp_path / "out")}})
    made.hook("createRuntime", "echo to the file; echo to the error >&2; exit 3")
    sentence = pyrun.refused(made)
    assert sentence.endswith("exited with status 3: to the error")
    assert (tmp_path / "out").read_text() == "to the file\n"


def test_pidfd_receiver(pyrun, bundle, tmp_path):
    """The socket of run.oci.pidfd_receiver gets a pidfd of the container's process from create."""
    path = tmp_path / "receiver"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        container = pyrun.create(bundle({"annotations": {"run.oci.pidfd_receiver": str(path)}}))
        connection, _ = listening.accept()
        with connection:
            _, (pidfd,), _, _ = socket.recv_fds(connection, 4096, 4)
    info = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
    os.close(pidfd)
    assert f"Pid:\t{container.pid}" in info
    container.delete("--force")


def test_no_pidfd_receiver(pyrun, bundle, tmp_path):
    """Where nobody takes the pidfd, create fails and names the annotation."""
    made = bundle({"annotations": {"run.oci.pidfd_receiver": str(tmp_path / "none")}})
    sentence = pyrun.refused(made)
    assert sentence.startswith("annotations['run.oci.pidfd_receiver']: sending a pidfd to "), sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mount_context_type", "subcontext"),
        ("hooks.stdout", "relative"),
        ("hooks.stderr", "relative"),
        ("pidfd_receiver", "relative"),
    ],
)
def test_values_that_make_no_sense(pyrun, bundle, name, value):
    """A value that can't be had is refused by the annotation's name, by validate too."""
    made = bundle({"annotations": {f"run.oci.{name}": value}})
    sentence = pyrun.refused(made)
    assert sentence.startswith(f"annotations['run.oci.{name}']: {value!r} is no"), sentence
    assert pyrun("validate", str(made.path)).code == 1


@pytest.mark.parametrize(
    "name", ["mount_context_type", "hooks.stdout", "pidfd_receiver", "keep_original_groups"]
)
def test_an_empty_annotation_asks_for_nothing(pyrun, bundle, name):
    """An annotation without a value is as good as none."""
    assert pyrun.output(bundle({"annotations": {f"run.oci.{name}": ""}}, sh="echo run")) == "run\n"
