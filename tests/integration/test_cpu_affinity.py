"""process.execCPUAffinity: the CPUs of a process of exec, first and last."""

from __future__ import annotations

import json
import os

import pytest

SHOW = "grep ^Cpus_allowed_list /proc/self/status | cut -f2"


@pytest.fixture
def cpus():
    """Two CPUs that we may run on."""
    found = sorted(os.sched_getaffinity(0))
    if len(found) < 2:
        pytest.skip("needs two CPUs")
    return found[:2]


@pytest.fixture
def container(pyrun, bundle):
    """A container whose program sleeps."""
    one = pyrun.start(bundle(sh="sleep 1000"))
    yield one
    one.delete("--force")


def executed(container, tmp_path, affinity, **more):
    """The CPUs of a program of exec, as text."""
    path = tmp_path / "process.json"
    path.write_text(json.dumps({"cwd": "/", "args": ["sh", "-c", SHOW], "execCPUAffinity": affinity}))
    result = container.exec((), "--process", str(path), **more)
    assert result.code == 0, result.err
    return result.out.strip()


@pytest.mark.parametrize("initial", [{}, {"initial": "0-1"}], ids=["final", "both"])
def test_final(container, tmp_path, cpus, initial):
    """A process of exec ends up on the final CPUs, whatever it began on."""
    if initial:
        initial = {"initial": f"{cpus[0]},{cpus[1]}"}
    for cpu in cpus:
        assert executed(container, tmp_path, {**initial, "final": str(cpu)}) == str(cpu)


def test_lists(container, tmp_path, cpus):
    """Numbers and ranges, with spaces between them."""
    low, high = cpus
    both = f"{low}-{high}" if high == low + 1 else f"{low},{high}"
    for text in (f"{low},{high}", f" {high} , {low} ", f"{low}-{low},{high}-{high}"):
        assert executed(container, tmp_path, {"final": text}) == both


def test_nothing_of_the_caller(container, tmp_path, cpus):
    """Without an affinity, and with an empty one, the caller's isn't handed on."""
    everything = container.sh(SHOW).strip()
    container.pyrun.wrapper = ["taskset", "-c", str(cpus[1])]
    assert executed(container, tmp_path, {}) == everything
    assert executed(container, tmp_path, {"initial": "", "final": ""}) == everything


def test_initial(container, tmp_path, cpus):
    """Without a final list it is the kernel that says what a process has that began on the initial CPUs: it keeps them,
    or entering the container's cpuset gives it that one's."""
    assert executed(container, tmp_path, {"initial": str(cpus[1])}) in (
        str(cpus[1]),
        container.sh(SHOW).strip(),
    )


def test_the_init_has_none(pyrun, bundle, cpus):
    """The container's own process isn't meant; a process of exec is, by the configuration too."""
    own = pyrun.output(bundle(sh=SHOW)).strip()
    affinity = {"initial": str(cpus[0]), "final": str(cpus[0])}
    one = bundle({"process": {"execCPUAffinity": affinity}}, sh=SHOW)
    assert pyrun.output(one).strip() == own
    container = pyrun.start(one.args("sleep", "1000"))
    assert container.sh(SHOW).strip() == str(cpus[0])
    container.delete("--force")


@pytest.mark.parametrize("name", ["initial", "final"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "wanted a list of CPUs"),
        ("0-", "wanted a list of CPUs"),
        ("3-1", "wanted a list of CPUs"),
        ("1--2", "wanted a list of CPUs"),
        ("8191", "Invalid argument (none of these CPUs is online"),
        ("0-99999999", "no machine has a CPU 99999999"),
    ],
    ids=["letters", "half-a-range", "down", "two-dashes", "offline", "huge"],
)
def test_refused(container, tmp_path, name, text, words):
    """What is no list, or has no CPU of this machine, is refused by name."""
    path = tmp_path / "process.json"
    path.write_text(json.dumps({"cwd": "/", "args": ["true"], "execCPUAffinity": {name: text}}))
    sentence = container.exec_refused((), "--process", str(path))
    assert f"process.execCPUAffinity.{name}: " in sentence
    assert words in sentence


@pytest.mark.parametrize("no_new_privileges", [True, False], ids=["nnp", "no-nnp"])
def test_a_filter_that_refuses_the_call(pyrun, bundle, tmp_path, cpus, no_new_privileges):
    """The final CPUs are taken before the container's seccomp filter is loaded, which may refuse to change them."""
    rule = {"names": ["sched_setaffinity"], "action": "SCMP_ACT_ERRNO"}
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    container = pyrun.start(bundle({"linux": {"seccomp": seccomp}}, sh="sleep 1000"))
    path = tmp_path / "process.json"
    document = {"cwd": "/", "args": ["sh", "-c", SHOW], "noNewPrivileges": no_new_privileges}
    path.write_text(json.dumps({**document, "execCPUAffinity": {"final": str(cpus[1])}}))
    result = container.exec((), "--process", str(path))
    assert (result.code, result.out.strip()) == (0, str(cpus[1])), result.err
    container.delete("--force")
