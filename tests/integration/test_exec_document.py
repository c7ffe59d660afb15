"""`exec --process`: what a document leaves out, and where it may come from; and how an exec that can't start ends."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

import pytest
from bundles import process_status

SETS = ("bounding", "effective", "permitted")


@pytest.fixture
def container(pyrun, bundle):
    """A running container whose process has something of everything."""
    process = {
        "user": {"uid": 1000, "gid": 1001, "additionalGids": [7, 8], "umask": 0o27},
        "env": ["PATH=/bin", "A=b"],
        "cwd": "/tmp",
        "capabilities": {kind: ["CAP_KILL", "CAP_CHOWN"] for kind in SETS},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
        "oomScoreAdj": 700,
    }
    return pyrun.start(bundle({"process": process}).args("sleep", "1000"))


def run_document(pyrun, container, script, *options, document=None, **more):
    """What a shell script writes as the program of a document, {"args"} and more, given as a file."""
    path = pyrun.folder / "process.json"
    path.write_text(json.dumps({"args": ["sh", "-c", script], **(document or {})}))
    result = pyrun("exec", "--process", str(path), *options, container.id, **more)
    assert (result.code, result.err) == (0, ""), result
    return result.out


# what it lacks


def test_lacking_rights_are_the_containers(pyrun, container):
    """Capabilities, rlimits and the OOM score are those of the container's process."""
    script = "grep ^Cap /proc/self/status; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj"
    out = run_document(pyrun, container, script).split()
    init = process_status(container.pid)
    sets = dict(zip(out[:10:2], out[1:10:2], strict=True))
    assert sets == {f"{name}:": init[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert out[10:] == ["100", "200", "700"]


def test_lacking_user_and_env_are_the_containers(pyrun, container):
    """So are its user, with groups and umask, and its environment; its folder is /."""
    out = run_document(
        pyrun, container, "id -u; id -g; grep Groups /proc/self/status; umask; echo $A $HOME; pwd"
    )
    assert out.split() == ["1000", "1001", "Groups:", "7", "8", "0027", "b", "/", "/"]


def test_values_of_the_document_are_taken(pyrun, container):
    """What stands in it is taken as it is, down to what is empty."""
    document = {
        "user": {"uid": 5, "gid": 6},
        "env": [],
        "cwd": "/etc",
        "capabilities": {},
        "rlimits": [],
        "oomScoreAdj": 800,
    }
    look = "id -u; id -g; grep -E '^(Groups|CapBnd)' /proc/self/status; cat /proc/self/oom_score_adj; pwd; ulimit -n"
    document["args"] = ["/bin/sh", "-c", f"PATH=/bin; {look}; echo A is $A"]
    out = run_document(pyrun, container, "", document=document).split()
    assert out[:2] == ["5", "6"]
    assert sorted(out[2:5]) == sorted(["Groups:", "CapBnd:", "0" * 16])
    assert out[5:7] == ["800", "/etc"]
    assert out[7] != "100"
    assert out[8:] == ["A", "is"]


def test_user_without_a_umask(pyrun, container, bundle):
    """A user without a umask: the container's, and 022 if that has none."""
    user = {"user": {"uid": 0, "gid": 0}}
    assert run_document(pyrun, container, "umask", document=user) == "0027\n"
    plain = pyrun.start(bundle().args("sleep", "1000"))
    assert run_document(pyrun, plain, "umask", document=user, umask=0) == "0022\n"


@pytest.mark.parametrize("way", ["--process", "a program"])
def test_oom_score_is_not_the_callers(pyrun, bundle, way):
    """Without oomScoreAdj it is the score of the container's process, whatever exec's caller has."""
    own = int(Path("/proc/self/oom_score_adj").read_text())
    if own > 900:
        pytest.skip("needs an own oom_score_adj below 900")
    container = pyrun.start(bundle().args("sleep", "1000"))
    Path(f"/proc/{container.pid}/oom_score_adj").write_text(str(own + 50))

    def raise_it():
        Path("/proc/self/oom_score_adj").write_text(str(own + 20))

    look = "cat /proc/self/oom_score_adj"
    if way == "--process":
        document = {**container.bundle.config["process"], "args": ["sh", "-c", look]}
        out = run_document(pyrun, container, "", document=document, preexec_fn=raise_it)
    else:
        out = container.sh(look, preexec_fn=raise_it)
    assert int(out) == own + 50


def test_options_over_what_is_filled_in(pyrun, container):
    """Options change what the document has by then."""
    out = run_document(
        pyrun, container, "echo $A $B; id -u; pwd", "-e", "A=2", "-e", "B=3", "-u", "9", "--cwd", "/bin"
    )
    assert out.split() == ["2", "3", "9", "/bin"]


# groups

LOOK = "id -u; id -g; sed -n 's/^Groups:.//p' /proc/self/status"


@pytest.mark.parametrize(
    ("user", "wanted"),
    [
        ("dove", "77 78 80 81 5 6"),
        ("dove:fish", "77 90 80 81 5 6"),
        ("1234", "1234 0 9 5 6"),
        (None, "0 0 9 5 6"),
    ],
    ids=["a name", "a name and a group", "a number", "none"],
)
def test_additional_gids_and_user(pyrun, bundle, user, wanted):
    """--additional-gids adds to the groups that --user brings, whatever it names."""
    one = bundle({"process": {"user": {"uid": 0, "gid": 0, "additionalGids": [9]}}}).args("sleep", "1000")
    (one.rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\ndove:x:77:78:Dove:/nest:/bin/sh\n")
    (one.rootfs / "etc/group").write_text("root:x:0:\nbirds:x:80:dove\nsongs:x:81:dove\nfish:x:90:cod\n")
    options = ["--additional-gids", "5", "-g", "6", *(["--user", user] if user else [])]
    found = pyrun.start(one).sh(LOOK, *options).split()
    assert [*found[:2], *sorted(found[2:])] == [*wanted.split()[:2], *sorted(wanted.split()[2:])]


# where it comes from


def test_from_a_pipe(pyrun, container):
    """A pipe by its name in /dev/fd, as <(...) of a shell is."""
    document = json.dumps({"args": ["echo", "x" * 100000]})
    reading, writing = os.pipe()
    thread = threading.Thread(target=feed, args=(writing, document.encode()))
    thread.start()
    result = pyrun("exec", "--process", f"/dev/fd/{reading}", container.id, pass_fds=[reading])
    thread.join()
    os.close(reading)
    assert (result.code, result.err, len(result.out)) == (0, "", 100001)


def feed(fd, data):
    """Write it all, in pieces, and close."""
    with open(fd, "wb", buffering=0) as file:
        for at in range(0, len(data), 10000):
            file.write(data[at : at + 10000])


def test_from_a_fifo(pyrun, container, tmp_path):
    """A FIFO whose writer comes later than exec."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    argv = ["exec", "--process", str(fifo), container.id]
    process = pyrun.popen(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with fifo.open("w") as file:  # returns when exec has opened it
        file.write('{"args": ["echo", "came"]}')
    assert process.communicate(timeout=30) == (b"came\n", b"")


def test_too_big_a_pipe(pyrun, container):
    """What never ends is refused, not read for ever."""
    yes = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
    try:
        sentence = container.exec_refused(
            (), "--process", f"/dev/fd/{yes.stdout.fileno()}", pass_fds=[yes.stdout.fileno()]
        )
        assert "File too large" in sentence
    finally:
        yes.stdout.close()
        yes.kill()
        yes.wait()


# how it ends if it can't start


@pytest.mark.parametrize(
    ("options", "program", "words"),
    [
        ([], ["not-there"], "executable file not found"),
        ([], ["/not/there"], "no such file or directory"),
        ([], ["/etc/passwd"], "permission denied"),
        (["--cwd", "/not/there"], ["true"], "no such file or directory"),
        (["--user", "nobody-here"], ["true"], "nobody-here"),
        (["--process", "/not/there"], [], "/not/there"),
        (["--detach"], ["not-there"], "executable file not found"),
    ],
    ids=["not in PATH", "missing", "not executable", "cwd", "user", "no document", "detached"],
)
def test_status_255_if_it_cannot_start(pyrun, container, options, program, words):
    """255, as under runc, and the words by which engines tell 126 and 127."""
    result = pyrun("exec", *options, container.id, *program)
    assert result.code == 255
    assert words in result.err


def test_status_without_a_running_container(pyrun, bundle):
    """255 as well for a container that isn't there, is paused, or has ended."""
    assert pyrun("exec", "pyrun-test-none", "true").code == 255
    container = pyrun.start(bundle().args("sleep", "1000"))
    pyrun.ok("pause", container.id)
    assert container.exec(("true",)).code == 255
    pyrun.ok("resume", container.id)
    container.kill("KILL")
    container.wait()
    assert container.exec(("true",)).code == 255
