"""The program: what it is, where it runs, as whom, with which rights, and how its end is told (config.md, Process)."""

from __future__ import annotations

import os
import resource
import signal
import subprocess

import needs
import pytest
from bundles import eventually, process_status

from oci_spec.names import CAPABILITIES


def mask(*names):
    """A capability set as /proc/PID/status has it."""
    return f"{sum(1 << CAPABILITIES.index(name) for name in names):016x}"


# args and env


def test_path_lookup_skips_folders(pyrun, bundle):
    """A folder of the program's name is not the program."""
    one = bundle({"process": {"env": ["PATH=/one:/two:/bin"]}})
    (one.rootfs / "one/tool").mkdir(parents=True)
    one.script("/two/tool", "#!/bin/sh\necho two\n")
    assert pyrun.output(one.args("tool")) == "two\n"


def test_no_path_in_env(pyrun, bundle):
    """Without PATH the lookup goes to /bin and /usr/bin, as execvp has it."""
    assert pyrun.output(bundle({"process": {"env": []}}).args("echo", "found")) == "found\n"
    assert pyrun.output(bundle({"process": {"env": None}}).args("echo", "found")) == "found\n"


def test_env_is_exact(pyrun, bundle):
    """The environment is exactly env: in its order, with empty and odd entries; and HOME if it lacks."""
    env = ["PATH=/bin", "A=1", "B=", "a=2", "C=x=y", "no equals sign", "D=a\nb", "LANG=ä"]
    one = bundle({"process": {"env": env}}).args("cat", "/proc/self/environ")
    assert pyrun.output(one).split("\0") == [*env, "HOME=/root", ""]
    env.insert(2, "HOME=x")
    one = bundle({"process": {"env": env}}).args("cat", "/proc/self/environ")
    assert pyrun.output(one).split("\0") == [*env, ""]


# cwd


@pytest.mark.parametrize("cwd", ["/missing/folder", "/file/below"])
def test_cwd_made_in_readonly_root(pyrun, bundle, cwd):
    """A missing cwd is made before the root is made read-only; one that can't be made names the property."""
    one = bundle({"process": {"cwd": cwd}, "root": {"readonly": True}}, sh="pwd; touch x 2>&1")
    (one.rootfs / "file").touch()
    if cwd == "/file/below":
        assert pyrun.refused(one).startswith("process.cwd: ")
    else:
        result = pyrun.run(one)
        assert result.out == "/missing/folder\ntouch: x: Read-only file system\n"


def test_cwd_link_to_outside(pyrun, bundle):
    """A link as cwd is followed inside the root, never to the host."""
    one = bundle({"process": {"cwd": "/link"}, "root": {"readonly": False}})
    (one.rootfs / "link").symlink_to(f"../../../../..{one.path}")
    assert pyrun.output(one.args("ls")) == ""
    assert (one.rootfs / str(one.path).lstrip("/")).is_dir()


@pytest.mark.parametrize("fd", range(3, 20))
def test_cwd_by_descriptor(pyrun, bundle, fd):
    """No descriptor of the runtime's is a way out: /proc/self/fd/N as cwd is refused (CVE-2024-21626)."""
    assert pyrun.refused(bundle({"process": {"cwd": f"/proc/self/fd/{fd}"}})).startswith("process.cwd: ")


@pytest.mark.parametrize(
    "cwd", ["/proc/self/cwd", "/proc/self/root", "/proc/1/root/tmp", "/proc/thread-self/cwd"]
)
def test_cwd_by_magic_link(pyrun, bundle, cwd):
    """Other magic links are no way to a cwd either."""
    assert pyrun.refused(bundle({"process": {"cwd": cwd}})).startswith("process.cwd: ")


@pytest.mark.parametrize("cwd", ["relative", "", "/etc/passwd"])
def test_bad_cwd(pyrun, bundle, cwd):
    """A cwd that is relative or no folder is refused."""
    assert pyrun.refused(bundle({"process": {"cwd": cwd}})).startswith("process.cwd: ")


# user


def test_no_additional_gids(pyrun, bundle):
    """Without additionalGids there are no supplementary groups: not the caller's."""
    one = bundle().args("grep", "Groups", "/proc/self/status")
    assert pyrun.output(one, extra_groups=[7, 8]).split() == ["Groups:"]


def test_the_callers_umask_changes_nothing_else(pyrun, bundle):
    """Folders and devices have their modes whatever the caller's umask."""
    text = "stat -c '%a %n' /dev/null /dev/shm /dev/pts /made"
    one = bundle({"root": {"readonly": False}}, sh=text).mount("/made", "tmpfs", "tmpfs")
    assert pyrun.output(one, umask=0o77) == "666 /dev/null\n1777 /dev/shm\n755 /dev/pts\n1777 /made\n"


