"""What a program doesn't have of its caller: umask, CPU affinity, a variable's older value; in `run` and in `exec`."""

from __future__ import annotations

import json
import os
import resource

import pytest

COMMANDS = ("run", "exec")


def output(pyrun, command, one, script, options=(), **more):
    """What a script writes as the container's program, or as one of exec in a container that sleeps."""
    if command == "run":
        return pyrun.output(one.sh(script), **more)
    return pyrun.start(one.args("sleep", "1000")).sh(script, *options, **more)


def start(pyrun, one):
    """A container that only sleeps."""
    return pyrun.start(one.args("sleep", "1000"))


# umask


@pytest.mark.parametrize("umask", [0, 0o22, 0o77], ids=oct)
@pytest.mark.parametrize("command", COMMANDS)
def test_umask_unset(pyrun, bundle, command, umask):
    """Without a configured umask it is 022, whatever the caller's."""
    assert output(pyrun, command, bundle(), "umask", umask=umask) == "0022\n"


def test_umask_of_the_callers_hooks(pyrun, bundle, tmp_path):
    """Hooks on the host have the caller's umask."""
    one = bundle().hook("createRuntime", f"umask > {tmp_path}/umask")
    pyrun.output(one, umask=0o07)
    assert (tmp_path / "umask").read_text() == "0007\n"


# affinity


@pytest.mark.parametrize("command", COMMANDS)
def test_affinity(pyrun, bundle, command):
    """A caller that is pinned to one CPU: the program may run on all."""
    cpus = os.sched_getaffinity(0)
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    look = "grep Cpus_allowed: /proc/self/status"
    before = output(pyrun, command, bundle(), look)

    def pin():
        os.sched_setaffinity(0, {min(cpus)})

    assert output(pyrun, command, bundle(), look, preexec_fn=pin) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_affinity_stays_in_the_cpuset(pyrun, bundle, command):
    """It is never more than the container's cpuset."""
    cpus = os.sched_getaffinity(0)
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    needs_cpuset()
    one = bundle({"linux": {"resources": {"cpu": {"cpus": str(max(cpus))}}}})

    def pin():
        os.sched_setaffinity(0, {min(cpus)})

    look = "grep Cpus_allowed_list: /proc/self/status"
    assert output(pyrun, command, one, look, preexec_fn=pin).split()[1] == str(max(cpus))


def needs_cpuset():
    """Skip without a cpuset controller."""
    with open("/proc/cgroups") as table:
        if not [line for line in table if line.split()[0] == "cpuset" and line.split()[3] == "1"]:
            pytest.skip("needs the cpuset controller")


# environment


def variables(text):
    """The lines of `env` without what the shell adds."""
    return [line for line in text.splitlines() if line.partition("=")[0] not in ("PWD", "SHLVL", "_")]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_last_of_two_variables(pyrun, bundle, command):
    """A variable that is given twice is there once, with its last value, and the others keep their order."""
    env = ["PATH=/nosuch", "ONE=a", "TWO=b", "ONE=", "PATH=/bin", "HOME=/x", "ONE=c=d", "ONE"]
    one = bundle({"process": {"env": env, "args": ["env"]}})
    out = pyrun.output(one) if command == "run" else start(pyrun, one).exec(("env",)).out
    assert variables(out) == ["TWO=b", "PATH=/bin", "HOME=/x", "ONE=c=d", "ONE"]


def test_env_of_exec_overrides(pyrun, bundle):
    """`exec --env` takes the place of what the container has, PATH for the look-up too, and the last of two wins."""
    container = start(pyrun, bundle({"process": {"env": ["PATH=/bin", "A=1", "HOME=/x"]}}))
    found = container.exec(("env",), "--env", "A=2", "-e", "B=3", "-e", "B=4").out
    assert variables(found) == ["PATH=/bin", "HOME=/x", "A=2", "B=4"]
    assert (
        "executable file not found in $PATH (/nosuch)" in container.exec(("true",), "-e", "PATH=/nosuch").err
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("env", [["HOME="], ["HOME=/else", "HOME="], []], ids=["empty", "emptied", "unset"])
def test_empty_home(pyrun, bundle, command, env):
    """An empty HOME is filled from the container's /etc/passwd as a missing one is."""
    one = bundle({"process": {"env": ["PATH=/bin", *env], "user": {"uid": 1000, "gid": 1000}}})
    (one.rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/nest:/bin/sh\n")
    assert sorted(variables(output(pyrun, command, one, "env"))) == ["HOME=/nest", "PATH=/bin"]


# too long

LIMIT = 128 * 1024 - 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("process", "words"),
    [
        ({"args": ["true", "x" * LIMIT]}, ""),
        ({"args": ["true", "x" * (LIMIT + 1)]}, "process.args[1]: 131072 bytes are too many"),
        ({"env": ["PATH=/bin", "A=" + "é" * 70000]}, "process.env[1]: 140002 bytes are too many"),
        ({"args": ["true", *["x" * 100000] * 100]}, "process: args and env have 10000"),
    ],
    ids=["as long as can be", "an argument", "a variable", "all together"],
)
def test_too_long(pyrun, bundle, command, process, words):
    """What execve finds too long is named with its size, be it one text or all; what just fits runs."""
    one = bundle({"process": {"env": ["PATH=/bin"], **process}})
    if command == "run":
        result = pyrun.run(one)
    else:
        container = start(pyrun, bundle())
        path = one.path / "process.json"
        path.write_text(json.dumps(one.config["process"]))
        result = pyrun("exec", "--process", str(path), container.id)
    if words:
        assert words in result.err
        assert result.code != 0
    else:
        assert (result.code, result.err) == (0, "")


def test_too_long_for_the_stack(pyrun, bundle):
    """The same where only the container's own limit makes it too much: start says it."""
    limits = [
        {"type": "RLIMIT_STACK", "soft": 512 << 10, "hard": resource.getrlimit(resource.RLIMIT_STACK)[1]}
    ]
    if limits[0]["hard"] == resource.RLIM_INFINITY:
        limits[0]["hard"] = (1 << 64) - 1
    one = bundle({"process": {"args": ["true", *["x" * 1000] * 200], "rlimits": limits}})
    result = pyrun.run(one)
    assert "process: args and env have 20" in result.err
    assert "RLIMIT_STACK" in result.err
