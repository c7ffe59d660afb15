"""--systemd-cgroup: what systemd is asked, and what comes of it. systemd itself is a stand-in that makes the cgroups;
the host is seen as one with nothing but cgroup v2."""

from __future__ import annotations

import shutil
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


def test_a_unit_that_comes_in_between_is_left_alone(
    pyrun: Pyrun, systemd: SystemdStandIn, bundle: Callable[..., Bundle], create: Callable[..., str]
) -> None:
    """Somebody else makes the unit after the plan was made: the create fails, and the unit stays."""
    container_id = pyrun.id()
    one = bundle(sh="true")
    one.config["linux"]["cgroupsPath"] = f"pyruntest.slice:p:{container_id}"
    one.write()
    systemd.taken = True
    sentence = pyrun.error(*SYSTEMD, "create", "--bundle", str(one.path), container_id)
    assert f"p-{container_id}.scope" in sentence
    pyrun.assert_gone(container_id)
    assert "StopUnit" not in [name for name, _ in systemd.calls]
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


def test_a_host_with_cgroup_v1_is_refused(pyrun: Pyrun, bundle: Callable[..., Bundle]) -> None:
    """So far, systemd's cgroups are to be had on cgroup v2 alone."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        pytest.skip("this host has no cgroup v1")
    sentence = pyrun.error(*SYSTEMD, "create", "--bundle", str(bundle(sh="true").path), pyrun.id())
    assert "cgroup v2" in sentence


def test_default_names_are_runcs() -> None:
    """Engines and people look for runc-ID.scope in system.slice."""
    assert units.place(None, "x")[0]["name"] == "runc-x.scope"
