"""--systemd-cgroup: what systemd is asked, and what comes of it. systemd itself is a stand-in that makes the cgroups;
the host is seen as one with nothing but cgroup v2."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import needs
import pytest
from bundles import CALLER, Bundle, Config, Pyrun, eventually
from systemd_stand_in import SystemdStandIn

from pyrun.cgroups import units

SYSTEMD = ("--systemd-cgroup",)
# Nothing but cgroup v2, and the stand-in's socket where systemd's is.
HOST = (
    "umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && mount -t tmpfs none /run && "
    "mkdir /run/systemd && {{ [ ! -e {0} ] || "
    "{{ touch /run/systemd/private && mount --bind {0} /run/systemd/private; }}; }} && "
    'exec "$@"'
)


def with_one_id(config: Config) -> None:
    """`unshare -Ur` maps root alone, so the group of terminals isn't there."""
    for mount in config["mounts"]:
        mount["options"] = [option for option in mount.get("options", []) if option != "gid=5"]


@pytest.fixture
def systemd(pyrun: Pyrun) -> Iterator[SystemdStandIn]:
    """A systemd, and the runtime on a host where it runs."""
    needs.program("unshare", "mount")
    needs.filesystem("cgroup2")
    folder = Path(tempfile.mkdtemp(prefix="systemd-"))  # a socket's address is short
    mount = (
        "/sys/fs/cgroup" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "/sys/fs/cgroup/unified"
    )
    one = SystemdStandIn(folder / "s", mount)
    wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", HOST.format(folder / "s"), "sh"]
    pyrun.wrapper = wrapper
    yield one
    pyrun.wrapper = wrapper
    for container_id in pyrun.ids:
        pyrun("delete", "--force", container_id)
    one.close()
    shutil.rmtree(folder)


@pytest.fixture
def create(pyrun: Pyrun, systemd: SystemdStandIn) -> Callable[..., str]:
    """Creates a container in a scope of pyrun-test.slice and returns its id."""

    def make(bundle: Bundle) -> str:
        container_id = pyrun.id()
        bundle.config["linux"]["cgroupsPath"] = f"pyruntest.slice:p:{container_id}"
        bundle.write()
        pyrun.ok(*SYSTEMD, "create", "--bundle", str(bundle.path), container_id)
        return container_id

    return make


def test_a_scope_is_made_around_the_init(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle], create: Callable[..., str]
) -> None:
    """systemd is asked once for a delegated scope with the init in it; all of the container is in its cgroup, exec's
    processes too; at the end the unit is stopped."""
    container_id = create(bundle(sh="sleep 100"))
    unit = f"p-{container_id}.scope"
    properties = systemd.properties[unit]
    pid = pyrun.state(container_id)["pid"]
    assert properties["Slice"] == "pyruntest.slice"
    assert properties["Delegate"] is True
    assert properties["PIDs"] == [pid]
    assert [name for name, _ in systemd.calls] == ["StartTransientUnit"]
    assert systemd.connections == 1
    assert systemd.cgroup(unit).joinpath("cgroup.procs").read_text().split() == [str(pid)]
    pyrun.ok("start", container_id)
    inside = pyrun.ok("exec", container_id, "cat", "/proc/self/cgroup").out
    assert "0::/\n" in inside, inside
    pyrun.ok("pause", container_id)
    assert pyrun.state(container_id)["status"] == "paused"
    pyrun.ok("resume", container_id)
    assert systemd.connections == 1, "state, start, exec, pause and resume need no systemd"
    pyrun.ok("delete", "--force", container_id)
    assert systemd.properties == {}
    assert not systemd.cgroup(unit).exists()
    assert systemd.calls[1] == ("StopUnit", (unit, "replace"))


def test_every_command_takes_the_option(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle], create: Callable[..., str]
) -> None:
    """Engines give --systemd-cgroup with all commands: `docker update` brings the resources on standard input."""
    container_id = create(bundle(sh="sleep 100"))
    for words in (("start",), ("state",), ("exec",), ("ps",), ("pause",), ("resume",), ("kill",)):
        more = {"exec": ["true"], "kill": ["KILL"]}.get(words[0], [])
        pyrun.ok(*SYSTEMD, *words, container_id, *more)
        if words[0] == "resume":
            pyrun.ok(*SYSTEMD, "update", "--resources", "-", container_id, data=b'{"unified": {}}')
    pyrun.ok(*SYSTEMD, "delete", "--force", container_id)
    assert systemd.properties == {}