# rights


def caps_of(pyrun, one, expected_err=""):
    """The five sets that the program of a bundle has."""
    result = pyrun.run(one.args("grep", "Cap", "/proc/self/status"))
    assert (result.code, result.err) == (0, expected_err)
    return tuple(line.split()[1] for line in result.lines())


def test_user_without_ambient(pyrun, bundle):
    """A program that isn't root's has no capabilities without ambient ones."""
    one = bundle({"process": {"user": {"uid": 1000, "gid": 1000}}})
    none = mask()
    assert caps_of(pyrun, one)[:3] == (none, none, none)


@pytest.mark.parametrize("absent", [None, {}])
def test_no_capabilities(pyrun, bundle, absent):
    """Without capabilities there are none, for root too."""
    one = bundle()
    one.config["process"]["capabilities"] = absent
    if absent is None:
        del one.config["process"]["capabilities"]
    assert caps_of(pyrun, one) == (mask(),) * 5


def test_capabilities_of_a_created_container(pyrun, bundle):
    """A created container's process already has no more than its sets."""
    container = pyrun.create(bundle())
    status = process_status(container.pid)
    assert status["CapBnd"] == mask("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
    assert status["CapPrm"] == status["CapBnd"]


def test_unknown_capability(pyrun, bundle):
    """A capability that the kernel doesn't know is a warning, and the rest is as asked for."""
    caps = {"bounding": ["CAP_KILL", "CAP_MADE_UP"], "permitted": ["CAP_KILL"]}
    one = bundle()
    one.config["process"]["capabilities"] = caps
    result = pyrun.run(one.args("grep", "CapBnd", "/proc/self/status"))
    assert result.code == 0
    assert result.out.split()[1] == mask("CAP_KILL")
    assert "warning: process.capabilities.bounding: CAP_MADE_UP is not known" in result.err


def test_capability_that_may_not_be_granted(pyrun, bundle):
    """A capability that the runtime itself lacks is a warning too."""
    if needs.has_capability("CAP_SYS_RESOURCE"):
        pytest.skip("needs a host that withholds CAP_SYS_RESOURCE")
    one = bundle()
    one.config["process"]["capabilities"] = {
        "bounding": ["CAP_SYS_RESOURCE"],
        "permitted": ["CAP_SYS_RESOURCE"],
    }
    result = pyrun.run(one.write())
    assert result.code == 0
    assert "CAP_SYS_RESOURCE may not be granted here" in result.err


def test_dumpable_and_parent_death(pyrun, bundle):
    """The program can look into itself, and doesn't die with the runtime's processes."""
    one = bundle(
        {"process": {"user": {"uid": 1000, "gid": 1000}}}, sh="stat -c %u /proc/self/mem; sleep 0.1; echo end"
    )
    container = pyrun.create(one)
    assert container.finish() == "1000\nend\n"


def test_no_rlimits(pyrun, bundle):
    """Without rlimits, the program has the caller's."""
    one = bundle({"process": {"rlimits": None}}, sh="ulimit -n; ulimit -Hn")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert pyrun.output(one).split() == [str(soft), str(hard)]


def test_rlimit_raised(pyrun, bundle):
    """Raising a hard limit works with CAP_SYS_RESOURCE, and else is an error that says so."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    one = bundle(
        {"process": {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": hard + 1}]}}, sh="ulimit -Hn"
    )
    if needs.has_capability("CAP_SYS_RESOURCE"):
        assert pyrun.output(one) == f"{hard + 1}\n"
    else:
        sentence = pyrun.refused(one)
        assert sentence.startswith("process.rlimits[0]: setting RLIMIT_NOFILE")
        assert "CAP_SYS_RESOURCE" in sentence


@pytest.mark.parametrize(
    ("kind", "value"), [("NOFILE", 0), ("NOFILE", 3), ("FSIZE", 0), ("NPROC", 0), ("AS", 1 << 22)]
)
def test_tight_rlimits(pyrun, bundle, kind, value):
    """The runtime's own work, hooks included, doesn't need what the limits leave to the program."""
    one = bundle({"process": {"rlimits": [{"type": f"RLIMIT_{kind}", "soft": value, "hard": value}]}})
    one.hook("startContainer", "sh -c true | true")
    pyrun.output(one.args("true"))


@pytest.mark.parametrize("bad", ["RLIMIT_FOO", "NOFILE", "rlimit_nofile", ""])
def test_unknown_rlimit(pyrun, bundle, bad):
    """A limit that doesn't exist is an error."""
    one = bundle({"process": {"rlimits": [{"type": bad, "soft": 1, "hard": 1}]}})
    assert pyrun.refused(one).startswith("process.rlimits[0].type: ")


def test_oom_score_lowered(pyrun, bundle):
    """Lowering it works with CAP_SYS_RESOURCE."""
    needs.capability("CAP_SYS_RESOURCE")
    one = bundle({"process": {"oomScoreAdj": -999}}).args("cat", "/proc/self/oom_score_adj")
    assert pyrun.output(one) == "-999\n"


def test_oom_score_can_not_be_lowered(pyrun, bundle):
    """Without the right to lower it, asking for that is an error that names the property."""
    if needs.has_capability("CAP_SYS_RESOURCE"):
        pytest.skip("needs a host that withholds CAP_SYS_RESOURCE")
    one = bundle({"process": {"oomScoreAdj": -999}})
    assert pyrun.refused(one).startswith("process.oomScoreAdj: writing -999")


# ends


@pytest.mark.parametrize("status", [0, 1, 2, 42, 127, 128, 255])
def test_exit_status(pyrun, bundle, status):
    """The exit status of `run` is the program's."""
    result = pyrun.run(bundle(sh=f"exit {status}"))
    assert (result.code, result.err) == (status, "")


@pytest.mark.parametrize("number", [9, 6, 11])
def test_killed_by_signal(pyrun, bundle, number):
    """A program that signal N kills gives 128+N. (Process 1 of a pid namespace ignores all but SIGKILL.)"""
    one = bundle(sh="echo up; exec sleep 1000")
    container = pyrun.popen_run(one if number == 9 else one.namespace("pid", None))
    container.until("up")
    container.kill(str(number))
    assert container.end() == 128 + number


def test_stdin_stdout_stderr_are_the_callers(pyrun, bundle):
    """The program's stdio are the very files that the caller gave."""
    result = pyrun.run(
        bundle(sh="readlink /proc/self/fd/0; echo out; echo err >&2"), stdin=subprocess.DEVNULL
    )
    assert result.out == "/dev/null\nout\n"
    assert result.err == "err\n"


def test_big_data_passes_through(pyrun, bundle):
    """Megabytes go in and come out unchanged, bytes of any value."""
    data = bytes(range(256)) * 16384
    result = pyrun.run(bundle().args("cat"), data=data)
    assert (result.code, result.err) == (0, "")
    assert result.out_file.read_bytes() == data


def test_pipes(pyrun, bundle):
    """Pipes stay pipes: a reader sees the end when the program ends."""
    one = bundle(sh="read x; echo got $x")
    process = pyrun.popen("run", "-b", str(one.path), pyrun.id(), stdin=-1, stdout=-1, stderr=-1)
    assert process.communicate(b"word\n", timeout=20) == (b"got word\n", b"")
    assert process.returncode == 0


def test_program_outlives_detached_run(pyrun, bundle):
    """`run --detach` returns when the program runs, and leaves the container running."""
    container_id = pyrun.id()
    one = bundle(sh="echo up; exec sleep 1000")
    result = pyrun.ok("run", "--detach", "--bundle", str(one.path), container_id)
    eventually(lambda: result.out_file.read_text() == "up\n", "not up")
    assert '"running"' in pyrun.ok("state", container_id).out


def test_run_keep(pyrun, bundle):
    """--keep leaves the stopped container in place."""
    container_id = pyrun.id()
    result = pyrun("run", "--keep", "--bundle", str(bundle(sh="exit 3").path), container_id)
    assert result.code == 3
    assert '"stopped"' in pyrun.ok("state", container_id).out
    pyrun.ok("delete", container_id)


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "USR2", "QUIT", "CONT"])
def test_run_forwards_signals(pyrun, bundle, name):
    """A signal that `run` gets is the program's."""
    container = pyrun.popen_run(
        bundle(sh=f"trap 'echo got; exit 5' {name}; echo up; while :; do sleep 0.01; done")
    )
    container.until("up")
    container.process.send_signal(getattr(signal, f"SIG{name}"))
    assert container.end() == 5
    assert container.out() == "up\ngot\n"


def test_run_reaps(pyrun, bundle):
    """`run` leaves no zombie behind, and isn't kept by orphans of a container without a pid namespace."""
    one = bundle(sh="sleep 1000 & exit 4").namespace("pid", None)
    result = pyrun.run(one)
    assert result.code == 4


def test_stopped_and_continued(pyrun, bundle):
    """A program that is stopped by SIGSTOP is not taken for ended."""
    container = pyrun.popen_run(bundle(sh="echo up; exec sleep 1000"))
    container.until("up")
    pid = pyrun.state(container.id)["pid"]
    os.kill(pid, 19)
    eventually(lambda: process_status(pid)["State"][0] == "T", "not stopped")
    assert pyrun.state(container.id)["status"] == "running"
    assert container.process.poll() is None
    os.kill(pid, 18)
    os.kill(pid, 9)
    assert container.end() == 137
