"""pyrun's own --systemd-cgroup beside a real systemd."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Bundle, Host, eventually


@pytest.fixture
def bundle(anyone: Host) -> Iterator[Bundle]:
    with Bundle(anyone) as one:
        yield one


def test_limits_and_names(anyone: Host, bundle: Bundle) -> None:
    """The scope's name, slice and limits are those of the configuration; a daemon-reload changes none; at the end there
    is no unit."""
    resources = {"memory": {"limit": 1 << 26}, "pids": {"limit": 50}, "cpu": {"shares": 512}}
    path = bundle.write("sleep", "1000", cgroupsPath="machine.slice:p:one", resources=resources)
    bundle.pyrun("create", "--bundle", path, "one")
    try:
        bundle.pyrun("start", "one")
        shown = anyone.systemctl("show", "p-one.scope")
        for line in (
            "MemoryMax=67108864",
            "TasksMax=50",
            "Slice=machine.slice",
            "ActiveState=active",
            "Delegate=yes",
        ):
            assert line in shown.splitlines()
        below = next(line for line in shown.splitlines() if line.startswith("ControlGroup=")).partition("=")[
            2
        ]
        folder = Path(f"/sys/fs/cgroup{below}")
        weight = folder.joinpath("cpu.weight").read_text()
        anyone.systemctl("daemon-reload")
        assert folder.joinpath("memory.max").read_text() == "67108864\n"
        assert folder.joinpath("cpu.weight").read_text() == weight != "100\n"
        bundle.pyrun("update", "--memory", "33554432", "one")
        assert "MemoryMax=33554432" in anyone.systemctl("show", "p-one.scope", "-p", "MemoryMax")
        assert folder.joinpath("memory.max").read_text() == "33554432\n"
        bundle.pyrun("exec", "one", "true")
    finally:
        bundle.pyrun("delete", "--force", "one")
    assert anyone.units("p-one.scope") == []
    assert not folder.exists()


def test_device_rules_outlive_a_reload(root: Host) -> None:
    """A daemon-reload takes no device rule away (runc#3551)."""
    script = (
        "mknod /tmp/kmsg c 1 11; while :; do (echo x >/tmp/kmsg) 2>/dev/null && echo allowed; sleep 0.2; done"
    )
    with Bundle(root) as one:
        one.config["root"]["readonly"] = False
        for kind in ("bounding", "permitted", "effective"):
            one.config["process"]["capabilities"][kind].append("CAP_MKNOD")
        one.write("sh", "-c", script, cgroupsPath="system.slice:p:rules")
        with one.running():
            root.systemctl("daemon-reload")
            assert root("sleep", "2").returncode == 0
            assert "allowed" not in one.output()


def test_many_at_once(anyone: Host, bundle: Bundle) -> None:
    """Creates at the same time lose none, and leave no unit."""
    path = bundle.write("true")
    names = [f"many-{anyone.name}-{number}" for number in range(20)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: bundle.pyrun("run", "--bundle", path, name), names))
    eventually(lambda: anyone.units("runc-many-*") == [], "units are left")


def test_a_killed_container_leaves_no_unit(anyone: Host, bundle: Bundle) -> None:
    """A program that fails or is killed leaves no failed unit behind."""
    path = bundle.write("sleep", "1000", cgroupsPath="machine.slice:p:dead")
    bundle.pyrun("create", "--bundle", path, "dead")
    bundle.pyrun("start", "dead")
    bundle.pyrun("kill", "dead", "KILL")
    bundle.pyrun("delete", "--force", "dead")
    assert anyone.units("p-dead.scope") == []