def test_limits_are_properties_of_the_unit(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle], create: Callable[..., str]
) -> None:
    """What systemd has a property for is told to it when the unit is made; so a daemon-reload keeps it. (This host's
    cgroup v2 has no such controllers: the files that pyrun would write are refused by name.)"""
    annotations = {"org.systemd.property.TimeoutStopSec": "uint64 7"}
    one = bundle({"annotations": annotations}, sh="true")
    container_id = create(one)
    properties = systemd.properties[f"p-{container_id}.scope"]
    assert properties["TimeoutStopUSec"] == 7_000_000
    assert properties["CollectMode"] == "inactive-or-failed"
    assert {name: properties[f"{name}Accounting"] for name in ("CPU", "Memory", "IO", "Tasks")} == {
        "CPU": True, "Memory": True, "IO": True, "Tasks": True,
    }  # fmt: skip


def test_device_rules_are_properties_of_the_unit(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle], create: Callable[..., str]
) -> None:
    """What is allowed is told to systemd in order, the devices that every container has last; an update with other
    rules tells it those."""
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"},
        {"allow": True, "type": "b", "major": 8, "access": "rw"},
    ]
    container_id = create(bundle({"linux": {"resources": {"devices": rules}}}, sh="sleep 100"))
    properties = systemd.properties[f"p-{container_id}.scope"]
    assert properties["DevicePolicy"] == "strict"
    assert properties["DeviceAllow"][:3] == [("/dev/char/1:11", "r"), ("block-8", "rw"), ("char-*", "m")]
    assert properties["DeviceAllow"][-1] == ("char-136", "rwm")
    document = b'{"devices": [{"allow": true, "access": "rwm"}]}'
    pyrun.ok(*SYSTEMD, "update", "--resources", "-", container_id, data=document)
    assert properties["DevicePolicy"] == "auto"
    assert properties["DeviceAllow"] == []


@pytest.mark.parametrize("known", [True, False], ids=["systemd knows it", "systemd doesn't"])
def test_a_property_that_an_older_systemd_lacks(systemd: SystemdStandIn, known: bool) -> None:
    """OOMPolicy is told to a systemd that has it for scopes; another is asked again without it, for a unit and for a
    change of one. (This host's cgroup v2 has no memory controller, so systemd is asked without a container.)"""
    systemd.unknown = "" if known else "OOMPolicy"
    properties = [("OOMPolicy", ("s", "kill")), ("TasksMax", ("t", 5))]
    words = f"""
from pyrun.cgroups import systemd_manager, units
systemd_manager.PRIVATE = {str(systemd.path)!r}
unit, _ = units.place("pyruntest.slice:p:old", "old")
systemd_manager.start(unit, 1, {properties!r})
systemd_manager.change(unit, {properties!r})
"""
    systemd.makes_cgroups = False
    subprocess.run([sys.executable, "-c", words], check=True)
    found = systemd.properties.pop("p-old.scope")
    assert found.get("OOMPolicy") == ("kill" if known else None)
    assert found["TasksMax"] == 5


def test_a_cgroup_below_the_units(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle], create: Callable[..., str]
) -> None:
    """run.oci.systemd.subgroup: the container is in a cgroup of that name below the scope's, as with crun; what exec
    brings, too; it all goes with the unit."""
    one = bundle({"annotations": {"run.oci.systemd.subgroup": "inner"}}, sh="sleep 100")
    container_id = create(one)
    scope = systemd.cgroup(f"p-{container_id}.scope")
    pyrun.ok("start", container_id)
    pid = str(pyrun.state(container_id)["pid"])
    assert (scope / "inner/cgroup.procs").read_text().split() == [pid]
    assert (scope / "cgroup.procs").read_text() == ""
    assert "0::/\n" in pyrun.ok("exec", container_id, "cat", "/proc/self/cgroup").out
    pyrun.ok("pause", container_id)
    pyrun.ok("resume", container_id)
    pyrun.ok("delete", "--force", container_id)
    assert systemd.properties == {}
    assert not scope.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("subgroup", "a/b"), ("subgroup", ".."), ("force_cgroup_v1", "/sys/fs/cgroup")],
    ids=["a path", "the cgroup above", "cgroup v1"],
)
def test_annotations_of_crun_are_refused_by_name(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle], name: str, value: str
) -> None:
    """What can't be done of crun's annotations is refused, and systemd isn't asked."""
    one = bundle({"annotations": {f"run.oci.systemd.{name}": value}}, sh="true")
    one.config["linux"].pop("cgroupsPath", None)
    one.write()
    sentence = pyrun.error(*SYSTEMD, "create", "--bundle", str(one.path), pyrun.id())
    assert sentence.startswith(f"annotations['run.oci.systemd.{name}']")
    assert systemd.calls == []


def test_a_slice_as_the_containers_own_unit(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle]
) -> None:
    """A name that ends with .slice is the unit itself: systemd makes it, pyrun puts the init there, and it goes in the
    end."""
    container_id = pyrun.id()
    one = bundle(sh="sleep 100")
    one.config["linux"]["cgroupsPath"] = ":p:pyruntest-own.slice"
    one.write()
    pyrun.ok(*SYSTEMD, "create", "--bundle", str(one.path), container_id)
    folder = systemd.cgroup("pyruntest-own.slice")
    assert (folder / "cgroup.procs").read_text().split() == [str(pyrun.state(container_id)["pid"])]
    pyrun.ok("delete", "--force", container_id)
    assert systemd.properties == {}
    assert not folder.exists()


@pytest.mark.parametrize("answer", ["result", "refusal"])
def test_a_unit_that_fails_leaves_nothing(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle], answer: str
) -> None:
    """A job that fails, or a call that is refused, is one sentence with systemd's word, and nothing is left."""
    if answer == "result":
        systemd.result = "failed"
    else:
        systemd.refusal = "org.freedesktop.DBus.Error.AccessDenied"
    one = bundle(sh="true")
    one.config["linux"]["cgroupsPath"] = "pyruntest.slice:p:x1"
    one.write()
    container_id = pyrun.id()
    sentence = pyrun.error(*SYSTEMD, "create", "--bundle", str(one.path), container_id)
    assert "p-x1.scope" in sentence
    assert ("'failed'" if answer == "result" else "refused by the stand-in") in sentence
    pyrun.assert_gone(container_id)
    assert systemd.properties == {}


def test_a_leftover_unit_is_reset_and_the_call_made_again(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle], create: Callable[..., str]
) -> None:
    """A unit of that name that exists is reset, and systemd is asked once more."""
    systemd.refusal = "org.freedesktop.systemd1.UnitExists"
    create(bundle(sh="true"))
    assert [name for name, _ in systemd.calls] == [
        "StartTransientUnit",
        "ResetFailedUnit",
        "StartTransientUnit",
    ]


def test_a_unit_of_another_container_is_left_alone(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle], create: Callable[..., str]
) -> None:
    """A second container for the same unit is refused by the unit's name, and the first lives on."""
    one = bundle(sh="sleep 100")
    container_id = create(one)
    pyrun.ok("start", container_id)
    second = pyrun.id()
    sentence = pyrun.error(*SYSTEMD, "create", "--bundle", str(one.path), second)
    assert f"p-{container_id}.scope" in sentence
    pyrun.assert_gone(second)
    assert pyrun.state(container_id)["status"] == "running"
    assert "StopUnit" not in [name for name, _ in systemd.calls]


def refused_for_a_taken_unit(pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle]) -> str:
    """Have somebody else make the unit after the plan was made: the create names it and stops nothing. The id."""
    container_id = pyrun.id()
    one = bundle(sh="true")
    one.config["linux"]["cgroupsPath"] = f"pyruntest.slice:p:{container_id}"
    one.write()
    systemd.taken = True
    sentence = pyrun.error(*SYSTEMD, "create", "--bundle", str(one.path), container_id)
    assert f"p-{container_id}.scope" in sentence
    assert "StopUnit" not in [name for name, _ in systemd.calls]
    return container_id


def test_a_unit_that_comes_in_between_is_left_alone(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle], create: Callable[..., str]
) -> None:
    """Somebody else makes the unit after the plan was made: the create fails, and the unit stays."""
    container_id = refused_for_a_taken_unit(pyrun, systemd, bundle)
    pyrun.assert_gone(container_id)
    unit = f"p-{container_id}.scope"
    assert systemd.cgroup(unit).joinpath("cgroup.procs").read_text().split() == [
        str(systemd.other.pid if systemd.other else 0)
    ]


def test_the_users_systemd_is_asked_on_one_connection(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle]
) -> None:
    """Where the user's systemd is asked, for its own cgroup first, create connects once; so does delete."""
    needs.user_namespaces()
    pyrun.wrapper[6] = HOST.format("/nowhere").replace('exec "$@"', 'exec unshare -Ur "$@"')
    session = systemd.path.parent / "systemd"
    session.mkdir()
    session.joinpath("private").symlink_to(systemd.path)
    environment = {**CALLER, "XDG_RUNTIME_DIR": str(systemd.path.parent)}
    container_id = pyrun.id()
    one = bundle(change=with_one_id, sh="sleep 100")
    one.config["linux"]["cgroupsPath"] = f"pyruntest.slice:p:{container_id}"
    one.write()
    result = pyrun(*SYSTEMD, "create", "--bundle", str(one.path), container_id, env=environment)
    assert result.code == 0, result
    assert [name for name, _ in systemd.calls] == ["Get", "StartTransientUnit"]
    assert systemd.connections == 1
    assert pyrun("delete", "--force", container_id, env=environment).code == 0
    assert systemd.connections == 2
    assert systemd.properties == {}


def test_a_killed_create_leaves_no_unit(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle]
) -> None:
    """A create that was killed while a hook ran leaves a unit, and `delete --force` stops it."""
    container_id = pyrun.id()
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $PPID; sleep 100"]}
    one = bundle({"hooks": {"createRuntime": [hook]}}, sh="true")
    one.config["linux"]["cgroupsPath"] = f"pyruntest.slice:p:{container_id}"
    one.write()
    assert pyrun(*SYSTEMD, "create", "--bundle", str(one.path), container_id).code != 0
    unit = f"p-{container_id}.scope"
    eventually(lambda: unit in systemd.ever, "systemd wasn't asked")
    pyrun.ok("delete", "--force", container_id)
    assert not systemd.cgroup(unit).exists()
    assert unit not in systemd.properties


def test_a_create_that_is_killed_while_systemd_works_leaves_no_unit(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle]
) -> None:
    """Killed after it had asked, and its init dead before it got there: the empty unit, which systemd keeps, is stopped
    by `delete --force`."""
    container_id = pyrun.id()
    one = bundle(sh="true")
    one.config["linux"]["cgroupsPath"] = f"pyruntest.slice:p:{container_id}"
    one.write()
    systemd.kills_first = True
    assert pyrun(*SYSTEMD, "create", "--bundle", str(one.path), container_id).code != 0
    unit = f"p-{container_id}.scope"
    eventually(lambda: systemd.ever and systemd.cgroup(unit).exists(), "no unit")
    pyrun.ok("delete", "--force", container_id)
    assert systemd.properties == {}
    assert not systemd.cgroup(unit).exists()


@pytest.mark.parametrize(
    "path", ["/plain", "a.slice:b", "x:y:z"], ids=["a-plain-path", "two-parts", "no-slice"]
)
def test_a_path_in_another_form_is_refused(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle], path: str
) -> None:
    """The sentence says the form, and systemd isn't asked."""
    one = bundle(sh="true")
    one.config["linux"]["cgroupsPath"] = path
    one.write()
    sentence = pyrun.error(*SYSTEMD, "create", "--bundle", str(one.path), pyrun.id())
    assert "slice" in sentence
    assert sentence.startswith("linux.cgroupsPath")
    assert systemd.calls == []


def test_without_systemd_the_sentence_says_so(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle]
) -> None:
    """No socket: the sentence names it, and what to do without systemd."""
    pyrun.wrapper[6] = HOST.format("/nowhere")
    one = bundle(sh="true")
    one.config["linux"].pop("cgroupsPath", None)
    one.write()
    container_id = pyrun.id()
    sentence = pyrun.error(*SYSTEMD, "create", "--bundle", str(one.path), container_id)
    assert "/run/systemd/private" in sentence
    assert "cgroupfs" in sentence
    pyrun.assert_gone(container_id)


@pytest.fixture
def v1(systemd: SystemdStandIn, pyrun: Pyrun) -> Iterator[SystemdStandIn]:
    """A systemd on this host as it is, where that has cgroup v1."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        pytest.skip("this host has no cgroup v1")
    script = (
        "mount -t tmpfs none /run && mkdir /run/systemd && touch /run/systemd/private && "
        f'mount --bind {systemd.path} /run/systemd/private && exec "$@"'
    )
    pyrun.wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
    systemd.use_v1()
    yield systemd
    for container_id in pyrun.ids:
        pyrun("delete", "--force", container_id)


def test_cgroup_v1(
    pyrun: Pyrun, v1: SystemdStandIn, bundle: Callable[..., Bundle], create: Callable[..., str]
) -> None:
    """With cgroup v1, systemd makes the cgroups of its controllers, and pyrun those of the others at the same path; the
    init is in all of them, and so is what exec brings. Limits are in force and are properties; nothing is left."""
    resources = {
        "memory": {"limit": 1 << 26},
        "cpu": {"shares": 512, "quota": 25000, "period": 50000, "cpus": "0"},
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"},
        ],
    }
    container_id = create(bundle({"linux": {"resources": resources}}, sh="sleep 100"))
    unit = f"p-{container_id}.scope"
    folders = v1.cgroups(unit)
    pid = str(pyrun.state(container_id)["pid"])
    assert len(folders) > 3
    places = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    assert {line.split(":")[2] for line in places} == {f"/pyruntest.slice/{unit}"}
    properties = v1.properties[unit]
    assert (properties["MemoryMax"], properties["CPUShares"]) == (1 << 26, 512)
    assert (properties["CPUQuotaPerSecUSec"], properties["CPUQuotaPeriodUSec"]) == (500_000, 50_000)
    assert properties["DevicePolicy"] == "strict"
    assert properties["DeviceAllow"][0] == ("/dev/char/1:11", "rm")  # nodes of all devices may be made
    files = {"memory/memory.limit_in_bytes": str(1 << 26), "cpu/cpu.shares": "512", "cpuset/cpuset.cpus": "0"}
    for file, value in files.items():
        name, _, rest = file.partition("/")
        folder = Path(f"/sys/fs/cgroup/{name}/pyruntest.slice/{unit}")
        assert (folder / rest).read_text().strip() == value
    pyrun.ok("start", container_id)
    inside = pyrun.ok("exec", container_id, "cat", "/proc/self/cgroup").out.splitlines()
    assert {line.split(":")[2] for line in inside} == {"/"}
    pyrun.ok("pause", container_id)
    pyrun.ok("resume", container_id)
    document = b'{"devices": [{"allow": false, "access": "rwm"}], "memory": {"limit": 33554432}}'
    pyrun.ok(*SYSTEMD, "update", "--resources", "-", container_id, data=document)
    assert properties["MemoryMax"] == 1 << 25
    assert "/dev/char/1:11" not in [name for name, _ in properties["DeviceAllow"]]
    listed = Path(f"/sys/fs/cgroup/devices/pyruntest.slice/{unit}/devices.list").read_text()
    assert "c 1:11" not in listed
    assert "c 1:3 rwm" in listed
    pyrun.ok("delete", "--force", container_id)
    assert v1.properties == {}
    assert list(Path("/sys/fs/cgroup").glob("*/pyruntest.slice")) == []


def test_an_update_that_systemd_refuses_changes_nothing(
    pyrun: Pyrun, v1: SystemdStandIn, bundle: Callable[..., Bundle], create: Callable[..., str]
) -> None:
    """All or nothing: where systemd takes no property, the files are as they were, and the sentence has its words."""
    container_id = create(bundle({"linux": {"resources": {"memory": {"limit": 1 << 26}}}}, sh="sleep 100"))
    file = Path(f"/sys/fs/cgroup/memory/pyruntest.slice/p-{container_id}.scope/memory.limit_in_bytes")
    v1.refusal = "org.freedesktop.DBus.Error.AccessDenied"
    sentence = pyrun.error(*SYSTEMD, "update", "--memory", "33554432", container_id)
    assert "refused by the stand-in" in sentence
    assert file.read_text() == f"{1 << 26}\n"
    pyrun.ok(*SYSTEMD, "update", "--memory", "33554432", container_id)
    assert file.read_text() == f"{1 << 25}\n"


def test_a_taken_unit_on_cgroup_v1_is_left_alone(
    pyrun: Pyrun, v1: SystemdStandIn, bundle: Callable[..., Bundle], create: Callable[..., str]
) -> None:
    """There, too, a unit that somebody else makes in between stays; what pyrun had made for the container goes."""
    refused_for_a_taken_unit(pyrun, v1, bundle)
    assert not Path("/sys/fs/cgroup/freezer/pyruntest.slice").exists()


def test_default_names_are_runcs() -> None:
    """Engines and people look for runc-ID.scope in system.slice."""
    assert units.place(None, "x")[0]["name"] == "runc-x.scope"
